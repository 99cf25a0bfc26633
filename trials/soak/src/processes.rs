//! Real processes with durable outboxes (`docs/delivery.md` §1), which are killed and frozen, or
//! end with every attempt at a message, and a proxy between them that cuts, stalls, dribbles,
//! half-closes and flips bytes.

use std::time::Duration;

use anyhow::{Context, Error, ensure};
use paddington::{Delivered, Message, Service, ServiceConfig};
use paddington_test_support::{FaultyProxy, Passing, Random, Way, quick};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::child::{DEADLY, Role};
use crate::fleet::{Depot, Process};
use crate::journal::next_number;
use crate::services::{nothing, settle};
use crate::{in_real_time, median_and_most};

const KILLS: usize = 100;
const FLIPS: usize = 50;
const SHORT: usize = 3;
/// The longest time until messages go on after a fault, with the default delays.
const HEALING: Duration = Duration::from_secs(20);
/// Number of times that each fault is healed from.
const HEALED: usize = 2;
/// The longest time between two faults.
const CALM: Duration = Duration::from_millis(600);
/// Times that a receiver is started again before its deadly message is given up: after the first
/// delivery, and after as many crashes as the setting `crashes` allows.
const RESTARTS: u64 = 6;
/// Messages behind the deadly one.
const AFTER: usize = 100;
/// The longest wait until the deadly message is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest time that a process or the network is held.
const HOLD: Duration = Duration::from_millis(2_500);

pub(crate) fn run(mut random: Random, short: bool) -> Result<(), Error> {
    let (kills, flips) = if short { (SHORT, SHORT) } else { (KILLS, FLIPS) };
    in_real_time(control(random.fork()))?;
    in_real_time(deadly())?;
    in_real_time(async {
        let mut trial = Trial::start(random, true).await?;
        trial.rage(kills, flips).await?;
        trial.settle().await?;
        trial.start_again().await?;
        trial.heal(short).await?;
        trial.settle().await?;
        let verdict = trial.depot.verdict()?;
        println!(
            "processes: {} messages accepted, {} lost, {} repeats in an instance, {} of {} repeats \
             after a restart not flagged, {} out of order (bar: 0 each)",
            verdict.accepted,
            verdict.lost,
            verdict.repeats,
            verdict.unannounced,
            verdict.repeats_over_instances,
            verdict.disorder
        );
        verdict.check()
    })
}

/// Control: without files, messages are lost with the sender's process, and that has to be noticed.
async fn control(random: Random) -> Result<(), Error> {
    let mut trial = Trial::start(random, false).await?;
    trial.depot.heals().await?;
    trial.proxy.pass(Passing::Stalled);
    let due = next_number(trial.depot.path())? + 20;
    while next_number(trial.depot.path())? < due {
        sleep(Duration::from_millis(10)).await;
    }
    trial.kill(true, false).await?;
    // The bytes that the proxy holds are lost too.
    trial.proxy.cut();
    trial.proxy.pass(Passing::Freely);
    trial.depot.heals().await?;
    trial.sender.finish().await?;
    trial.receiver.finish().await?;
    let lost = trial.depot.verdict()?.lost;
    println!("processes: without files {lost} messages are lost with their sender (bar: some)");
    ensure!(lost > 0, "a loss was not seen");
    Ok(())
}

