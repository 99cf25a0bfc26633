//! The first frames of a handshake. Implements `docs/protocol.md` §3.5.

use std::fmt;

use bytes::Bytes;
use paddington_crypto::OpenError;

use super::Padding;
use super::schedule::SessionSecrets;
use super::sealed_session::SealedSession;
use crate::frame::{CloseCode, Frame, Ready};
use crate::{HandshakeError, Instance, ReceiveError, TransmitError, Violation};

/// This side's role in the handshake.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Client,
    /// The client's READY must have the instance of its HELLO, `client`.
    Server {
        client: Instance,
    },
}

/// A handshake before the first frames. The other side is authenticated once its frame opens; until
/// then it must not be reported as connected.
pub struct AwaitReady {
    role: Role,
    session: Box<SealedSession>,
}

/// The first frame of the other side.
#[derive(Debug)]
pub enum Greeting {
    /// READY: the session is established.
    Ready(Box<SealedSession>, Ready),
    /// CLOSE: the authenticated server refuses the connection.
    Closed(CloseCode),
}

impl AwaitReady {
    pub(super) fn new(role: Role, secrets: SessionSecrets) -> Self {
        let SessionSecrets { client_to_server, server_to_client, exporter } = secrets;
        let (outgoing, incoming) = match role {
            Role::Client => (client_to_server, server_to_client),
            Role::Server { .. } => (server_to_client, client_to_server),
        };
        let session = SealedSession::new(outgoing, incoming, exporter, Ready::MAX_LEN);
        Self { role, session: Box::new(session) }
    }

    /// Sets how frames are padded.
    #[must_use]
    pub fn with_padding(mut self, padding: Padding) -> Self {
        self.session.set_padding(padding);
        self
    }

    /// Seals this side's first frame: READY, or CLOSE from a server.
    ///
    /// # Errors
    ///
    /// [`TransmitError`] if it cannot be sealed.
    pub fn first(&mut self, frame: &Frame) -> Result<Bytes, TransmitError> {
        self.session.encode(frame)
    }

    /// Opens the other side's first frame.
    ///
    /// From then on messages of up to `max_payload` bytes are accepted, as in this side's READY.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Unauthenticated`] if it does not open, [`HandshakeError::Violation`] if it
    /// is neither a valid READY nor the server's CLOSE.
    pub fn finish(mut self, frame: &[u8], max_payload: u32) -> Result<Greeting, HandshakeError> {
        let first = match self.session.open(frame) {
            Ok(first) => first,
            Err(ReceiveError::Violation(violation)) => {
                return Err(HandshakeError::Violation(violation));
            }
            Err(_) => return Err(OpenError.into()),
        };
        match (first, self.role) {
            (Frame::Ready(ready), Role::Server { client }) if ready.instance != client => Err(
                HandshakeError::Violation(Violation::BadReady("its instance is not that of HELLO")),
            ),
            (Frame::Ready(ready), _) => {
                self.session.set_max_payload(max_payload);
                Ok(Greeting::Ready(self.session, ready))
            }
            (Frame::Close(code), Role::Client) => Ok(Greeting::Closed(code)),
            _ => Err(HandshakeError::Violation(Violation::ReadyOutOfPlace)),
        }
    }
}

impl fmt::Debug for AwaitReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitReady").field("role", &self.role).finish_non_exhaustive()
    }
}
