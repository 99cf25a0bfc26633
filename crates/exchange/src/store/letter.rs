//! Dead letters.

use std::time::SystemTime;

use paddington_wire::{MessageId, Payload, PeerName, RejectCode};

use super::{Mailbox, ReplicaId};

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

/// A dead letter that a replica has borrowed, to handle it once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BorrowedLetter {
    /// The letter, which stays in the store.
    pub letter: DeadLetter,
    /// How often it was borrowed: whoever has borrowed it before has nothing to say about it any more.
    pub turn: u32,
}

/// Answer to a replica that [borrows](super::SharedStore::borrow_letter) a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Borrowed {
    /// It is borrowed by this replica now.
    Here(BorrowedLetter),
    /// Another living replica has borrowed it.
    Held(ReplicaId),
    /// It is not there.
    Unknown,
}

/// The number of a dead letter in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub u64);
