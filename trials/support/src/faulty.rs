//! A TCP proxy on real sockets that does what networks and middleboxes do to connections: cut,
//! stall, dribble, half-close, and flip bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::Way;

/// A proxy between a client and its server. It runs as long as its runtime.
#[derive(Clone, Debug)]
pub struct FaultyProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    orders: watch::Sender<Orders>,
    /// Bits that are to be flipped, and that were.
    to_flip: AtomicUsize,
    flipped: AtomicUsize,
    /// Connections that were passed on to the server, and that were cut.
    connections: AtomicUsize,
    cut: AtomicUsize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    server: Option<SocketAddr>,
    passing: Passing,
    cuts: u64,
    /// Number of half-closes, by way.
    half_closes: [u64; 2],
}

/// How bytes pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passing {
    /// As they come.
    #[default]
    Freely,
    /// One by one, a millisecond apart.
    Dribbling,
    /// Not at all: both sides see a connection that is open and silent.
    Stalled,
}

impl FaultyProxy {
    /// Starts a proxy at a free port of 127.0.0.1. Until it knows its server it closes every
    /// connection at once.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            orders: watch::Sender::new(Orders::default()),
            to_flip: AtomicUsize::new(0),
            flipped: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // However it ends, both sides see the end of their connection.
                tokio::spawn(carry(client, Arc::clone(&accepting)));
            }
        });
        Self { address, shared }
    }

    /// The address where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the server of the connections to come.
    pub fn forward_to(&self, server: SocketAddr) {
        self.shared.orders.send_modify(|orders| orders.server = Some(server));
    }

    /// Sets how bytes pass from now on.
    pub fn pass(&self, passing: Passing) {
        self.shared.orders.send_modify(|orders| orders.passing = passing);
    }

    /// Resets all connections, at both ends.
    pub fn cut(&self) {
        self.shared.orders.send_modify(|orders| orders.cuts += 1);
    }

    /// Ends one way of all connections; the other one goes on.
    pub fn half_close(&self, way: Way) {
        self.shared.orders.send_modify(|orders| orders.half_closes[way as usize] += 1);
    }

    /// Flips a bit in the next bytes that pass, whichever way they go.
    pub fn flip(&self) {
        self.shared.to_flip.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of bits that were flipped.
    #[must_use]
    pub fn flipped(&self) -> usize {
        self.shared.flipped.load(Ordering::Relaxed)
    }

    /// Number of connections that were passed on to the server.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Number of connections that were cut.
    #[must_use]
    pub fn connections_cut(&self) -> usize {
        self.shared.cut.load(Ordering::Relaxed)
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut orders = shared.orders.subscribe();
    let before = *orders.borrow_and_update();
    let server = TcpStream::connect(before.server.ok_or(io::ErrorKind::NotConnected)?).await?;
    shared.connections.fetch_add(1, Ordering::Relaxed);
    for end in [&client, &server] {
        end.set_nodelay(true)?;
        // Unless it ends in order, its end is a reset.
        end.set_zero_linger()?;
    }
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let pumps = async {
        tokio::try_join!(
            pump(client_reads, server_writes, &shared, Way::Up),
            pump(server_reads, client_writes, &shared, Way::Down),
        )
    };
    tokio::select! {
        biased; // nothing passes after a cut, whatever was ordered since
        _ = orders.wait_for(|orders| orders.cuts != before.cuts) => {
            shared.cut.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        ended = pumps => ended.map(drop),
    }
}

/// Number of bytes that are passed on at once.
const CHUNK: usize = 16 * 1024;

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    way: Way,
) -> io::Result<()> {
    let mut orders = shared.orders.subscribe();
    let closes = orders.borrow_and_update().half_closes[way as usize];
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            _ = orders.wait_for(|orders| orders.half_closes[way as usize] != closes) => 0,
        };
        if read == 0 {
            to.shutdown().await?;
            return swallow(from, &mut buffer).await;
        }
        let bytes = &mut buffer[..read];
        shared.meddle(bytes);
        shared.pass(bytes, &mut to).await?;
    }
}

/// Reads on, so that the sender does not notice that nothing gets through.
async fn swallow(mut from: OwnedReadHalf, buffer: &mut [u8]) -> io::Result<()> {
    while from.read(buffer).await? > 0 {}
    Ok(())
}

impl Shared {
    fn meddle(&self, bytes: &mut [u8]) {
        let take = |left: usize| left.checked_sub(1);
        if self.to_flip.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            let turn = self.flipped.fetch_add(1, Ordering::Relaxed);
            bytes[(turn * 31) % bytes.len()] ^= 1 << (turn % 8);
        }
    }

    async fn pass(&self, mut bytes: &[u8], to: &mut OwnedWriteHalf) -> io::Result<()> {
        let mut orders = self.orders.subscribe();
        while !bytes.is_empty() {
            let passes = |orders: &Orders| orders.passing != Passing::Stalled;
            let orders = orders.wait_for(passes).await.map_err(io::Error::other)?.passing;
            if orders == Passing::Freely {
                return to.write_all(bytes).await;
            }
            let (byte, rest) = bytes.split_at(1);
            to.write_all(byte).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
            bytes = rest;
        }
        Ok(())
    }
}
