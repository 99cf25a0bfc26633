//! The contract of a store, which keeps what outlives a process: the messages that wait for a peer,
//! how far the peer's own messages are handled, and the dead letters. Implements
//! `docs/delivery.md`, "What is stored".
//!
//! What is stored belongs to a link, not to a peer's name: every call names a [`Mailbox`], whose link
//! alone decides.
//!
//! An exchange drives a [`Store`]; `paddington-store` implements it with an SQLite file. Several
//! replicas of a service share a [`SharedStore`](super::SharedStore) instead: what the owner of a link
//! does is in [`LinkStore`] for both, and a [`Fence`] distinguishes the present owner from one that was
//! replaced.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use paddington_wire::link::{StoredCursor, StoredStream};
use paddington_wire::{Instance, LinkId, MessageId, Payload};

use super::{DeadLetter, LetterId, Mailbox, MailboxStatus, Purged, StoreError};

/// Answer of a store, as a future.
///
/// Calls for one mailbox take effect in the order in which they are made, not in which their futures
/// are polled. Dropping a future changes nothing.
pub type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

/// Number of an ownership of a link. It grows with every change of owner, and a store refuses
/// writes of an earlier owner ([`StoreError::is_stale`]). A store with a single owner for as long as it is
/// open always uses 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// A store of one exchange: everything that it keeps. Whatever is both a [`LinkStore`] and an
/// [`Outbox`] is one.
pub trait Store: LinkStore + Outbox {}

impl<T: LinkStore + Outbox + ?Sized> Store for T {}

/// What the owner of a link keeps: a store of its own or one that [replicas share](super::SharedStore).
pub trait LinkStore: Backlog + Cursors + DeadLetters + Mailboxes {
    /// Makes everything durable that is not yet, and closes. Every later call fails.
    fn close(&self) -> Answer<()>;

    /// Returns the health of the store.
    fn health(&self) -> StoreHealth;
}

/// Messages that a single owner of the store appends.
pub trait Outbox: Backlog {
    /// Returns the stored streams of a mailbox, in the order in which they were begun, each numbered
    /// without a gap. Fails if any of them cannot be trusted.
    fn streams(&self, mailbox: &Mailbox) -> Answer<Vec<StoredStream>>;

    /// Stores a message. It is durable once this is answered. Numbers of one stream arrive in order
    /// and without a gap.
    ///
    /// If it fails, every append after it fails too, and nothing is accepted until the store has
    /// recovered: from then on, nothing of what has failed is stored. If the process ends before, what
    /// [may be stored](StoreError::may_be_stored) may be found after a restart.
    fn append(&self, mailbox: &Mailbox, message: NewMessage) -> Answer<()>;
}

/// Messages that wait for a peer's acknowledgement, as the owner of the link works through them.
pub trait Backlog: fmt::Debug + Send + Sync {
    /// Raises the transmission mark of a stream to which messages were appended: those up to `upto`
    /// may have been transmitted from now on. Marks only grow, and outlive the messages that they
    /// cover: what is appended later does not repeat them. Written lazily, like
    /// [`trim`](Self::trim); [`Cursors::sync`] makes them durable without a wait, like cursors.
    fn mark(&self, mailbox: &Mailbox, upto: MessageId, fence: Fence) -> Answer<()>;

    /// Reads messages of one stream in order, starting with `first`: at least one if there is any,
    /// and about `max_bytes` of payload at most.
    fn read(&self, mailbox: &Mailbox, first: MessageId, max_bytes: usize) -> Answer<Vec<Payload>>;

    /// Removes everything of a stream up to `upto`. The removal is durable once this is answered,
    /// which may take a while because it causes no sync of its own. A store that fails tries again.
    fn trim(&self, mailbox: &Mailbox, upto: MessageId, fence: Fence) -> Answer<()>;
}

/// Cursors: how far the messages of a peer are handled.
pub trait Cursors: fmt::Debug + Send + Sync {
    /// Returns all cursors of a mailbox.
    fn cursors(&self, mailbox: &Mailbox) -> Answer<Vec<StoredCursor>>;

