//! The source of byte streams: the operating system's sockets, or a simulation's own network.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use rand::RngExt;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::resolver::Resolver;
use crate::{ProxyEnvironment, Stream, suspend};

/// A network: names, connections, listeners.
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// Resolves `host` to its addresses, anew each time.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;

    /// Opens a connection.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>>;

    /// Opens a listener. One on `[::]` accepts IPv4, too.
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>>;

    /// Returns the network beneath, if this one only changes how another one connects or listens: what
    /// follows is that one's then, unless it is changed, too.
    fn beneath(&self) -> Option<&dyn Network> {
        None
    }

    /// Somebody at this address was authenticated on a connection that a listener of this network has accepted. A
    /// network that limits strangers itself spares that address.
    fn established(&self, address: IpAddr) {
        if let Some(beneath) = self.beneath() {
            beneath.established(address);
        }
    }

    /// Returns a random number in `0.0..1.0`, by which delays are jittered. A reproducible
    /// simulation provides its own.
    fn chance(&self) -> f64 {
        self.beneath().map_or_else(|| rand::rng().random_range(0.0..1.0), Network::chance)
    }

    /// Returns how long this machine has been suspended since it was booted. tokio's clock does not
    /// count that time, in which connections may have been lost unnoticed.
    fn slept(&self) -> Duration {
        self.beneath().map_or_else(suspend::slept, Network::slept)
    }

    /// Returns the time of the wall clock, in seconds since 1970: it decides when an invitation
    /// expires and when keys are renewed.
    fn unix_time(&self) -> u64 {
        let system = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| since.as_secs())
        };
        self.beneath().map_or_else(system, Network::unix_time)
    }

    /// Returns the proxies that the environment of this process named at its start. By default, none.
    fn proxy_environment(&self) -> Arc<ProxyEnvironment> {
        self.beneath().map_or_else(Arc::default, Network::proxy_environment)
    }

    /// Rounds up a wait that may as well be a little longer: many timers that end together wake the
    /// process only once. By default, returns `wait`.
    fn together(&self, wait: Duration) -> Duration {
        self.beneath().map_or(wait, |it| it.together(wait))
    }
}

/// A bound listener.
pub trait NetworkListener: Send {
    /// Returns the address that it listens on.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    fn local_address(&self) -> io::Result<SocketAddr>;

    /// Accepts the next connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>>;
}

/// Returns the network of the operating system. The environment of this process may name proxies; it is
/// read now, and not again.
#[must_use]
pub fn system() -> Arc<dyn Network> {
    system_in(ProxyEnvironment::of_process())
}

/// Returns the network of the operating system in an environment that may name proxies.
#[must_use]
pub fn system_in(environment: ProxyEnvironment) -> Arc<dyn Network> {
    Arc::new(System { resolver: Resolver::system(), environment: Arc::new(environment) })
}

#[derive(Debug)]
struct System {
    resolver: Resolver,
    environment: Arc<ProxyEnvironment>,
}

/// Number of connections that wait in the operating system until they are accepted.
const BACKLOG: u32 = 4_096;
/// Waits that may be a little longer end at a multiple of this on the machine's clock.
const TENTH: Duration = Duration::from_millis(100);

impl Network for System {
    fn proxy_environment(&self) -> Arc<ProxyEnvironment> {
        Arc::clone(&self.environment)
    }

    fn together(&self, wait: Duration) -> Duration {
        suspend::to_next(TENTH, wait)
    }

    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(self.resolver.resolve(host, port))
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            Ok(Stream::new(tuned(stream)?))
        })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        Box::pin(async move {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            }?;
            // lets the address of a listener that has just ended be bound at once
            #[cfg(unix)]
            socket.set_reuseaddr(true)?;
            if address == SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port()) {
                serve_both_families(&socket)?;
            }
            socket.bind(address)?;
            let listener: Box<dyn NetworkListener> = Box::new(socket.listen(BACKLOG)?);
            Ok(listener)
        })
    }
}

/// Lets a listener on `[::]` accept IPv4, too, whatever the default of the machine is.
fn serve_both_families(socket: &TcpSocket) -> io::Result<()> {
    SockRef::from(socket).set_only_v6(false)
}

impl NetworkListener for TcpListener {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            loop {
                let (stream, address) = Self::accept(self).await?;
                // A connection that is gone already is not an error of the listener.
                if let Ok(stream) = tuned(stream) {
                    return Ok((Stream::new(stream), address));
                }
            }
        })
    }
}

/// Sets the options of a socket: small frames leave at once. There is no `TCP_USER_TIMEOUT`, which
/// would also cut off a `hex` peer that only reads slowly; silence reveals a connection that hangs.
fn tuned(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_families_are_served_whatever_the_machine_says() {
        let Ok(socket) = TcpSocket::new_v6() else { return }; // there is no IPv6
        let option = SockRef::from(&socket);
        option.set_only_v6(true).unwrap();
        serve_both_families(&socket).unwrap();
        assert!(!option.only_v6().unwrap());
    }
}
