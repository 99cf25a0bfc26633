//! The scenarios between two paddington services.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::BoxFuture;
use paddington::{
    Encoding, Error, HandlerError, Invite, Message, Network, SendError, Service, ServiceConfig,
    Text, send,
};
use paddington_instructions::{COUNT, END, PING, done, message};
use paddington_transport::{NetworkListener, Stream};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpSocket, lookup_host};
use tokio::sync::mpsc;

use crate::carrier::{WARM_UP, counted};
use crate::{
    Contender, CpuClock, DEADLINE, Drive, IN_FLIGHT, Job, Latencies, Sample, Scenario, Serve,
    measure_calls, tell, until_closed,
};

/// The name of the server; clients are numbered.
pub(crate) const SERVER: &str = "server";

/// The addresses at which a server expects its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ranges {
    /// All of them in the same network: a new connection may be any of them.
    Shared,
    /// Each at an address of its own, that of its [`SourceNetwork`].
    Own,
    /// All of them at one address, as behind a router that translates addresses.
    One,
}

impl Ranges {
    /// Where client number `client` is expected.
    fn of(self, client: usize) -> String {
        match self {
            Self::Shared => "127.0.0.0/8".to_owned(),
            Self::Own | Self::One => self.source(client).0.to_string(),
        }
    }

    /// The network from which client number `client` connects.
    pub(crate) fn source(self, client: usize) -> SourceNetwork {
        SourceNetwork::numbered(if self == Self::One { 0 } else { client })
    }
}

/// Writes the configuration of a server with `clients` clients, and an invitation for each of them.
///
/// # Errors
///
/// If it cannot be written.
pub fn configure(
    folder: &Path,
    encoding: Encoding,
    clients: usize,
    port: u16,
    ranges: Ranges,
) -> Result<()> {
    // with port 0, the real port is known only later, and clients get it then
    let url = format!("ws://127.0.0.1:{}", port.max(1));
    let mut server = ServiceConfig::new(SERVER, &url, "127.0.0.1", &port)?;
    let settings = server.settings_mut();
    settings.peers = settings.peers.max(clients);
    for client in 0..clients {
        let invite = server.add_client_with(&client_name(client), &ranges.of(client), encoding)?;
        invite.save(folder.join(format!("{client}.toml")))?;
    }
    Ok(server.save(folder.join("server.toml"))?)
}

pub(crate) fn client_name(client: usize) -> String {
    format!("client-{client}")
}

/// The configuration of a client.
pub(crate) fn client(folder: &Path, client: usize, address: SocketAddr) -> Result<ServiceConfig> {
    let invite = Invite::load(folder.join(format!("{client}.toml")))?;
    let mut config = ServiceConfig::new(&client_name(client), "ws://localhost:1", "127.0.0.1", &0)?;
    config.add_server(invite.at(&format!("ws://{address}"))?)?;
    Ok(config)
}

