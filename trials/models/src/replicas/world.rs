//! The two replicas, the peer, and what is between them: what there is, and what can happen.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use paddington_wire::link::{AckTime, Link, LinkConfig, StoredCursor};
use paddington_wire::{Frame, MessageId, Slot};

use super::act::{Act, Budget, Rule};
use super::database::{Database, History, Process, Write, replica_of};
use super::judge::{Breach, Story};
use crate::connection::{CLIENT, Connection, End, SERVER};
use crate::side::{COST, instance};

/// Number of replicas.
pub(super) const REPLICAS: usize = 2;
/// How many connections may be there at a time: one that stands and one whose end lingers.
const CONNECTIONS: usize = 2;
/// The most frames under way in each direction of a connection.
const FRAMES: usize = 2;
/// The most lazy writes of a replica that are under way.
const WRITES: usize = 2;

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) without: Option<Rule>,
    pub(super) left: Budget,
    pub(super) database: Database,
    /// What a standby has.
    pub(super) copy: Option<Box<Database>>,
    pub(super) history: History,
    /// The message whose transaction has lost its connection, and who has submitted it.
    pub(super) undecided: Option<(usize, u8)>,
    pub(super) replicas: [Replica; REPLICAS],
    pub(super) peer: Link,
    pub(super) slot: Slot,
    pub(super) connections: Vec<Dialled>,
    pub(super) story: Story,
    pub(super) breach: Option<Breach>,
}

/// A connection to a replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Dialled {
    pub(super) to: usize,
    /// Whether the replica has not claimed the link for it yet.
    pub(super) asks: bool,
    /// The term that it belongs to.
    pub(super) fence: u64,
    pub(super) ends: Connection,
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Replica {
    pub(super) process: Process,
    /// Whether it does not reach the database.
    pub(super) is_cut_off: bool,
    /// Whether its lease has lapsed in its own eyes.
    pub(super) has_lapsed: bool,
    /// Whether it is dead in the eyes of the database.
    pub(super) has_expired: bool,
    /// Whether it was told that it must not call its handler.
    pub(super) is_told: bool,
    pub(super) term: Option<Term>,
    /// An earlier term that is in the lane still.
    pub(super) leaving: Option<Leaving>,
    /// The call that runs: its term, and the message.
    pub(super) call: Option<(u64, MessageId, u8)>,
    /// Whether that is excused, because the replica counts as dead since, or did when it began.
    pub(super) is_doubtful: bool,
    /// What the database does not have yet, with the term that it belongs to.
    pub(super) writes: VecDeque<(u64, Write)>,
    /// The message that was stored, which it has not heard yet.
    pub(super) stored: Option<(MessageId, u8)>,
    /// The message of which it does not know whether it is stored, and its id if it is.
    pub(super) unsure: Option<(u8, Option<MessageId>)>,
}

/// The time between two claims, at the owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Term {
    pub(super) fence: u64,
    pub(super) link: Link,
    pub(super) slot: Slot,
    pub(super) inbox: VecDeque<(MessageId, u8)>,
    pub(super) has_lane: bool,
    /// What was handled elsewhere before the lane was free.
    pub(super) elsewhere: Vec<StoredCursor>,
    /// The last message of the stream that the link has, and that is known.
    pub(super) followed: u64,
    pub(super) newest: u64,
}

/// A term that is in the lane, and over otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leaving {
    pub(super) fence: u64,
    /// The link that learns how the call ends, if it was given up in order.
    pub(super) link: Option<Box<Link>>,
}

impl Replica {
    fn new(process: Process) -> Self {
        Self {
            process,
            is_cut_off: false,
            has_lapsed: false,
            has_expired: false,
            is_told: false,
            term: None,
            leaving: None,
            call: None,
            is_doubtful: false,
            writes: VecDeque::new(),
            stored: None,
            unsure: None,
        }
    }

    /// Starts it again after it was killed.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.process + REPLICAS as Process);
    }

    /// Whether it reaches the database and lives in its own eyes.
    pub(super) fn is_well(&self) -> bool {
        !self.is_cut_off && !self.has_lapsed
    }
}

impl World {
    /// Before anything has happened.
    pub(super) fn new(left: Budget, without: Option<Rule>) -> Self {
        Self {
            without,
            left,
            database: Database::default(),
            copy: None,
            history: History::default(),
            undecided: None,
            replicas: [Replica::new(0), Replica::new(1)],
            peer: Link::new(config(), instance(CLIENT, 1)),
            slot: Slot::default(),
            connections: Vec::new(),
            story: Story::default(),
            breach: None,
        }
    }

