//! A session of either encoding.

use bytes::BytesMut;

use crate::frame::CloseCode;
use crate::hex::{self, HexSession};
use crate::sealed::SealedSession;
use crate::{Encoding, Frame, ReceiveError, TransmitError, Violation};

/// One WebSocket message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmission<T, B> {
    /// A text message.
    Text(T),
    /// A binary message.
    Binary(B),
    /// An empty Ping.
    Ping,
    /// A Pong, with which a WebSocket answers a Ping automatically.
    Pong,
    /// A Close.
    Close,
}

/// A WebSocket message to send, which may be masked where it is.
pub type Outgoing = Transmission<String, BytesMut>;

/// A WebSocket message that arrived, which is opened where it is.
pub type Arrived<'a> = Transmission<&'a str, BytesMut>;

/// An established session, which turns frames into WebSocket messages and back.
///
/// Only a completed handshake makes one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Session {
    /// A session of the `sealed` encoding.
    Sealed(Box<SealedSession>),
    /// A session of the `hex` encoding.
    Hex(Box<HexSession>),
}

impl From<Box<SealedSession>> for Session {
    fn from(session: Box<SealedSession>) -> Self {
        Self::Sealed(session)
    }
}

impl From<HexSession> for Session {
    fn from(session: HexSession) -> Self {
        Self::Hex(Box::new(session))
    }
}

impl Session {
    /// The longest binary message that is copied before it is opened. The message in a longer one stays
    /// in its buffer, which must then be no part of a larger one.
    pub const COPIED_FRAME: usize = SealedSession::COPIED_FRAME;

    /// Returns the session's encoding.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Sealed(_) => Encoding::Sealed,
            Self::Hex(_) => Encoding::Hex,
        }
    }

    /// Returns the maximum length of a WebSocket message from the other side, in bytes, if messages
    /// of up to `max_payload` bytes are accepted.
    #[must_use]
    pub fn max_message_len(encoding: Encoding, max_payload: u32) -> usize {
        match encoding {
            Encoding::Sealed => SealedSession::max_frame_len(max_payload),
            Encoding::Hex => hex::MAX_MESSAGE_LEN.min(hex::max_message_len(max_payload)),
        }
    }

    /// Turns a frame into a WebSocket message. Returns `None` for a pong of the `hex` encoding,
    /// which the WebSocket itself sends.
    ///
    /// # Errors
    ///
    /// [`TransmitError`] if the frame cannot be sealed or the encoding has no such frame.
    pub fn encode(&mut self, frame: &Frame) -> Result<Option<Outgoing>, TransmitError> {
        self.encode_in(|| None, frame)
    }

    /// Does the same, and asks for a buffer for a long frame: one that is not needed any more saves that
    /// memory is asked of the system.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_in(
        &mut self,
        used: impl FnOnce() -> Option<BytesMut>,
        frame: &Frame,
    ) -> Result<Option<Outgoing>, TransmitError> {
        match self {
            Self::Sealed(session) => Ok(Some(Transmission::Binary(session.seal_in(used, frame)?))),
            Self::Hex(session) => match frame {
                Frame::Bare(text) => Ok(Some(Transmission::Text(session.encode(text)?))),
                Frame::Ping(_) => Ok(Some(Transmission::Ping)),
                Frame::Pong(_) => Ok(None),
                Frame::Close(_) => Ok(Some(Transmission::Close)),
                _ => Err(TransmitError::Unsupported),
            },
        }
    }

    /// Turns a WebSocket message into a frame. Returns `None` for the Pings and Pongs of the
    /// WebSocket in a `sealed` session, for which they are no sign of life.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] if it does not open or breaks the protocol. The session must then end.
    pub fn decode(&mut self, arrived: Arrived<'_>) -> Result<Option<Frame>, ReceiveError> {
        match (self, arrived) {
            (Self::Sealed(session), Transmission::Binary(sealed)) => {
                session.decode_in_place(sealed).map(Some)
            }
            (Self::Sealed(_), Transmission::Ping | Transmission::Pong) => Ok(None),
            (Self::Hex(session), Transmission::Text(envelope)) => {
                Ok(Some(Frame::Bare(session.decode(envelope)?)))
            }
            (Self::Hex(_), Transmission::Ping) => Ok(Some(Frame::Ping(0))),
            (Self::Hex(_), Transmission::Pong) => Ok(Some(Frame::Pong(0))),
            (Self::Hex(_), Transmission::Close) => Ok(Some(Frame::Close(CloseCode::Shutdown))),
            _ => Err(Violation::OtherEncoding.into()),
        }
    }
}
