//! Dead letters.

use std::time::SystemTime;

use paddington_wire::{MessageId, Payload, PeerName, RejectCode};

use super::Mailbox;

/// A rejected message, kept for a person to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The mailbox of the link that it came by.
    pub mailbox: Mailbox,
    /// Its stream and number.
    pub id: MessageId,
    /// The reason for the rejection.
    pub code: RejectCode,
    /// The time of the rejection.
    pub at: SystemTime,
    /// The message, text or bytes.
    pub payload: Payload,
}

impl DeadLetter {
    /// Returns the sender's name.
    #[must_use]
    pub fn peer(&self) -> &PeerName {
        &self.mailbox.peer
    }
}

/// The number of a dead letter in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub u64);
