//! Load on real sockets: one pair with durable outboxes and many senders, and a hub with a thousand
//! peers. What it costs, and whether all of it is given back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, ensure};
use paddington::{Handler, Message, PeerStatus, Service, ServiceConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::gauge::{Gauge, p50_and_p99};
use crate::in_real_time;

const PAIR_MESSAGES: usize = 30_000;
const SHORT_PAIR_MESSAGES: usize = 3_000;
/// Who sends at the same time, so that they share the syncs of the disk.
const SENDERS: usize = 64;
/// Messages a second of the durable pair.
const RATE: f64 = 5_000.0;
const PEERS: usize = 1_000;
const SHORT_PEERS: usize = 100;
/// What is sent to the hub by each peer.
const EACH: usize = 1_000;
const SHORT_EACH: usize = 100;
/// The length of a message.
const LEN: usize = 256;
/// What an outbox may hold, with what it costs to keep it: twice Σ(24 + length).
const MESSAGE_COST: usize = 2 * (24 + LEN);
/// What a peer costs beside its messages: buffers, a session, a socket; on both sides, which are
/// both in this process.
const PEER_COST: usize = 2 * 256 * 1024;
/// Nothing in here takes longer.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn run(short: bool) -> Result<(), Error> {
    in_real_time(pair(short))?;
    in_real_time(async {
        let base = Gauge::read()?;
        println!("load: before: {base}");
        // The second time shows what the first one has not given back.
        let mut after = [base; 2];
        for after in &mut after {
            hub(short).await?;
            *after = back(base).await?;
            println!("load: given back: {after} (bar: {} files, {} tasks)", base.files, base.tasks);
        }
        let growth = after[1].memory.saturating_sub(after[0].memory);
        println!("load: memory grew by {growth} KiB with the second time (bar: a tenth)");
        ensure!(growth <= after[0].memory / 10 + 2_048, "memory is not given back");
        Ok(())
    })
}