    pub(super) fn lacks(&self, rule: Rule) -> bool {
        self.without == Some(rule)
    }

    /// Whether a process lives in the eyes of the database.
    pub(super) fn lives(replicas: &[Replica; REPLICAS], process: Process) -> bool {
        let replica = &replicas[replica_of(process)];
        replica.process == process && !replica.has_expired
    }

    /// Collects the events that can happen now. Some may turn out to change nothing.
    pub(super) fn acts(&self, acts: &mut Vec<Act>) {
        if self.breach.is_some() {
            return;
        }
        if self.left.sends > 0 {
            acts.push(Act::Send);
        }
        if self.undecided.is_some() {
            acts.push(Act::Commit);
        }
        for at in 0..REPLICAS {
            self.acts_of(at, acts);
        }
        self.acts_of_connections(acts);
        self.troubles(acts);
    }

    fn acts_of(&self, at: usize, acts: &mut Vec<Act>) {
        let replica = &self.replicas[at];
        if replica.call.is_some() {
            acts.push(Act::End(at));
        } else if replica.term.as_ref().is_some_and(|term| !term.inbox.is_empty()) {
            acts.push(Act::Begin(at));
        }
        if replica.is_cut_off {
            acts.push(Act::Contact(at));
            if !replica.has_lapsed {
                acts.push(Act::Lapse(at));
            } else if !replica.has_expired {
                acts.push(Act::Expire(at));
            }
            return;
        }
        if replica.has_lapsed {
            acts.push(Act::Recover(at));
        } else if replica.has_expired {
            acts.push(Act::Notice(at));
        }
        if replica.stored.is_some() {
            acts.push(Act::Hear(at));
        }
        if replica.unsure.is_some() {
            acts.push(Act::Decide(at));
        }
        if replica.stored.is_none() && replica.unsure.is_none() && self.left.accepts > 0 {
            acts.push(Act::Accept(at, true));
            if self.left.lost > 0 && self.told_of_accept().is_some_and(|owner| owner != at) {
                acts.push(Act::Accept(at, false));
            }
            if self.left.undecided > 0 {
                acts.push(Act::Submit(at));
            }
        }
        if !replica.writes.is_empty() {
            acts.push(Act::Write(at));
        }
        if replica.leaving.is_some() && replica.call.is_none() {
            acts.push(Act::Leave(at));
        }
        let Some(term) = &replica.term else { return };
        if !term.has_lane && replica.leaving.is_none() {
            acts.push(Act::TakeLane(at));
        }
        if term.followed < term.newest {
            acts.push(Act::Follow(at));
        }
        if replica.writes.len() < WRITES {
            acts.push(Act::Gather(at));
        }
    }

    fn acts_of_connections(&self, acts: &mut Vec<Act>) {
        let is_dialled = self.connections.iter().any(|it| it.ends.ends[CLIENT] != End::Gone);
        if !is_dialled && self.connections.len() < CONNECTIONS {
            // Nobody is led to a replica that is not ready.
            let well = |at: &usize| self.replicas[*at].is_well();
            acts.extend((0..REPLICAS).filter(well).map(Act::Dial));
        }
        for (index, dialled) in self.connections.iter().enumerate() {
            for end in [CLIENT, SERVER] {
                if dialled.ends.ends[end] != End::Gone && !dialled.ends.frames[end].is_empty() {
                    acts.push(Act::Deliver(index, end));
                }
                if dialled.ends.can_end(end) {
                    acts.push(Act::Finish(index, end));
                }
            }
            if dialled.asks {
                let well = self.replicas[dialled.to].is_well();
                acts.push(if well { Act::Claim(index) } else { Act::Refuse(index) });
                acts.push(Act::Yield(1 - dialled.to));
            }
        }
        for at in 0..REPLICAS {
            acts.push(Act::Look(at));
            let Some(term) = &self.replicas[at].term else { continue };
            if self.can_write(SERVER, Some(at)) {
                acts.push(Act::Transmit(Some(at)));
                if term.link.ack_time(0) != AckTime::Never {
                    acts.push(Act::Acknowledge(Some(at)));
                }
            }
        }
        if self.can_write(CLIENT, None) {
            acts.push(Act::Transmit(None));
            if self.peer.ack_time(0) != AckTime::Never {
                acts.push(Act::Acknowledge(None));
            }
        }
    }

