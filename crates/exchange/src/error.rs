//! The errors of this crate: one small type per operation.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use paddington_wire::{MAX_PAYLOAD, PeerName};
use thiserror::Error;

use crate::store::StoreError;

/// The error that a handler returns: any error type.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// The reason why a message was not accepted. Nothing of it is kept, except with
/// [`StorageUnsure`](SendError::StorageUnsure).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The recipient is not in the configuration.
    #[error("no peer is called {0:?}")]
    UnknownPeer(String),
    /// The outbox for this peer, or for all peers together, is full.
    #[error(
        "{}: {messages} messages wait{}, the oldest for {} s",
        .outbox.clause(peer),
        .outbox.whose(peer),
        .oldest.as_secs()
    )]
    Full {
        /// The recipient.
        peer: PeerName,
        /// What is full.
        outbox: FullOutbox,
        /// Number of messages that wait for it.
        messages: usize,
        /// Time that the oldest of them has been waiting.
        oldest: Duration,
    },
    /// The message is longer than this service's limit, or than that of the peer, which is connected,
    /// or than the encoding can carry.
    #[error("the message has {len} bytes, but at most {max} are allowed here or by the peer")]
    TooLong {
        /// Length of the message in bytes.
        len: usize,
        /// Limit in bytes.
        max: u32,
    },
    /// The message is bytes, and the recipient's link has the `hex` encoding, which carries only
    /// text.
    #[error(
        "the message is bytes, but the link to {0} is a hex link, which carries only text: send \
         text, or use a sealed invitation"
    )]
    TextOnly(PeerName),
    /// The recipient is being removed.
    #[error("{0} is being removed")]
    Removed(PeerName),
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// The message could not be stored, and will certainly not be delivered.
    #[error("the message could not be stored: {0}")]
    Storage(#[source] StoreError),
    /// The message may be stored, although the store has failed. It is not delivered as long as this
    /// process lives; if that ends before the store works again, it may be delivered after a restart.
    #[error("the message may be stored or not: {0}")]
    StorageUnsure(#[source] StoreError),
}

/// What has no room for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FullOutbox {
    /// The outbox for the recipient.
    Peer,
    /// The room that the outboxes for all peers share.
    All {
        /// The setting that bounds it.
        setting: &'static str,
    },
}

impl FullOutbox {
    fn clause(self, peer: &PeerName) -> String {
        match self {
            Self::Peer => format!("the outbox for {peer} is full"),
            Self::All { setting } => {
                format!("the room for the messages to all peers together ({setting}) is full")
            }
        }
    }

    fn whose(self, peer: &PeerName) -> String {
        match self {
            Self::Peer => String::new(),
            Self::All { .. } => format!(" for {peer}"),
        }
    }
}

impl SendError {
    /// Returns whether the same message may be accepted later, and certainly was not this time: to
    /// send it again cannot lead to a second delivery.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Storage(_))
    }
}

/// The call refers to no service: none was started with `run`, and the caller is neither in a handler
/// nor in a task that was spawned with [`Exchange::spawn`](crate::Exchange::spawn).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "no service runs here: call run first, use a service's own handle, or start the task in a \
     handler with paddington::spawn"
)]
pub struct NoExchange;

/// Another service was started with `run` in this process already.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("another service was started with run in this process: use a service's own handle")]
pub struct AlreadyRunning;

/// The reason why an exchange could not be started. Nothing runs then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address to listen on could not be bound.
    #[error("cannot listen on {address}{}", listen_hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A peer is known already.
    #[error("the service {0} is known already: two services need only one invitation")]
    DuplicatePeer(PeerName),
    /// Two peers have the same keys.
    #[error(
        "the services {name} and {other} have the same keys: each needs an invitation of its own"
    )]
    SharedKeys {
        /// One of the peers.
        name: PeerName,
        /// The other one.
        other: PeerName,
    },
    /// A peer has the link of another one: what is stored for the one would reach the other.
    #[error("the link to {0} is that of another peer: two peers need two invitations")]
    DuplicateLink(PeerName),
    /// A peer has this service's own name.
    #[error("the service {0} cannot be its own peer")]
    OwnName(PeerName),
    /// The setting `max_payload` is out of bounds.
    #[error("the setting max_payload must be from 1 to {MAX_PAYLOAD}, not {0}")]
    MaxPayload(u32),
    /// There are too many peers.
    #[error("{peers} peers are configured, but the setting peers allows {max}")]
    TooManyPeers {
        /// Number of peers that are configured.
        peers: usize,
        /// Limit.
        max: usize,
    },
    /// A time is zero or unreasonably long.
    #[error("the setting {0} must be more than 0 and at most a year")]
    Time(&'static str),
    /// A time is not shorter than another one that it has to be shorter than.
    #[error(
        "the setting {setting} ({} s) must be shorter than {other} ({} s): {reason}",
        .time.as_secs_f64(),
        .limit.as_secs_f64()
    )]
    NotShorter {
        /// The setting.
        setting: &'static str,
        /// Its value.
        time: Duration,
        /// The other setting.
        other: &'static str,
        /// The value of that one.
        limit: Duration,
        /// What would happen.
        reason: &'static str,
    },
    /// The password for the proxy has no user, or there are two.
    #[error(
        "proxy_password_file needs a proxy whose URL names a user and no password: \
         http://USER@HOST:PORT"
    )]
    ProxyPassword,
    /// There is a certificate for servers without its key, or a key without its certificate.
    #[error("client_certificate and client_key need each other")]
    HalfCertificate,
    /// The PROXY protocol is set, and no proxy is trusted to speak it.
    #[error("proxy_protocol needs the addresses of the proxies that speak it in ranges")]
    NoTrustedProxies,
    /// The delay after refusals is shorter than the delay in normal operation, which it starts from.
    #[error(
        "the setting refused ({} s) must be at least interval ({} s): refusals are tried again later \
         than other failures",
        .refused.as_secs_f64(),
        .interval.as_secs_f64()
    )]
    RefusedTooSoon {
        /// The setting `interval`.
        interval: Duration,
        /// The setting `refused`.
        refused: Duration,
    },
    /// An outbox has no room for the longest message that the settings allow.
    #[error(
        "the setting {setting} ({bytes}) must be at least {needed}, or a message of max_payload bytes \
         would wait for room for ever"
    )]
    OutboxTooSmall {
        /// The setting.
        setting: &'static str,
        /// Its value in bytes.
        bytes: u64,
        /// The least value, in bytes.
        needed: u64,
    },
    /// A limit is zero.
    #[error("the setting {0} must be more than 0")]
    Zero(&'static str),
    /// A link is a `hex` link, and the store is one that replicas share.
    #[error(
        "the link to {0} is a hex link, which replicas cannot share because it acknowledges nothing: write \
         a sealed invitation"
    )]
    HexInCluster(PeerName),
    /// The state in the store cannot be used.
    #[error("the store cannot be used: {0}")]
    Store(#[source] StoreError),
    /// The operating system's random generator failed.
    #[error("the operating system's random generator failed")]
    Random,
}

pub(crate) fn listen_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ": another process uses this port; stop it, choose another port, or let the setting \
             listen_wait wait for it"
        }
        io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need privileges",
        _ => "",
    }
}
