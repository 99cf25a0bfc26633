//! The frames that two connected services exchange. Implements `docs/protocol.md` §4.1.
//!
//! Frames do not depend on the encoding; a session turns them into bytes.

use std::fmt;

use crate::call_items::CallItem;
use crate::{Instance, Messages, Payload, RejectText, Software, Text};

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Frame {
    /// A message of a `hex` link, on which messages are neither numbered nor acknowledged.
    Bare(Text),
    /// The first frame of either side, with the state of its streams and cursors.
    Ready(Ready),
    /// A message.
    Data(Data),
    /// An acknowledgement, with new credit.
    Ack(Ack),
    /// Asks whether the other side is alive.
    Ping(u64),
    /// Answers a ping, with its token.
    Pong(u64),
    /// The last frame of either side.
    Close(CloseCode),
    /// Messages that will not be sent.
    Skip(Skip),
    /// The sender shuts down: the receiver holds back new messages and continues to acknowledge.
    Drain,
    /// Several messages, only for a peer with [`Features::BATCH`].
    Batch(Batch),
    /// Requests and their answers, only for a peer with [`Features::CALLS`].
    Calls(Calls),
    /// From the server, the generation of the keys that are next; from the client 0, which asks for
    /// them. Only with [`Features::RENEW`] in both READYs.
    Renew(u64),
    /// The client's answer to [`Frame::Renew`], with the same number: it has stored these keys or, if they
    /// are the session's own, has none that wait to be used.
    Renewed(u64),
}

/// The number up to which everything is completed, in one stream of the frame's receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Completed {
    /// Index into `mine` of the receiver's READY.
    pub stream: u8,
    /// The number; 0 acknowledges nothing.
    pub number: u64,
}

/// A numbered message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Data {
    /// Index into `mine` of the sender's READY.
    pub stream: u8,
    /// Whether the message was transmitted in an earlier session too.
    pub again: bool,
    /// The message's number in the stream, from 1.
    pub number: u64,
    /// An acknowledgement sent along with the message.
    pub ack: Completed,
    /// The message itself.
    pub payload: Payload,
}

impl Data {
    /// Returns the credit that a message of `len` bytes uses, in bytes.
    #[must_use]
    pub fn cost(len: usize) -> u64 {
        HEADER_LEN as u64 + len as u64
    }
}

/// Several messages of one stream with consecutive numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    /// Index into `mine` of the sender's READY.
    pub stream: u8,
    /// Whether the messages were transmitted in an earlier session too: all of them or none.
    pub again: bool,
    /// The first message's number in the stream, from 1.
    pub first: u64,
    /// An acknowledgement sent along with the messages.
    pub ack: Completed,
    /// The messages themselves.
    pub messages: Messages,
}

/// Items of the stream of calls with consecutive numbers, or none: an acknowledgement alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Calls {
    /// The first item's number in the stream of calls, from 1; 0 if there are no items.
    pub first: u64,
    /// An acknowledgement of messages sent along with the items.
    pub ack: Completed,
    /// The highest number received in the receiver's stream of calls.
    pub received: u64,
    /// The items, at most [`CallItem::MAX`].
    pub items: Vec<CallItem>,
}

/// An acknowledgement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ack {
    /// The number up to which messages are completed.
    pub ack: Completed,
    /// The credit: the total number of bytes, Σ(24 + length) over all messages of the session, that
    /// may be sent.
    pub credit: u64,
    /// The rejections among the completed messages of the same stream.
    pub rejected: Vec<Rejection>,
}

impl Ack {
    /// The most rejections in one acknowledgement.
    pub const MAX_REJECTIONS: usize = 1024;
}

/// A message that the receiver gave up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rejection {
    /// The number of the message.
    pub number: u64,
    /// The reason.
    pub code: RejectCode,
    /// The receiver's words about it, mostly none.
    pub text: RejectText,
}

impl Rejection {
    /// Returns the length on the wire, in bytes.
    pub(crate) fn encoded_len(&self) -> usize {
        REJECTION_LEN.saturating_add(self.text.as_str().len())
    }
}

/// The length of a rejection without text: number, code, and the text's length.
const REJECTION_LEN: usize = 11;

/// The reason why a message was given up. Unknown codes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RejectCode(pub u16);