/// A message that ends the process of its receiver, which is started again each time, is given up
/// and kept as a dead letter (`docs/delivery.md` §4).
async fn deadly() -> Result<(), Error> {
    let proxy = FaultyProxy::start().await;
    let depot = Depot::new(&format!("ws://{}", proxy.address()), "127.0.0.1", 0, "127.0.0.1")?;
    let mut client = depot.client().clone();
    quick(&mut client);
    let client = Service::start(&client, nothing).await?;
    let bad = client.send(Message::new("receiver", DEADLY)).await?;
    let mut last = client.send(Message::new("receiver", "1")).await?;
    for number in 2..=AFTER {
        last = client.send(Message::new("receiver", number.to_string())).await?;
    }
    let mut last = last.into_future();
    let begun = Instant::now();
    let mut restarts = 0;
    let mut receiver = loop {
        ensure!(begun.elapsed() < PATIENCE, "it is not given up after {restarts} restarts");
        let mut receiver = receiver(&depot, &proxy, restarts).await?;
        tokio::select! {
            delivered = &mut last => {
                ensure!(delivered == Delivered::Handled, "the messages behind it are not handled");
                break receiver;
            }
            ended = receiver.ends_within(PATIENCE) => ensure!(ended?, "nothing happens"),
        }
        restarts += 1;
    };
    ensure!(matches!(timeout(PATIENCE, bad).await?, Delivered::Rejected(_)), "no rejection");
    settle(&[&client]).await?;
    receiver.finish().await?;
    client.shutdown().await;
    let server = Service::start(depot.server(), nothing).await?;
    let letters = server.exchange().store().context("there is a store")?.letters().await?.len();
    println!(
        "processes: a message that ends its process: {restarts} restarts (bar: {RESTARTS}) in \
         {:.1?}, {letters} dead letters (bar: 1)",
        begun.elapsed()
    );
    ensure!(letters == 1 && restarts <= RESTARTS, "it was not given up as it should be");
    server.shutdown().await;
    Ok(())
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillSender,
    KillReceiver,
    KillBoth,
    StopSender,
    StopReceiver,
    Flip,
    Cut,
    Stall,
    Dribble,
    HalfClose(Way),
}

impl Fault {
    const EACH: [Self; 11] = [
        Self::KillSender,
        Self::KillReceiver,
        Self::KillBoth,
        Self::StopSender,
        Self::StopReceiver,
        Self::Flip,
        Self::Cut,
        Self::Stall,
        Self::Dribble,
        Self::HalfClose(Way::Up),
        Self::HalfClose(Way::Down),
    ];

    /// Draws a fault, more often one of those that are counted.
    fn draw(random: &mut Random) -> Self {
        match random.below(3) {
            0 => Self::EACH[random.below(3)],
            1 if random.coin() => Self::Flip,
            _ => Self::EACH[random.below(Self::EACH.len())],
        }
    }
}

struct Trial {
    random: Random,
    depot: Depot,
    proxy: FaultyProxy,
    sender: Process,
    receiver: Process,
    instances: u64,
    kills: usize,
    stops: usize,
    faults: usize,
}

impl Trial {
    async fn start(random: Random, durable: bool) -> Result<Self, Error> {
        let proxy = FaultyProxy::start().await;
        let url = format!("ws://{}", proxy.address());
        let depot = if durable { Depot::new } else { Depot::in_memory };
        let depot = depot(&url, "127.0.0.1", 0, "127.0.0.1")?;
        depot.configure(hasty)?;
        let receiver = receiver(&depot, &proxy, 0).await?;
        let sender = Process::start(Role::Sender, depot.path(), 0, None)?;
        let (instances, kills, stops, faults) = (0, 0, 0, 0);
        Ok(Self { random, depot, proxy, sender, receiver, instances, kills, stops, faults })
    }

    async fn rage(&mut self, kills: usize, flips: usize) -> Result<(), Error> {
        self.depot.heals().await?;
        while self.kills < kills || self.proxy.flipped() < flips {
            let calm = self.random.up_to(CALM);
            sleep(calm).await;
            let (fault, hold) = (Fault::draw(&mut self.random), self.random.up_to(HOLD));
            self.inflict(fault, hold).await?;
            if self.faults.is_multiple_of(10) {
                self.depot.heals().await?;
            }
        }
        Ok(())
    }

    async fn inflict(&mut self, fault: Fault, hold: Duration) -> Result<(), Error> {
        self.faults += 1;
        match fault {
            Fault::KillSender => self.kill(true, false).await?,
            Fault::KillReceiver => self.kill(false, true).await?,
            Fault::KillBoth => self.kill(true, true).await?,
            Fault::StopSender | Fault::StopReceiver => {
                let sender = fault == Fault::StopSender;
                let process = if sender { &self.sender } else { &self.receiver };
                process.signal(Signal::STOP)?;
                sleep(hold).await;
                process.signal(Signal::CONT)?;
                self.stops += 1;
            }
            Fault::Flip => self.flip().await,
            Fault::Cut => self.proxy.cut(),
            Fault::Stall => self.hold(Passing::Stalled, hold).await,
            Fault::Dribble => self.hold(Passing::Dribbling, hold).await,
            Fault::HalfClose(way) => self.proxy.half_close(way),
        }
        Ok(())
    }

