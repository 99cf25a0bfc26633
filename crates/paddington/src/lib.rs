//! Services that talk to each other safely, with no PKI, broker or VPN.
//!
//! One service writes an **invitation**, a TOML file with two symmetric keys. A person hands it to
//! the other service's operator. From then on the two stay connected over WebSocket as equal peers:
//! authenticated both ways, every message encrypted twice, by two ciphers, in order, reconnecting
//! for ever.
//!
//! ```
//! use paddington::{Message, Service, ServiceConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
//! let mut hub = ServiceConfig::new("hub", &format!("ws://127.0.0.1:{port}"), "127.0.0.1", &port)?;
//! let mut sensor = ServiceConfig::new("sensor", "ws://localhost:1", "127.0.0.1", &1)?;
//! sensor.add_server(hub.add_client("sensor", "127.0.0.1")?)?;
//!
//! let (told, mut heard) = tokio::sync::mpsc::channel(8);
//! let hub = Service::start(&hub, move |message: Message| {
//!     let told = told.clone();
//!     async move { told.send(message.to_string()).await }
//! }).await?;
//! let sensor = Service::start(&sensor, async |_| Ok::<(), paddington::Error>(())).await?;
//!
//! sensor.send(Message::new("hub", "21.5 °C")).await?;
//! assert!(heard.recv().await.unwrap().starts_with("Control message"));
//! assert_eq!(heard.recv().await.unwrap(), "Message from sensor to hub: 21.5 °C");
//! # hub.shutdown().await;
//! # sensor.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! A process with one service needs no handles: see [`set_handler`], [`run`], [`send`] and
//! [`shutdown`].

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of the page about links compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/links.md")]
struct Links;

/// The example of the page about shared ports compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/deploy/shared-port.md")]
struct SharedPorts;

mod at_rest;
mod buckets;
mod clients;
mod cluster;
pub mod config;
mod draft;
mod error;
mod file;
mod format;
pub mod invite;
mod known;
mod links;
mod macros;
pub mod message;
mod outbox;
mod process;
mod reach;
mod renewal;
mod service;
mod signals;
mod timestamp;
mod written;

#[cfg(any(feature = "durable", feature = "postgres"))]
pub use at_rest::Rewritten;
pub use at_rest::{AtRest, AtRestError, KeySource};
pub use cluster::{Cluster, ClusterError};
pub use config::{
    ConfigError, FixedKeys, InvitationDetails, LinkDetails, ServiceConfig, SharedLinks,
};
pub use error::Error;
pub use file::{FileError, load_private, save_private, without_values};
pub use invite::{Invite, InviteError, InviteOptions};
pub use links::{PeerRole, SharedLinkError};
pub use outbox::OutboxError;
#[cfg(feature = "durable")]
pub use outbox::check_outbox_seal;
pub use process::{request, run, send, set_handler, shutdown, spawn};
pub use service::{Changes, LinkError, Service, ServiceError};
pub use signals::Signals;

pub use paddington_crypto::KeyError;
pub use paddington_exchange::{
    AddError, AlreadyRunning, CallCounts, CallsStatus, ChangeError, Config, Counts, Delivered,
    Event, Exchange, FullOutbox, Handler, HandlerError, KeyStore, LastError, NoExchange, OnError,
    PeerAddress, PeerCounters, PeerStatus, PingError, PurgeError, Receipt, Refusal, RekeyError,
    RemoveError, Removed, ReplicaStatus, Reply, RequestError, RetryError, SendError, SendOptions,
    ShutdownReport, StartError, Storage, Unhandled, UrlStatus, Waiting, accept_bytes, current,
    store,
};
#[cfg(feature = "durable")]
pub use paddington_store::{
    OpenStoreError, RewriteError, SalvageError, SalvageReport, SalvagedMailbox, SqliteStore,
    salvage,
};
/// What [`ServiceConfig::examine_cluster`] finds in the databases of a service.
#[cfg(feature = "postgres")]
pub use paddington_store_postgres::report as database_report;
pub use paddington_transport::{
    Config as TransportConfig, DialError, Endpoint, EndpointError, Fallbacks, FallbacksError,
    HostPattern, HostPatternError, Limits, Network, NetworkListener, Outbound, ProxyChoice,
    ProxyEnvironment, ProxyError, ProxyUrl, ProxyUrlError, Reach, Retry, ServerTls, SharedPort,
    Step, Stream, Timeouts, TlsError, TlsFiles, TlsFilesError, TrustedProxies, UpgradeError,
    is_exposed, seconds, system as system_network, system_in as system_network_in, with_causes,
};
pub use paddington_wire::{
    AddressRange, Content, Control, Encoding, FailureCode, Instance, LinkId, LinkIdError, Message,
    MessageId, NameError, NotText, Payload, PeerName, RangeError, RejectCode, ReplyError, Text,
};
