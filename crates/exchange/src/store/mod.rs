//! The store: everything that outlives a process. Implements `docs/delivery.md`, "What is stored".

mod contract;
mod directory;
mod error;
mod letter;
mod mailbox;
pub mod parts;
mod relay;
mod shared;

pub use contract::{
    Answer, Backlog, Cursors, DeadLetters, Fence, LinkStore, MAX_LETTER_BYTES, MAX_LETTERS,
    Mailboxes, NewMessage, Outbox, Store, StoreHealth,
};
pub use directory::{Directory, DirectoryNews, LinkEntry, Written};
pub use error::StoreError;
pub use letter::{Borrowed, BorrowedLetter, DeadLetter, LetterId};
pub use mailbox::{Mailbox, MailboxStatus, Purged};
pub use paddington_wire::link::{StoredCursor, StoredMessage, StoredStream};
pub use relay::{Ending, Relay, RelayId, Relayed, TakeOf};
pub use shared::{
    Accepted, Bounds, Claim, Claimed, Fate, Followed, LaneLeft, Owned, ReplicaId, Settled,
    SharedStore, Signal, Signals, Submission,
};
