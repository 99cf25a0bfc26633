//! The local API: its listeners, and what serves them.

use std::net::SocketAddr;
use std::sync::Arc;

use paddington::Service;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::access::Caller;
use crate::app::App;
use crate::connections::Connections;
use crate::listen::{BindError, Listeners, SocketFile};
use crate::{Inbox, Settings, routes, watching};

/// The local API of a service that was not started yet. It has its socket and its port already, so that
/// nothing is started in vain.
#[derive(Debug)]
pub struct Admin {
    settings: Settings,
    listeners: Listeners,
}

/// The local API of a service that runs. It ends when this is dropped; [`end`](Self::end) waits for it.
#[derive(Debug)]
#[must_use = "the local API ends when this is dropped"]
pub struct Serving {
    tcp: Option<SocketAddr>,
    /// Its file is removed when this is dropped.
    file: Option<SocketFile>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Admin {
    /// Binds the Unix socket and the TCP port. A socket that a dead process has left is replaced.
    ///
    /// # Errors
    ///
    /// [`BindError`] if one of them cannot be bound, somebody listens already, the address is not a
    /// loopback one, or there is no token for TCP. Nothing is bound then.
    pub async fn bind(settings: Settings) -> Result<Self, BindError> {
        let listeners = Listeners::bind(&settings).await?;
        Ok(Self { settings, listeners })
    }

    /// Returns the address of the TCP port, if there is one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.listeners.address
    }

    /// Serves a service. Without an inbox its messages go to a program, and not to consumers of the API.
    pub fn serve(self, service: Service, inbox: Option<Inbox>) -> Serving {
        let Self { mut settings, listeners } = self;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let token = settings.token.take().map(Arc::new);
        let app = Arc::new(App::new(settings, service, inbox, stop.clone()));
        watching::spawn(&app, &tasks);
        let router = routes::router(app, token);
        let connections = Connections { router, tasks: tasks.clone(), stop: stop.clone() };
        let Listeners { socket, tcp, address } = listeners;
        let mut file = None;
        if let Some((listener, its_file)) = socket {
            info!(path = %its_file.path().display(), "the local API listens on a socket");
            file = Some(its_file);
            let listener = Arc::new(listener);
            connections.spawn(Caller::Socket, move || {
                let listener = Arc::clone(&listener);
                async move { Ok(listener.accept().await?.0) }
            });
        }
        if let Some(listener) = tcp {
            info!(?address, "the local API listens on TCP");
            let listener = Arc::new(listener);
            connections.spawn(Caller::Tcp, move || {
                let listener = Arc::clone(&listener);
                async move {
                    let (socket, _) = listener.accept().await?;
                    let _ = socket.set_nodelay(true); // it is only faster
                    Ok(socket)
                }
            });
        }
        tasks.close();
        Serving { tcp: address, file, tasks, stop }
    }
}

impl Serving {
    /// Returns the address of the TCP port, if there is one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Ends the API: nothing more is accepted, the socket's file is removed, answers that are under way
    /// are given two seconds.
    pub async fn end(mut self) {
        self.stop.cancel();
        self.file = None;
        self.tasks.wait().await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
