//! One port for several services of a process: which of them a request is for, and how it gets there.
//!
//! The port reads the head of a request, within the limits of strangers, and hands the connection over with
//! the head unread. To a service it looks as if it had accepted the connection itself: admission, answers,
//! refusals and everything after them are its own.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::admission::Admission;
use crate::error::AcceptError;
use crate::front::{Accepted, Entrance, Front};
use crate::stranger::Stranger;
use crate::{Config, Endpoint, Listener, Network, NetworkListener, ServerTls, Stream};

mod routes;

use routes::{Arrival, Routes};

/// A port that several services of a process share. Each has a URL of its own: the path decides, and the
/// host's name where several have the same path. A request that is for none of them goes to the one that came
/// first, which refuses it.
///
/// The port is closed when this is dropped; connections that were established stay.
pub struct SharedPort {
    network: Arc<dyn Network>,
    address: SocketAddr,
    routes: Arc<Mutex<Routes>>,
    admission: Arc<Admission>,
    _open: DropGuard,
}

impl SharedPort {
    /// Binds `address`, and speaks TLS there if there are files for it. The limits, timeouts and proxies of
    /// `config` are those of the port, until it is known which service a request is for.
    ///
    /// # Errors
    ///
    /// The operating system's error, if the address cannot be bound.
    pub async fn bind(
        network: Arc<dyn Network>,
        address: SocketAddr,
        tls: Option<ServerTls>,
        config: Config,
    ) -> io::Result<Self> {
        let listener = Listener::bind(Arc::clone(&network), address).await?;
        let address = listener.address();
        let routes = Arc::new(Mutex::new(Routes::new(config.limits.places())));
        let mut front = Front::new(Arc::new(config));
        front.tls = tls;
        let stop = CancellationToken::new();
        let admission = Arc::clone(front.admission());
        let entrance = Port { front, routes: Arc::clone(&routes) };
        listener.spawn_for(entrance, &TaskTracker::new(), stop.clone());
        Ok(Self { network, address, routes, admission, _open: stop.drop_guard() })
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the network for the service with this URL: it listens on this port, whatever address it asks
    /// for, and gets the requests for its URL. It must not speak TLS itself.
    #[must_use]
    pub fn network(&self, url: &Endpoint) -> Arc<dyn Network> {
        Arc::new(OnPort {
            network: Arc::clone(&self.network),
            address: self.address,
            routes: Arc::clone(&self.routes),
            admission: Arc::clone(&self.admission),
            url: url.clone(),
        })
    }
}

impl fmt::Debug for SharedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPort").field("address", &self.address).finish_non_exhaustive()
    }
}

fn lock(routes: &Mutex<Routes>) -> MutexGuard<'_, Routes> {
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What takes the connections of the port.
struct Port {
    front: Front,
    routes: Arc<Mutex<Routes>>,
}

impl Entrance for Port {
    fn front(&self) -> &Front {
        &self.front
    }

    fn spawn(self: &Arc<Self>, accepted: Accepted, tasks: &TaskTracker, stop: &CancellationToken) {
        let Accepted { stream, direct, network } = accepted;
        // Which addresses may come is for the services to say.
        let Some(pending) = self.front.enter(direct, &network, |_| true) else { return };
        let (port, stop) = (Arc::clone(self), stop.clone());
        tasks.spawn(async move {
            let stranger = Stranger::new(direct, pending);
            let begun = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = stranger.pending.evicted() => Err(AcceptError::Evicted),
                begun = port.front.begin(stream, &stranger, |_| true) => begun,
            };
            match begun {
                Ok((mut stream, head)) => {
                    stream.set_budget(None);
                    stream.unread(head.clone());
                    let address = SocketAddr::new(stranger.address(), 0);
                    let handed = lock(&port.routes).hand_over(&head, (stream, address));
                    if let Err(why) = handed {
                        debug!(address = %stranger.address(), why, "a connection was dropped");
                    }
                }
                Err(error) => port.front.refuse(stranger, &error),
            }
        });
    }
}

/// The network of one of the services.
#[derive(Debug)]
struct OnPort {
    network: Arc<dyn Network>,
    address: SocketAddr,
    routes: Arc<Mutex<Routes>>,
    /// That of the port: whom a service has authenticated is spared there, too.
    admission: Arc<Admission>,
    url: Endpoint,
}

impl Network for OnPort {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.network.resolve(host, port)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        self.network.connect(address)
    }

    fn bind(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        Box::pin(async {
            let arrivals = lock(&self.routes).begin(&self.url)?;
            let listener = Arrivals { address: self.address, arrivals };
            Ok(Box::new(listener) as Box<dyn NetworkListener>)
        })
    }

    fn established(&self, address: IpAddr) {
        self.admission.know(address);
        self.network.established(address);
    }

    fn beneath(&self) -> Option<&dyn Network> {
        Some(&*self.network)
    }
}

/// The connections that are for one of the services.
struct Arrivals {
    address: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
}

impl NetworkListener for Arrivals {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let closed =
                || io::Error::new(io::ErrorKind::NotConnected, "the shared port is closed");
            self.arrivals.recv().await.ok_or_else(closed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whom_a_service_has_authenticated_is_known_at_the_port() {
        let network = crate::network::system();
        let address = SocketAddr::new([127, 0, 0, 1].into(), 0);
        let bound = SharedPort::bind(network, address, None, Config::default()).await;
        let port = bound.unwrap();
        let service = port.network(&"ws://127.0.0.1/hub".parse().unwrap());
        let [one, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        service.established(one);
        assert!(port.admission.knows(one) && !port.admission.knows(other));
    }
}
