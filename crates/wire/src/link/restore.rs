//! What a link remembers across restarts, as a store gives it back.
//! Implements `docs/delivery.md`, "What is stored".

use super::Millis;
use crate::Instance;
use crate::frame::Data;

/// What a store has kept of one link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Restored {
    /// The streams of this service's earlier lives that have messages, oldest first.
    pub streams: Vec<RestoredStream>,
    /// What was handled of the peer's streams.
    pub cursors: Vec<RestoredCursor>,
}

/// What is left of one stream of this side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RestoredStream {
    /// The life that the stream belongs to.
    pub instance: Instance,
    /// The number of its first message, at least 1.
    pub base: u64,
    /// Its messages, numbered from `base` on without a gap.
    pub messages: Vec<RestoredMessage>,
}

/// One message; its payload is read when it is its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RestoredMessage {
    /// Its length in bytes.
    pub len: u32,
    /// Until when it may be transmitted.
    pub deadline: Option<Millis>,
}

impl RestoredMessage {
    pub(super) fn cost(&self) -> u64 {
        Data::cost(self.len as usize)
    }
}

/// What was handled of one stream of the peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RestoredCursor {
    /// The peer's life.
    pub instance: Instance,
    /// Everything up to this number is handled.
    pub completed: u64,
    /// Handled beyond that, in order.
    pub finished: Vec<u64>,
}
