//! The errors of this crate: one small type per operation.

use paddington_crypto::{KeyError, OpenError, SealError};
use thiserror::Error;

/// The reason why a handshake ended without a session.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// A hello, reply or first frame did not open or was malformed: the peer remains a stranger.
    #[error("the peer could not be authenticated")]
    Unauthenticated(#[source] OpenError),
    /// The peer is authenticated, but its first frame is a violation.
    #[error("the peer broke the protocol in its first frame")]
    Violation(#[source] Violation),
    /// The hello was seen before: recorded traffic is being replayed.
    #[error("the hello was seen before")]
    Replayed,
    /// This side could not make a session key.
    #[error("no session key could be made")]
    Key(#[from] KeyError),
    /// This side could not seal its part of the handshake.
    #[error("the handshake could not be sealed")]
    Seal(#[from] SealError),
}

impl From<OpenError> for HandshakeError {
    fn from(error: OpenError) -> Self {
        Self::Unauthenticated(error)
    }
}

/// The reason why a session cannot continue after a frame that arrived.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The frame did not open: an attack or a bug. The connection ends and nothing is sent.
    #[error("a frame could not be opened")]
    Unopenable(#[from] OpenError),
    /// The frame was opened before, or is one of this side's own: an attack.
    #[error("a frame was replayed")]
    Replayed,
    /// The authenticated peer broke the protocol. It is told with CLOSE.
    #[error("the peer broke the protocol")]
    Violation(#[from] Violation),
}

/// The reason why a session cannot send a frame.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransmitError {
    /// The frame could not be sealed.
    #[error("a frame could not be sealed")]
    Seal(#[from] SealError),
    /// The session has used all numbers of one direction (2^48 frames).
    #[error("the session has no frame numbers left")]
    Exhausted,
    /// The encoding has no such frame: a bug on this side.
    #[error("the encoding has no such frame")]
    Unsupported,
}

/// A violation of the protocol by an authenticated peer: the list in `docs/protocol.md` §4.1.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The frame is shorter than its header or its READY says.
    #[error("a frame is truncated")]
    Truncated,
    /// The kind of frame does not exist.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// A field or the padding must be zero and is not.
    #[error("a field or the padding must be zero and is not")]
    NotZero,
    /// A message is longer than this side's READY allows.
    #[error("a payload has {len} bytes, but at most {max} are allowed")]
    TooLong {
        /// The payload's length, in bytes.
        len: u32,
        /// The longest payload allowed, in bytes.
        max: u32,
    },
    /// The frame's kind allows no payload, or the payload is malformed.
    #[error("a frame has an unexpected or malformed payload")]
    BadPayload,
    /// The first frame is not READY, or a later one is.
    #[error("READY must be the first frame and only the first")]
    ReadyOutOfPlace,
    /// READY contradicts itself or the handshake.
    #[error("READY is invalid: {0}")]
    BadReady(&'static str),
    /// The stream is not listed in READY.
    #[error("stream {0} is not listed in READY")]
    UnknownStream(u8),
    /// A number was skipped without SKIP.
    #[error("message {got} arrived, but {expected} was expected")]
    Gap {
        /// The number that was expected.
        expected: u64,
        /// The number that arrived.
        got: u64,
    },
    /// The peer sent more than its credit allowed.
    #[error("more was sent than the credit allowed")]
    BeyondCredit,
    /// The peer acknowledged a message that was never sent.
    #[error("message {0} was acknowledged but never sent")]
    AckOfUnsent(u64),
    /// The peer sent calls, which its READY does not offer.
    #[error("calls were sent that READY does not offer")]
    NotOffered,
    /// The peer asked more than this side's READY allows.
    #[error("more requests were sent than READY allowed")]
    TooManyRequests,
    /// The peer answered a request that was never made, or is answered.
    #[error("call {0} was answered, but no such request waits for an answer")]
    AnswerOfNothing(u64),
    /// A frame about new keys that §5.5 of the protocol rules out.
    #[error("a renewal of the keys breaks the protocol: {0}")]
    BadRenewal(&'static str),
    /// A WebSocket message of a type that this session's encoding does not use.
    #[error("a WebSocket message does not belong to the session's encoding")]
    OtherEncoding,
}