impl RejectCode {
    /// The handler returned an error or panicked.
    pub const FAILED: Self = Self(1);
    /// The handler did not finish in time.
    pub const TIMED_OUT: Self = Self(2);
    /// The message is not UTF-8 text.
    pub const NOT_TEXT: Self = Self(3);
    /// Too many instances of the receiver ended while handling the message.
    pub const POISON: Self = Self(4);
    /// The handler takes text, and the message is bytes.
    pub const TEXT_ONLY: Self = Self(5);
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FAILED => f.write_str("the handler failed"),
            Self::TIMED_OUT => f.write_str("the handler did not finish in time"),
            Self::NOT_TEXT => f.write_str("the message is not text"),
            Self::POISON => f.write_str("the message was given up after repeated crashes"),
            Self::TEXT_ONLY => f.write_str("the handler takes text, and the message is bytes"),
            Self(code) => write!(f, "code {code}"),
        }
    }
}

/// Messages that will not be sent, from the next expected number up to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Skip {
    /// Index into `mine` of the sender's READY.
    pub stream: u8,
    /// The last number skipped.
    pub to: u64,
    /// An acknowledgement sent along with it.
    pub ack: Completed,
}

/// The reason why a side closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// The service shuts down.
    Shutdown,
    /// A newer connection replaced this one.
    Replaced,
    /// Another live instance holds the link.
    Busy,
    /// The other side broke the protocol.
    Violation,
    /// The session has reached its age limit; a new one renews the keys.
    SessionAge,
    /// The client made too many handshakes.
    Overload,
    /// The sender has removed the link: the invitation is no longer valid.
    Removed,
    /// A code that this version does not know.
    Other(u64),
}

impl CloseCode {
    /// Returns the code on the wire.
    #[must_use]
    pub fn code(self) -> u64 {
        match self {
            Self::Shutdown => 1,
            Self::Replaced => 2,
            Self::Busy => 3,
            Self::Violation => 4,
            Self::SessionAge => 5,
            Self::Overload => 6,
            Self::Removed => 7,
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
            7 => Self::Removed,
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
            Self::SessionAge => f.write_str("session age limit"),
            Self::Overload => f.write_str("too many handshakes"),
            Self::Removed => f.write_str("the link was removed"),
            Self::Other(code) => write!(f, "close code {code}"),
        }
    }
}

/// The payload of READY, the first frame of each side (`docs/protocol.md` §4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ready {
    /// The sender's instance.
    pub instance: Instance,
    /// The longest message that the sender accepts, in bytes.
    pub max_payload: u32,
    /// The first credit, in bytes.
    pub window: u32,
    /// The optional kinds of frames that the sender understands.
    pub features: Features,
    /// The sender's streams, the oldest first and the current one last.
    pub mine: Vec<StreamState>,
    /// The sender's cursors in the other side's streams.
    pub yours: Vec<CursorState>,
    /// The name and version of the sender's software, which it may lie about.
    pub software: Software,
    /// The sender's bounds and state for calls. Transmitted only with [`Features::CALLS`].
    pub calls: CallsState,
}

impl Ready {
    /// The most entries in `mine`, and in `yours`.
    pub const MAX_ENTRIES: usize = 64;
    /// The longest READY that is accepted, in bytes; without later additions it is shorter.
    pub const MAX_LEN: u32 = 8 * 1024;
}

/// The optional kinds of frames that a service understands, as a bit mask. Unknown bits are kept
/// and ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features(pub u64);

impl Features {
    /// No optional kinds.
    pub const NONE: Self = Self(0);
    /// The service understands [`Frame::Batch`].
    pub const BATCH: Self = Self(1);
    /// The service understands [`Frame::Calls`].
    pub const CALLS: Self = Self(2);
    /// The service understands [`Frame::Renew`] and [`Frame::Renewed`], and can store new keys.
    pub const RENEW: Self = Self(4);

    /// Returns these and `others`.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Returns whether all of `wanted` are among these.
    #[must_use]
    pub const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

/// A stream as its sender sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamState {
    /// The sender's instance that the stream belongs to.
    pub instance: Instance,
    /// The lowest number whose message is kept.
    pub base: u64,
    /// The number that the next message gets.
    pub next: u64,
}

/// A stream as its receiver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CursorState {
    /// The sender's instance that the stream belongs to.
    pub instance: Instance,
    /// The highest number received.
    pub received: u64,
    /// The number up to which every message has been handled.
    pub completed: u64,
}

/// How a side takes requests, and what it has received of the other side's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CallsState {
    /// The most requests of one depth that may be unanswered; 0 if the sender answers none.
    pub requests: u16,
    /// The most bytes, Σ(24 + length), of unanswered requests of one depth.
    pub request_window: u32,
    /// The instance of the other side whose calls it remembers.
    pub of: Option<Instance>,
    /// The highest number received in that instance's stream of calls.
    pub received: u64,
}

/// The length of the fields before a frame's payload, in bytes.
pub const HEADER_LEN: usize = 24;

/// The longest payload that the protocol allows, in bytes.
pub const MAX_PAYLOAD: u32 = 16_777_192;
