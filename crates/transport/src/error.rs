//! The errors of the transport, one for each operation.

use std::{fmt, io};

use http::StatusCode;
use paddington_wire::keys::Why;
use paddington_wire::{CloseCode, HandshakeError, ReceiveError, TransmitError, Violation};
use thiserror::Error;

use crate::refusal_kind::Cause;
use crate::websocket::SocketError;
use crate::{ProxyError, UpgradeError};

/// The reason why a connection ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum End {
    /// This side closed it.
    #[error("this side closed the connection: {0}")]
    Closed(CloseCode),
    /// The peer closed it.
    #[error("the peer closed the connection: {0}")]
    PeerClosed(CloseCode),
    /// It broke before either side had closed it.
    #[error("the connection was lost")]
    Lost(#[source] SocketError),
    /// Nothing arrived for too long.
    #[error("nothing arrived from the peer for too long")]
    Dead,
    /// Nothing could be written for too long.
    #[error("nothing could be written to the peer for too long")]
    Stuck,
    /// Something arrived that is not the peer's next frame: it was forged, altered or replayed.
    #[error("the connection was tampered with")]
    Tampered(#[source] ReceiveError),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol")]
    Violation(#[source] Violation),
    /// This side cannot send any more frames.
    #[error("the session cannot send any more frames")]
    Exhausted(#[source] TransmitError),
}

/// The failure of an attempt to connect.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DialError {
    /// The host's name could not be resolved.
    #[error("the host name {host:?} could not be resolved")]
    Resolve {
        /// The host's name.
        host: String,
        /// The resolver's error.
        #[source]
        source: io::Error,
    },
    /// None of the host's addresses could be reached.
    #[error("{address} could not be reached")]
    Connect {
        /// The address that was tried last.
        address: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The proxy of this side opened no way to the server.
    #[error("no way to the server through the proxy {proxy}")]
    Proxy {
        /// The proxy's host and port, or the variable that should name it.
        proxy: String,
        /// The cause.
        #[source]
        source: ProxyError,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The server did not switch to a WebSocket.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// A step took too long.
    #[error("timed out while {0}")]
    Timeout(Step),
    /// The server closed the connection instead of proving its identity: it does not accept this
    /// invitation, or something on the way breaks WebSockets.
    #[error("the server hung up during the handshake")]
    HungUp(#[source] SocketError),
    /// The server closed the connection after it had waited for the handshake to go on.
    #[error("the server hung up after waiting for seconds")]
    HungUpLate(#[source] SocketError),
    /// The server could not prove its identity.
    #[error("the server is not the one that wrote the invitation, or its answer was altered")]
    Handshake(#[from] HandshakeError),
    /// This side's first frame could not be sealed.
    #[error("the first frame could not be sealed")]
    Transmit(#[source] TransmitError),
    /// The server proved its identity, and refused the connection.
    #[error("the server refused the connection: {0}")]
    Refused(CloseCode),
    /// This side has no keys of the link.
    #[error("there are no keys for this server")]
    NoKeys,
    /// This side may not dial now: it is a replica whose lease ends soon, or has ended (`docs/cluster.md`, S12).
    #[error("this replica may not speak for the service now: its lease has ended, or ends soon")]
    NotNow,
    /// The connection could be established, but this side no longer accepted it.
    #[error("replaced by a newer connection")]
    Superseded,
}

impl DialError {
    /// Returns whether only time or a person can resolve the failure, so that trying again soon is
    /// pointless.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(code) => !matches!(code, CloseCode::Shutdown | CloseCode::SessionAge),
            Self::Upgrade(error) => error.is_refusal(),
            Self::Proxy { source, .. } => source.is_refusal(),
            Self::Tls(source) => source
                .get_ref()
                .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>),
            Self::HungUp(_) | Self::Handshake(_) | Self::NoKeys => true,
            _ => false,
        }
    }
}

impl DialError {
    /// Returns whether a newer invitation might resolve the failure.
    pub(crate) fn doubts_invitation(&self) -> bool {
        if let Self::Proxy { source, .. } = self {
            return source.concerns_server();
        }
        matches!(
            self,
            Self::Resolve { .. }
                | Self::Connect { .. }
                | Self::Tls(_)
                | Self::Timeout(_)
                | Self::Upgrade(_)
                | Self::HungUp(_)
                | Self::HungUpLate(_)
                | Self::Handshake(_)
                | Self::NoKeys
                | Self::Refused(CloseCode::Removed)
        )
    }
}

/// A step of an attempt to connect that has a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The host's name is resolved.
    Resolve,
    /// A connection to one of its addresses is opened.
    Connect,
    /// TLS is negotiated.
    Tls,
    /// The server answers the request for an upgrade.
    Answer,
    /// This side's part of the handshake is sent.
    Say,
    /// The server's part of the handshake arrives.
    Handshake,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up its name",
            Self::Connect => "connecting to the server",
            Self::Tls => "waiting for the TLS handshake",
            Self::Answer => "waiting for the answer",
            Self::Say => "sending the handshake",
            Self::Handshake => "waiting for the server's handshake",
        })
    }
}

/// The reason why a server refused a connection. It is only logged; the client is not told.
#[derive(Debug, Error)]
pub(crate) enum AcceptError {
    #[error("it was evicted to make room for a newer one")]
    Evicted,
    #[error("it was not established in time")]
    Timeout,
    #[error("it hung up before its request was complete")]
    Gone,
    #[error("it comes from a trusted proxy and does not begin with a header of the PROXY protocol")]
    ProxyHeader,
    #[error("it was not admitted: {0}")]
    NotAdmitted(Cause),
    #[error("it does not speak TLS")]
    Plain,
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("the head of its request is malformed or too long")]
    Head,
    #[error("its request was answered with {0}")]
    Upgrade(StatusCode),
    #[error("the connection was lost")]
    Lost(#[source] SocketError),
    #[error("the handshake failed")]
    Handshake(#[from] HandshakeError),
    #[error("its keys are no longer valid")]
    Worthless(Why),
    #[error("the service refused to give it a slot")]
    Refused(Option<CloseCode>),
    #[error("the first frame could not be sealed")]
    Transmit(#[from] TransmitError),
}

impl From<SocketError> for AcceptError {
    fn from(error: SocketError) -> Self {
        Self::Lost(error)
    }
}