/// Runs the server until this process is told to end.
///
/// # Errors
///
/// If it cannot start.
pub async fn serve_service(serve: Serve) -> Result<()> {
    let config = ServiceConfig::load(serve.folder.join("server.toml"))?;
    let count = Arc::new(AtomicU64::new(0));
    let service = Service::start(&config, move |message: Message| {
        let count = Arc::clone(&count);
        async move {
            match message.payload().as_bytes().first() {
                Some(&PING) if message.is_request() => message.reply(message.payload())?,
                Some(&PING) => {
                    send(Message::new(message.sender(), message.payload())).await?;
                }
                Some(&COUNT) => {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Some(&END) => {
                    let count = count.swap(0, Ordering::Relaxed);
                    send(Message::new(message.sender(), done(count))).await?;
                }
                _ => {}
            }
            Ok::<(), HandlerError>(())
        }
    });
    let service = service.await?;
    tell(&service.address().context("the server does not listen")?)?;
    until_closed().await?;
    service.shutdown().await;
    Ok(())
}

/// Connects, does `job` and reports the result.
///
/// # Errors
///
/// If messages are lost.
pub async fn drive_service(drive: Drive, job: Job) -> Result<()> {
    let lasting = Duration::from_secs_f64(job.seconds);
    let config = client(&drive.folder, 0, drive.address)?;
    let sample = match job.scenario {
        Scenario::Ping | Scenario::Many if drive.contender == Contender::Requests => {
            requests(&config, job, &drive.others).await?
        }
        Scenario::Ping => ping(&config, job.size, lasting, &drive.others).await?,
        Scenario::Many => many(&config, job.size, lasting, &drive.others).await?,
        Scenario::Stream => {
            let (told, mut heard) = mpsc::channel(4);
            let service = Service::start(&config, move |message: Message| {
                let told = told.clone();
                async move { told.send(message).await }
            });
            let service = service.await?;
            heard.recv().await.context("never connected")?;
            tokio::spawn(async move {
                stream(&service, &mut heard, job.size, WARM_UP).await?;
                let clock = CpuClock::start(&drive.others)?;
                clock.complete(stream(&service, &mut heard, job.size, lasting).await?)
            })
            .await??
        }
    };
    tell(&sample)
}

/// The state of a handler that makes round trips.
struct Pinging {
    latencies: Latencies,
    sent: Instant,
    started: Instant,
}

async fn ping(
    config: &ServiceConfig,
    size: usize,
    lasting: Duration,
    others: &[u32],
) -> Result<Sample> {
    let now = Instant::now();
    let state = Mutex::new(Pinging { latencies: Latencies::new()?, sent: now, started: now });
    let payload = message(PING, size);
    let (told, mut heard) = mpsc::channel(1);
    let shared = Arc::new((state, payload));
    let service = Service::start(config, move |message: Message| {
        let (told, shared) = (told.clone(), Arc::clone(&shared));
        async move {
            let (state, payload) = &*shared;
            let next = turn(state, &message, lasting);
            match next {
                None => drop(send(Message::new(SERVER, payload.as_str())).await?),
                Some(sample) => told.try_send(sample).unwrap_or_default(),
            }
            Ok::<(), Error>(())
        }
    });
    let service = service.await?;
    tokio::time::sleep(WARM_UP).await;
    let clock = CpuClock::start(others)?;
    let sample = heard.recv().await.context("no end")?;
    let sample = clock.complete(sample);
    service.shutdown().await;
    sample
}

/// Makes round trips with [`IN_FLIGHT`] messages under way.
async fn many(
    config: &ServiceConfig,
    size: usize,
    lasting: Duration,
    others: &[u32],
) -> Result<Sample> {
    let (count, payload) = (Arc::new(AtomicU64::new(0)), Arc::new(message(PING, size)));
    let shared = (Arc::clone(&count), payload);
    let service = Service::start(config, move |message: Message| {
        let (count, payload) = shared.clone();
        async move {
            let fresh = if message.is_control() { IN_FLIGHT } else { 1 };
            count.fetch_add(u64::from(!message.is_control()), Ordering::Relaxed);
            for _ in 0..fresh {
                send(Message::new(SERVER, payload.as_str())).await?;
            }
            Ok::<(), Error>(())
        }
    });
    sampled(&count, lasting, others, service.await?).await
}

/// Makes round trips of requests.
async fn requests(config: &ServiceConfig, job: Job, others: &[u32]) -> Result<Sample> {
    let service = Service::start(config, async |_: Message| Ok::<(), Error>(())).await?;
    let shared = (service.clone(), Arc::new(message(PING, job.size)));
    let call = move || {
        let (service, payload) = shared.clone();
        async move {
            let question = Message::new(SERVER, payload.as_str());
            let reply = service.request(question, DEADLINE).await?;
            Ok(reply.payload().len())
        }
    };
    let sample = measure_calls(call, job, others).await;
    service.shutdown().await;
    sample
}

/// Counts round trips for a while, after a warm-up.
async fn sampled(
    count: &AtomicU64,
    lasting: Duration,
    others: &[u32],
    service: Service,
) -> Result<Sample> {
    tokio::time::sleep(WARM_UP).await;
    let (clock, started, before) =
        (CpuClock::start(others)?, Instant::now(), count.load(Ordering::Relaxed));
    tokio::time::sleep(lasting).await;
    let count = count.load(Ordering::Relaxed) - before;
    let seconds = started.elapsed().as_secs_f64();
    let sample = clock.complete(Sample { count, seconds, cpu: 0.0, latency: None });
    service.exchange().ask_to_shut_down_now();
    service.finished().await;
    if count == 0 { bail!("nothing was answered") } else { sample }
}

/// Records an answer. Returns the sample once the time is over.
fn turn(state: &Mutex<Pinging>, message: &Message, lasting: Duration) -> Option<Sample> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if message.is_control() {
        // the warm-up begins
        state.started = now + WARM_UP;
    } else if now >= state.started {
        if state.latencies.count() == 0 {
            state.started = state.sent;
        }
        let latency = now - state.sent;
        state.latencies.record(latency);
        if now - state.started >= lasting {
            return Some(state.latencies.sample(now - state.started));
        }
    }
    state.sent = now;
    None
}

async fn stream(
    service: &Service,
    heard: &mut mpsc::Receiver<Message>,
    size: usize,
    lasting: Duration,
) -> Result<Sample> {
    let payload = Text::from(message(COUNT, size));
    let started = Instant::now();
    let mut count = 0;
    while count % 64 != 0 || started.elapsed() < lasting {
        post(service, &payload).await?;
        count += 1;
    }
    post(service, &message(END, size).into()).await?;
    let answer = heard.recv().await.context("no answer")?;
    let arrived = counted(answer.payload().as_bytes())?;
    if arrived != count {
        bail!("only {arrived} of {count} messages have arrived");
    }
    Ok(Sample { count, seconds: started.elapsed().as_secs_f64(), ..Sample::default() })
}

/// Sends a message, and waits for room if the outbox is full. The text is not copied, as the comparisons do not
/// copy theirs.
async fn post(service: &Service, payload: &Text) -> Result<()> {
    match service.send(Message::new(SERVER, payload.clone())).await {
        Err(SendError::Full { .. }) => {
            service.exchange().send_when_ready(Message::new(SERVER, payload.clone())).await?;
        }
        sent => drop(sent?),
    }
    Ok(())
}

/// The operating system's network, dialling from an address of its own, so that many clients on
/// loopback look like many hosts. For the same reason their timers are not aligned, which is the
/// default of [`Network::together`].
#[derive(Debug)]
pub struct SourceNetwork(pub Ipv4Addr);

impl SourceNetwork {
    /// Source address number `number`.
    #[must_use]
    pub fn numbered(number: usize) -> Self {
        let [_, _, high, low] = u32::try_from(number + 2).unwrap_or(2).to_be_bytes();
        Self(Ipv4Addr::new(127, 1, high, low))
    }
}

impl Network for SourceNetwork {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(IpAddr::V4(self.0), 0))?;
            let stream = socket.connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::new(stream))
        })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        Box::pin(async move {
            let listener: Box<dyn NetworkListener> =
                Box::new(tokio::net::TcpListener::bind(address).await?);
            Ok(listener)
        })
    }
}
