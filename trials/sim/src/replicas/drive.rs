//! The faults of a run, one after the other.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Error;
use paddington::{Exchange, PeerStatus};
use tokio::time::{Instant, sleep, sleep_until};

use super::peers::address;
use super::plan::{Fault, LEASE};
use super::replica::Replica;
use super::world::{HUB, World};

/// The time for which a second process tries to connect.
const SECOND_TRIES: Duration = Duration::from_secs(15);
/// The time for which nothing passes before a replica that was cut off writes.
const SILENCE: Duration = Duration::from_secs(2);
/// The time after which messages have arrived.
const UNDER_WAY: Duration = Duration::from_millis(100);
/// The longest time that is waited until a second process may try.
const UNTIL_WELL: Duration = Duration::from_secs(20);

impl World {
    /// Lets happen what is planned.
    pub(crate) async fn rage(self: &Arc<Self>, peers: &[Exchange]) -> Result<(), Error> {
        let begun = Instant::now();
        for (at, fault) in self.plan.faults.clone() {
            sleep_until(begun + at).await;
            self.ledger.note(format_args!("{fault:?}"));
            self.apply(fault, peers).await?;
        }
        Ok(())
    }

    async fn apply(self: &Arc<Self>, fault: Fault, peers: &[Exchange]) -> Result<(), Error> {
        let running = self.running();
        let pick = |number: usize| running.get(number % running.len().max(1));
        match fault {
            Fault::CutAll => self.network.cut(),
            Fault::Cut(peer) => self.of_peer(peer).cut(),
            Fault::Strand { peer, time, late } => self.strand(peer, time, late),
            Fault::Freeze { replica, time } => {
                if let Some(replica) = pick(replica) {
                    self.while_lasts(time, replica, |world, it, on| it.freeze(world, on));
                }
            }
            Fault::Kill { replica, away } => {
                if let Some(replica) = pick(replica) {
                    self.kill(replica);
                    self.start_later(away);
                }
            }
            Fault::CutOff { replica, time, frozen } => {
                if let Some(replica) = pick(replica) {
                    let change = if frozen { Self::isolate } else { Self::cut_off };
                    self.while_lasts(time, replica, change);
                }
            }
            Fault::LateWrites { replica, time } => {
                if let Some(replica) = pick(replica) {
                    self.while_lasts(time, replica, Self::isolate);
                    self.silence(time.saturating_sub(SILENCE), SILENCE + SILENCE / 4);
                }
            }
            Fault::Away(time) => self.take_away(time, &running),
            Fault::EndSession(replica) => {
                self.hurry.notify_waiters(); // so that it has much to handle while it does not notice
                sleep(UNDER_WAY).await;
                if let Some(replica) = pick(replica) {
                    self.end_session(replica);
                    self.network.cut(); // so that others claim the links before it notices
                    self.disturb();
                }
            }
            Fault::Lose(messages) => self.lose(messages),
            Fault::FailOver { time, messages } => {
                self.take_away(time, &running);
                let world = Arc::clone(self);
                tokio::spawn(async move {
                    sleep(time / 2).await;
                    world.lose(messages);
                });
            }
            Fault::Roll { replica, before } => {
                if let Some(replica) = pick(replica) {
                    self.roll(replica, before).await?;
                }
            }
            Fault::Second(peer) => self.second(peer, peers).await?,
            Fault::Deafen(time) => self.deafen(time),
        }
        Ok(())
    }

    /// Lets neither the database nor its peers reach a replica, or all of them again.
    fn isolate(&self, replica: &Replica, isolated: bool) {
        self.cut_off(replica, isolated);
        replica.freeze(self, isolated);
    }

    /// Lets all connections carry nothing from some time on for a while, and break then.
    fn silence(self: &Arc<Self>, from: Duration, time: Duration) {
        let (world, trouble) = (Arc::clone(self), self.begin_disturbance());
        tokio::spawn(async move {
            let _trouble = trouble;
            sleep(from).await;
            world.ledger.note("silence");
            world.network.pick(|_, _| true).freeze();
            sleep(time).await;
            world.network.cut();
        });
    }

