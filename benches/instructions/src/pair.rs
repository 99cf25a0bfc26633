//! Two services in one process, over a cable in memory: the cost of a message without a network.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use paddington::{
    Error, HandlerError, Message, Network, RequestError, Service, ServiceConfig, send,
};
use paddington_transport::{NetworkListener, Stream};
use tokio::io::duplex;
use tokio::sync::mpsc;

use crate::{COUNT, END, IN_FLIGHT, PING, done, message};

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
    /// Number of round trips that are under way at the same time.
    under_way: Arc<AtomicU64>,
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
        let (left, under_way) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(1)));
        let counters = (Arc::clone(&left), Arc::clone(&under_way));
        let client = Service::start_on(Arc::new(cable), &client, move |message: Message| {
            let (told, (counter, under_way)) = (told.clone(), counters.clone());
            async move {
                let more = counter.load(Ordering::Relaxed).saturating_sub(1);
                counter.store(more, Ordering::Relaxed);
                if more == 0 {
                    let _ = told.try_send(());
                } else if more >= under_way.load(Ordering::Relaxed) {
                    send(Message::new(message.sender(), message.payload())).await?;
                }
                Ok::<(), Error>(())
            }
        });
        let client = client.await?;
        heard.recv().await.context("never connected")?;
        Ok(Self { _server: server, client, left, under_way, heard, size })
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

    /// Makes `count` round trips, [`IN_FLIGHT`] of them at a time.
    ///
    /// # Errors
    ///
    /// If they do not end.
    pub async fn round_trips_together(&mut self, count: u64) -> Result<()> {
        let under_way = IN_FLIGHT as u64;
        self.under_way.store(under_way, Ordering::Relaxed);
        self.left.store(count.max(under_way), Ordering::Relaxed);
        for _ in 0..under_way {
            self.client.send(Message::new("server", message(PING, self.size))).await?;
        }
        self.heard.recv().await.context("no end")
    }

    /// Makes `count` requests, [`IN_FLIGHT`] of them at a time.
    ///
    /// # Errors
    ///
    /// If they are not answered.
    pub async fn requests_together(&mut self, count: u64) -> Result<()> {
        let payload: Arc<str> = message(PING, self.size).into();
        let tasks: Vec<_> = (0..IN_FLIGHT as u64)
            .map(|task| {
                let (client, payload) = (self.client.clone(), Arc::clone(&payload));
                tokio::spawn(async move {
                    for _ in (task..count).step_by(IN_FLIGHT) {
                        let question = Message::new("server", &*payload);
                        client.request(question, Duration::from_secs(60)).await?;
                    }
                    Ok::<(), RequestError>(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(())
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
        let end = Message::new("server", message(END, self.size));
        self.client.exchange().send_when_ready(end).await?;
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
