//! A relay that can do to frames what a network can do: hold, drop, repeat and change them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use paddington_transport::{Network, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};

use crate::{MemoryNetwork, RawFrame};

/// The direction of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Decides what becomes of frames. `index` counts the frames of a connection and way.
pub trait Meddler: Send + Sync + 'static {
    /// Returns the frames that go on instead. An error cuts the connection.
    ///
    /// # Errors
    ///
    /// To cut the connection.
    fn meddle(&self, way: Way, index: usize, frame: RawFrame) -> io::Result<Vec<RawFrame>>;
}

impl<F> Meddler for F
where
    F: Fn(Way, usize, RawFrame) -> io::Result<Vec<RawFrame>> + Send + Sync + 'static,
{
    fn meddle(&self, way: Way, index: usize, frame: RawFrame) -> io::Result<Vec<RawFrame>> {
        self(way, index, frame)
    }
}

/// Listens at `listen` and passes everything on to `server`, frame by frame.
pub async fn tap(network: &MemoryNetwork, listen: &str, server: &str, meddler: impl Meddler) {
    let server: SocketAddr = server.parse().unwrap();
    let mut acceptor = network.bind(listen.parse().unwrap()).await.unwrap();
    let (network, meddler) = (network.clone(), Arc::new(meddler));
    tokio::spawn(async move {
        while let Ok((client, _)) = acceptor.accept().await {
            let (network, meddler) = (network.clone(), Arc::clone(&meddler));
            tokio::spawn(async move {
                // However it ends, both sides see the end of their connection.
                let _ = carry(client, &network, server, &*meddler).await;
            });
        }
    });
}

async fn carry(
    mut client: Stream,
    network: &MemoryNetwork,
    server: SocketAddr,
    meddler: &impl Meddler,
) -> io::Result<()> {
    let mut server = network.dial(server).await?;
    pass_head(&mut client, &mut server).await?;
    pass_head(&mut server, &mut client).await?;
    let (mut client_reads, mut client_writes) = split(client);
    let (mut server_reads, mut server_writes) = split(server);
    tokio::select! {
        ended = pass_frames(&mut client_reads, &mut server_writes, Way::Up, meddler) => ended,
        ended = pass_frames(&mut server_reads, &mut client_writes, Way::Down, meddler) => ended,
    }
}

async fn pass_head(from: &mut Stream, to: &mut Stream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
    }
    to.write_all(&head).await?;
    to.flush().await
}

async fn pass_frames(
    from: &mut ReadHalf<Stream>,
    to: &mut WriteHalf<Stream>,
    way: Way,
    meddler: &impl Meddler,
) -> io::Result<()> {
    for index in 0.. {
        let frame = RawFrame::read(from).await?;
        for frame in meddler.meddle(way, index, frame)? {
            to.write_all(&frame.encode(way == Way::Up)).await?;
            to.flush().await?;
        }
    }
    Ok(())
}