    async fn hold(&self, passing: Passing, hold: Duration) {
        self.proxy.pass(passing);
        sleep(hold).await;
        self.proxy.pass(Passing::Freely);
    }

    async fn flip(&self) {
        let before = self.proxy.flipped();
        self.proxy.flip();
        let flipped = async {
            while self.proxy.flipped() == before {
                sleep(Duration::from_millis(1)).await;
            }
        };
        // If nothing passes now, it is flipped later.
        let _ = timeout(Duration::from_secs(5), flipped).await;
    }

    async fn kill(&mut self, sender: bool, receiver: bool) -> Result<(), Error> {
        if sender {
            self.sender.kill().await?;
        }
        if receiver {
            self.receiver.kill().await?;
        }
        self.kills += usize::from(sender) + usize::from(receiver);
        let pause = self.random.up_to(CALM);
        sleep(pause).await;
        self.instances += 1;
        if receiver {
            self.receiver = self::receiver(&self.depot, &self.proxy, self.instances).await?;
        }
        if sender {
            self.sender = Process::start(Role::Sender, self.depot.path(), self.instances, None)?;
        }
        Ok(())
    }

    /// Ends both in order, once everything is handled.
    async fn settle(&mut self) -> Result<(), Error> {
        self.depot.heals().await?;
        self.sender.finish().await?;
        self.receiver.finish().await?;
        self.depot.verdict()?.check()
    }

    /// Starts both with the default delays.
    async fn start_again(&mut self) -> Result<(), Error> {
        println!(
            "processes: {} faults, {} kills, {} stops, {} flipped bits, {} connections",
            self.faults,
            self.kills,
            self.stops,
            self.proxy.flipped(),
            self.proxy.connections()
        );
        self.depot.configure(|_| ())?;
        self.instances += 1;
        self.receiver = receiver(&self.depot, &self.proxy, self.instances).await?;
        self.sender = Process::start(Role::Sender, self.depot.path(), self.instances, None)?;
        Ok(())
    }

    /// Measures the time from the end of each fault until messages go on.
    async fn heal(&mut self, short: bool) -> Result<(), Error> {
        let (faults, rounds): (&[Fault], _) =
            if short { (&[Fault::KillReceiver, Fault::Flip], 1) } else { (&Fault::EACH, HEALED) };
        let mut times = Vec::new();
        self.depot.heals().await?;
        for fault in faults.repeat(rounds) {
            let calm = if short { CALM } else { 20 * CALM };
            sleep(self.random.up_to(calm)).await;
            let hold = 4 * self.random.up_to(HOLD);
            self.inflict(fault, if short { HOLD } else { hold }).await?;
            let time = self.depot.heals().await?;
            ensure!(time <= HEALING, "{time:.1?} after {fault:?}");
            times.push(time);
        }
        let [median, most] = median_and_most(&mut times);
        println!(
            "processes: messages went on {median:.1} s after a fault in the median, {most:.1} s at \
             most (bar: {HEALING:?}), with the default delays, {} times",
            times.len()
        );
        Ok(())
    }
}

/// Sets delays short enough for a fault every second.
fn hasty(config: &mut ServiceConfig) {
    quick(config);
    let transport = &mut config.settings_mut().transport;
    transport.retry.refused = Duration::from_millis(500);
    transport.timeouts.ping_interval = Duration::from_millis(300);
    transport.timeouts.dead = Duration::from_secs(1);
    transport.timeouts.write = Duration::from_secs(1);
    config.settings_mut().probe = Duration::from_millis(200);
}

async fn receiver(depot: &Depot, proxy: &FaultyProxy, instance: u64) -> Result<Process, Error> {
    let mut receiver = Process::start(Role::Receiver, depot.path(), instance, None)?;
    proxy.forward_to(receiver.address().await?);
    Ok(receiver)
}
