//! One peer's handler stops under full load (`docs/delivery.md` §3, §4): its outbox and inbox stay
//! within their bounds, no sender is held up, and the other peers do not notice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Error, ensure};
use paddington::{Handler, Message, SendError, Service, ServiceConfig};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::gauge::{Gauge, p50_and_p99};
use crate::in_real_time;
use crate::services::{Arrivals, client_of, nothing, settle};

/// Time for which the handler stops.
const STOP: Duration = Duration::from_secs(60);
const SHORT_STOP: Duration = Duration::from_secs(3);
/// Number of peers that go on.
const OTHERS: usize = 8;
/// Time between two messages to each of them.
const PACE: Duration = Duration::from_millis(2);
/// Number of messages to the slow peer in the same time.
const BURST: usize = 20;
/// The length of a message.
const LEN: usize = 1_000;
/// The longest time of a `send`, which never waits for room.
const SEND: Duration = Duration::from_millis(500);
/// The factor by which the others may become slower.
const SLOWER: f64 = 2.0;
/// The difference that a busy machine makes by itself.
const NOISE: Duration = Duration::from_millis(5);

pub(crate) fn run(short: bool) -> Result<(), Error> {
    in_real_time(trial(short))
}

/// A hub, one peer whose handler stops, and others.
struct Scene {
    hub: Service,
    slow: Service,
    others: Vec<Service>,
    arrivals: Arrivals,
    runs: watch::Sender<bool>,
    /// The messages to the slow peer.
    flood: Arc<Flood>,
}

#[derive(Debug, Default)]
struct Flood {
    accepted: AtomicUsize,
    refused: AtomicUsize,
    handled: AtomicUsize,
    longest: Mutex<Duration>,
}

impl Scene {
    async fn start() -> Result<Self, Error> {
        let mut config = ServiceConfig::new("hub", "ws://127.0.0.1:1", "127.0.0.1", &0)?;
        config.settings_mut().transport.limits.attempts = u32::MAX;
        config.settings_mut().transport.limits.pending_per_address = 2 * OTHERS;
        let names: Vec<_> = (0..OTHERS).map(|other| format!("other-{other}")).collect();
        let invites = names.iter().map(|name| config.add_client(name, "127.0.0.1"));
        let invites: Vec<_> = invites.collect::<Result<_, _>>()?;
        let invite = config.add_client("slow", "127.0.0.1")?;
        let hub = Service::start(&config, nothing).await?;
        let arrivals = Arrivals::new(LEN);
        let (runs, running) = watch::channel(true);
        let flood = Arc::new(Flood::default());
        let slow = client_of(&hub, "slow", invite)?;
        let slow = Service::start(&slow, flood.handler(running)).await?;
        let mut others = Vec::new();
        for (name, invite) in names.iter().zip(invites) {
            let other = client_of(&hub, name, invite)?;
            others.push(Service::start(&other, arrivals.handler()).await?);
        }
        Ok(Self { hub, slow, others, arrivals, runs, flood })
    }

    /// Sends to all peers: to the slow one as much as its outbox takes, to the others at a steady
    /// pace.
    fn load(&self) -> JoinSet<Result<(), Error>> {
        let mut senders = JoinSet::new();
        senders.spawn(flood(self.hub.clone(), Arc::clone(&self.flood)));
        for other in 0..OTHERS {
            let (hub, arrivals) = (self.hub.clone(), self.arrivals.clone());
            senders.spawn(async move {
                let name = format!("other-{other}");
                let mut pace = interval(PACE);
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    pace.tick().await;
                    hub.send(arrivals.message(&name)).await?;
                }
            });
        }
        senders
    }

    /// Returns the most messages and bytes in the outbox for the slow peer, and bytes in its inbox.
    async fn watch(&self, time: Duration) -> Result<[u64; 3], Error> {
        let begun = Instant::now();
        let mut most = [0; 3];
        while begun.elapsed() < time {
            for peer in self.hub.peers().iter().filter(|peer| peer.name.as_str() == "slow") {
                ensure!(peer.is_connected(), "the slow one was taken for dead");
                most[0] = most[0].max(peer.outbox_messages as u64);
                most[1] = most[1].max(peer.outbox_bytes);
            }
            let inbox = self.slow.peers().iter().map(|peer| peer.inbox_bytes).sum();
            most[2] = most[2].max(inbox);
            sleep(Duration::from_millis(20)).await;
        }
        Ok(most)
    }

    /// Waits until everything is handled and accounted for.
    async fn settle(&self) -> Result<(), Error> {
        let services = [&self.hub, &self.slow].into_iter().chain(&self.others);
        settle(&services.collect::<Vec<_>>()).await?;
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let (accepted, handled) = (count(&self.flood.accepted), count(&self.flood.handled));
        ensure!(accepted == handled, "{handled} of {accepted} messages were handled");
        Ok(())
    }
}