/// Waits until files and tasks are as before.
async fn back(base: Gauge) -> Result<Gauge, Error> {
    let begun = Instant::now();
    loop {
        let now = Gauge::read()?;
        if now.files <= base.files && now.tasks <= base.tasks {
            return Ok(now);
        }
        ensure!(begun.elapsed() < Duration::from_secs(10), "not given back: {now}, was {base}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// What has arrived, and how long it took.
#[derive(Clone, Debug)]
struct Arrivals {
    begun: Instant,
    count: Arc<AtomicUsize>,
    times: Arc<Mutex<Vec<Duration>>>,
}

impl Arrivals {
    fn new() -> Self {
        Self { begun: Instant::now(), count: Arc::default(), times: Arc::default() }
    }

    /// A message that says when it was sent.
    fn message(&self, to: &str) -> Message {
        let sent = self.begun.elapsed().as_nanos().to_string();
        Message::new(to, format!("{sent:<LEN$}"))
    }

    fn handler(&self) -> impl Handler + use<> {
        let arrivals = self.clone();
        move |message: Message| std::future::ready(arrivals.note(&message))
    }

    fn note(&self, message: &Message) -> Result<(), Error> {
        if !message.is_control() {
            let sent = Duration::from_nanos(message.payload().trim_end().parse()?);
            let time = self.begun.elapsed().saturating_sub(sent);
            self.times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn all(&self, messages: usize) -> Result<(), Error> {
        while self.count.load(Ordering::Relaxed) < messages {
            let count = self.count.load(Ordering::Relaxed);
            ensure!(self.begun.elapsed() < PATIENCE, "{count} of {messages} messages came");
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    fn report(&self, what: &str, bar: &str, took: Duration) -> Result<f64, Error> {
        let count = self.count.load(Ordering::Relaxed);
        let rate = count as f64 / took.as_secs_f64();
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let [p50, p99] = p50_and_p99(&mut times);
        println!(
            "load: {what}: {count} messages of {LEN} B in {:.1} s, {rate:.0} a second{bar}, from \
             send to handler {p50:.1?} p50, {p99:.1?} p99",
            took.as_secs_f64()
        );
        Ok(rate)
    }
}

async fn nothing(_: Message) -> Result<(), Error> {
    Ok(())
}

async fn pair(short: bool) -> Result<(), Error> {
    let messages = if short { SHORT_PAIR_MESSAGES } else { PAIR_MESSAGES };
    let folder = tempfile::tempdir()?;
    let mut server = hub_config()?;
    server.set_outbox(folder.path().join("server.sqlite"));
    let invite = server.add_client("client", "127.0.0.1")?;
    let arrivals = Arrivals::new();
    let server = Service::start(&server, arrivals.handler()).await?;
    let mut client = client_config("client", &server, &invite)?;
    client.set_outbox(folder.path().join("client.sqlite"));
    let client = Service::start(&client, nothing).await?;
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (client, arrivals) = (client.clone(), arrivals.clone());
        let share = messages / SENDERS + usize::from(sender < messages % SENDERS);
        senders.spawn(async move {
            for _ in 0..share {
                client.exchange().send_when_ready(arrivals.message("hub")).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    arrivals.all(messages).await?;
    let what = format!("a durable pair, {SENDERS} senders");
    let rate = arrivals.report(&what, " (bar: 5000)", begun.elapsed())?;
    for (service, side) in [(&client, "sender"), (&server, "receiver")] {
        if let Some(health) = service.exchange().store().map(|store| store.health()) {
            println!(
                "load: the {side}'s disk: {} commits, {:.1?} p50, {:.1?} p99",
                health.commits, health.commit_p50, health.commit_p99
            );
        }
    }
    settle(&[client, server]).await?;
    ensure!(short || rate >= RATE, "{rate:.0} messages a second are too few");
    Ok(())
}

async fn hub(short: bool) -> Result<(), Error> {
    let (peers, each) = if short { (SHORT_PEERS, SHORT_EACH) } else { (PEERS, EACH) };
    allow_files(2 * peers as u64 + 256)?;
    let before = Gauge::read()?;
    let mut config = hub_config()?;
    let names: Vec<_> = (0..peers).map(|peer| format!("peer-{peer}")).collect();
    let invites = names.iter().map(|name| config.add_client(name, "127.0.0.1"));
    let invites: Vec<_> = invites.collect::<Result<_, _>>()?;
    let arrivals = Arrivals::new();
    let hub = Service::start(&config, arrivals.handler()).await?;
    let mut services = vec![hub.clone()];
    for (name, invite) in names.iter().zip(&invites) {
        let config = client_config(name, &hub, invite)?;
        services.push(Service::start(&config, nothing).await?);
    }
    let connecting = Instant::now();
    while !hub.peers().iter().all(PeerStatus::is_connected) {
        ensure!(connecting.elapsed() < PATIENCE, "not all peers connect");
        sleep(Duration::from_millis(20)).await;
    }
    let idle = Gauge::read()?;
    println!("load: {peers} peers connected in {:.1?}: {idle}", connecting.elapsed());

    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for client in &services[1..] {
        let (client, arrivals) = (client.clone(), arrivals.clone());
        senders.spawn(async move {
            for _ in 0..each {
                client.send(arrivals.message("hub")).await?;
            }
            Ok::<_, Error>(())
        });
    }
    let mut peak = idle;
    while let Some(sent) = senders.join_next().await {
        sent??;
        peak.memory = peak.memory.max(Gauge::read()?.memory);
    }
    arrivals.all(peers * each).await?;
    let what = format!("{peers} peers × {each}");
    arrivals.report(&what, "", begun.elapsed())?;
    peak.memory = peak.memory.max(Gauge::read()?.memory);
    let bound = before.memory + ((peers * (PEER_COST + each * MESSAGE_COST)) / 1024) as u64;
    println!("load: at most {peak} (bar: {} MiB)", bound / 1024);
    ensure!(peak.memory <= bound, "it takes too much memory");
    settle(&services).await
}

/// Two sockets for each peer may be more than a process has by default.
fn allow_files(files: u64) -> Result<(), Error> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        let more = Rlimit { current: Some(files), ..limit };
        setrlimit(Resource::Nofile, more).context("this takes more open files")?;
    }
    Ok(())
}

fn hub_config() -> Result<ServiceConfig, Error> {
    let mut config = ServiceConfig::new("hub", "ws://127.0.0.1:1", "127.0.0.1", &0)?;
    let limits = &mut config.settings_mut().transport.limits;
    limits.attempts = u32::MAX;
    limits.pending = PEERS;
    limits.pending_per_address = PEERS;
    Ok(config)
}

/// A client of a server that was told its port by the operating system.
fn client_config(
    name: &str,
    server: &Service,
    invite: &paddington::Invite,
) -> Result<ServiceConfig, Error> {
    let mut config = ServiceConfig::new(name, "ws://localhost:1", "127.0.0.1", &0)?;
    let address = server.address().context("a server listens")?;
    config.add_server(invite.clone().at(&format!("ws://{address}"))?)?;
    Ok(config)
}

/// Everything that was accepted is accounted for, and everybody leaves in order.
async fn settle(services: &[Service]) -> Result<(), Error> {
    let begun = Instant::now();
    let peers = || services.iter().flat_map(Service::peers);
    while peers().any(|peer| peer.outbox_messages > 0) {
        ensure!(begun.elapsed() < PATIENCE, "messages are not acknowledged");
        sleep(Duration::from_millis(20)).await;
    }
    ensure!(peers().all(|peer| peer.is_conserved()), "a message is not accounted for");
    let mut leaving = JoinSet::new();
    for service in services.iter().rev() {
        let service = service.clone();
        leaving.spawn(async move { service.shutdown().await.is_clean() });
    }
    while let Some(clean) = leaving.join_next().await {
        ensure!(clean?, "a service did not end in order");
    }
    Ok(())
}
