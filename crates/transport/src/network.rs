//! Where byte streams come from. The product uses the operating system's sockets; a simulation
//! brings a network of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::RngExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

use crate::{Stream, suspend};

/// A network: names, connections, listeners.
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// The addresses of `host`, asked for anew each time.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;

    /// Opens a connection.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>>;

    /// Begins to listen.
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>>;

    /// A number from 0 up to 1, anew each time, by which delays are jittered. A simulation that is
    /// to come out the same again brings numbers of its own.
    fn chance(&self) -> f64 {
        rand::rng().random_range(0.0..1.0)
    }

    /// How long this machine has slept since it was booted. A clock that counts what tokio's does
    /// not tells that connections may be gone although nothing seems to have happened.
    fn slept(&self) -> Duration {
        suspend::slept()
    }

    /// How long to wait instead of `wait` where a little longer does no harm: many timers that end
    /// together wake the process once. By default, exactly `wait`.
    fn together(&self, wait: Duration) -> Duration {
        wait
    }
}

/// A bound listener.
pub trait NetworkListener: Send {
    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// What the operating system reports.
    fn local_address(&self) -> io::Result<SocketAddr>;

    /// The next connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>>;
}

/// The network of the operating system.
#[must_use]
pub fn system() -> Arc<dyn Network> {
    Arc::new(System)
}

#[derive(Debug)]
struct System;

/// So many clients that come at once wait in the operating system until it is their turn.
const BACKLOG: u32 = 4_096;
/// Waits that may be a little longer end with a tenth of a second of the machine's clock.
const TENTH: Duration = Duration::from_millis(100);

impl Network for System {
    fn together(&self, wait: Duration) -> Duration {
        suspend::to_next(TENTH, wait)
    }

    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
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
            // the address of a listener that has just ended is free at once
            #[cfg(unix)]
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener: Box<dyn NetworkListener> = Box::new(socket.listen(BACKLOG)?);
            Ok(listener)
        })
    }
}

impl NetworkListener for TcpListener {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            loop {
                let (stream, address) = Self::accept(self).await?;
                // It may be gone already, which is no fault of the listener's.
                if let Ok(stream) = tuned(stream) {
                    return Ok((Stream::new(stream), address));
                }
            }
        })
    }
}

/// Small frames leave at once. A connection that hangs is noticed by its own silence, not by the
/// kernel, which would also cut off a `hex` peer that only reads slowly.
fn tuned(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}
