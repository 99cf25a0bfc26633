//! A replica of the service: a process that sends, handles, and ends in some way.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Error;
use paddington::{Control, Exchange, Handler, Message};
use paddington_exchange::store::ReplicaId;
use paddington_exchange::{Config, Listen, SendError, Setup, Storage};
use paddington_test_support::{Held, TestLink};
use tokio::time::sleep;

use super::balancer::{Balanced, Dialler};
use super::calls::Kind;
use super::ledger::Answer;
use super::plan::LEASE;
use super::world::{HUB, PORT, World, peer_name};

/// The time for which another replica may dial the server after the owner of the link has changed.
const LATE: Duration = Duration::from_secs(1);

/// A replica.
pub(crate) struct Replica {
    pub(crate) number: usize,
    pub(crate) id: ReplicaId,
    pub(crate) exchange: Exchange,
    pub(crate) address: SocketAddr,
    source: IpAddr,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    course: Course,
    is_frozen: bool,
    is_cut_off: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Course {
    #[default]
    Running,
    ShuttingDown,
    ShutDown,
    Killed,
}

impl World {
    /// Starts another replica.
    pub(crate) async fn start_replica(self: &Arc<Self>) -> Result<Arc<Replica>, Error> {
        let number = self.ledger.started();
        let (id, store) = self.disk.open();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT + 1 + number as u16));
        let source = Ipv4Addr::new(127, 0, 2, 1 + number as u8).into();
        let random = self.random(1_000 + number as u64);
        let network = Balanced::network(self, source, Dialler::Replica(number), random);
        let (clients, servers) = self.links.split_at(self.plan.clients);
        let config = Config { concurrency: self.plan.concurrency, ..self.settings() };
        let setup = Setup {
            name: HUB.parse()?,
            listen: Some(Listen { address, path: "/".to_owned(), tls: None }),
            clients: clients.iter().map(TestLink::invited).collect(),
            servers: servers.iter().map(|link| link.server_at(PORT)).collect(),
            network,
            store: Storage::Shared(store),
            key_store: None,
            config,
        };
        let exchange = Exchange::start(setup, self.handler(number, id)).await?;
        let state = Mutex::default();
        let replica = Arc::new(Replica { number, id, exchange, address, source, state });
        self.replicas().push(Arc::clone(&replica));
        self.ledger.note(format_args!("replica {number} started"));
        Ok(replica)
    }

    /// Returns the handler of a replica.
    fn handler(self: &Arc<Self>, number: usize, id: ReplicaId) -> impl Handler + use<> {
        let world = Arc::clone(self);
        move |message: Message| {
            let world = Arc::clone(&world);
            async move {
                world.handle(number, id, &message).await;
                Ok::<(), Error>(())
            }
        }
    }

    async fn handle(&self, replica: usize, id: ReplicaId, message: &Message) {
        let name = message.control().map_or(message.sender(), |it| it.agent().as_str());
        let Some(peer) = self.peer(name) else {
            return self.ledger.failed(format_args!("a message came from {name:?}"));
        };
        if let Some(control) = message.control() {
            let connected = matches!(control, Control::Connected { .. });
            return self.ledger.announced(replica, peer, connected);
        }
        let Ok(number) = message.payload().parse::<usize>() else {
            return self.ledger.failed(format_args!("from {peer} came {:?}", message.payload()));
        };
        let told_off = self.disk.told_off(self.links[peer].id, id).map(|at| self.ledger.at(at));
        let mut lives = self.ledger.begun(replica, (peer, number), message, told_off);
        if lives {
            let time = self.handling_time(peer, number);
            if !time.is_zero() {
                sleep(time).await;
            }
            lives = self.ledger.ended(replica, (peer, number));
        }
        if !lives {
            std::future::pending::<()>().await; // no process, no answer
        }
    }

    /// The time that a message of a peer takes to handle.
    fn handling_time(&self, peer: usize, number: usize) -> Duration {
        let mut random = self.random((peer as u64 + 1) << 32 | number as u64);
        match random.below(100) {
            0..20 => Duration::ZERO,
            20..99 => random.up_to(Duration::from_millis(300)),
            _ => Duration::from_secs(5),
        }
    }

    /// Sends messages to a peer from any replica, one after the other was accepted.
    pub(crate) async fn send_to(self: Arc<Self>, peer: usize) {
        let mut random = self.random(2_000 + peer as u64);
        while !self.is_calm() {
            let pause = random.up_to(Duration::from_millis(600));
            if random.percent(60) {
                sleep(pause).await;
                if self.is_calm() {
                    return; // so that no signal of a later one tells of the last that were lost
                }
            }
            let replicas = self.running();
            if replicas.is_empty() {
                sleep(pause).await;
                continue;
            }
            let replica = Arc::clone(&replicas[random.below(replicas.len())]);
            self.send_one(&replica, peer).await;
        }
    }

    async fn send_one(self: &Arc<Self>, replica: &Arc<Replica>, peer: usize) {
        let number = self.ledger.offer(peer, replica.number);
        let sent = replica.exchange.send(Message::new(peer_name(peer), number.to_string())).await;
        let answer = match &sent {
            _ if replica.is_killed() => Answer::Unsure,
            Ok(_) => Answer::Accepted,
            Err(SendError::StorageUnsure(_)) => Answer::Unsure,
            Err(_) => Answer::Refused,
        };
        self.ledger.answered(peer, number, answer);
        let Ok(receipt) = sent else { return sleep(Duration::from_millis(50)).await };
        let (world, replica) = (Arc::clone(self), Arc::clone(replica));
        tokio::spawn(async move {
            let delivered = receipt.await;
            if !replica.is_killed() {
                let ending = !replica.is_running();
                world.ledger.settled(peer, number, delivered, ending);
            }
        });
    }

    /// Checks that a replica that dials the server owns the link, as far as it can know.
    pub(crate) fn check_dialler(self: &Arc<Self>, replica: &Arc<Replica>) {
        let Some(link) = self.links.get(self.plan.clients).map(|link| link.id) else { return };
        let told_off = self.disk.told_off(link, replica.id).map(|at| self.ledger.at(at));
        let is_late = |at: Duration| at + LATE < self.ledger.now();
        if self.disk.owner(link) != Some(replica.id) && told_off.is_some_and(is_late) {
            self.ledger.failed(format_args!(
                "replica {} dials the server, whose link it does not own",
                replica.number
            ));
        }
    }

    /// Ends a replica as a kill does: nothing of it reaches anybody any more.
    pub(crate) fn kill(&self, replica: &Replica) {
        replica.state().course = Course::Killed;
        self.ledger.killed(replica.number);
        self.disk.kill(replica.id);
        replica.cables(self).cut();
        replica.exchange.ask_to_shut_down_now();
    }

    /// Shuts a replica down in order, as was decided.
    pub(crate) async fn shut_down(&self, replica: &Replica) {
        let report = replica.exchange.shutdown().await;
        self.disk.kill(replica.id); // its process has ended, whether it reached the database or not
        let mut state = replica.state();
        if state.course == Course::Killed {
            return;
        }
        state.course = Course::ShutDown;
        drop(state);
        let number = replica.number;
        self.ledger.note(format_args!("replica {number} is shut down"));
        let is_cut_off = replica.state().is_cut_off;
        if is_cut_off {
            // What it could not write is gone with it.
            self.ledger.begin_trouble(number, Kind::Killed, Duration::MAX / 2);
        }
        let is_orderly = report.unfinished.is_empty() && report.unsent.is_empty();
        if !is_orderly && !is_cut_off {
            self.ledger.failed(format_args!("replica {number} has shut down with {report:?}"));
        }
    }

    /// Cuts a replica off from the database, or connects it again.
    pub(crate) fn cut_off(&self, replica: &Replica, cut_off: bool) {
        let was_cut_off = std::mem::replace(&mut replica.state().is_cut_off, cut_off);
        if was_cut_off == cut_off || replica.is_killed() {
            return;
        }
        self.disk.cut_off(replica.id, cut_off);
        if cut_off {
            self.ledger.begin_trouble(replica.number, Kind::CutOff, Duration::MAX / 2);
        } else {
            self.ledger.end_trouble(replica.number);
        }
    }

    /// Ends the session of a replica in the database.
    pub(crate) fn end_session(&self, replica: &Replica) {
        self.disk.end_session(replica.id);
        self.ledger.begin_trouble(replica.number, Kind::SessionEnded, LEASE / 4);
    }
}

