//! The real story of every message, and the promises of `docs/cluster.md` by which it is judged.

use std::fmt;

use super::database::{Database, Process};
use super::world::World;

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breach {
    /// A message that was accepted is nowhere, and the peer does not have it.
    Lost,
    /// The peer has dropped a message whose handler is not done.
    Forgotten,
    /// The peer was given a message twice.
    Doubled,
    /// A message was delivered, or handled for the first time, after one that was accepted later.
    OutOfOrder,
    /// A message was delivered that was refused, or never sent.
    NeverAccepted,
    /// A message was handled again although its replica lives, or has made durable that it was handled.
    HandledAgain,
    /// Handlers run at two replicas that live.
    TwoHandlers,
    /// A replica calls its handler after it was told that the link is not its own.
    CalledAfterTold,
    /// An honest service was accused of breaking the protocol.
    HonestAccused,
    /// The link has panicked.
    Panic,
    /// Nothing can happen any more although something is not delivered or not acknowledged.
    Stuck,
}

impl Breach {
    /// The promise in words.
    #[must_use]
    pub const fn promise(self) -> &'static str {
        match self {
            Self::Lost => "what was accepted is stored until the peer has it",
            Self::Forgotten => "the peer keeps what is not handled",
            Self::Doubled => "the peer is given nothing twice",
            Self::OutOfOrder => "messages come in the order in which they were accepted",
            Self::NeverAccepted => "what was refused is never delivered",
            Self::HandledAgain => "nothing is handled again without a replica that fails",
            Self::TwoHandlers => "handlers of one peer run at one replica at a time",
            Self::CalledAfterTold => "whoever was told that a link is not its own calls no handler",
            Self::HonestAccused => "an honest service breaks no rule of the protocol",
            Self::Panic => "the link does not panic",
            Self::Stuck => "in the end everything is delivered and acknowledged",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.promise())
    }
}

/// What became of a message to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    /// Nobody was told yet.
    Asked,
    Accepted,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Accepted {
    standing: Standing,
    /// Its place in the order of the database, once it is stored.
    place: Option<u8>,
    /// Whether the database has forgotten it.
    is_lost: bool,
    has_arrived: bool,
}

/// A message of the peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Sent {
    /// Who has called the handler last.
    by: Option<Process>,
    is_done: bool,
    /// Whether the database has known that it is handled.
    is_durable: bool,
    /// Whether the next call is excused: the replica of the last one counts as dead.
    may_repeat: bool,
}

/// The real story of all messages. A message's label is its index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Story {
    accepted: Vec<Accepted>,
    places: u8,
    sent: Vec<Sent>,
}

type Kept = Result<(), Breach>;

impl Story {
    pub(super) fn offered(&mut self) -> u8 {
        let standing = Standing::Asked;
        self.accepted.push(Accepted { standing, place: None, is_lost: false, has_arrived: false });
        self.accepted.len() as u8 - 1
    }

    pub(super) fn stored(&mut self, label: u8) {
        self.accepted[usize::from(label)].place = Some(self.places);
        self.places += 1;
    }

    pub(super) fn answered(&mut self, label: u8, standing: Standing) {
        self.accepted[usize::from(label)].standing = standing;
    }

    pub(super) fn arrived(&mut self, label: u8) -> Kept {
        let Some(message) = self.accepted.get(usize::from(label)) else {
            return Err(Breach::NeverAccepted);
        };
        let Some(place) = message.place else { return Err(Breach::NeverAccepted) };
        if message.standing == Standing::Refused {
            return Err(Breach::NeverAccepted);
        }
        if message.has_arrived {
            return Err(Breach::Doubled);
        }
        let earlier = |it: &&Accepted| it.place.is_some_and(|other| other < place) && !it.is_lost;
        if self.accepted.iter().filter(earlier).any(|it| !it.has_arrived) {
            return Err(Breach::OutOfOrder);
        }
        self.accepted[usize::from(label)].has_arrived = true;
        Ok(())
    }

