//! Dead letters.

use std::time::SystemTime;

use paddington_wire::{MessageId, Payload, PeerName, RejectCode};

/// A rejected message, kept for a person to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The sender.
    pub peer: PeerName,
    /// Its stream and number.
    pub id: MessageId,
    /// The reason for the rejection.
    pub code: RejectCode,
    /// The time of the rejection.
    pub at: SystemTime,
    /// The message, text or bytes.
    pub payload: Payload,
}

/// The number of a dead letter in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub u64);