impl Replica {
    /// Decides that it shuts down.
    pub(crate) fn begin_shutdown(&self) {
        self.state().course = Course::ShuttingDown;
    }

    /// Returns whether it runs and does not shut down.
    pub(crate) fn is_running(&self) -> bool {
        self.state().course == Course::Running
    }

    /// Returns whether it is there to be dialled.
    pub(crate) fn is_reachable(&self) -> bool {
        matches!(self.state().course, Course::Running | Course::ShuttingDown)
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.state().course == Course::Killed
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.state().is_frozen
    }

    /// Returns whether it is well: it runs, reaches the database and its peers, and has its lease.
    pub(crate) fn is_well(&self) -> bool {
        let has_lease = self.exchange.replica().is_some_and(|it| !it.lease.is_zero());
        let state = self.state();
        has_lease && state.course == Course::Running && !state.is_frozen && !state.is_cut_off
    }

    /// Lets connections carry nothing, or go on.
    pub(crate) fn freeze(&self, world: &World, frozen: bool) {
        self.state().is_frozen = frozen;
        if frozen {
            self.cables(world).freeze();
        } else {
            self.cables(world).thaw();
        }
    }

    /// Returns its connections.
    pub(crate) fn cables(&self, world: &World) -> Held {
        let (address, own) = (self.address, self.source);
        world.network.pick(move |listener, source| listener == address || source == own)
    }

    /// Returns what it knows of its peers, in words.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("replica {} ({:?}):", self.number, self.state());
        for peer in self.exchange.peers() {
            let (out, inbox) = (peer.outbox_messages, peer.inbox_messages);
            let connected = peer.is_connected();
            let _ = write!(text, " {} {out}/{inbox} {connected}", peer.name); // a string
        }
        text
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
