//! The simulated network for services: turmoil's TCP, jitter by the seed, connections that can be
//! reset.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use paddington_test_support::{Cable, CableEnd, Random};
use paddington_transport::{Network, NetworkListener, Stream};
use turmoil::net::{TcpListener, TcpStream};

use crate::ledger::now;

/// The time at which every simulation begins, in seconds since 1970.
pub(crate) const EPOCH: u64 = 1_800_000_000;

/// The ends of a host's connections, with the address of each peer.
type Cables = Mutex<Vec<(IpAddr, Arc<Cable<TcpStream>>)>>;

/// The network of one host, for all instances of its service.
pub(crate) struct SimNetwork {
    random: Mutex<Random>,
    cables: Arc<Cables>,
}

impl SimNetwork {
    pub(crate) fn new(random: Random) -> Arc<Self> {
        Arc::new(Self { random: Mutex::new(random), cables: Arc::default() })
    }

    /// Resets this host's connections to `peer`.
    pub(crate) fn reset(&self, peer: IpAddr) {
        let mut cables = lock(&self.cables);
        cables.retain(|(_, cable)| Arc::strong_count(cable) > 1);
        cables.iter().filter(|(of, _)| *of == peer).for_each(|(_, cable)| cable.cut());
    }
}

impl fmt::Debug for SimNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimNetwork").finish_non_exhaustive()
    }
}

impl Network for SimNetwork {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(vec![SocketAddr::new(turmoil::lookup(host), port)]) })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            Ok(plugged(&self.cables, TcpStream::connect(address).await?, address.ip()))
        })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            let cables = Arc::clone(&self.cables);
            let acceptor: Box<dyn NetworkListener> = Box::new(SimAcceptor { listener, cables });
            Ok(acceptor)
        })
    }

    fn chance(&self) -> f64 {
        lock(&self.random).chance()
    }

    fn unix_time(&self) -> u64 {
        EPOCH + now().as_secs()
    }

    fn slept(&self) -> Duration {
        Duration::ZERO
    }
}

struct SimAcceptor {
    listener: TcpListener,
    cables: Arc<Cables>,
}

impl NetworkListener for SimAcceptor {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async {
            let (stream, address) = self.listener.accept().await?;
            Ok((plugged(&self.cables, stream, address.ip()), address))
        })
    }
}

fn plugged(cables: &Cables, io: TcpStream, peer: IpAddr) -> Stream {
    let cable = Arc::new(Cable::default());
    lock(cables).push((peer, Arc::clone(&cable)));
    Stream::new(CableEnd::new(io, 0, &cable))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
