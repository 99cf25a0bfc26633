//! Sockets that the supervisor has opened for the service (socket activation, `sd_listen_fds(3)`): they
//! outlive it, so that clients that come while it is restarted wait instead of being refused.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, select_all};
use listenfd::ListenFd;
use paddington::{Network, NetworkListener, Stream, system_network};
use tracing::info;

/// The system's network, on which the service listens on the sockets that it was given.
#[derive(Debug)]
struct Activated {
    system: Arc<dyn Network>,
    sockets: Vec<TcpListener>,
}

/// Several sockets of one service, such as one for each family of addresses.
struct Sockets(Vec<Box<dyn NetworkListener>>);

/// Returns the network of a service: if the supervisor has opened sockets, it listens on these, whatever
/// address it asks for.
///
/// # Errors
///
/// If one of them is not for TCP connections.
pub(super) fn network() -> io::Result<Arc<dyn Network>> {
    let (system, mut given) = (system_network(), ListenFd::from_env());
    let mut sockets = Vec::new();
    for number in 0..given.len() {
        sockets.extend(given.take_tcp_listener(number)?);
    }
    if sockets.is_empty() {
        return Ok(system);
    }
    for socket in &sockets {
        socket.set_nonblocking(true)?;
        info!(address = %socket.local_addr()?, "the supervisor has opened a socket for the service");
    }
    Ok(Arc::new(Activated { system, sockets }))
}

impl Activated {
    /// Copies the sockets: what the service closes is a copy.
    fn copies(&self) -> io::Result<Sockets> {
        let copy = |socket: &TcpListener| -> io::Result<Box<dyn NetworkListener>> {
            Ok(Box::new(tokio::net::TcpListener::from_std(socket.try_clone()?)?))
        };
        self.sockets.iter().map(copy).collect::<io::Result<_>>().map(Sockets)
    }
}

impl Network for Activated {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.system.resolve(host, port)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        self.system.connect(address)
    }

    fn bind(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        async { Ok(Box::new(self.copies()?) as Box<dyn NetworkListener>) }.boxed()
    }

    fn beneath(&self) -> Option<&dyn Network> {
        Some(&*self.system)
    }
}

impl NetworkListener for Sockets {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.0[0].local_address() // there is one
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        // Each of them loses nothing when it is dropped before it is done.
        async { select_all(self.0.iter_mut().map(|socket| socket.accept())).await.0 }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use paddington::{ProxyEnvironment, system_network_in};

    use super::*;

    #[test]
    fn a_service_with_sockets_of_its_supervisor_goes_out_through_the_proxies_of_its_environment() {
        let proxy = |name: &str| (name == "HTTPS_PROXY").then(|| "http://proxy.example:1".into());
        let system = system_network_in(ProxyEnvironment::of(proxy));
        let activated = Activated { system: Arc::clone(&system), sockets: Vec::new() };
        assert!(!activated.proxy_environment().is_empty());
        assert!(Arc::ptr_eq(&activated.proxy_environment(), &system.proxy_environment()));
    }
}
