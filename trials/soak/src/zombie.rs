//! Peers that are there and say nothing (`docs/delivery.md` §7): cables that carry nothing any
//! more, and processes that are frozen. How long until it is noticed, and until another connection
//! has taken the place.

use std::time::Duration;

use anyhow::{Error, bail, ensure};
use paddington::{Event, Message, PeerStatus, Service};
use paddington_test_support::{FaultyProxy, Pair, Passing, pair};
use rustix::process::Signal;
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, sleep, timeout};

use crate::child::Role;
use crate::fleet::{Depot, Process};
use crate::ledger::Ledger;
use crate::{in_real_time, in_virtual_time, median_and_most};
use paddington_test_support::Random;

const ROUNDS: usize = 200;
const SHORT_ROUNDS: usize = 10;
/// Nothing has arrived for 30 s, and a clock that is looked at every second.
const DETECTED: Duration = Duration::from_secs(31);
/// By the same instance of the client.
const TAKEN_OVER: Duration = Duration::from_secs(1);
/// By another process, after the older one was asked for a sign of life.
const TAKEN_OVER_BY_ANOTHER: Duration = Duration::from_secs(4);
/// Nothing in here takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(mut random: Random, short: bool) -> Result<(), Error> {
    let rounds = if short { SHORT_ROUNDS } else { ROUNDS };
    let mut times = <[Vec<Duration>; 3]>::default();
    for _ in 0..rounds {
        let (a, b, c) = (random.fork(), random.fork(), random.fork());
        times[0].extend(in_virtual_time(frozen_cable(a))?);
        times[1].push(in_virtual_time(half_open(b))?);
        times[2].push(in_virtual_time(another_process(c))?);
    }
    let what =
        ["a frozen cable is noticed", "the same instance takes over", "another one takes over"];
    let bars = [DETECTED, TAKEN_OVER, TAKEN_OVER_BY_ANOTHER];
    for ((what, bar), times) in what.into_iter().zip(bars).zip(&mut times) {
        judge(what, bar, times)?;
    }
    in_real_time(frozen_process(short))?;
    if short { Ok(()) } else { in_real_time(stalled_proxy()) }
}

fn judge(what: &str, bar: Duration, times: &mut [Duration]) -> Result<(), Error> {
    let [median, most] = median_and_most(times);
    let count = times.len();
    println!(
        "zombie: {what} after {median:.2} s in the median, {most:.2} s at most (bar: {bar:?}), \
         {count} times"
    );
    ensure!(most <= bar.as_secs_f64(), "{what} after {most:.2} s");
    Ok(())
}

/// Two services that have been connected for a while, and the events of both.
struct Scene {
    pair: Pair,
    server: Service,
    client: Service,
    events: [Receiver<Event>; 2],
    ledger: Ledger,
    sent: usize,
}

impl Scene {
    async fn start(random: &mut Random) -> Result<Self, Error> {
        let (pair, ledger) = (pair(), Ledger::default());
        let network = || pair.network.network();
        let server = Service::start_on(network(), &pair.server, ledger.handler()).await?;
        let client =
            Service::start_on(network(), &pair.client, Ledger::default().handler()).await?;
        let mut events = [&server, &client].map(|service| service.exchange().events());
        for events in &mut events {
            until(events, |event| matches!(event, Event::Up { .. })).await?;
        }
        let mut scene = Self { pair, server, client, events, ledger, sent: 0 };
        scene.send(3).await?;
        sleep(random.up_to(PATIENCE)).await;
        Ok(scene)
    }

    async fn send(&mut self, messages: usize) -> Result<(), Error> {
        for _ in 0..messages {
            self.client.send(Message::new("server", self.sent.to_string())).await?;
            self.sent += 1;
        }
        Ok(())
    }

    /// Everything arrives once, in order, and is accounted for.
    async fn settle(&mut self) -> Result<(), Error> {
        self.send(3).await?;
        let begun = Instant::now();
        while self.client.peers().iter().any(|peer| peer.outbox_messages > 0) {
            ensure!(begun.elapsed() < PATIENCE, "messages were left over");
            sleep(Duration::from_millis(100)).await;
        }
        let count = self.ledger.count()?;
        ensure!(count == self.sent, "{count} of {} messages came", self.sent);
        let peers = [self.server.peers(), self.client.peers()].concat();
        ensure!(peers.iter().all(PeerStatus::is_conserved), "a message is not accounted for");
        Ok(())
    }
}

async fn until(events: &mut Receiver<Event>, wanted: impl Fn(&Event) -> bool) -> Result<(), Error> {
    let comes = async {
        while !wanted(&events.recv().await?) {}
        Ok::<_, Error>(())
    };
    match timeout(PATIENCE, comes).await {
        Ok(came) => came,
        Err(_) => bail!("it was not noticed"),
    }
}

