//! What two connected services say to each other. Implements `docs/protocol.md` §4.1.
//!
//! The frames are the same whatever the encoding; how they become bytes is the session's business.

use std::fmt;

use bytes::Bytes;

use crate::{Instance, Messages, Text};

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Frame {
    /// A message of a `hex` link, which numbers and acknowledges nothing.
    Bare(Text),
    /// The first frame of either side: what it keeps and what it has.
    Ready(Ready),
    /// A message.
    Data(Data),
    /// What was completed, and how much more may come.
    Ack(Ack),
    /// Asks whether the other side is alive.
    Ping(u64),
    /// Answers a ping, with its token.
    Pong(u64),
    /// The last frame of either side.
    Close(CloseCode),
    /// Messages that have expired and will not come.
    Skip(Skip),
    /// The sender shuts down: hold back new messages, go on with acknowledgements.
    Drain,
    /// Several messages, for a peer with [`Features::BATCH`].
    Batch(Batch),
}

/// The highest number up to which everything is completed, on one stream of the frame's receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Completed {
    /// Index into `mine` of the receiver's READY.
    pub stream: u8,
    /// The number; 0 says nothing.
    pub number: u64,
}

/// A numbered message.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Data {
    /// Index into `mine` of the sender's READY.
    pub stream: u8,
    /// Whether it was transmitted in some session before.
    pub again: bool,
    /// Its number in the stream, from 1.
    pub number: u64,
    /// An acknowledgement that travels with it.
    pub ack: Completed,
    /// The message itself.
    pub payload: Bytes,
}

impl Data {
    /// What a message of `len` bytes takes from the credit.
    #[must_use]
    pub fn cost(len: usize) -> u64 {
        HEADER_LEN as u64 + len as u64
    }
}

/// Several messages of one stream whose numbers follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    /// Index into `mine` of the sender's READY.
    pub stream: u8,
    /// Whether all of them were transmitted in some session before; else none was.
    pub again: bool,
    /// The number of the first one in the stream, from 1.
    pub first: u64,
    /// An acknowledgement that travels with them.
    pub ack: Completed,
    /// The messages themselves.
    pub messages: Messages,
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Data")
            .field("stream", &self.stream)
            .field("again", &self.again)
            .field("number", &self.number)
            .field("ack", &self.ack)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .finish()
    }
}

/// An acknowledgement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ack {
    /// What is completed.
    pub ack: Completed,
    /// The total number of bytes, Σ(24 + length) over all DATA of the session, that may be sent.
    pub credit: u64,
    /// Messages among the completed that were given up, on the same stream.
    pub rejected: Vec<Rejection>,
}

impl Ack {
    /// What each rejection takes on the wire, in bytes.
    pub(crate) const REJECTION_LEN: usize = 10;
}

/// A message that the receiver's policy gave up on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rejection {
    /// The number of the message.
    pub number: u64,
    /// Why.
    pub code: RejectCode,
}

/// Why a message was given up. Codes that are not known here are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RejectCode(pub u16);

impl RejectCode {
    /// The handler returned an error or panicked.
    pub const FAILED: Self = Self(1);
    /// The handler did not end in time.
    pub const TIMED_OUT: Self = Self(2);
    /// The message is not UTF-8 text.
    pub const NOT_TEXT: Self = Self(3);
    /// The message was being handled in too many lives of the receiver that ended.
    pub const POISON: Self = Self(4);
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FAILED => f.write_str("the handler failed"),
            Self::TIMED_OUT => f.write_str("the handler did not end in time"),
            Self::NOT_TEXT => f.write_str("the message is not text"),
            Self::POISON => f.write_str("the message was given up after repeated crashes"),
            Self(code) => write!(f, "code {code}"),
        }
    }
}

/// Expired messages: from the next expected number to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Skip {
    /// Index into `mine` of the sender's READY.
    pub stream: u8,
    /// The last number skipped.
    pub to: u64,
    /// An acknowledgement that travels with it.
    pub ack: Completed,
}

/// Why a side closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// The service shuts down.
    Shutdown,
    /// A newer connection took this one's place.
    Replaced,
    /// Another live instance holds the link.
    Busy,
    /// The other side broke the protocol.
    Violation,
    /// The session is old and its keys are to be renewed.
    SessionAge,
    /// Too many handshakes.
    Overload,
    /// A code that this version does not know.
    Other(u64),
}

impl CloseCode {
    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u64 {
        match self {
            Self::Shutdown => 1,
            Self::Replaced => 2,
            Self::Busy => 3,
            Self::Violation => 4,
            Self::SessionAge => 5,
            Self::Overload => 6,
            Self::Other(code) => code,
        }
    }
}

impl From<u64> for CloseCode {
    fn from(code: u64) -> Self {
        match code {
            1 => Self::Shutdown,
            2 => Self::Replaced,
            3 => Self::Busy,
            4 => Self::Violation,
            5 => Self::SessionAge,
            6 => Self::Overload,
            code => Self::Other(code),
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("shutdown"),
            Self::Replaced => f.write_str("replaced by a newer connection"),
            Self::Busy => f.write_str("another live process uses this invitation"),
            Self::Violation => f.write_str("protocol violation"),
            Self::SessionAge => f.write_str("the session's age limit"),
            Self::Overload => f.write_str("too many handshakes"),
            Self::Other(code) => write!(f, "close code {code}"),
        }
    }
}

/// What each side says first: `docs/protocol.md` §4.1, READY payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ready {
    /// The sender's life.
    pub instance: Instance,
    /// The longest message that it accepts, in bytes.
    pub max_payload: u32,
    /// The first credit, in bytes.
    pub window: u32,
    /// Optional kinds of frames that it understands.
    pub features: Features,
    /// Its streams, oldest first; the last one is its current stream.
    pub mine: Vec<StreamState>,
    /// What it has of the other side's streams.
    pub yours: Vec<CursorState>,
}

/// Which optional kinds of frames a service understands, as a bit mask. Bits that are not known
/// here are kept and mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features(pub u64);

impl Features {
    /// No optional kind.
    pub const NONE: Self = Self(0);
    /// [`Frame::Batch`].
    pub const BATCH: Self = Self(1);

    /// Whether all of `wanted` are among these.
    #[must_use]
    pub const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

/// A stream as its sender sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamState {
    /// The life of the sender that the stream belongs to.
    pub instance: Instance,
    /// The lowest number that is kept.
    pub base: u64,
    /// The number that the next message gets.
    pub next: u64,
}

/// A stream as its receiver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CursorState {
    /// The life of the sender that the stream belongs to.
    pub instance: Instance,
    /// The highest number taken in.
    pub received: u64,
    /// Every number up to this one has been handled.
    pub completed: u64,
}

/// The length of the fields before a frame's payload, in bytes.
pub const HEADER_LEN: usize = 24;

/// The longest payload that the protocol allows, in bytes.
pub const MAX_PAYLOAD: u32 = 16_777_192;
