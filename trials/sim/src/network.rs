//! The simulated network for services: turmoil's TCP, jitter by the seed, connections that can be
//! reset.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use paddington_test_support::Random;
use paddington_transport::{Network, NetworkListener, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// The network of one host, for all instances of its service.
pub(crate) struct SimNetwork {
    random: Mutex<Random>,
    cables: Arc<Mutex<Vec<Arc<Cable>>>>,
}

impl SimNetwork {
    pub(crate) fn new(random: Random) -> Arc<Self> {
        Arc::new(Self { random: Mutex::new(random), cables: Arc::default() })
    }

    /// Resets this host's connections to `peer`.
    pub(crate) fn reset(&self, peer: IpAddr) {
        let mut cables = lock(&self.cables);
        cables.retain(|cable| Arc::strong_count(cable) > 1);
        cables.iter().filter(|cable| cable.peer == peer).for_each(|cable| cable.reset());
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

    fn slept(&self) -> Duration {
        Duration::ZERO
    }
}

struct SimAcceptor {
    listener: TcpListener,
    cables: Arc<Mutex<Vec<Arc<Cable>>>>,
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

/// One end of a connection.
struct Cable {
    peer: IpAddr,
    state: Mutex<CableState>,
}

#[derive(Default)]
struct CableState {
    is_reset: bool,
    wakers: Vec<Waker>,
}

impl Cable {
    fn reset(&self) {
        let wakers = {
            let mut state = lock(&self.state);
            state.is_reset = true;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.is_reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Ok(())
    }
}

fn plugged(cables: &Mutex<Vec<Arc<Cable>>>, io: TcpStream, peer: IpAddr) -> Stream {
    let cable = Arc::new(Cable { peer, state: Mutex::default() });
    lock(cables).push(Arc::clone(&cable));
    Stream::new(CableEnd { io, cable })
}

struct CableEnd {
    io: TcpStream,
    cable: Arc<Cable>,
}

impl AsyncRead for CableEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cable.check(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for CableEnd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cable.check(cx)?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cable.check(cx)?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cable.check(cx)?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