fn is_down(event: &Event) -> bool {
    matches!(event, Event::Down { .. })
}

/// How long each side takes to notice that nothing passes any more, with and without something
/// to say.
async fn frozen_cable(mut random: Random) -> Result<[Duration; 2], Error> {
    let mut scene = Scene::start(&mut random).await?;
    scene.pair.network.freeze();
    let frozen = Instant::now();
    if random.coin() {
        scene.send(3).await?;
    }
    let mut times = [Duration::ZERO; 2];
    let [server, client] = &mut scene.events;
    let [at_server, at_client] = &mut times;
    tokio::try_join!(
        async {
            until(server, is_down).await?;
            *at_server = frozen.elapsed();
            Ok::<_, Error>(())
        },
        async {
            until(client, is_down).await?;
            *at_client = frozen.elapsed();
            Ok(())
        }
    )?;
    scene.settle().await?;
    Ok(times)
}

/// The client has lost its connection and the server has not noticed.
async fn half_open(mut random: Random) -> Result<Duration, Error> {
    let mut scene = Scene::start(&mut random).await?;
    let held = scene.pair.network.hold();
    scene.send(3).await?;
    held.strand();
    let lost = Instant::now();
    until(&mut scene.events[0], |event| matches!(event, Event::Up { .. })).await?;
    let time = lost.elapsed();
    held.release();
    scene.settle().await?;
    Ok(time)
}

/// The client is frozen for good, and another process has the same invitation.
async fn another_process(mut random: Random) -> Result<Duration, Error> {
    let mut scene = Scene::start(&mut random).await?;
    scene.settle().await?;
    scene.pair.network.freeze();
    let (network, config) = (scene.pair.network.network(), &scene.pair.client);
    let begun = Instant::now();
    let another = Service::start_on(network, config, Ledger::default().handler()).await?;
    while !another.peers().iter().all(PeerStatus::is_connected) {
        ensure!(begun.elapsed() < PATIENCE, "the place was not given up");
        sleep(Duration::from_millis(10)).await;
    }
    Ok(begun.elapsed())
}

/// A server in this process whose client is another one.
struct Host {
    depot: Depot,
    proxy: FaultyProxy,
    server: Service,
    events: Receiver<Event>,
    client: Process,
}

impl Host {
    async fn start() -> Result<Self, Error> {
        let proxy = FaultyProxy::start().await;
        let url = format!("ws://{}", proxy.address());
        let depot = Depot::in_memory(&url, "127.0.0.1", 0, "127.0.0.1")?;
        let server = Service::start(depot.server(), Ledger::default().handler()).await?;
        let mut events = server.exchange().events();
        if let Some(address) = server.address() {
            proxy.forward_to(address);
        }
        let client = Process::start(Role::Silent, depot.path(), 1, None)?;
        until(&mut events, |event| matches!(event, Event::Up { .. })).await?;
        Ok(Self { depot, proxy, server, events, client })
    }
}

/// A process is frozen: another one takes its place, and keeps it when the first one goes on.
async fn frozen_process(short: bool) -> Result<(), Error> {
    if !short {
        let mut host = Host::start().await?;
        host.client.signal(Signal::STOP)?;
        let begun = Instant::now();
        until(&mut host.events, is_down).await?;
        judge("a frozen process is noticed", DETECTED, &mut [begun.elapsed()])?;
        host.client.kill().await?;
    }
    let mut host = Host::start().await?;
    host.client.signal(Signal::STOP)?;
    let begun = Instant::now();
    let mut another = Process::start(Role::Silent, host.depot.path(), 2, None)?;
    until(&mut host.events, |event| matches!(event, Event::Up { .. })).await?;
    judge("another process takes over", TAKEN_OVER_BY_ANOTHER, &mut [begun.elapsed()])?;
    host.client.signal(Signal::CONT)?;
    sleep(Duration::from_secs(1)).await;
    let peers = host.server.peers();
    let stands = peers.iter().all(|peer| peer.connected_for >= Some(Duration::from_secs(1)));
    ensure!(stands, "the process that was frozen has taken the place back");
    host.client.kill().await?;
    another.kill().await
}

/// A proxy keeps both connections and passes nothing on.
async fn stalled_proxy() -> Result<(), Error> {
    let mut host = Host::start().await?;
    host.proxy.pass(Passing::Stalled);
    let begun = Instant::now();
    until(&mut host.events, is_down).await?;
    judge("a proxy that holds the connection is noticed", DETECTED, &mut [begun.elapsed()])?;
    host.client.kill().await
}
