//! The record of what really happened to every message, as an observer of both services would keep
//! it. The links are judged by this and not by what they say of themselves.

use std::fmt;

use paddington_wire::MessageId;

use crate::scenario::Scenario;

/// A promise of `docs/delivery.md` that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breach {
    /// A message went to a living handler twice.
    Duplicate,
    /// A message went to the handler after one that was sent later.
    OutOfOrder,
    /// A message that was refused, or that no disk had, went to the handler.
    NeverAccepted,
    /// The handler was given another message than was sent under this number.
    WrongNumber,
    /// Two messages have the same number.
    NumberTwice,
    /// A message that the receiver had durably finished was handled again after its restart.
    FinishedAgain,
    /// A repeat after a restart does not say that it is one.
    RepeatNotFlagged,
    /// The sender has forgotten a message that is not handled.
    Forgotten,
    /// The sender believes in an outcome of a message that is not the true one.
    WrongOutcome,
    /// The inbox holds more than the window allows.
    OverWindow,
    /// The outbox holds more than it may.
    OverOutbox,
    /// More is under way than may be.
    OverFlight,
    /// The counts of a link do not add up.
    NotConserved,
    /// An honest service was accused of breaking the protocol.
    HonestAccused,
    /// The stored messages are not those that were sent, or have a hole.
    StoreHasHole,
    /// A request went to a handler twice.
    AskedTwice,
    /// A request went to a handler after one that was made later, or although it was cancelled before
    /// it was transmitted.
    AskedOutOfTurn,
    /// The requester was told something else than what happened to its request.
    WrongAnswer,
    /// The link has panicked.
    Panic,
    /// Nothing can happen any more although something is not delivered or not acknowledged.
    Stuck,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.promise())
    }
}

impl Breach {
    /// The promise in words.
    #[must_use]
    pub const fn promise(self) -> &'static str {
        match self {
            Self::Duplicate => "no message goes to a living handler twice",
            Self::OutOfOrder => "messages are handled in the order in which they were sent",
            Self::NeverAccepted => "what was not accepted is never delivered",
            Self::WrongNumber => "what is delivered is what was sent",
            Self::NumberTwice => "numbers are unique",
            Self::FinishedAgain => "what is durably finished is not handled again",
            Self::RepeatNotFlagged => "a repeat says that it is one",
            Self::Forgotten => "nothing is forgotten before it is handled",
            Self::WrongOutcome => "the sender knows what became of a message",
            Self::OverWindow => "the inbox stays within the window",
            Self::OverOutbox => "the outbox stays within its bound",
            Self::OverFlight => "what is under way stays within its bound",
            Self::NotConserved => {
                "accepted = acknowledged + rejected + expired + waiting, and the same for requests"
            }
            Self::HonestAccused => "an honest service breaks no rule of the protocol",
            Self::StoreHasHole => "a store can always be read back",
            Self::AskedTwice => "no request goes to a handler twice",
            Self::AskedOutOfTurn => "requests are asked in their order, and none in vain",
            Self::WrongAnswer => "a requester is told what became of its request",
            Self::Panic => "the link does not panic",
            Self::Stuck => "in the end everything is delivered and acknowledged",
        }
    }
}

/// The state of a call of `send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// `send` has not answered yet.
    Asked,
    /// `send` said Ok.
    Accepted,
    /// `send` said that it failed.
    Refused,
    /// The sender has crashed without having it on disk, or was set back to an older disk.
    Vanished,
}

/// The end of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finished {
    /// It has not ended.
    Not,
    /// It succeeded.
    Done,
    /// It gave the message up.
    Rejected,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The number that the link gave it.
    pub id: MessageId,
    /// Whether it is accepted.
    pub standing: Standing,
    /// Whether it has a deadline.
    pub mortal: bool,
    /// Whether the sender's disk has had it; always true without a disk.
    pub stored: bool,
    /// Whether its sender was set back since, so that it may come again at any time.
    pub may_repeat: bool,
    /// Whether any instance of the receiver was given it.
    pub delivered: bool,
    /// Whether the present instance of the receiver was given it.
    pub delivered_here: bool,
    /// The end of its handler, in any instance of the receiver.
    pub finished: Finished,
    /// Whether that was in the present instance of the receiver.
    pub finished_here: bool,
    /// Whether the disk from which the present instance of the receiver has started says so.
    pub known_finished: bool,
}

impl Entry {
    fn new(id: MessageId, standing: Standing, stored: bool) -> Self {
        Self {
            id,
            standing,
            mortal: false,
            stored,
            may_repeat: false,
            delivered: false,
            delivered_here: false,
            finished: Finished::Not,
            finished_here: false,
            known_finished: false,
        }
    }
}

/// The messages of one direction, in the order of `send`. A message's label is its index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// Every message ever sent.
    pub entries: Vec<Entry>,
}

