//! Connections between paddington services: HTTP upgrades to WebSockets that authenticate, stay
//! alive, and come back.
//!
//! This crate carries the frames of `paddington-wire` between two machines. It holds no keys of its
//! own, knows no configuration file, and does not know what a message is for: that is behind the
//! traits [`Host`], [`Caller`], [`Place`] and [`Traffic`], which `paddington-exchange` implements.
//!
//! * A server has a [`Listener`]. Before a client is authenticated little is done for it and
//!   nothing is told it ([`Limits`], [`Timeouts`]).
//! * A client has a [`Dialer`] and [`stay_connected`], which dials until told to stop.
//! * Either side then has a [`Connection`]: the same task, whoever dialled.

mod backoff;
mod clock;
mod config;
mod connection;
mod dial;
mod endpoint;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gate;
mod handshake;
mod head;
mod listen;
mod machine;
mod network;
mod proxy;
mod reconnect;
pub mod seconds;
mod stream;

mod tls;
mod traffic;
mod upgrade;
mod websocket;

pub use config::{Config, Limits, Retry, Timeouts};
pub use connection::Connection;
pub use dial::Dialer;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{DialError, End};
pub use handshake::Login;
pub use listen::{Door, Listener};
pub use network::{Acceptor, Network, system};
pub use proxy::TrustedProxies;
pub use reconnect::{Caller, Renewed, stay_connected};
pub use stream::{Io, Stream};
pub use tls::{Tls, TlsError};
pub use traffic::{Arrival, Declared, Host, Place, Refusal, Traffic};
pub use upgrade::UpgradeError;
pub use websocket::SocketError;
