//! One small error per operation.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use paddington_wire::{MAX_PAYLOAD, PeerName};
use thiserror::Error;

use crate::store::StoreError;

/// What a handler returns when it fails: any error.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// Why a message was not accepted. Nothing of it is kept.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The recipient is not in the configuration.
    #[error("no peer is called {0:?}")]
    UnknownPeer(String),
    /// Too much waits for this peer, or for all peers together.
    #[error(
        "the outbox for {peer} is full: {messages} messages wait, the oldest for {} s",
        .oldest.as_secs()
    )]
    Full {
        /// The recipient.
        peer: PeerName,
        /// How many messages wait for it.
        messages: usize,
        /// For how long the oldest of them has been waiting.
        oldest: Duration,
    },
    /// The message is longer than this service's limit, or than the encoding can carry.
    #[error("the message of {len} bytes is longer than allowed ({max} bytes)")]
    TooLong {
        /// The length of the message in bytes.
        len: usize,
        /// The limit in bytes.
        max: u32,
    },
    /// The service shuts down.
    #[error("the service shuts down")]
    ShuttingDown,
    /// The message could not be stored, and will not be delivered.
    #[error("the message is not accepted: {0}")]
    Storage(#[source] StoreError),
}

impl SendError {
    /// Whether the same message may be accepted later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Storage(_))
    }
}

/// No service runs in this process, or in this task, that the call could mean.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no service runs here: call run first, or use a service's own handle")]
pub struct NoExchange;

/// Another service runs in this process already.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("another service was started with run in this process: use a service's own handle")]
pub struct AlreadyRunning;

/// Why an exchange could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address to listen on could not be bound.
    #[error("cannot listen on {address}{}", listen_hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A peer is configured twice.
    #[error("the peer {0} is configured twice: a service knows another one by one invitation")]
    DuplicatePeer(PeerName),
    /// A peer has this service's own name.
    #[error("the peer {0} has this service's own name")]
    OwnName(PeerName),
    /// The longest message is out of bounds.
    #[error("the longest message must be from 1 to {MAX_PAYLOAD} bytes, not {0}")]
    MaxPayload(u32),
    /// There are too many peers.
    #[error("{peers} peers are configured, and the setting peers allows {max}")]
    TooManyPeers {
        /// How many are configured.
        peers: usize,
        /// The limit.
        max: usize,
    },
    /// A time is zero, or out of all reason.
    #[error("the setting {0} must be more than 0 and at most a year")]
    Time(&'static str),
    /// A limit is zero.
    #[error("the setting {0} is 0: nothing would get through")]
    Zero(&'static str),
    /// What the store has kept cannot be used.
    #[error("the store cannot be used: {0}")]
    Store(#[source] StoreError),
    /// The operating system gives no random bytes.
    #[error("the operating system's random generator failed")]
    Random,
}

fn listen_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ": another process uses this port; stop it, or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need privileges",
        _ => "",
    }
}
