//! Load on real sockets: one pair with durable outboxes and many senders, and a hub with a thousand
//! peers. Measures the cost, and whether all of it is given back.

use std::time::{Duration, Instant};

use anyhow::{Context, Error, ensure};
use paddington::store::LinkStore;
use paddington::{PeerStatus, Service, ServiceConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::gauge::{Gauge, p50_and_p99};
use crate::in_real_time;
use crate::services::{Arrivals, client_of, nothing, settle};

const PAIR_MESSAGES: usize = 30_000;
const SHORT_PAIR_MESSAGES: usize = 3_000;
/// Number of senders at the same time, which share the syncs of the disk.
const SENDERS: usize = 64;
/// Messages a second of the durable pair.
const RATE: f64 = 5_000.0;
const PEERS: usize = 1_000;
const SHORT_PEERS: usize = 100;
/// Number of messages from each peer to the hub.
const EACH: usize = 1_000;
const SHORT_EACH: usize = 100;
/// The length of a message.
const LEN: usize = 256;
/// Bytes that a message may cost in an outbox: twice 24 + length.
const MESSAGE_COST: usize = 2 * (24 + LEN);
/// Bytes that a peer may cost beside its messages, for buffers, a session and a socket on both
/// sides, which are both in this process.
const PEER_COST: usize = 2 * 256 * 1024;
/// The longest wait.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn run(short: bool) -> Result<(), Error> {
    in_real_time(pair(short))?;
    in_real_time(async {
        let base = Gauge::read()?;
        println!("load: before: {base}");
        // The second time shows whether the first one has given everything back.
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

/// Waits until all messages have come, and prints how long that took. Returns how many came in a
/// second.
async fn report(
    arrivals: &Arrivals,
    messages: usize,
    what: &str,
    begun: Instant,
) -> Result<f64, Error> {
    while arrivals.count() < messages {
        let count = arrivals.count();
        ensure!(begun.elapsed() < PATIENCE, "{count} of {messages} messages came");
        sleep(Duration::from_millis(2)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rate = messages as f64 / seconds;
    let [p50, p99] = p50_and_p99(&mut arrivals.take());
    println!(
        "load: {what}: {messages} messages of {LEN} B in {seconds:.1} s, {rate:.0} a second, from \
         send to handler {p50:.1?} p50, {p99:.1?} p99"
    );
    Ok(rate)
}

async fn pair(short: bool) -> Result<(), Error> {
    let messages = if short { SHORT_PAIR_MESSAGES } else { PAIR_MESSAGES };
    let folder = tempfile::tempdir()?;
    let mut server = hub_config()?;
    server.set_outbox(folder.path().join("server.sqlite"));
    let invite = server.add_client("client", "127.0.0.1")?;
    let arrivals = Arrivals::new(LEN);
    let server = Service::start(&server, arrivals.handler()).await?;
    let mut client = client_of(&server, "client", invite)?;
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
    let what = format!("a durable pair, {SENDERS} senders (bar: {RATE} a second)");
    let rate = report(&arrivals, messages, &what, begun).await?;
    for (service, side) in [(&client, "sender"), (&server, "receiver")] {
        if let Some(health) = service.exchange().store().map(LinkStore::health) {
            println!(
                "load: the {side}'s disk: {} commits, {:.1?} p50, {:.1?} p99",
                health.commits, health.commit_p50, health.commit_p99
            );
        }
    }
    leave(&[client, server]).await?;
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
    let arrivals = Arrivals::new(LEN);
    let hub = Service::start(&config, arrivals.handler()).await?;
    let mut services = vec![hub.clone()];
    for (name, invite) in names.iter().zip(invites) {
        let config = client_of(&hub, name, invite)?;
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
    report(&arrivals, peers * each, &format!("{peers} peers × {each}"), begun).await?;
    peak.memory = peak.memory.max(Gauge::read()?.memory);
    let bound = before.memory + ((peers * (PEER_COST + each * MESSAGE_COST)) / 1024) as u64;
    println!("load: at most {peak} (bar: {} MiB)", bound / 1024);
    ensure!(peak.memory <= bound, "it takes too much memory");
    leave(&services).await
}

/// Raises the limit of open files: two sockets for each peer may be more than the default.
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

/// Everybody leaves in order, once everything is acknowledged.
async fn leave(services: &[Service]) -> Result<(), Error> {
    settle(&services.iter().collect::<Vec<_>>()).await?;
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
