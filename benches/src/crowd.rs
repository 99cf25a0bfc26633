//! Many connections from one process: paddington services, each from an address of its own, or
//! bare WebSockets.

use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use paddington::{Control, Error, Message, Service};
use paddington_instructions::PING;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until};

use crate::carrier::connect;
use crate::ours::{Ranges, SERVER, client};
use crate::stamp::{stamp, stamped};
use crate::{
    Carrier, Contender, CpuClock, Drive, Latencies, Pipe, Sample, Twice, WebSocket, read_commands,
    tell,
};

/// A command to a crowd.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Keeps a number of messages in flight, over all connections together.
    Busy(Load),
    /// Sends a number of messages per second, over all connections together.
    Paced(Load),
    /// Waits until this many connections were established since the crowd was started, and reports
    /// how long that took.
    Connected(usize),
}

/// The messages that a crowd sends.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    /// Number of messages: in flight, or per second.
    pub messages: usize,
    /// Length of a message in bytes.
    pub size: usize,
    /// Duration in seconds.
    pub seconds: f64,
}

/// State that all connections of a crowd share.
#[derive(Debug)]
struct Shared {
    /// The start of the crowd's clock, which messages are stamped with.
    epoch: Instant,
    latencies: Mutex<Latencies>,
    /// Time on the crowd's clock until which each answer is followed by a new message.
    busy_until: AtomicU64,
    size: AtomicUsize,
    connected: watch::Sender<usize>,
}

impl Shared {
    fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            epoch: Instant::now(),
            latencies: Mutex::new(Latencies::new()?),
            busy_until: AtomicU64::new(0),
            size: AtomicUsize::new(0),
            connected: watch::Sender::new(0),
        }))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Makes a message that is stamped with the time.
    fn message(&self) -> String {
        stamped(PING, self.size.load(Ordering::Relaxed), self.now())
    }

    /// Records an answer. Returns the next message, if one is to be sent.
    fn answered(&self, answer: &[u8]) -> Option<String> {
        let (sent, now) = (stamp(answer)?, self.now());
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.record(Duration::from_nanos(now.saturating_sub(sent)));
        drop(latencies);
        (now < self.busy_until.load(Ordering::Relaxed)).then(|| self.message())
    }

    fn take_latencies(&self) -> Result<Latencies> {
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut *latencies, Latencies::new()?))
    }
}

/// One connection of a crowd.
trait Member: Clone + Send + Sync + 'static {
    /// Sends a message.
    fn post(&self, message: String) -> impl Future<Output = Result<()>> + Send;
}

impl Member for Service {
    async fn post(&self, message: String) -> Result<()> {
        self.exchange().send_when_ready(Message::new(SERVER, message)).await?;
        Ok(())
    }
}

impl Member for mpsc::Sender<String> {
    async fn post(&self, message: String) -> Result<()> {
        Ok(self.send(message).await?)
    }
}

/// Opens `count` connections, reports when they are established, and follows commands.
///
/// # Errors
///
/// If a connection fails.
pub async fn run_crowd(drive: Drive, count: usize, ranges: Ranges) -> Result<()> {
    let shared = Shared::new()?;
    match drive.contender {
        Contender::Twice => {
            let members = (0..count).map(|_| pipe(Twice, &drive, &shared));
            obey(&try_join_all(members).await?, &shared, &drive.others).await
        }
        Contender::WebSocket => {
            let members = (0..count).map(|_| pipe(WebSocket, &drive, &shared));
            obey(&try_join_all(members).await?, &shared, &drive.others).await
        }
        _ => {
            let members = (0..count).map(|number| service(number, ranges, &drive, &shared));
            obey(&try_join_all(members).await?, &shared, &drive.others).await
        }
    }
}

async fn service(
    number: usize,
    ranges: Ranges,
    drive: &Drive,
    shared: &Arc<Shared>,
) -> Result<Service> {
    let config = client(&drive.folder, number, drive.address)?;
    let network = Arc::new(ranges.source(number));
    let shared = Arc::clone(shared);
    let service = Service::start_on(network, &config, move |message: Message| {
        let shared = Arc::clone(&shared);
        async move {
            match message.control() {
                Some(Control::Connected { .. }) => {
                    shared.connected.send_modify(|count| *count += 1);
                }
                Some(_) => {}
                None => {
                    if let Some(next) = shared.answered(message.payload().as_bytes()) {
                        paddington::send(Message::new(SERVER, next)).await?;
                    }
                }
            }
            Ok::<(), Error>(())
        }
    });
    Ok(service.await?)
}

