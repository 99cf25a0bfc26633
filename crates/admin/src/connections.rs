//! The connections of the local API: how many there are, and how each is served.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::access::Caller;
use crate::stalling::Stalling;

/// The most connections by one way. Others wait until one of them ends.
const CONNECTIONS: usize = 256;
/// How long the head of a request may take, and how long a connection may be idle between two requests.
const HEAD: Duration = Duration::from_secs(30);
/// The longest head of a request, in bytes. It has a hundred fields at most.
const LONGEST_HEAD: usize = 16 * 1024;
/// The buffer of one connection, in bytes.
const BUFFER: usize = 64 * 1024;
/// How long a connection may take to end when the API ends.
const END: Duration = Duration::from_secs(2);
/// The pause after an error of `accept`.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the connections of one way are served.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) router: Router,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Connections {
    /// Accepts connections on a task until the API ends.
    pub(crate) fn spawn<S, A>(&self, caller: Caller, accept: impl Fn() -> A + Send + 'static)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Future<Output = io::Result<S>> + Send,
    {
        let router = self.router.clone().layer(Extension(caller));
        let connections = Self { router, ..self.clone() };
        self.tasks.spawn(async move {
            let accepting = connections.accept(caller, accept);
            connections.stop.run_until_cancelled(accepting).await;
        });
    }

    async fn accept<S, A>(&self, caller: Caller, accept: impl Fn() -> A)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Future<Output = io::Result<S>>,
    {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match accept().await {
                Ok(socket) => {
                    let serving = self.clone().serve(caller, socket);
                    self.tasks.spawn(async move {
                        serving.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, ?caller, "the local API cannot accept a connection");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection to its end.
    async fn serve<S>(self, caller: Caller, socket: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let answer = TowerToHyperService::new(self.router);
        let socket = TokioIo::new(Stalling::new(socket));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_header_size(LONGEST_HEAD)
            .max_buf_size(BUFFER)
            .serve_connection(socket, answer);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = sleep(END) => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            debug!(%error, ?caller, "a connection of the local API has ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_ends_the_connection() {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let router = Router::new().route("/", get(async || "hello"));
        let connections = Connections { router, tasks, stop };
        let (socket, mut client) = duplex(1024);
        let served = tokio::spawn(connections.serve(Caller::Tcp, socket));
        let begun = Instant::now();
        while client.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
        assert!(begun.elapsed() <= HEAD + Duration::from_secs(2), "{:?}", begun.elapsed());
        served.await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
}
