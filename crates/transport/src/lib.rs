//! Connections between paddington services: HTTP upgrades to WebSockets that authenticate, stay
//! alive, and come back.
//!
//! This crate carries the frames of `paddington-wire` between two machines. It holds no keys of its
//! own, knows no configuration file, and does not know what a message is for: that is behind the
//! traits [`Host`], [`Caller`], [`Reservation`] and [`Traffic`], which `paddington-exchange` implements.
//!
//! * A server has a [`Listener`]. Before a client is authenticated little is done for it and
//!   nothing is told it ([`Limits`], [`Timeouts`]).
//! * A client has a [`Dialer`] and [`stay_connected`], which dials until told to stop.
//! * Either side then has a [`Connection`]: the same task, whoever dialled.

mod acceptor;
mod admission;
mod backoff;
mod config;
mod connection;
mod contract;
mod dial;
mod endpoint;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handshake;
mod listener;
mod liveness;
mod network;
mod proxy;
mod reconnect;
mod request_head;
pub mod seconds;
mod stream;
mod suspend;
mod tls;
mod upgrade;
mod websocket;

pub use acceptor::Acceptor;
pub use config::{Config, Limits, Retry, Timeouts};
pub use connection::Connection;
pub use contract::{
    AuthenticHello, Caller, Host, ReadyReservation, Refusal, Renewed, Reservation, Traffic,
};
pub use dial::Dialer;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{DialError, End};
pub use handshake::Login;
pub use listener::Listener;
pub use network::{Network, NetworkListener, system};
pub use proxy::TrustedProxies;
pub use reconnect::stay_connected;
pub use stream::{Io, Stream};
pub use tls::{Tls, TlsError};
pub use upgrade::UpgradeError;
pub use websocket::SocketError;
