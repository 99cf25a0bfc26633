//! The session that a handshake leads to. Implements `docs/protocol.md` §3.5 and §4.

use std::fmt;

use bytes::{Bytes, BytesMut};
use paddington_crypto::OpenError;
use paddington_crypto::sealed::OVERHEAD;

use super::Padding;
use super::codec::{self, COPIED};
use super::schedule::SessionSecrets;
use super::traffic::Traffic;
use crate::frame::{CloseCode, Frame, HEADER_LEN, Ready};
use crate::{HandshakeError, Instance, ReceiveError, TransmitError, Violation};

/// A READY is at most this long: 36 bytes and two lists of 64 streams.
const READY_MAX: u32 = 8 * 1024;
/// The size in bytes of the blocks that small frames are built and opened in.
const SCRATCH: usize = 4 * 1024;
/// Frames of up to so many bytes are opened in the same block, one after the other. A longer one
/// may hold a message that stays where it is, and gets a buffer of its length.
const SHARED: usize = COPIED + HEADER_LEN + OVERHEAD;

/// Which side of the handshake this is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Client,
    /// The client's READY must name the life that its HELLO named.
    Server {
        client: Instance,
    },
}

/// A handshake that lacks only the first frames. The other side is authenticated when its frame
/// opens; nothing else may be believed or reported before.
pub struct AwaitReady {
    role: Role,
    session: Box<SealedSession>,
}

/// How the other side begins.
#[derive(Debug)]
pub enum Greeting {
    /// It is ready: the session stands.
    Ready(Box<SealedSession>, Ready),
    /// The server, authenticated, will not have this connection.
    Closed(CloseCode),
}

impl AwaitReady {
    pub(super) fn new(role: Role, secrets: SessionSecrets) -> Self {
        let SessionSecrets { client_to_server, server_to_client } = secrets;
        let (outgoing, incoming) = match role {
            Role::Client => (client_to_server, server_to_client),
            Role::Server { .. } => (server_to_client, client_to_server),
        };
        let session = Box::new(SealedSession {
            sealer: Traffic::new(outgoing),
            opener: Traffic::new(incoming),
            padding: Padding::default(),
            max_payload: READY_MAX,
            outgoing: BytesMut::with_capacity(SCRATCH),
            incoming: BytesMut::with_capacity(SCRATCH),
        });
        Self { role, session }
    }

    /// Changes how frames are padded.
    #[must_use]
    pub fn with_padding(mut self, padding: Padding) -> Self {
        self.session.padding = padding;
        self
    }

    /// Seals this side's first frame: READY, or on the server CLOSE.
    ///
    /// # Errors
    ///
    /// [`TransmitError`] if it cannot be sealed.
    pub fn first(&mut self, frame: &Frame) -> Result<Bytes, TransmitError> {
        self.session.encode(frame)
    }

    /// Opens the other side's first frame.
    ///
    /// From here on messages of up to `max_payload` bytes are accepted, as this side's READY says.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Unauthenticated`] if it does not open, [`HandshakeError::Violation`] if it
    /// is not what belongs there.
    pub fn finish(mut self, frame: &[u8], max_payload: u32) -> Result<Greeting, HandshakeError> {
        let first = match self.session.open(frame) {
            Ok(first) => first,
            Err(ReceiveError::Violation(violation)) => {
                return Err(HandshakeError::Violation(violation));
            }
            Err(_) => return Err(OpenError.into()),
        };
        match (first, self.role) {
            (Frame::Ready(ready), Role::Server { client }) if ready.instance != client => {
                Err(HandshakeError::Violation(Violation::BadReady("another life than in HELLO")))
            }
            (Frame::Ready(ready), _) => {
                self.session.max_payload = max_payload;
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

/// An established session: frames in, frames out, in order, numbered, double-sealed.
///
/// It has no public constructor: holding one proves that the other side knows both keys.
pub struct SealedSession {
    sealer: Traffic,
    opener: Traffic,
    padding: Padding,
    max_payload: u32,
    outgoing: BytesMut,
    incoming: BytesMut,
}

impl SealedSession {
    /// Seals the next frame.
    ///
    /// # Errors
    ///
    /// [`TransmitError`] if the session is used up or the frame is one of the `hex` encoding.
    pub fn encode(&mut self, frame: &Frame) -> Result<Bytes, TransmitError> {
        codec::encode(frame, self.padding, OVERHEAD, &mut self.outgoing)?;
        let mut sealed = self.outgoing.split();
        self.sealer.seal(&mut sealed)?;
        Ok(sealed.freeze())
    }

    /// Opens the next frame.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] if it does not open or breaks the protocol; the session is then over.
    pub fn decode(&mut self, sealed: &[u8]) -> Result<Frame, ReceiveError> {
        match self.open(sealed)? {
            Frame::Ready(_) => Err(Violation::ReadyOutOfPlace.into()),
            frame => Ok(frame),
        }
    }

    #[cfg(feature = "fuzzing")]
    pub(super) fn seal_raw(&mut self, frame: &mut [u8]) -> Result<(), TransmitError> {
        self.sealer.seal(frame)
    }

    /// The longest frame that the other side may send, in bytes.
    #[must_use]
    pub fn max_frame_len(max_payload: u32) -> usize {
        Padding::Padme.padded_len(HEADER_LEN + max_payload as usize) + OVERHEAD
    }

    fn open(&mut self, sealed: &[u8]) -> Result<Frame, ReceiveError> {
        let mut frame = if sealed.len() > SHARED {
            BytesMut::from(sealed)
        } else {
            self.incoming.extend_from_slice(sealed);
            self.incoming.split()
        };
        let len = self.opener.open(&mut frame)?;
        frame.truncate(len);
        Ok(codec::decode(frame.freeze(), self.max_payload)?)
    }
}

impl fmt::Debug for SealedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSession(..)")
    }
}
