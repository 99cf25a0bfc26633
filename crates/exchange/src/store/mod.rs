//! The store: everything that outlives a process. Implements `docs/delivery.md`, "What is stored".

mod contract;
mod error;
mod letter;

pub use contract::{
    Answer, Cursors, DeadLetters, Fence, MAX_LETTER_BYTES, MAX_LETTERS, NewMessage, Outbox, Store,
    StoreHealth,
};
pub use error::StoreError;
pub use letter::{DeadLetter, LetterId};
pub use paddington_wire::link::{StoredCursor, StoredMessage, StoredStream};
