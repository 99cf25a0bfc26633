//! State of a link that a store keeps across restarts.
//! Implements `docs/delivery.md`, "What is stored".

use std::time::Duration;

use super::Millis;
use crate::Instance;
use crate::frame::Data;

/// State of one link that a store has kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StoredLink {
    /// The streams of this service's earlier instances that have messages, oldest first.
    pub streams: Vec<StoredStream>,
    /// Cursors of the peer's streams.
    pub cursors: Vec<StoredCursor>,
}

/// One stream of this service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredStream {
    /// The instance that the stream belongs to.
    pub instance: Instance,
    /// The number of its first message, at least 1.
    pub base: u64,
    /// The transmission mark: higher numbers were certainly never transmitted.
    pub mark: u64,
    /// Its messages, numbered from `base` on without a gap.
    pub messages: Vec<StoredMessage>,
}

/// One stored message. Its payload is read shortly before it is transmitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoredMessage {
    /// Its length in bytes.
    pub len: u32,
    /// Time from now until it expires; `None` if it never does.
    pub ttl: Option<Duration>,
}

impl StoredMessage {
    pub(super) fn cost(&self) -> u64 {
        Data::cost(self.len as usize)
    }

    /// Returns the time at which it expires.
    pub(super) fn deadline(&self, now: Millis) -> Option<Millis> {
        let millis = |ttl: Duration| u64::try_from(ttl.as_millis()).unwrap_or(Millis::MAX);
        self.ttl.map(|ttl| now.saturating_add(millis(ttl)))
    }
}

/// Stored cursor of one stream of the peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredCursor {
    /// The peer's instance.
    pub instance: Instance,
    /// Everything up to this number is handled.
    pub completed: u64,
    /// Higher numbers that are handled, in order.
    pub finished: Vec<u64>,
}

/// Changes of the cursors since they were last asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CursorChanges {
    /// Cursors that have moved, as they are now.
    pub moved: Vec<StoredCursor>,
    /// Instances of the peer that have ended and whose messages are all handled.
    pub forgotten: Vec<Instance>,
}
