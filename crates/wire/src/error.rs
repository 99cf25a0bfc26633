//! One small error per operation.

use paddington_crypto::{KeyError, OpenError, SealError};
use thiserror::Error;

/// Why a handshake ended without a session.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer's words did not open, or were not what they had to be. It is not known who it is.
    #[error("the peer could not be authenticated")]
    Unauthenticated(#[source] OpenError),
    /// The peer is who it says, and broke the protocol.
    #[error("the peer broke the protocol in its first frame")]
    Violation(#[source] Violation),
    /// A hello that was seen before: somebody replays recorded traffic.
    #[error("the hello was seen before")]
    Replayed,
    /// Ours, not the peer's: no key could be made.
    #[error("no session key could be made")]
    Key(#[from] KeyError),
    /// Ours, not the peer's: nothing could be sealed.
    #[error("the handshake could not be sealed")]
    Seal(#[from] SealError),
}

impl From<OpenError> for HandshakeError {
    fn from(error: OpenError) -> Self {
        Self::Unauthenticated(error)
    }
}

/// Why a session cannot go on after something that arrived.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveError {
    /// It did not open: an attack, or a bug. The connection ends without a word.
    #[error("a frame could not be opened")]
    Unopenable(#[from] OpenError),
    /// It was opened before, or it is our own: an attack.
    #[error("a frame was replayed")]
    Replayed,
    /// An authenticated peer broke the protocol. It is told so.
    #[error("the peer broke the protocol")]
    Violation(#[from] Violation),
}

/// Why a session cannot go on with sending.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransmitError {
    /// Nothing could be sealed.
    #[error("a frame could not be sealed")]
    Seal(#[from] SealError),
    /// The session has used all its numbers (2^48 frames in one direction).
    #[error("the session has no frame numbers left")]
    Exhausted,
    /// This encoding has no such frame: a bug of ours.
    #[error("the encoding has no such frame")]
    Unsupported,
}

/// What an authenticated peer did wrong. Implements the list in `docs/protocol.md` §4.1.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The plaintext is shorter than its header says.
    #[error("a frame is cut short")]
    Truncated,
    /// A kind of frame that does not exist.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// A field or the padding is not zero where it has to be.
    #[error("bytes that must be zero are not")]
    NotZero,
    /// A payload above the announced maximum.
    #[error("a payload of {len} bytes, where {max} are allowed")]
    TooLong {
        /// The payload's length.
        len: u32,
        /// What was announced.
        max: u32,
    },
    /// A payload where none belongs, or of a wrong shape.
    #[error("a payload that does not belong there")]
    BadPayload,
    /// READY anywhere but in the first frame, or anything else there.
    #[error("READY is the first frame and only the first")]
    ReadyOutOfPlace,
    /// A READY that contradicts itself or the handshake.
    #[error("READY contradicts itself: {0}")]
    BadReady(&'static str),
    /// A stream that was not declared.
    #[error("stream {0} was not declared")]
    UnknownStream(u8),
    /// A number was left out.
    #[error("message {got} came where {expected} was next")]
    Gap {
        /// The number that was next.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// More than the credit allowed.
    #[error("more was sent than the credit allowed")]
    BeyondCredit,
    /// Something was acknowledged that was not sent.
    #[error("message {0} was acknowledged and never sent")]
    AckOfUnsent(u64),
    /// A message of the `hex` encoding where that of the `sealed` one belongs, or the other way.
    #[error("a frame of the other encoding")]
    OtherEncoding,
}
