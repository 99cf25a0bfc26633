//! Operations that callers ask of the store's thread.

use paddington_exchange::store::{
    DeadLetter, LetterId, Mailbox, MailboxStatus, NewMessage, Purged, StoreError, StoredCursor,
    StoredStream,
};
use paddington_wire::{MessageId, Payload};

use crate::lazies::Lazies;
use crate::survey::Survey;
use paddington_exchange::store::parts::Waiter;

/// The key of a queue: a mailbox, or `None` for operations that belong to no single one.
pub(crate) type QueueKey = Option<Mailbox>;

/// A change that is durable before it is answered.
#[derive(Debug)]
pub(crate) enum Write {
    Append(NewMessage, Waiter<()>),
    Attempt(MessageId, Waiter<u32>),
    Uncount(MessageId, Waiter<()>),
    /// Writes what comes before it in the queue.
    Sync(Waiter<()>),
    AddLetter(Box<DeadLetter>, Waiter<()>),
    TakeLetter(LetterId, Waiter<Option<DeadLetter>>),
    /// Removes everything, with what is removed already.
    Purge(Purged, Waiter<Purged>),
}

/// A question that reads the file.
#[derive(Debug)]
pub(crate) enum Query {
    Streams(Mailbox, Waiter<Vec<StoredStream>>),
    Cursors(Mailbox, Waiter<Vec<StoredCursor>>),
    Read(Mailbox, MessageId, usize, Waiter<Vec<Payload>>),
    Letters(Waiter<Vec<(LetterId, DeadLetter)>>),
    /// Counts what is in the mailboxes, step by step.
    Mailboxes(Box<Survey>, Waiter<Vec<MailboxStatus>>),
}

/// One entry of a queue.
#[derive(Debug)]
pub(crate) enum Operation {
    Write(Write),
    Lazy(Lazies),
    Query(Query),
}

impl Write {
    /// Number of bytes of payload.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Append(message, _) => message.payload.len(),
            Self::AddLetter(letter, _) => letter.payload.len(),
            Self::Attempt(..) | Self::Uncount(..) | Self::Sync(_) => 0,
            Self::TakeLetter(..) | Self::Purge(..) => 0,
        }
    }

    /// Returns whether it makes the file grow by more than a few bytes.
    pub(crate) fn grows(&self) -> bool {
        matches!(self, Self::Append(..) | Self::AddLetter(..))
    }

    pub(crate) fn refuse(self, why: &StoreError) {
        // The caller may have dropped the future.
        match self {
            Self::Append(_, waiter)
            | Self::AddLetter(_, waiter)
            | Self::Uncount(_, waiter)
            | Self::Sync(waiter) => drop(waiter.send(Err(why.clone()))),
            Self::Attempt(_, waiter) => drop(waiter.send(Err(why.clone()))),
            Self::TakeLetter(_, waiter) => drop(waiter.send(Err(why.clone()))),
            Self::Purge(_, waiter) => drop(waiter.send(Err(why.clone()))),
        }
    }
}

impl Query {
    pub(crate) fn refuse(self, why: &StoreError) {
        match self {
            Self::Streams(_, waiter) => drop(waiter.send(Err(why.clone()))),
            Self::Cursors(_, waiter) => drop(waiter.send(Err(why.clone()))),
            Self::Read(.., waiter) => drop(waiter.send(Err(why.clone()))),
            Self::Letters(waiter) => drop(waiter.send(Err(why.clone()))),
            Self::Mailboxes(_, waiter) => drop(waiter.send(Err(why.clone()))),
        }
    }
}