    /// Replaces a cursor. Written lazily, like [`Backlog::trim`].
    fn commit(&self, mailbox: &Mailbox, cursor: StoredCursor, fence: Fence) -> Answer<()>;

    /// Removes the cursor of an instance that has ended, and its attempts. Written lazily, like
    /// [`Backlog::trim`].
    fn forget(&self, mailbox: &Mailbox, instance: Instance, fence: Fence) -> Answer<()>;

    /// Counts an attempt to handle a message, and returns which attempt this is (from 1). Durable
    /// once answered, so that a message that kills its process is noticed, together with every
    /// cursor of the mailbox that was committed before.
    fn attempt(&self, mailbox: &Mailbox, id: MessageId, fence: Fence) -> Answer<u32>;

    /// Takes the last count of an attempt back, because it did not end with a crash. Durable once
    /// answered. Counts that are not there are none.
    fn uncount(&self, mailbox: &Mailbox, id: MessageId, fence: Fence) -> Answer<()>;

    /// Makes every cursor and mark of the mailbox durable that was written lazily before. Durable once
    /// answered, and without the wait of [`commit`](Self::commit).
    fn sync(&self, mailbox: &Mailbox) -> Answer<()>;
}

/// Dead letters. When there are more than [`MAX_LETTERS`], or more than [`MAX_LETTER_BYTES`] of
/// payload, the mailbox that has the most of them loses its oldest.
pub trait DeadLetters: fmt::Debug + Send + Sync {
    /// Adds a dead letter. Durable once answered. In the same transaction its message becomes one
    /// that is handled: from now on, until the cursor is forgotten, [`Cursors::cursors`] says so,
    /// even after a commit of a cursor that does not, as long as the letter is kept.
    fn add_letter(&self, letter: DeadLetter, fence: Fence) -> Answer<()>;

    /// Returns all dead letters, oldest first.
    fn letters(&self) -> Answer<Vec<(LetterId, DeadLetter)>>;

    /// Removes a dead letter and returns it, if it is still there.
    fn take_letter(&self, id: LetterId) -> Answer<Option<DeadLetter>>;
}

/// The mailboxes as a whole, whether a link uses them or not.
pub trait Mailboxes: fmt::Debug + Send + Sync {
    /// Returns the mailboxes in which anything is stored, except those of these links, sorted by the
    /// names of their peers. What is in a mailbox that is in use may change meanwhile.
    fn mailboxes(&self, except: Vec<LinkId>) -> Answer<Vec<MailboxStatus>>;

    /// Removes everything that a mailbox holds: messages, cursors, attempts and dead letters. The
    /// removal is durable once this is answered.
    ///
    /// It is done in steps that others need not wait for. If the process ends meanwhile, or if this
    /// fails, the mailbox may hold less than before, never anything else than it held, and can be
    /// purged again. What is asked for later is stored as in a new mailbox; so nothing may use a
    /// mailbox that is purged.
    fn purge(&self, mailbox: &Mailbox) -> Answer<Purged>;
}

/// Maximum number of dead letters that are kept.
pub const MAX_LETTERS: usize = 1_000;
/// Maximum number of bytes of payload in all dead letters together.
pub const MAX_LETTER_BYTES: usize = 16 * 1024 * 1024;

/// A message to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Its stream and number.
    pub id: MessageId,
    /// The message, text or bytes.
    pub payload: Payload,
    /// Time from now until it expires; `None` if it never does.
    pub ttl: Option<Duration>,
    /// The transmission mark of its stream, if that grows: it is durable together with the message.
    pub mark: Option<u64>,
}

/// Health of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// The reason why it accepts nothing at the moment, if so.
    pub failure: Option<StoreError>,
    /// Number of transactions that were committed.
    pub commits: u64,
    /// Number of messages that they have stored.
    pub appended: u64,
    /// Median duration of the last commits.
    pub commit_p50: Duration,
    /// 99th percentile of the duration of the last commits.
    pub commit_p99: Duration,
    /// Number of removed rows that still take up room, for each row that is there, in the table of a database where
    /// that is most. A table with less than 10 000 of them counts as 0.
    pub bloat: u64,
}
