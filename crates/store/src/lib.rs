//! Keeps the messages of a paddington service in a file of SQLite.
//! Implements `docs/delivery.md`, "What is stored".
//!
//! [`SqliteStore::open`] opens the file and starts the one thread that uses it. What is asked of the
//! store is queued and answered by that thread: as many messages as wait are made durable with one
//! sync. A store has one owner; a second process that opens the same file is refused.
//!
//! **Provided.** A message that was answered is on the disk. Whatever is damaged is noticed before
//! it is passed on. A file that is full, or that fails, accepts again once it works again.
//!
//! **Not provided.** Payloads are not encrypted: the file is for its owner's eyes only (mode 0600).
//! A disk that says "synced" and is not cannot be noticed, nor can damage to what was written last
//! and is not yet in its final place.

mod answers;
mod batch;
mod commit;
mod cursors;
mod error;
mod health;
mod lazies;
mod letters;
mod open;
mod outbox;
mod queries;
mod queue;
mod recovery;
mod row;
mod schema;
mod shared;
mod store;
mod streams;
mod upkeep;
mod worker;

pub use error::OpenStoreError;
pub use open::SQLITE_NEEDED;
pub use store::SqliteStore;
