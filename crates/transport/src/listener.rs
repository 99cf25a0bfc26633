//! A bound listener and its accept loop. Implements the accepting part of `docs/protocol.md` §9;
//! `acceptor.rs` handles the accepted connections.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::Acceptor;
use crate::contract::Host;
use crate::front::{Accepted, Entrance};
use crate::{Network, NetworkListener, Stream};

/// The first pause after an error of `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause after errors of `accept`.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// A bound listener, ready to run.
pub struct Listener {
    listener: Box<dyn NetworkListener>,
    address: SocketAddr,
    network: Arc<dyn Network>,
    listening: Listening,
}

/// Whether a listener is bound. A clone is about the same one.
#[derive(Clone, Debug, Default)]
pub struct Listening {
    failure: Arc<Mutex<Option<String>>>,
}

impl Listening {
    /// Returns why the listener is down, if it is.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    ///
    /// The operating system's error, if the address cannot be bound.
    pub async fn bind(network: Arc<dyn Network>, address: SocketAddr) -> io::Result<Self> {
        let listener = network.bind(address).await?;
        let address = listener.local_address()?;
        Ok(Self { listener, address, network, listening: Listening::default() })
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what tells whether the listener is bound.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.listening.clone()
    }

    /// Accepts clients on a task until `stop` is cancelled. Their connections run on `tasks` and
    /// outlive the listener. A listener that keeps failing is bound again.
    pub fn spawn<H: Host>(
        self,
        acceptor: Acceptor<H>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) {
        self.spawn_for(acceptor, tasks, stop);
    }

    /// Accepts connections for whoever takes them.
    pub(crate) fn spawn_for(
        self,
        entrance: impl Entrance,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) {
        tasks.spawn(self.run(entrance, tasks.clone(), stop));
    }

    async fn run(self, entrance: impl Entrance, tasks: TaskTracker, stop: CancellationToken) {
        let Self { listener, address, network, listening } = self;
        let mut bound = Some(listener);
        let entrance = Arc::new(entrance);
        let front = entrance.front();
        front.refusals.spawn(&tasks, stop.clone());
        if let Some(tls) = &front.tls {
            tls.spawn(Arc::clone(&network), &tasks, stop.clone());
        }
        let mut pause = ACCEPT_PAUSE;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = accept(&mut bound, &network, address, &listening) => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = ACCEPT_PAUSE;
                    let accepted = Accepted {
                        stream,
                        direct: peer.ip().to_canonical(),
                        network: Arc::clone(&network),
                    };
                    entrance.spawn(accepted, &tasks, &stop);
                    // Those who came before go on first. Otherwise, a crowd of clients could be
                    // evicted only because their hellos are not read yet.
                    yield_now().await;
                }
                Err(error) => {
                    warn!(%address, %error, ?pause, "could not accept a connection; trying again");
                    if pause == ACCEPT_PAUSE_MAX {
                        *listening.lock() = Some(error.to_string());
                    }
                    if wait(pause, &stop).await.is_err() {
                        return;
                    }
                    if pause == ACCEPT_PAUSE_MAX {
                        bound = None; // frees its address, to be bound again
                    }
                    pause = (2 * pause).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Accepts the next connection. A listener that is gone is bound again first.
async fn accept(
    listener: &mut Option<Box<dyn NetworkListener>>,
    network: &Arc<dyn Network>,
    address: SocketAddr,
    listening: &Listening,
) -> io::Result<(Stream, SocketAddr)> {
    let bound = match listener.take() {
        Some(bound) => bound,
        None => {
            let bound = network.bind(address).await?;
            info!(%address, "listening again");
            *listening.lock() = None;
            bound
        }
    };
    listener.insert(bound).accept().await
}

async fn wait(pause: Duration, stop: &CancellationToken) -> Result<(), ()> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(()),
        () = sleep(pause) => Ok(()),
    }
}
