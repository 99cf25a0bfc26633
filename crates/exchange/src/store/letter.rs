//! Messages that could not be handled.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use paddington_wire::{MessageId, PeerName, RejectCode};

/// A message that could not be handled, kept for a person to look at.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Who sent it.
    pub peer: PeerName,
    /// Its stream and number.
    pub id: MessageId,
    /// Why it was given up.
    pub code: RejectCode,
    /// When.
    pub at: SystemTime,
    /// The message.
    pub payload: Bytes,
}

/// The number of a dead letter in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub u64);

/// Without the payload.
impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("peer", &self.peer)
            .field("id", &self.id)
            .field("code", &self.code)
            .field("at", &self.at)
            .field("len", &self.payload.len())
            .finish()
    }
}
