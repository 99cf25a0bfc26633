//! The scenarios of the model: which service keeps what, and how much goes wrong.

use paddington_wire::{Data, MessageId, Messages};

use crate::bound::Bound;
use crate::connection::CLIENT;
use crate::side::{COST, instance};

/// Where a service keeps its messages and cursors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keeping {
    /// In memory: it is lost with the process.
    Memory,
    /// On a disk.
    Durable,
}

/// A mistake in the driver of the link, not in the link itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sabotage {
    /// A restarted service goes on with the instance, and so with the numbers, of its predecessor.
    OneNumberSpace,
    /// A message whose outcome is known by the time it would be written is not written.
    WrittenOnlyWhileWaiting,
    /// A message that could not be stored is not taken back.
    RefusedButQueued,
}

impl Sabotage {
    /// Every mistake.
    pub const ALL: &[Self] =
        &[Self::OneNumberSpace, Self::WrittenOnlyWhileWaiting, Self::RefusedButQueued];
}

/// How often each thing may still happen, for client and server where there are two numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Messages.
    pub sends: [u8; 2],
    /// Requests.
    pub asks: [u8; 2],
    /// A connection breaks and loses what is under way.
    pub cuts: u8,
    /// The client leaves its connection for a new one; what it has sent still arrives.
    pub redials: u8,
    /// A process dies and is started again.
    pub crashes: [u8; 2],
    /// The same, onto an older copy of its disk.
    pub set_backs: [u8; 2],
    /// A disk refuses what it is given.
    pub failures: [u8; 2],
    /// A handler gives a message up.
    pub rejections: u8,
    /// A handler fails on a request.
    pub refusals: u8,
    /// A request is cancelled.
    pub cancels: u8,
    /// Deadlines pass.
    pub ticks: u8,
    /// A second process with the client's invitation takes its place. It sends nothing, and leaves
    /// again.
    pub twins: u8,
}

/// One situation, to be explored in every order of events.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Where the client and the server keep their messages and cursors.
    pub keeping: [Keeping; 2],
    /// The window of both, in messages.
    pub window: u32,
    /// The most messages in one frame.
    pub together: u32,
    /// The most frames under way in each direction of a connection.
    pub frames: usize,
    /// The most handlers at a time, which may end in any order.
    pub handlers: usize,
    /// Whether a disk answers some time after the write is durable.
    pub late_answers: bool,
    /// Number of messages that an earlier instance of the client has left on its disk.
    pub left_over: u8,
    /// Whether each of them is of an instance of its own.
    pub spread: bool,
    /// The most messages in an outbox.
    pub outbox: usize,
    /// The most messages of a stream that are transmitted and not acknowledged.
    pub in_flight: u64,
    /// The most requests that are not answered.
    pub requests: u16,
    /// The most messages by which a transmission mark is ahead.
    pub mark_step: u64,
    /// The number of rejections after which completions are held back.
    pub rejections: usize,
    /// The most streams that READY lists.
    pub listed: usize,
    /// The most instances of the peer that have ended and are remembered.
    pub ended: usize,
    /// The bound that has to be reached in it.
    pub bound: Option<Bound>,
    /// The message of each service that has a deadline, counted from 0.
    pub mortal: Option<u8>,
    /// The events that may happen.
    pub budget: Budget,
    /// The mistake in the driver.
    pub sabotage: Option<Sabotage>,
}

impl Scenario {
    /// The window in bytes. At least one longest message fits.
    #[must_use]
    pub fn window(&self) -> u64 {
        (u64::from(self.window) * COST).max(Data::cost(self.longest() as usize))
    }

    /// The longest message, and so the longest batch, in bytes. A message of the model has one
    /// byte.
    #[must_use]
    pub fn longest(&self) -> u32 {
        self.batch().max(1)
    }

    /// The longest batch, in bytes; 0 where messages travel alone.
    #[must_use]
    pub fn batch(&self) -> u32 {
        if self.together > 1 { self.together * Messages::entry_len(1) as u32 } else { 0 }
    }

    /// The number of a message that was left over.
    #[must_use]
    pub fn left_over_id(&self, label: u8) -> MessageId {
        match self.spread {
            false => MessageId { stream: instance(CLIENT, 0), number: u64::from(label) + 1 },
            true => MessageId { stream: instance(CLIENT, 100 + label), number: 1 },
        }
    }

    /// Returns whether both services keep everything in memory and none is ever restarted.
    #[must_use]
    pub fn nobody_dies(&self) -> bool {
        self.budget.crashes == [0, 0] && self.budget.set_backs == [0, 0]
    }
}