impl Flood {
    async fn send(&self, hub: &Service) -> Result<(), Error> {
        let begun = Instant::now();
        let sent = hub.send(Message::new("slow", "x".repeat(LEN))).await;
        self.note(begun.elapsed());
        match sent {
            Ok(_) => self.accepted.fetch_add(1, Ordering::Relaxed),
            Err(SendError::Full { .. }) => self.refused.fetch_add(1, Ordering::Relaxed),
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }

    fn note(&self, took: Duration) {
        let mut longest = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
        *longest = took.max(*longest);
    }

    /// Handles while `running` says so.
    fn handler(self: &Arc<Self>, running: watch::Receiver<bool>) -> impl Handler + use<> {
        let flood = Arc::clone(self);
        move |message: Message| {
            let (flood, mut running) = (Arc::clone(&flood), running.clone());
            async move {
                running.wait_for(|runs| *runs).await?;
                flood.handled.fetch_add(usize::from(!message.is_control()), Ordering::Relaxed);
                Ok::<(), Error>(())
            }
        }
    }
}

async fn flood(hub: Service, flood: Arc<Flood>) -> Result<(), Error> {
    loop {
        for _ in 0..BURST {
            flood.send(&hub).await?;
        }
        sleep(PACE).await;
    }
}

async fn trial(short: bool) -> Result<(), Error> {
    let stop = if short { SHORT_STOP } else { STOP };
    let scene = Scene::start().await?;
    let mut load = scene.load();
    sleep(stop / 4).await;
    scene.arrivals.take();
    let usual_peak = Gauge::read()?.memory;
    sleep(stop / 2).await;
    let [usual_p50, usual_p99] = p50_and_p99(&mut scene.arrivals.take());
    scene.runs.send_replace(false);
    let [messages, bytes, inbox] = scene.watch(stop).await?;
    let [p50, p99] = p50_and_p99(&mut scene.arrivals.take());
    let peak = Gauge::read()?.memory;
    if let Some(failed) = load.try_join_next() {
        failed??;
    }
    load.shutdown().await;
    scene.runs.send_replace(true);
    scene.settle().await?;
    let settings = paddington::Config::default();
    let longest = *scene.flood.longest.lock().unwrap_or_else(PoisonError::into_inner);
    println!(
        "slow-consumer: stopped for {stop:?}: at most {messages} messages (bar: {}) and {bytes} \
         bytes (bar: {}) waited for it, {inbox} bytes were in its window (bar: {})",
        settings.outbox_messages, settings.outbox_bytes, settings.window
    );
    println!(
        "slow-consumer: {} accepted, {} refused at once, longest send {longest:.1?} (bar: {SEND:?})",
        scene.flood.accepted.load(Ordering::Relaxed),
        scene.flood.refused.load(Ordering::Relaxed)
    );
    println!(
        "slow-consumer: the others: {usual_p50:.1?} p50, {usual_p99:.1?} p99 before, {p50:.1?} and \
         {p99:.1?} while it stood still (bar: {SLOWER} times and {NOISE:?}); memory {} and {} MiB",
        usual_peak / 1024,
        peak / 1024
    );
    ensure!(messages <= settings.outbox_messages as u64, "too many messages waited");
    ensure!(bytes <= settings.outbox_bytes, "too many bytes waited");
    ensure!(scene.flood.refused.load(Ordering::Relaxed) > 0, "its outbox was never full");
    ensure!(inbox <= u64::from(settings.window), "its window was not kept");
    ensure!(short || longest <= SEND, "a send took {longest:?}");
    ensure!(short || p99 <= usual_p99.mul_f64(SLOWER) + NOISE, "the others became slower");
    Ok(())
}
