//! Keeps the messages of a paddington service in a PostgreSQL that its replicas share.
//! Implements `docs/cluster.md`.
//!
//! [`PostgresStore::open`] makes this process a replica: it gets a number that no other one has ever
//! had, and lives in the eyes of the others as long as its beat is young and its session lock is held.
//!
//! **Provided.** A message whose call was answered is in the database, synced. An error means that it
//! certainly is not, also if the connection broke in the middle of the commit, unless the error says
//! otherwise. A replica that was replaced as the owner of a link changes nothing of it any more.
//!
//! **Not provided.** Protection from whoever may write to the database, and encryption at rest: who
//! seals payloads does so before they come here, and says under which key; with a [`Conversion`], everything can
//! be sealed anew. A database that acknowledges what it has not synced loses messages.

mod append;
mod batches;
mod claims;
mod common;
mod config;
mod connect;
mod conversion;
mod convert;
mod cursors;
mod database;
mod directory;
mod ending;
mod error;
mod examine;
mod first_seal;
mod flush;
mod held;
mod inbox;
mod keeper;
mod lazies;
mod lease;
mod letters;
mod mailboxes;
mod migrate;
mod notifier;
mod open;
mod pool;
mod presence;
mod relay;
mod requests;
mod round;
mod row;
mod seal;
mod server;
mod signal;
mod store;
mod survey;
mod tls;
mod turns;
mod url;
mod work;
mod writer;

pub use config::PostgresConfig;
pub use conversion::Conversion;
pub use convert::{Convert, Converted};
pub use error::{ConvertError, OpenError};
pub use examine::{examine, report};
pub use first_seal::FirstSeal;
pub use migrate::{migrate, restored};
pub use seal::Seal;
pub use store::PostgresStore;
