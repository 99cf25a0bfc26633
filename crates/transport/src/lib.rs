//! Connections between paddington services: WebSockets that are authenticated, kept alive and
//! reopened.
//!
//! This crate carries the frames of `paddington-wire` between two machines. It reads no
//! configuration file, keeps no invitations and does not interpret messages: that is left to the
//! traits [`Host`], [`Caller`], [`Reservation`] and [`Traffic`], which `paddington-exchange`
//! implements.
//!
//! * A server has a [`Listener`]. Before a client is authenticated, little work is done for it and
//!   it is told nothing ([`Limits`], [`Timeouts`]).
//! * A client has a [`Dialer`] and [`stay_connected`], which dials again until told to stop.
//! * Both sides then run a [`Connection`], the same task for client and server.

mod acceptor;
mod addresses;
mod admission;
mod backoff;
mod causes;
mod client_certificate;
mod config;
mod connection;
mod contract;
mod dial;
mod endpoint;
mod error;
mod explanation;
mod exposure;
mod fallbacks;
mod forwarded;
mod frame_heads;
mod frames;
mod front;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handshake;
mod key_choice;
mod last_read;
mod listener;
mod liveness;
mod network;
mod open_files;
mod outbound;
mod prefix;
mod presented;
mod progress;
mod proxy;
mod proxy_protocol;
mod reach;
mod reconnect;
mod refusal_kind;
mod refusal_log;
mod refused;
pub mod regular;
mod remedy;
mod request_head;
mod resolver;
pub mod seconds;
mod shared_port;
pub mod size;
mod stranger;
mod stream;
mod suspend;
mod tls;
mod tls_files;
mod tls_server;
mod upgrade;
mod urls;
mod websocket;

pub use acceptor::Acceptor;
pub use causes::with_causes;
pub use config::{Config, Limits, Retry, Timeouts};
pub use connection::Connection;
pub use contract::{
    AuthenticHello, Caller, Change, FailedAttempt, Host, ReadyReservation, Refusal, Renewed,
    Reservation, SessionKeys, Traffic, WorthlessHello,
};
pub use dial::Dialer;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{DialError, End, Step};
pub use explanation::Explanation;
pub use exposure::is_exposed;
pub use fallbacks::{Fallbacks, FallbacksError};
pub use handshake::Login;
pub use listener::{Listener, Listening};
pub use network::{Network, NetworkListener, system, system_in};
pub use outbound::{
    HostPattern, HostPatternError, Outbound, ProxyChoice, ProxyEnvironment, ProxyError, ProxyUrl,
    ProxyUrlError,
};
pub use proxy::TrustedProxies;
pub use reach::Reach;
pub use reconnect::stay_connected;
pub use refusal_log::Refusals;
pub use refused::RefusedConnection;
pub use shared_port::SharedPort;
pub use stream::{Io, Stream};
pub use tls::{Tls, TlsError};
pub use tls_files::{TlsFiles, TlsFilesError};
pub use tls_server::ServerTls;
pub use upgrade::UpgradeError;
pub use websocket::SocketError;
