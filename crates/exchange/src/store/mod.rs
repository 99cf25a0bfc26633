//! What outlives a process. Implements `docs/delivery.md`, "What is stored".

mod contract;
mod error;
mod letter;

pub use contract::{
    Answer, Cursors, DeadLetters, Fence, MAX_LETTER_BYTES, MAX_LETTERS, NewMessage, Outbox, Store,
    StoreHealth, StoredCursor, StoredMessage, StoredStream,
};
pub use error::StoreError;
pub use letter::{DeadLetter, LetterId};
