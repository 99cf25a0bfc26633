//! Where an exchange listens, and how the port is bound.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paddington_transport::{Listener, Network, ServerTls};
use tokio::time::{Instant, sleep};
use tracing::info;

/// Pause between two attempts to bind a port that another process uses.
const LISTEN_PAUSE: Duration = Duration::from_millis(50);

/// Address and path that a service listens on, and whether it speaks TLS there.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The address; port 0 lets the operating system choose.
    pub address: SocketAddr,
    /// The path of the URL that clients ask for.
    pub path: String,
    /// TLS of its own; without, the connection is a plain one, perhaps behind a proxy with TLS.
    pub tls: Option<ServerTls>,
}

/// Binds the address, for which it waits up to `patience` if another process uses it.
pub(crate) async fn bind(
    network: &Arc<dyn Network>,
    address: SocketAddr,
    patience: Duration,
) -> io::Result<Listener> {
    let (begun, mut waits) = (Instant::now(), false);
    loop {
        let source = match Listener::bind(Arc::clone(network), address).await {
            Ok(listener) => return Ok(listener),
            Err(source) => source,
        };
        let left = patience.saturating_sub(begun.elapsed());
        if source.kind() != io::ErrorKind::AddrInUse || left.is_zero() {
            return Err(source);
        }
        if !std::mem::replace(&mut waits, true) {
            info!(%address, ?patience, "waiting for the port, which another process uses");
        }
        sleep(LISTEN_PAUSE.min(left)).await;
    }
}