    fn troubles(&self, acts: &mut Vec<Act>) {
        let left = &self.left;
        if left.cuts > 0 {
            let whole = |&index: &usize| !self.connections[index].ends.broken;
            acts.extend((0..self.connections.len()).filter(whole).map(Act::Cut));
        }
        if left.redials > 0 && self.connections.iter().any(|it| it.ends.live(CLIENT).is_some()) {
            acts.push(Act::Redial);
        }
        for at in 0..REPLICAS {
            let replica = &self.replicas[at];
            if left.kills > 0 {
                acts.push(Act::Kill(at));
            }
            if left.cut_offs > 0 && replica.is_well() {
                acts.push(Act::CutOff(at));
            }
            if left.ended > 0 && replica.is_well() && !replica.has_expired {
                acts.push(Act::EndSession(at));
            }
        }
        if left.failovers > 0 {
            acts.extend(self.copy.is_none().then_some(Act::Copy));
            acts.push(Act::FailOver);
        }
    }

    /// Returns the connection on which an end may write: the peer's, or that of a replica's term.
    pub(super) fn live(&self, end: usize, at: Option<usize>) -> Option<usize> {
        let fence = at.and_then(|at| Some((at, self.replicas[at].term.as_ref()?.fence)));
        let of_end = |it: &Dialled| end == CLIENT || fence == Some((it.to, it.fence));
        self.connections.iter().position(|it| it.ends.live(end).is_some() && of_end(it))
    }

    fn can_write(&self, end: usize, at: Option<usize>) -> bool {
        let Some(index) = self.live(end, at) else { return false };
        let ends = &self.connections[index].ends;
        !ends.broken && ends.frames[1 - end].len() < FRAMES
    }

    /// Lets an event happen, and judges what then is so. Returns whether it has changed anything.
    pub(super) fn step(&mut self, act: Act) -> bool {
        let stepped = catch_unwind(AssertUnwindSafe(|| self.apply(act)));
        let stepped = stepped.unwrap_or(Err(Breach::Panic));
        self.connections.retain(|it| !it.ends.is_over());
        let judged = stepped.and_then(|changed| self.judge().map(|()| changed));
        judged.unwrap_or_else(|breach| {
            self.breach = Some(breach);
            true
        })
    }

    fn apply(&mut self, act: Act) -> Result<bool, Breach> {
        match act {
            Act::Send => Ok(self.send()),
            Act::Accept(at, told) => Ok(self.accept(at, told)),
            Act::Hear(at) => Ok(self.hear(at)),
            Act::Submit(at) => Ok(self.submit(at)),
            Act::Commit => self.commit(),
            Act::Decide(at) => self.decide(at),
            Act::Dial(at) => Ok(self.dial(at)),
            Act::Claim(index) => Ok(self.claim(index)),
            Act::Refuse(index) => Ok(self.refuse(index)),
            Act::Yield(at) => Ok(self.give_up(at)),
            Act::Leave(at) => Ok(self.leave_lane(at)),
            Act::TakeLane(at) => Ok(self.take_lane(at)),
            Act::Look(at) => Ok(self.look(at)),
            Act::Follow(at) => Ok(self.follow(at)),
            Act::Transmit(at) => Ok(self.transmit(at)),
            Act::Acknowledge(at) => Ok(self.acknowledge(at)),
            Act::Deliver(index, end) => self.deliver(index, end),
            Act::Finish(index, end) => Ok(self.finish(index, end)),
            Act::Begin(at) => self.begin(at),
            Act::End(at) => Ok(self.end(at)),
            Act::Gather(at) => Ok(self.gather(at)),
            Act::Write(at) => Ok(self.write_next(at)),
            trouble => Ok(self.suffer(trouble)),
        }
    }
}

/// The settings of all links.
pub(super) fn config() -> LinkConfig {
    LinkConfig {
        window: 8 * COST as u32,
        max_payload: 1,
        outbox_messages: 8,
        outbox_bytes: 8 * COST,
        in_flight: 8,
        mark_step: 8,
        batch: 0,
        ack_delay: 0, // a driver may still take its time
        listed: 8,
        ended_time: 1,
        ended: 8,
        ..LinkConfig::default()
    }
}

/// Writes a frame of a link on the connection with index `live`, if there is one to write.
pub(super) fn push(
    connections: &mut [Dialled],
    live: usize,
    to: usize,
    frame: Option<Frame>,
) -> bool {
    let written = frame.is_some();
    connections[live].ends.frames[to].extend(frame);
    written
}
