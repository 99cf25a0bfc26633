//! Dead letters.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use paddington_wire::{MessageId, PeerName, RejectCode};

/// A rejected message, kept for a person to look at.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The sender.
    pub peer: PeerName,
    /// Its stream and number.
    pub id: MessageId,
    /// The reason for the rejection.
    pub code: RejectCode,
    /// The time of the rejection.
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
