//! Who gets which message: routing between a service and its peers, and the calls of its handler.
//!
//! An [`Exchange`] keeps what waits for each peer, gives each peer the one connection that is its
//! own, and calls the [`Handler`] with what arrives. It holds no sockets (that is
//! `paddington-transport`) and reads no configuration (that is `paddington`).

mod budget;
mod config;
mod current;
mod error;
mod event;
mod exchange;
mod expiry;
mod handling;
mod host;
mod peer;
mod receipt;
mod restore;
mod shutdown;
mod status;
pub mod store;

pub use config::{Config, HANDSHAKE_PERIOD};
pub use current::{current, install};
pub use error::{AlreadyRunning, HandlerError, NoExchange, SendError, StartError};
pub use event::Event;
pub use exchange::{Exchange, Listen, Renewal, SendOptions, Server, Setup};
pub use handling::{Handler, OnError};
pub use receipt::{Delivered, Receipt};
pub use status::{PeerCounters, PeerStatus, ShutdownReport};