    /// Lets no signal arrive for a while.
    fn deafen(self: &Arc<Self>, time: Duration) {
        self.disk.deafen(true);
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(time).await;
            world.disk.deafen(false);
        });
    }

    /// Mends everything.
    pub(crate) async fn mend(self: &Arc<Self>) -> Result<(), Error> {
        self.disk.deafen(false);
        for replica in self.running() {
            self.cut_off(&replica, false);
            replica.freeze(self, false);
        }
        self.network.cut();
        while self.running().len() < self.plan.replicas {
            self.start_replica().await?;
        }
        Ok(())
    }

    fn lose(self: &Arc<Self>, messages: usize) {
        self.ledger.note(format_args!("{messages} messages are lost"));
        self.ledger.lose();
        self.disk.lose(messages);
        self.disturb();
    }

    /// Counts what follows a fault as a part of it: links are claimed anew.
    fn disturb(self: &Arc<Self>) {
        let trouble = self.begin_disturbance();
        tokio::spawn(async move {
            sleep(2 * LEASE).await;
            drop(trouble);
        });
    }

    fn of_peer(&self, peer: usize) -> paddington_test_support::Held {
        if peer < self.plan.clients {
            return self.network.pick(|_, source| source == address(peer));
        }
        self.network.pick(|listener, _| listener.port() == super::world::PORT)
    }

    fn strand(self: &Arc<Self>, peer: usize, time: Duration, late: bool) {
        let held = self.of_peer(peer);
        held.hold();
        let (world, trouble) = (Arc::clone(self), self.begin_disturbance());
        tokio::spawn(async move {
            let _trouble = trouble;
            sleep(time.min(Duration::from_millis(300))).await; // what is sent meanwhile is under way
            held.strand();
            sleep(time).await;
            world.ledger.note("a replica notices");
            if late {
                held.release();
            } else {
                held.cut();
            }
        });
    }

    /// Has a replica be in trouble for a while.
    fn while_lasts(
        self: &Arc<Self>,
        time: Duration,
        replica: &Arc<Replica>,
        change: impl Fn(&Self, &Replica, bool) + Send + 'static,
    ) {
        change(self, replica, true);
        let (world, replica) = (Arc::clone(self), Arc::clone(replica));
        self.ledger.note(format_args!("replica {} for {time:?}", replica.number));
        let trouble = self.begin_disturbance();
        tokio::spawn(async move {
            let _trouble = trouble;
            sleep(time).await;
            world.ledger.note(format_args!("replica {} goes on", replica.number));
            change(&world, &replica, false);
        });
    }

    fn take_away(self: &Arc<Self>, time: Duration, running: &[Arc<Replica>]) {
        for replica in running {
            self.while_lasts(time, replica, Self::cut_off);
        }
    }

    fn start_later(self: &Arc<Self>, away: Duration) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(away).await;
            if !world.is_calm()
                && let Err(cause) = world.start_replica().await
            {
                world.ledger.failed(format_args!("no replica starts: {cause}"));
            }
        });
    }

    async fn roll(self: &Arc<Self>, replica: &Arc<Replica>, before: bool) -> Result<(), Error> {
        if before {
            self.start_replica().await?;
        }
        replica.begin_shutdown();
        let (world, replica) = (Arc::clone(self), Arc::clone(replica));
        let ended = tokio::spawn(async move { world.shut_down(&replica).await });
        if !before {
            ended.await?;
            self.start_replica().await?;
        }
        Ok(())
    }

    /// Starts a second process of a client, once the first one is connected and all is well.
    async fn second(self: &Arc<Self>, peer: usize, peers: &[Exchange]) -> Result<(), Error> {
        let first = &peers[peer];
        let begun = Instant::now();
        sleep(Duration::from_secs(1)).await; // what breaks now is noticed by then
        while !self.is_well(peer, first) {
            if begun.elapsed() > UNTIL_WELL {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
        self.ledger.note("a second process");
        let second = self.start_second(peer).await?;
        let begun = Instant::now();
        let mut refused = false;
        while begun.elapsed() < SECOND_TRIES && self.is_well(peer, first) {
            let status = second.peers().into_iter().find(|it| it.name.as_str() == HUB);
            let Some(status) = status else { break };
            if status.is_connected() {
                self.ledger.failed(format_args!("a second process of {peer} is connected"));
                break;
            }
            refused |= status.last_error.is_some();
            sleep(Duration::from_millis(10)).await;
        }
        second.ask_to_shut_down_now();
        second.finished().await;
        if begun.elapsed() >= SECOND_TRIES && !refused {
            self.ledger.failed(format_args!("a second process of {peer} is not refused"));
        }
        Ok(())
    }

    /// Returns whether a client is connected to a replica to which nothing happens.
    fn is_well(&self, peer: usize, exchange: &Exchange) -> bool {
        let connected = exchange.peers().iter().any(PeerStatus::is_connected);
        let quiet = !self.is_disturbed();
        let owner = self.disk.owner(self.links[peer].id);
        let replicas = self.replicas();
        let reachable = replicas.iter().filter(|it| it.is_reachable());
        let owner = replicas.iter().find(|it| Some(it.id) == owner);
        let at_owner = |owner: &Arc<Replica>| {
            let mut peers = owner.exchange.peers().into_iter();
            let name = super::world::peer_name(peer);
            peers.any(|it| it.name.as_str() == name && it.is_connected())
        };
        quiet
            && connected
            && owner.is_some_and(at_owner)
            && reachable.into_iter().all(|it| it.is_well())
    }
}