impl Ledger {
    /// Begins with messages that an earlier instance has stored and not transmitted.
    pub fn left_over(&mut self, scenario: &Scenario) {
        for label in 0..scenario.left_over {
            let id = scenario.left_over_id(label);
            self.entries.push(Entry::new(id, Standing::Accepted, true));
        }
    }

    /// Writes down that the link has accepted a message. Returns its label.
    ///
    /// # Errors
    ///
    /// If its number is taken.
    pub fn sent(&mut self, id: MessageId, mortal: bool, durable: bool) -> Result<u8, Breach> {
        let taken = |entry: &Entry| entry.id == id && entry.standing != Standing::Refused;
        if self.entries.iter().any(taken) {
            return Err(Breach::NumberTwice);
        }
        let standing = if durable { Standing::Asked } else { Standing::Accepted };
        self.entries.push(Entry { mortal, ..Entry::new(id, standing, !durable) });
        Ok(self.entries.len() as u8 - 1)
    }

    /// Writes down that the receiver's application was given a message.
    ///
    /// # Errors
    ///
    /// If the application must not be given it.
    pub fn delivered(&mut self, id: MessageId, payload: &[u8], again: bool) -> Result<(), Breach> {
        let label = payload.first().map_or(usize::MAX, |label| usize::from(*label));
        let Some(entry) = self.entries.get(label) else { return Err(Breach::WrongNumber) };
        if entry.standing == Standing::Refused || !entry.stored {
            return Err(Breach::NeverAccepted);
        }
        if entry.id != id {
            return Err(Breach::WrongNumber);
        }
        if entry.delivered_here {
            return Err(Breach::Duplicate);
        }
        if entry.known_finished {
            return Err(Breach::FinishedAgain);
        }
        if entry.delivered && !again && !entry.may_repeat {
            return Err(Breach::RepeatNotFlagged);
        }
        if self.entries[label..].iter().any(|later| later.delivered_here && !later.may_repeat) {
            return Err(Breach::OutOfOrder);
        }
        let entry = &mut self.entries[label];
        (entry.delivered, entry.delivered_here) = (true, true);
        Ok(())
    }

    /// Writes down that `send` has answered, or that its sender is gone.
    ///
    /// # Errors
    ///
    /// If a message that is refused was delivered.
    pub fn stands(&mut self, label: u8, standing: Standing) -> Result<(), Breach> {
        let entry = &mut self.entries[usize::from(label)];
        entry.standing = standing;
        if standing == Standing::Refused && entry.delivered {
            return Err(Breach::NeverAccepted);
        }
        Ok(())
    }

    /// Writes down that a handler has ended.
    pub fn finished(&mut self, id: MessageId, how: Finished) {
        if let Some(entry) = self.entries.iter_mut().rfind(|entry| entry.id == id) {
            (entry.finished, entry.finished_here) = (how, true);
        }
    }

    /// Writes down that the receiver starts again, from a disk that calls these labels finished.
    pub fn receiver_restarts(&mut self, finished: u32) {
        for (label, entry) in self.entries.iter_mut().enumerate() {
            (entry.delivered_here, entry.finished_here) = (false, false);
            entry.known_finished = finished & (1 << label) != 0 && !entry.may_repeat;
        }
    }

    /// Writes down that the sender has crashed, and that its disk has these labels. Messages that
    /// it had accepted and not on disk are lost, which is excused without a disk, or after it was
    /// set back.
    pub fn sender_restarts(&mut self, on_disk: u32, excused: bool) {
        for (label, entry) in self.entries.iter_mut().enumerate() {
            let lost = on_disk & (1 << label) == 0 && entry.finished == Finished::Not;
            let promised = entry.standing == Standing::Accepted && !excused;
            if lost && !promised && entry.standing != Standing::Refused {
                entry.standing = Standing::Vanished;
            }
        }
    }

    /// Writes down that the sender was set back to an older disk: everything so far may come again.
    pub fn sender_set_back(&mut self) {
        for entry in &mut self.entries {
            (entry.delivered_here, entry.known_finished) = (false, false);
            entry.may_repeat = true;
        }
    }

    /// Number of messages that the sender has promised to deliver and has not. Deadlines that are
    /// over are excused.
    pub fn owed(&self, deadlines_over: bool) -> usize {
        let owed = |entry: &&Entry| {
            entry.standing == Standing::Accepted
                && entry.finished == Finished::Not
                && !(entry.mortal && deadlines_over)
        };
        self.entries.iter().filter(owed).count()
    }

    /// The label of a message that was not refused.
    #[must_use]
    pub fn label(&self, id: MessageId) -> Option<u8> {
        let index = self.entries.iter().rposition(|entry| entry.id == id)?;
        Some(index as u8)
    }
}
