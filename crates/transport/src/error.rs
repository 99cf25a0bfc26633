//! One small error per operation.

use std::io;

use http::StatusCode;
use paddington_wire::{CloseCode, HandshakeError, ReceiveError, TransmitError, Violation};
use thiserror::Error;

use crate::UpgradeError;
use crate::websocket::SocketError;

/// Why a connection ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum End {
    /// This side closed it.
    #[error("closed by this side: {0}")]
    Closed(CloseCode),
    /// The peer closed it.
    #[error("closed by the peer: {0}")]
    PeerClosed(CloseCode),
    /// It broke, without a word from the peer.
    #[error("the connection was lost")]
    Lost(#[source] SocketError),
    /// Nothing has arrived for too long.
    #[error("nothing has arrived for too long")]
    Dead,
    /// Nothing could be written for too long.
    #[error("nothing could be written for too long")]
    Stuck,
    /// Something arrived that the peer has not sent now and here.
    #[error("the connection was tampered with")]
    Tampered(#[source] ReceiveError),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol")]
    Violation(#[source] Violation),
    /// This side cannot go on.
    #[error("the session cannot go on")]
    Exhausted(#[source] TransmitError),
}

/// Why an attempt to connect failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DialError {
    /// The host's name could not be resolved.
    #[error("the host name {host:?} could not be resolved")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// None of the host's addresses could be reached.
    #[error("{address} could not be reached")]
    Connect {
        /// The address that was tried last.
        address: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The server did not switch to a WebSocket.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// A step took too long.
    #[error("the server took too long to {0}")]
    Timeout(&'static str),
    /// The server broke the connection off where it should have proven who it is: it does not
    /// accept this invitation, or something between breaks WebSockets.
    #[error(
        "the server hung up on the hello: it does not know this invitation (was it replaced by a \
         newer one?), or expects it from another address"
    )]
    HungUp(#[source] SocketError),
    /// The server could not prove who it is.
    #[error("the server is not the one that wrote the invitation, or its answer was changed")]
    Handshake(#[from] HandshakeError),
    /// This side's first frame could not be sealed.
    #[error("the first frame could not be sealed")]
    Transmit(#[source] TransmitError),
    /// The server is who it says, and will not have this connection.
    #[error("the server refused: {0}")]
    Refused(CloseCode),
    /// The connection was established and this side did not want it any more.
    #[error("a newer connection took this one's place")]
    Superseded,
}

impl DialError {
    /// Whether only a person or time can mend it, so that trying again soon is of no use.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(code) => !matches!(code, CloseCode::Shutdown | CloseCode::SessionAge),
            Self::Upgrade(UpgradeError::Refused { status }) => {
                *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }
}

impl DialError {
    /// Whether a newer invitation may be what is needed.
    pub(crate) fn doubts_invitation(&self) -> bool {
        matches!(
            self,
            Self::Resolve { .. }
                | Self::Connect { .. }
                | Self::Upgrade(_)
                | Self::HungUp(_)
                | Self::Handshake(_)
        )
    }
}

/// Why a client at the acceptor was not let in. Only the log is told.
#[derive(Debug, Error)]
pub(crate) enum AcceptError {
    #[error("it comes from an address that no invitation allows")]
    Address,
    #[error("too many attempts from its address")]
    Attempts,
    #[error("too many pending connections from its address")]
    Pending,
    #[error("it had to make room for others")]
    Evicted,
    #[error("it took too long")]
    Timeout,
    #[error("its request is too long or was cut off")]
    Head,
    #[error("its request was answered with {0}")]
    Upgrade(StatusCode),
    #[error("it went away")]
    Lost(#[source] SocketError),
    #[error("it could not be authenticated")]
    Handshake(#[from] HandshakeError),
    #[error("its place was refused")]
    Refused,
    #[error("a frame could not be sealed")]
    Transmit(#[from] TransmitError),
}

impl From<SocketError> for AcceptError {
    fn from(error: SocketError) -> Self {
        Self::Lost(error)
    }
}
