//! Two services whose handlers answer every message with two (`docs/delivery.md` §2): both
//! outboxes are full, each handler waits for room that only the other one makes, and yet the two
//! never stop.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Error, anyhow, ensure};
use paddington::{Handler, Message, Service};
use paddington_test_support::pair;
use tokio::time::{Instant, sleep};

use crate::in_virtual_time;
use paddington_test_support::Random;

/// For how long they flood each other.
const FLOOD: Duration = Duration::from_secs(60 * 60);
const SHORT_FLOOD: Duration = Duration::from_secs(5 * 60);
/// A handler waits for room no longer than this, so something moves in each period a little longer.
const PATIENCE: Duration = Duration::from_secs(30);
const PERIOD: Duration = Duration::from_secs(31);
const OUTBOX: usize = 32;
const WINDOW: u32 = 8 * 1024;
/// The length of a message.
const LEN: usize = 1_000;

pub(crate) fn run(mut random: Random, short: bool) -> Result<(), Error> {
    let time = if short { SHORT_FLOOD } else { FLOOD };
    for waits in [false, true] {
        in_virtual_time(trial(random.fork(), waits, time))?;
    }
    Ok(())
}

/// What one side does with what it is given.
#[derive(Clone, Debug, Default)]
struct Side {
    handled: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    service: Arc<OnceLock<Service>>,
}

impl Side {
    /// Answers with two messages; waits for room, or not.
    fn handler(&self, waits: bool) -> impl Handler + use<> {
        let side = self.clone();
        move |message: Message| {
            let side = side.clone();
            async move {
                if message.is_control() {
                    return Ok(());
                }
                // As a handler does that has something to do.
                sleep(Duration::from_millis(1)).await;
                side.handled.fetch_add(1, Ordering::Relaxed);
                side.answer(message.sender(), waits).await
            }
        }
    }

    async fn answer(&self, to: &str, waits: bool) -> Result<(), Error> {
        let service = self.service.get().context("the service has started")?;
        for _ in 0..2 {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            let answer = Message::new(to, "x".repeat(LEN));
            let sent = if waits {
                service.exchange().send_when_ready(answer).await
            } else {
                service.send(answer).await
            };
            self.refused.fetch_add(usize::from(sent.is_err()), Ordering::Relaxed);
        }
        Ok(())
    }

    fn handled(&self) -> usize {
        self.handled.load(Ordering::Relaxed)
    }
}

async fn trial(mut random: Random, waits: bool, time: Duration) -> Result<(), Error> {
    let mut pair = pair();
    for config in [&mut pair.server, &mut pair.client] {
        let settings = config.settings_mut();
        settings.outbox_messages = OUTBOX;
        settings.window = WINDOW;
        settings.transport.limits.max_payload = 2 * LEN as u32;
        settings.patience = PATIENCE;
    }
    let sides = [Side::default(), Side::default()];
    let mut services = Vec::new();
    for (side, config) in sides.iter().zip([&pair.server, &pair.client]) {
        let network = pair.network.network();
        let service = Service::start_on(network, config, side.handler(waits)).await?;
        side.service.set(service.clone()).map_err(|_| anyhow!("it was started twice"))?;
        services.push(service);
    }
    for number in 0..=random.below(OUTBOX / 2) {
        services[number % 2].send(Message::new(["client", "server"][number % 2], "go")).await?;
    }

    let begun = Instant::now();
    let mut least = usize::MAX;
    while begun.elapsed() < time {
        let before = sides.each_ref().map(Side::handled);
        sleep(PERIOD).await;
        for (side, before) in sides.iter().zip(before) {
            least = least.min(side.handled() - before);
        }
    }
    let handled: usize = sides.iter().map(Side::handled).sum();
    let refused: usize = sides.iter().map(|side| side.refused.load(Ordering::Relaxed)).sum();
    println!(
        "mutual-flood: {}: {handled} messages handled and {refused} refused in {} min, at least \
         {least} on each side in any {PERIOD:?} (bar: 1)",
        if waits { "handlers that wait for room" } else { "handlers that do not wait" },
        time.as_secs() / 60
    );
    ensure!(least > 0, "they stopped");
    settle(&sides, &services).await
}

/// Both stop answering, and everything is handled.
async fn settle(sides: &[Side], services: &[Service]) -> Result<(), Error> {
    sides.iter().for_each(|side| side.over.store(true, Ordering::Relaxed));
    let begun = Instant::now();
    let peers = || services.iter().flat_map(Service::peers);
    while peers().any(|peer| peer.outbox_messages > 0) {
        ensure!(begun.elapsed() < Duration::from_secs(600), "messages were left over");
        sleep(Duration::from_millis(100)).await;
    }
    ensure!(peers().all(|peer| peer.is_conserved()), "a message is not accounted for");
    Ok(())
}
