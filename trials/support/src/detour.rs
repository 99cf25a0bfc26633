//! A network in memory whose connections are made in a test's own way.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use paddington_transport::{Network, NetworkListener, Stream};

use crate::MemoryNetwork;

/// A network in memory; whoever connects in it gets the stream that a function makes.
pub struct Detour<F> {
    network: MemoryNetwork,
    connect: F,
}

impl<F, C> Detour<F>
where
    F: Fn(MemoryNetwork, SocketAddr) -> C + Send + Sync + 'static,
    C: Future<Output = io::Result<Stream>> + Send + 'static,
{
    /// Makes the network in the form that services take.
    #[must_use]
    pub fn network(network: MemoryNetwork, connect: F) -> Arc<dyn Network> {
        Arc::new(Self { network, connect })
    }
}

impl<F> fmt::Debug for Detour<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detour").field("network", &self.network).finish_non_exhaustive()
    }
}

impl<F, C> Network for Detour<F>
where
    F: Fn(MemoryNetwork, SocketAddr) -> C + Send + Sync + 'static,
    C: Future<Output = io::Result<Stream>> + Send + 'static,
{
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.network.resolve(host, port)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin((self.connect)(self.network.clone(), address))
    }

    fn beneath(&self) -> Option<&dyn Network> {
        Some(&self.network)
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        self.network.bind(address)
    }
}