/// Opens a bare connection, whose task sends messages from the channel and receives answers.
async fn pipe<C: Carrier>(
    carrier: C,
    drive: &Drive,
    shared: &Arc<Shared>,
) -> Result<mpsc::Sender<String>> {
    let mut pipe = connect(&carrier, drive.address).await?;
    let (sender, mut posted) = mpsc::channel::<String>(1024);
    let shared = Arc::clone(shared);
    shared.connected.send_modify(|count| *count += 1);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = posted.recv() => next,
                answer = pipe.receive() => {
                    let Some(answer) = answer? else { return Ok::<(), anyhow::Error>(()) };
                    shared.answered(&answer)
                }
            };
            let Some(next) = next else { continue };
            pipe.feed(next.into()).await?;
            while let Ok(next) = posted.try_recv() {
                pipe.feed(next.into()).await?;
            }
            pipe.flush().await?;
        }
    });
    Ok(sender)
}

async fn obey<M: Member>(members: &[M], shared: &Arc<Shared>, others: &[u32]) -> Result<()> {
    shared.connected.subscribe().wait_for(|connected| *connected >= members.len()).await?;
    tell(&members.len())?;
    let mut commands = read_commands();
    while let Some(line) = commands.recv().await {
        match serde_json::from_str(&line)? {
            Command::Busy(load) => tell(&busy(members, shared, load, others).await?)?,
            Command::Paced(load) => tell(&paced(members, shared, load, others).await?)?,
            Command::Connected(count) => {
                let asked = Instant::now();
                shared.connected.subscribe().wait_for(|connected| *connected >= count).await?;
                tell(&asked.elapsed().as_secs_f64())?;
            }
        }
    }
    Ok(())
}

/// Time in which late answers may still arrive.
const LINGER: Duration = Duration::from_millis(300);

async fn busy<M: Member>(
    members: &[M],
    shared: &Arc<Shared>,
    load: Load,
    others: &[u32],
) -> Result<Sample> {
    let lasting = Duration::from_secs_f64(load.seconds);
    shared.size.store(load.size, Ordering::Relaxed);
    let until = shared.now() + u64::try_from((2 * LINGER + lasting).as_nanos())?;
    shared.busy_until.store(until, Ordering::Relaxed);
    for member in members {
        for _ in 0..load.messages.div_ceil(members.len()) {
            member.post(shared.message()).await?;
        }
    }
    sleep(LINGER).await;
    shared.take_latencies()?;
    let (clock, started) = (CpuClock::start(others)?, Instant::now());
    sleep(lasting).await;
    let sample = clock.complete(shared.take_latencies()?.sample(started.elapsed()))?;
    sleep(2 * LINGER).await;
    shared.take_latencies()?;
    Ok(sample)
}

/// Keeps the rate over all connections. Each sends the messages that are due, at most once per
/// millisecond.
async fn paced<M: Member>(
    members: &[M],
    shared: &Arc<Shared>,
    load: Load,
    others: &[u32],
) -> Result<Sample> {
    let lasting = Duration::from_secs_f64(load.seconds);
    shared.size.store(load.size, Ordering::Relaxed);
    shared.busy_until.store(0, Ordering::Relaxed);
    let (clock, started) = (CpuClock::start(others)?, tokio::time::Instant::now());
    let gap = Duration::from_secs_f64(members.len() as f64 / load.messages as f64);
    let tasks = members.iter().enumerate().map(|(number, member)| {
        let (member, shared) = (member.clone(), Arc::clone(shared));
        let mut due = started + gap.mul_f64(number as f64 / members.len() as f64);
        tokio::spawn(async move {
            while due < started + lasting {
                sleep_until(due).await;
                while due <= tokio::time::Instant::now() {
                    member.post(shared.message()).await?;
                    due += gap;
                }
            }
            Ok::<(), anyhow::Error>(())
        })
    });
    for ended in try_join_all(tasks).await? {
        ended?;
    }
    sleep(LINGER).await;
    let latencies = shared.take_latencies()?;
    clock.complete(latencies.sample(started.elapsed().saturating_sub(LINGER))).context("a process")
}
