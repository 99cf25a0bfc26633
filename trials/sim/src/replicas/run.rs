//! One run: faults; then calm, until everything that can be delivered is.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, ensure};
use paddington::Exchange;
use paddington_test_support::{Broken, SharedDisk};
use tokio::time::{Instant, sleep, timeout};

use super::ledger::Summary;
use super::plan::{LEASE, Plan};
use super::requests::Counts;
use super::world::World;

/// The longest time until all is quiet after the last fault.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time that services go on after that, so that late and repeated messages are noticed.
const AFTER: Duration = Duration::from_secs(8);
/// Time between two looks at the services.
const LOOK: Duration = Duration::from_millis(500);

/// The result of a run.
pub(crate) struct Outcome {
    pub(crate) ledger: Summary,
    pub(crate) faults: usize,
    pub(crate) requests: Counts,
    /// Number of writes of replaced owners that were refused.
    pub(crate) refused: u64,
    pub(crate) time: Duration,
    pub(crate) quiet_after: Duration,
}

/// The figures of several runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) runs: usize,
    pub(crate) faults: usize,
    pub(crate) handled: usize,
    pub(crate) repeats: usize,
    /// Number of requests that were made, and of those that have reached their peer.
    pub(crate) requests: usize,
    pub(crate) asked: usize,
    pub(crate) refused: u64,
    pub(crate) time: Duration,
    pub(crate) quiet_after: Duration,
}

impl Figures {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.faults += outcome.faults;
        self.handled += outcome.ledger.handled;
        self.repeats += outcome.ledger.repeats;
        self.requests += outcome.requests.made;
        self.asked += outcome.requests.asked;
        self.refused += outcome.refused;
        self.time += outcome.time;
        self.quiet_after = self.quiet_after.max(outcome.quiet_after);
    }
}

/// Runs a seed with a database that may break its rules. With `tells` every step is kept.
///
/// # Errors
///
/// If it cannot be run. What is found is in the outcome.
pub(crate) fn run(seed: u64, broken: Broken, tells: bool) -> Result<Outcome, Error> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build()?;
    let outcome = runtime.block_on(run_in(seed, broken, tells));
    runtime.shutdown_background();
    outcome
}

thread_local! {
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Returns the time since the run of this thread has begun, if there is one.
pub(crate) fn elapsed() -> Option<Duration> {
    BEGUN.get().map(|begun| begun.elapsed())
}

async fn run_in(seed: u64, broken: Broken, tells: bool) -> Result<Outcome, Error> {
    BEGUN.set(Some(Instant::now()));
    let plan = Plan::new(seed);
    let disk = SharedDisk::new(LEASE);
    disk.break_rules(broken);
    let world = Arc::new(World::new(seed, plan, disk, tells));
    if !world.plan.lag.is_zero() {
        world.disk.delay(world.random(1), world.plan.lag);
    }
    world.ledger.note(format_args!("{:?}", world.plan));
    for _ in 0..world.plan.replicas {
        world.start_replica().await?;
    }
    let mut peers = Vec::new();
    for peer in 0..world.plan.peers() {
        peers.push(world.start_peer(peer).await?);
    }
    let mut senders = Vec::new();
    for (peer, exchange) in peers.iter().enumerate() {
        senders.push(tokio::spawn(Arc::clone(&world).send_to(peer)));
        senders.push(tokio::spawn(Arc::clone(&world).ask(peer)));
        senders.push(tokio::spawn(Arc::clone(&world).send_from(peer, exchange.clone())));
    }
    let watched = tokio::spawn(watch(Arc::clone(&world), peers.clone()));
    world.rage(&peers).await?;
    world.disk.deafen(true); // nobody is told of the last messages
    sleep(LOOK).await;
    world.be_calm();
    world.mend().await?;
    for sender in senders {
        timeout(PATIENCE, sender).await.context("a sender waits for ever")??;
    }
    let begun = Instant::now();
    while let Some(unquiet) = unquiet(&world, &peers) {
        if world.ledger.has_failed() {
            break;
        }
        if begun.elapsed() > PATIENCE {
            world.ledger.failed(format_args!("not quiet after {:?}: {unquiet}", begun.elapsed()));
            break;
        }
        sleep(LOOK / 5).await;
    }
    let quiet_after = begun.elapsed();
    sleep(AFTER).await;
    let running: Vec<usize> = world.running().iter().map(|it| it.number).collect();
    if !world.ledger.has_failed() {
        world.ledger.close(|replica| running.contains(&replica));
    }
    watched.abort();
    ensure!(world.plan.faults.len() > 1, "nothing fails");
    Ok(Outcome {
        ledger: world.ledger.summary(),
        faults: world.plan.faults.len(),
        requests: world.requests.counts(),
        refused: world.disk.refused(),
        time: world.ledger.now(),
        quiet_after,
    })
}

/// Checks all the time that every message is accounted for.
async fn watch(world: Arc<World>, peers: Vec<Exchange>) {
    loop {
        let replicas: Vec<_> = world.running().iter().map(|it| it.exchange.clone()).collect();
        for exchange in peers.iter().chain(&replicas) {
            if let Some(wrong) = exchange.peers().iter().find(|it| !it.is_conserved()) {
                world.ledger.failed(format_args!("not accounted for: {wrong:?}"));
                return;
            }
        }
        sleep(LOOK).await;
    }
}

/// A description of what still waits, if anything does.
fn unquiet(world: &World, peers: &[Exchange]) -> Option<String> {
    let missing = world.ledger.missing();
    let stored = world.disk.messages();
    let waiting: usize = peers
        .iter()
        .flat_map(Exchange::peers)
        .map(|it| it.outbox_messages + it.inbox_messages)
        .sum();
    let asked = world.requests.waiting();
    let requests = world.disk.requests();
    if missing.is_none() && asked.is_none() && stored + waiting + requests == 0 {
        return None;
    }
    let mut text = format!(
        "{missing:?}, {asked:?}, {requests} requests and {stored} messages in the database, {waiting} at the peers;"
    );
    for replica in world.running() {
        text += " ";
        text += &replica.describe();
    }
    Some(text)
}
