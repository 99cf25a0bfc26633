//! Two services in one process, over a cable in memory: the cost of a message without a network.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use paddington::{Error, HandlerError, Message, Network, Service, ServiceConfig, send};
use paddington_transport::{NetworkListener, Stream};
use tokio::io::duplex;
use tokio::sync::mpsc;

use crate::{COUNT, END, PING, done, message};

/// Capacity of a cable in bytes.
const CABLE: usize = 64 * 1024;

/// A network in memory with one listener.
#[derive(Clone, Debug)]
struct Cable {
    dialled: mpsc::Sender<Stream>,
    accepted: Arc<Mutex<Option<mpsc::Receiver<Stream>>>>,
}

#[derive(Debug)]
struct End(mpsc::Receiver<Stream>);

impl Cable {
    fn new() -> Self {
        let (dialled, accepted) = mpsc::channel(1);
        Self { dialled, accepted: Arc::new(Mutex::new(Some(accepted))) }
    }
}

fn somewhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 1).into()
}

impl Network for Cable {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Ok(vec![somewhere()]) })
    }

    fn connect(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async {
            let (near, far) = duplex(CABLE);
            let sent = self.dialled.send(Stream::new(far)).await;
            sent.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Stream::new(near))
        })
    }

    fn bind(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async {
            let acceptor: Box<dyn NetworkListener> =
                Box::new(End(accepted.ok_or(io::ErrorKind::AddrInUse)?));
            Ok(acceptor)
        })
    }
}

impl NetworkListener for End {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(somewhere())
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async {
            let stream = self.0.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
            Ok((stream, somewhere()))
        })
    }
}

/// Two connected services.
#[derive(Debug)]
pub struct Pair {
    _server: Service,
    client: Service,
    left: Arc<AtomicU64>,
    heard: mpsc::Receiver<()>,
    size: usize,
}

impl Pair {
    /// Starts both, for messages of `size` bytes.
    ///
    /// # Errors
    ///
    /// If they cannot connect.
    pub async fn start(size: usize) -> Result<Self> {
        let cable = Cable::new();
        let mut server = ServiceConfig::new("server", "ws://127.0.0.1:1", "127.0.0.1", &1)?;
        let mut client = ServiceConfig::new("client", "ws://127.0.0.1:2", "127.0.0.1", &2)?;
        client.add_server(server.add_client("client", "127.0.0.1")?)?;
        let server = Service::start_on(Arc::new(cable.clone()), &server, answer).await?;
        let (told, mut heard) = mpsc::channel(1);
        let left = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&left);
        let client = Service::start_on(Arc::new(cable), &client, move |message: Message| {
            let (told, counter) = (told.clone(), Arc::clone(&counter));
            async move {
                let more = counter.load(Ordering::Relaxed).saturating_sub(1);
                counter.store(more, Ordering::Relaxed);
                if more == 0 {
                    let _ = told.try_send(());
                } else {
                    send(Message::new(message.sender(), message.payload())).await?;
                }
                Ok::<(), Error>(())
            }
        });
        let client = client.await?;
        heard.recv().await.context("never connected")?;
        Ok(Self { _server: server, client, left, heard, size })
    }

    /// Makes `count` round trips, one after the other.
    ///
    /// # Errors
    ///
    /// If they do not end.
    pub async fn round_trips(&mut self, count: u64) -> Result<()> {
        self.left.store(count, Ordering::Relaxed);
        self.client.send(Message::new("server", message(PING, self.size))).await?;
        self.heard.recv().await.context("no end")
    }

    /// Makes `count` requests, one after the other.
    ///
    /// # Errors
    ///
    /// If they are not answered.
    pub async fn requests(&mut self, count: u64) -> Result<()> {
        let payload = message(PING, self.size);
        for _ in 0..count {
            let question = Message::new("server", payload.as_str());
            self.client.request(question, Duration::from_secs(60)).await?;
        }
        Ok(())
    }

    /// Sends `count` messages one way, and one back.
    ///
    /// # Errors
    ///
    /// If they do not arrive.
    pub async fn messages(&mut self, count: u64) -> Result<()> {
        let payload = message(COUNT, self.size);
        for _ in 0..count {
            let message = Message::new("server", payload.as_str());
            self.client.exchange().send_when_ready(message).await?;
        }
        self.left.store(1, Ordering::Relaxed);
        self.client.send(Message::new("server", message(END, self.size))).await?;
        self.heard.recv().await.context("no answer")
    }
}

/// The server's handler.
async fn answer(message: Message) -> Result<(), HandlerError> {
    match message.payload().as_bytes().first() {
        Some(&PING) if message.is_request() => message.reply(message.payload())?,
        Some(&PING) => drop(send(Message::new(message.sender(), message.payload())).await?),
        Some(&END) => drop(send(Message::new(message.sender(), done(0))).await?),
        _ => {}
    }
    Ok(())
}
