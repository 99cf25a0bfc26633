//! The network as one process sees it: whoever dials the service gets to any of its replicas.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use paddington_test_support::{MemoryNetwork, Random};
use paddington_transport::{Network, NetworkListener, Stream};
use tokio::time::sleep;

use super::world::{PORT, World};

/// The time at which every run begins, in seconds since 1970.
const EPOCH: u64 = 1_800_000_000;
/// The longest time that it takes to connect.
const LATENCY: Duration = Duration::from_millis(10);

/// Who dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialler {
    /// A peer: it gets to a replica.
    Peer,
    /// A replica: it gets to the server of the service.
    Replica(usize),
}

/// The network as one process sees it.
pub(crate) struct Balanced {
    world: Arc<World>,
    network: MemoryNetwork,
    dialler: Dialler,
    random: Mutex<Random>,
}

impl Balanced {
    /// Makes the network of a process with this address.
    pub(crate) fn network(
        world: &Arc<World>,
        source: IpAddr,
        dialler: Dialler,
        random: Random,
    ) -> Arc<dyn Network> {
        let network = world.network.from(&source.to_string());
        Arc::new(Self { world: Arc::clone(world), network, dialler, random: Mutex::new(random) })
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn to_any_replica(&self) -> io::Result<Stream> {
        let replicas: Vec<_> =
            self.world.replicas().iter().filter(|it| it.is_reachable()).cloned().collect();
        if replicas.is_empty() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let replica = &replicas[self.draw(|random| random.below(replicas.len()))];
        let stream = self.network.connect(replica.address).await?;
        if replica.is_frozen() {
            replica.cables(&self.world).freeze();
        }
        Ok(stream)
    }

    async fn to_server(&self, number: usize, address: SocketAddr) -> io::Result<Stream> {
        let replica = self.world.replicas().get(number).cloned();
        let is_dead = replica.as_ref().is_some_and(|it| it.is_killed());
        if is_dead || address.port() != PORT {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if let Some(replica) = replica {
            self.world.check_dialler(&replica);
        }
        self.network.connect(address).await
    }
}

impl Network for Balanced {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.network.resolve(host, port)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            sleep(self.draw(|random| random.up_to(LATENCY))).await;
            match self.dialler {
                Dialler::Peer => self.to_any_replica().await,
                Dialler::Replica(number) => self.to_server(number, address).await,
            }
        })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        self.network.bind(address)
    }

    fn chance(&self) -> f64 {
        self.draw(Random::chance)
    }

    fn unix_time(&self) -> u64 {
        EPOCH + self.world.ledger.now().as_secs()
    }

    fn slept(&self) -> Duration {
        Duration::ZERO
    }
}

impl fmt::Debug for Balanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balanced").field("dialler", &self.dialler).finish_non_exhaustive()
    }
}
