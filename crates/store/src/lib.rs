//! Keeps the messages of a paddington service in a file of SQLite.
//! Implements `docs/delivery.md`, "What is stored".
//!
//! [`SqliteStore::open`] opens the file and starts the one thread that uses it. Calls are queued
//! and answered by that thread, which makes all waiting messages durable with one sync. A store has
//! one owner; a second process that opens the same file is refused.
//!
//! **Provided.** A message whose call was answered is on the disk. Damaged data is noticed before
//! it is passed on. A store whose disk was full or failed accepts messages again once it works.
//!
//! **Not provided.** Payloads are not encrypted here: only the owner can read the file (mode 0600). Who
//! seals them notes in the file under which key ([`SqliteStore::open_sealed`], [`rewrite`]). The
//! store cannot notice a disk that reports a sync that did not happen, nor damage to the last
//! commits while they are only in the write-ahead log.

mod commit;
mod cursors;
mod error;
mod expiries;
mod faults;
mod files;
mod health;
mod lazies;
mod letters;
mod open;
mod operation;
mod outbox;
mod pieces;
mod purge;
mod queries;
mod queue;
mod recovery;
mod reserve;
mod rewrite;
mod round;
mod row;
mod salvage;
mod schema;
mod shared;
mod store;
mod stream_row;
mod streams;
mod survey;
mod upkeep;
mod worker;

pub use error::OpenStoreError;
#[cfg(feature = "faults")]
pub use faults::Fault;
pub use open::SQLITE_NEEDED;
pub use rewrite::{KeptAt, LockedStore, RewriteError, rewrite, sealed_under};
pub use salvage::{SalvageError, SalvageReport, SalvagedMailbox, salvage};
pub use store::SqliteStore;
