//! What outlives a process: the messages that wait for a peer, how far the peer's own messages are
//! handled, and the dead letters. Implements `docs/delivery.md`, "What is stored".
//!
//! An exchange drives a [`Store`]; `paddington-store` keeps it in a file of SQLite. The traits say
//! nothing of one machine: a [`Fence`] tells the present owner of a peer from one that was replaced,
//! so that several replicas may share a store later.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use paddington_wire::link::{StoredCursor, StoredStream};
use paddington_wire::{Instance, MessageId, PeerName};

use super::{DeadLetter, LetterId, StoreError};

/// What a store answers, some time later.
///
/// A call takes effect in its place among all calls of one peer when it is made, not when its future
/// is polled; to drop the future changes nothing.
pub type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

/// Who owns a peer's link: it grows with every change of hands, and a store refuses what an earlier
/// owner writes. A store that has one owner for as long as it is open always says 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// Everything that an exchange keeps.
pub trait Store: Outbox + Cursors + DeadLetters {
    /// Makes durable what is not yet, and closes. Whatever is called after that fails.
    fn close(&self) -> Answer<()>;

    /// How the store is doing.
    fn health(&self) -> StoreHealth;
}

/// Messages that wait for a peer's acknowledgement.
pub trait Outbox: fmt::Debug + Send + Sync {
    /// What is stored for a peer: streams in the order in which they were begun, each numbered
    /// without a gap. Fails if anything of it cannot be trusted.
    fn streams(&self, peer: &PeerName) -> Answer<Vec<StoredStream>>;

    /// Stores a message. It is durable once this is answered. Numbers of one stream arrive in order
    /// and without a gap.
    ///
    /// If it fails, nothing that was appended after it is stored either: all of that fails too, and
    /// the store accepts nothing until it has recovered.
    fn append(&self, peer: &PeerName, message: NewMessage) -> Answer<()>;

    /// Reads messages of one stream, in order, the first one numbered `first.number`: at least one
    /// if there is any, at most about `max_bytes` of payload.
    fn read(&self, peer: &PeerName, first: MessageId, max_bytes: usize) -> Answer<Vec<Bytes>>;

    /// Forgets everything of a stream up to `upto`. It is forgotten durably once this is answered;
    /// that may take a while, because it costs no sync of its own. A store that fails tries again.
    fn trim(&self, peer: &PeerName, upto: MessageId, fence: Fence) -> Answer<()>;
}

/// How far the messages of a peer are handled.
pub trait Cursors: fmt::Debug + Send + Sync {
    /// All cursors of a peer.
    fn cursors(&self, peer: &PeerName) -> Answer<Vec<StoredCursor>>;

    /// Replaces a cursor. Lazy like [`Outbox::trim`].
    fn commit(&self, peer: &PeerName, cursor: StoredCursor, fence: Fence) -> Answer<()>;

    /// Forgets the cursor of a life that is over, and its attempts. Lazy like [`Outbox::trim`].
    fn forget(&self, peer: &PeerName, instance: Instance, fence: Fence) -> Answer<()>;

    /// Counts an attempt to handle a message and says the how-manieth it is, from 1 on. Durable once
    /// answered, so that a message that kills its process is noticed.
    fn attempt(&self, peer: &PeerName, id: MessageId, fence: Fence) -> Answer<u32>;
}

/// Messages that could not be handled. The oldest ones go when there are more than
/// [`MAX_LETTERS`], or more than [`MAX_LETTER_BYTES`] of them.
pub trait DeadLetters: fmt::Debug + Send + Sync {
    /// Adds a letter. Durable once answered.
    fn add_letter(&self, letter: DeadLetter) -> Answer<()>;

    /// All letters, oldest first.
    fn letters(&self) -> Answer<Vec<(LetterId, DeadLetter)>>;

    /// Removes a letter and returns it, if it is still there.
    fn take_letter(&self, id: LetterId) -> Answer<Option<DeadLetter>>;
}

/// The most dead letters that are kept.
pub const MAX_LETTERS: usize = 1_000;
/// The most bytes of payload that dead letters may take.
pub const MAX_LETTER_BYTES: usize = 16 * 1024 * 1024;

/// A message to be stored.
#[derive(Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Its stream and number.
    pub id: MessageId,
    /// The message.
    pub payload: Bytes,
    /// How long from now on it may be transmitted, if not for ever.
    pub ttl: Option<Duration>,
}

impl fmt::Debug for NewMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewMessage")
            .field("id", &self.id)
            .field("len", &self.payload.len())
            .field("ttl", &self.ttl)
            .finish()
    }
}

/// How a store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why it accepts nothing at the moment, if so.
    pub failure: Option<StoreError>,
    /// How many transactions it has committed.
    pub commits: u64,
    /// How many messages these have stored.
    pub appended: u64,
    /// How long half of the last commits took at most.
    pub commit_p50: Duration,
    /// How long 99 of 100 of them took at most.
    pub commit_p99: Duration,
}