    pub(super) fn sent(&mut self) -> u8 {
        self.sent.push(Sent::default());
        self.sent.len() as u8 - 1
    }

    /// Notes that a replica calls its handler; `is_dead` is whether it counts as dead without knowing it.
    fn begins(&mut self, label: u8, by: Process, is_dead: bool) -> Kept {
        let index = usize::from(label);
        if self.sent[..index].iter().any(|earlier| earlier.by.is_none()) {
            return Err(Breach::OutOfOrder);
        }
        let message = &mut self.sent[index];
        if message.by.is_some() && !message.may_repeat {
            return if is_dead { Ok(()) } else { Err(Breach::HandledAgain) };
        }
        (message.by, message.may_repeat) = (Some(by), is_dead);
        Ok(())
    }

    pub(super) fn done(&mut self, label: u8) {
        self.sent[usize::from(label)].is_done = true;
    }

    /// Notes what the database knows to be handled.
    pub(super) fn durable(&mut self, database: &Database) {
        for (message, number) in self.sent.iter_mut().zip(1..) {
            if database.has_handled(number) {
                (message.is_durable, message.may_repeat) = (true, false);
            }
        }
    }

    /// Notes that a replica counts as dead: what it handles, or has handled and not made durable, may be
    /// handled again.
    pub(super) fn trouble(&mut self, process: Process) {
        for message in self.sent.iter_mut().filter(|it| it.by == Some(process)) {
            message.may_repeat |= !message.is_durable;
        }
    }

    /// Notes that the database is another one, which has forgotten the rest.
    pub(super) fn fail_over(&mut self, database: &Database) {
        for (label, message) in (0..).zip(&mut self.accepted) {
            let is_stored = database.waiting().any(|it| it == label);
            message.is_lost |= !is_stored && !message.has_arrived;
        }
        for (message, number) in self.sent.iter_mut().zip(1..) {
            if !database.has_handled(number) && message.by.is_some() {
                (message.is_durable, message.may_repeat) = (false, true);
            }
        }
    }
}

impl World {
    /// A replica begins a call.
    pub(super) fn story_begins(&mut self, at: usize, label: u8) -> Kept {
        let there = &self.replicas[1 - at];
        let runs = there.call.is_some() && !there.is_doubtful;
        let here = &mut self.replicas[at];
        if here.is_told {
            return Err(Breach::CalledAfterTold);
        }
        let is_dead = here.has_expired && !here.has_lapsed;
        if runs && !is_dead {
            return Err(Breach::TwoHandlers);
        }
        here.is_doubtful = is_dead;
        self.story.begins(label, here.process, is_dead)
    }

    /// Looks whether everything is as promised.
    pub(super) fn judge(&self) -> Kept {
        for (label, message) in (0..).zip(&self.story.accepted) {
            let is_owed = message.place.is_some() && !message.is_lost && !message.has_arrived;
            if is_owed && !self.database.waiting().any(|it| it == label) {
                return Err(Breach::Lost);
            }
            if message.standing == Standing::Refused && message.has_arrived {
                return Err(Breach::NeverAccepted);
            }
        }
        let undone = self.story.sent.iter().filter(|message| !message.is_done).count();
        if undone > self.peer.outbox_messages() {
            return Err(Breach::Forgotten);
        }
        Ok(())
    }

    /// Whether everything is delivered and acknowledged.
    pub(super) fn is_settled(&self) -> bool {
        let replicas = self.replicas.iter();
        let waits = |it: &super::world::Replica| {
            it.stored.is_some() || it.unsure.is_some() || it.call.is_some()
        };
        self.left.sends + self.left.accepts == 0
            && self.undecided.is_none()
            && self.peer.outbox_messages() == 0
            && self.database.waiting().next().is_none()
            && !replicas.into_iter().any(waits)
            && self.story.sent.iter().all(|message| message.is_done)
    }
}
