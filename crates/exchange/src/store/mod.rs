//! The store: everything that outlives a process. Implements `docs/delivery.md`, "What is stored".

mod contract;
mod error;
mod letter;
mod mailbox;

pub use contract::{
    Answer, Cursors, DeadLetters, Fence, MAX_LETTER_BYTES, MAX_LETTERS, Mailboxes, NewMessage,
    Outbox, Store, StoreHealth,
};
pub use error::StoreError;
pub use letter::{DeadLetter, LetterId};
pub use mailbox::{Mailbox, MailboxStatus, Purged};
pub use paddington_wire::link::{StoredCursor, StoredMessage, StoredStream};
