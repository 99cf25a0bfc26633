//! The exchange decides which peer or handler gets which message, and when.
//!
//! An [`Exchange`] keeps the messages that wait for each peer, grants each peer its one session,
//! and calls the [`Handler`] with the messages that arrive. It holds no sockets (that is
//! `paddington-transport`) and reads no configuration (that is `paddington`).

mod adding;
mod changing;
mod cluster;
mod config;
mod core;
mod current;
mod deadlines;
mod delivered;
mod dialing;
mod error;
mod escaped;
mod event;
mod exchange;
mod faults;
mod handling;
mod host;
mod joining;
mod keys;
mod lifecycle;
mod listening;
mod orphans;
mod peer;
mod receipt;
mod registry;
mod rekeying;
mod removing;
mod renewal;
mod reply;
mod restore;
mod setup;
mod shutdown;
mod status;
mod storage;
pub mod store;

pub use adding::AddError;
pub use changing::ChangeError;
pub use config::{Config, HANDSHAKE_PERIOD};
pub use delivered::Delivered;
pub use dialing::Server;
pub use error::{AlreadyRunning, FullOutbox, HandlerError, NoExchange, SendError, StartError};
pub use event::Event;
pub use exchange::{Exchange, current, install};
#[cfg(feature = "faults")]
pub use faults::Fault;
pub use handling::{Handler, OnError, RetryError, Unhandled, accept_bytes};
pub use keys::KeyStore;
pub use listening::Listen;
pub use orphans::PurgeError;
pub use paddington_transport::RefusedConnection as Refusal;
pub use paddington_wire::link::{CallCounts, Counts};
pub use peer::pings::PingError;
pub use peer::send::SendOptions;
pub use receipt::Receipt;
pub use rekeying::RekeyError;
pub use removing::{RemoveError, Removed, Waiting};
pub use renewal::Renewal;
pub use reply::{Reply, RequestError};
pub use setup::Setup;
pub use status::{
    CallsStatus, LastError, PeerAddress, PeerCounters, PeerStatus, ReplicaStatus, ShutdownReport,
    UrlStatus,
};
pub use storage::Storage;
