//! Requests, replies, failures and cancels in one block: the payload of CALLS in
//! `docs/protocol.md` §4.1.

#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use bytes::{Buf, BufMut, Bytes};

use crate::error::Violation;
use crate::payload::Payload;
use crate::text::Text;

/// One item of the stream of calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallItem {
    /// The requester's number of the call that the item is about.
    pub call: u64,
    /// The item itself.
    pub body: CallBody,
}

/// The content of an item of the stream of calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CallBody {
    /// A question that is answered once.
    Request {
        /// Number of requests, from 0, in whose handling it was made.
        depth: u8,
        /// Milliseconds that were left for the answer when the frame was made; `None` for no limit.
        left: Option<u32>,
        /// The request.
        payload: Payload,
    },
    /// The handler's answer.
    Reply {
        /// The reply.
        payload: Payload,
    },
    /// An answer that says that there is none.
    Failure {
        /// The reason.
        code: FailureCode,
        /// The words of the handler's error, if the peer reveals them: at most
        /// [`CallItem::MAX_TEXT`] bytes.
        text: Text,
    },
    /// The requester no longer waits.
    Cancel,
}

/// The reason why a request has no reply. Unknown codes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FailureCode(pub u16);

impl FailureCode {
    /// The handler returned an error or panicked.
    pub const FAILED: Self = Self(1);
    /// The handler did not finish in the time that the answering service allows.
    pub const TIMED_OUT: Self = Self(2);
    /// The request says that it is text, and is not UTF-8.
    pub const NOT_TEXT: Self = Self(3);
    /// The handler takes text, and the request is bytes.
    pub const TEXT_ONLY: Self = Self(5);
    /// The handler ended and gave no answer.
    pub const NO_ANSWER: Self = Self(6);
    /// The time for the answer was over before the handler was done.
    pub const EXPIRED: Self = Self(7);
    /// The requester has cancelled the request.
    pub const CANCELLED: Self = Self(8);
    /// The service answers no requests.
    pub const NOT_ANSWERED: Self = Self(9);
    /// The service has no room for the request, or for the reply.
    pub const NO_ROOM: Self = Self(10);
    /// The service shuts down.
    pub const SHUTTING_DOWN: Self = Self(11);
    /// The reply is longer than the requester accepts.
    pub const TOO_LONG: Self = Self(12);
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FAILED => f.write_str("the handler failed"),
            Self::TIMED_OUT => f.write_str("the handler did not finish in time"),
            Self::NOT_TEXT => f.write_str("the request is not text"),
            Self::TEXT_ONLY => f.write_str("the handler takes text, and the request is bytes"),
            Self::NO_ANSWER => f.write_str("the handler gave no answer"),
            Self::EXPIRED => f.write_str("the time for the answer was over"),
            Self::CANCELLED => f.write_str("the request was cancelled"),
            Self::NOT_ANSWERED => f.write_str("the service answers no requests"),
            Self::NO_ROOM => f.write_str("the service has no room for it"),
            Self::SHUTTING_DOWN => f.write_str("the service shuts down"),
            Self::TOO_LONG => f.write_str("the reply is too long"),
            Self(code) => write!(f, "code {code}"),
        }
    }
}

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const FAILURE: u8 = 3;
const CANCEL: u8 = 4;

/// The flag on requests and replies that are bytes.
const BYTES: u8 = 1;
/// The time that stands for no limit.
const NO_LIMIT: u32 = u32::MAX;
const LEN_LEN: usize = 4;
const ITEM_HEADER: usize = 16;
const RECEIVED_LEN: usize = 8;
/// The length of a block from which items are copied, because they would keep it in memory.
const SHARED: usize = 16 * 1024;

impl CallItem {
    /// The maximum number of items in one frame.
    pub const MAX: usize = 1_024;
    /// The longest text of a failure, in bytes.
    pub const MAX_TEXT: usize = 1_024;
    /// The depth that no request reaches.
    pub const MAX_DEPTH: u8 = 8;
    /// The bytes that an item takes in a frame beside its payload.
    pub const HEADER_LEN: usize = LEN_LEN + ITEM_HEADER;
    /// The bytes that a frame with one item takes beside the item's payload.
    pub const OVERHEAD: usize = RECEIVED_LEN + Self::HEADER_LEN;

    /// Returns the bytes that the item takes in a frame.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        Self::HEADER_LEN.saturating_add(self.payload().len())
    }

    /// Returns the request, the reply, or the text of a failure.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match &self.body {
            CallBody::Request { payload, .. } | CallBody::Reply { payload } => payload,
            CallBody::Failure { text, .. } => text.as_str().as_bytes(),
            CallBody::Cancel => &[],
        }
    }

    fn write(&self, buffer: &mut impl BufMut) {
        let (what, flags, short, long) = match &self.body {
            CallBody::Request { depth, left, payload } => {
                (REQUEST, payload.is_bytes(), u16::from(*depth), left.unwrap_or(NO_LIMIT))
            }
            CallBody::Reply { payload } => (REPLY, payload.is_bytes(), 0, 0),
            CallBody::Failure { code, .. } => (FAILURE, false, code.0, 0),
            CallBody::Cancel => (CANCEL, false, 0, 0),
        };
        let payload = self.payload();
        buffer.put_u32(ITEM_HEADER.saturating_add(payload.len()).try_into().unwrap_or(u32::MAX));
        buffer.put_slice(&[what, u8::from(flags)]);
        buffer.put_u16(short);
        buffer.put_u32(long);
        buffer.put_u64(self.call);
        buffer.put_slice(payload);
    }

    /// Reads an item, without its length.
    fn read(mut item: Bytes, max_payload: u32, shared: usize) -> Result<Self, Violation> {
        if item.len() < ITEM_HEADER {
            return Err(Violation::BadPayload);
        }
        let (what, flags) = (item.get_u8(), item.get_u8());
        let (short, long, call) = (item.get_u16(), item.get_u32(), item.get_u64());
        let zero = match what {
            REQUEST => flags & !BYTES == 0,
            REPLY => flags & !BYTES == 0 && short == 0 && long == 0,
            FAILURE => flags == 0 && long == 0,
            CANCEL => flags == 0 && short == 0 && long == 0,
            _ => return Err(Violation::BadPayload),
        };
        if !zero {
            return Err(Violation::NotZero);
        }
        if item.len() > max_payload as usize && what != FAILURE {
            let len = u32::try_from(item.len()).unwrap_or(u32::MAX);
            return Err(Violation::TooLong { len, max: max_payload });
        }
        let bytes = flags & BYTES != 0;
        let payload = if item.len() < shared { Bytes::copy_from_slice(&item) } else { item };
        let body = match what {
            REQUEST => {
                let depth = u8::try_from(short).ok().filter(|depth| *depth < Self::MAX_DEPTH);
                let depth = depth.ok_or(Violation::BadPayload)?;
                let left = (long != NO_LIMIT).then_some(long);
                CallBody::Request { depth, left, payload: Payload::flagged(bytes, payload) }
            }
            REPLY => CallBody::Reply { payload: Payload::flagged(bytes, payload) },
            FAILURE if payload.len() <= Self::MAX_TEXT => {
                let text = Text::try_from(payload).map_err(|_| Violation::BadPayload)?;
                CallBody::Failure { code: FailureCode(short), text }
            }
            CANCEL if payload.is_empty() => CallBody::Cancel,
            _ => return Err(Violation::BadPayload),
        };
        Ok(Self { call, body })
    }
}

/// Returns the length of a payload of CALLS, in bytes.
pub(crate) fn encoded_len(items: &[CallItem]) -> usize {
    items.iter().map(CallItem::encoded_len).fold(RECEIVED_LEN, usize::saturating_add)
}

/// Writes the payload of CALLS.
pub(crate) fn encode(received: u64, items: &[CallItem], buffer: &mut impl BufMut) {
    buffer.put_u64(received);
    items.iter().for_each(|item| item.write(buffer));
}

/// Returns how many items there are if all are like the first one, which has `len` bytes of the `left` ones:
/// most are.
fn like_the_first(len: usize, left: usize) -> usize {
    let each = LEN_LEN.saturating_add(len.max(ITEM_HEADER));
    let more = left.saturating_sub(len).checked_div(each).unwrap_or_default();
    more.saturating_add(1).min(CallItem::MAX)
}

/// Reads the payload of CALLS: the highest number received of the peer's calls, and the items.
pub(crate) fn decode(
    mut block: Bytes,
    max_payload: u32,
) -> Result<(u64, Vec<CallItem>), Violation> {
    let received = block.try_get_u64().map_err(|_| Violation::BadPayload)?;
    let shared =
        if block.len() <= SHARED { 0 } else { block.len().saturating_sub(block.len() / 16) };
    let mut items = Vec::new();
    while !block.is_empty() {
        let len = block.try_get_u32().map_err(|_| Violation::BadPayload)? as usize;
        if len > block.len() || items.len() == CallItem::MAX {
            return Err(Violation::BadPayload);
        }
        if items.capacity() == 0 {
            items.reserve_exact(like_the_first(len, block.len()));
        }
        items.push(CallItem::read(block.split_to(len), max_payload, shared)?);
    }
    Ok((received, items))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(header: [u8; 4], left: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        bytes.put_u32(ITEM_HEADER.saturating_add(payload.len()) as u32);
        bytes.put_slice(&header);
        bytes.put_u32(left);
        bytes.put_u64(7);
        bytes.put_slice(payload);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<(u64, Vec<CallItem>), Violation> {
        decode(Bytes::copy_from_slice(bytes), 2_000)
    }

    #[test]
    fn items_that_are_malformed_are_refused() {
        assert_eq!(read(&item([1, 0, 0, 7], 5, b"x")).unwrap().1.len(), 1);
        let bad: [(&str, Vec<u8>); 11] = [
            ("no acknowledgement", vec![0; 7]),
            ("no length", [&[0; 8][..], &[0, 0, 0]].concat()),
            ("cut short", item([1, 0, 0, 0], 0, b"xyz")[..30].to_vec()),
            ("no header", [&[0; 8][..], &[0, 0, 0, 1, 1]].concat()),
            ("kind 0", item([0, 0, 0, 0], 0, b"")),
            ("kind 5", item([5, 0, 0, 0], 0, b"")),
            ("depth 8", item([1, 0, 0, 8], 0, b"")),
            ("depth 256", item([1, 0, 1, 0], 0, b"")),
            ("a cancel with a payload", item([4, 0, 0, 0], 0, b"x")),
            ("a failure with a long text", item([3, 0, 0, 1], 0, &[b'x'; 1_025])),
            ("a failure whose text is not text", item([3, 0, 0, 1], 0, b"\xff")),
        ];
        for (what, bytes) in bad {
            assert_eq!(read(&bytes), Err(Violation::BadPayload), "{what}");
        }
        let not_zero = [
            item([1, 2, 0, 0], 0, b""),
            item([2, 0, 0, 1], 0, b""),
            item([2, 0, 0, 0], 1, b""),
            item([3, 1, 0, 1], 0, b""),
            item([3, 0, 0, 1], 1, b""),
            item([4, 0, 0, 1], 0, b""),
            item([4, 1, 0, 0], 0, b""),
        ];
        for bytes in not_zero {
            assert_eq!(read(&bytes), Err(Violation::NotZero), "{bytes:?}");
        }
        for what in [1, 2] {
            let long = item([what, 0, 0, 0], 0, &[0; 2_001]);
            assert_eq!(read(&long), Err(Violation::TooLong { len: 2_001, max: 2_000 }));
        }
        let many = |count| {
            let mut bytes = vec![0; 8];
            (0..count).for_each(|_| bytes.extend_from_slice(&item([4, 0, 0, 0], 0, b"")[8..]));
            read(&bytes).map(|(_, items)| items.len())
        };
        assert_eq!(many(1_024), Ok(1_024));
        assert_eq!(many(1_025), Err(Violation::BadPayload));
        assert_eq!(many(0), Ok(0), "an acknowledgement alone");
    }

    #[test]
    fn a_short_item_does_not_keep_a_long_block_in_memory() {
        let bytes = |len| CallBody::Reply { payload: Payload::bytes(vec![7; len]) };
        let items = [1_000_000, 1].map(|len| CallItem { call: 1, body: bytes(len) });
        let mut block = Vec::new();
        encode(3, &items, &mut block);
        assert_eq!(block.len(), encoded_len(&items));
        let (received, read) = decode(block.into(), 1_000_000).unwrap();
        assert_eq!((received, &read[..]), (3, &items[..]));
        let CallBody::Reply { payload } = read.into_iter().nth(1).unwrap().body else { panic!() };
        assert!(
            payload.into_bytes().try_into_mut().expect("the block is not shared").capacity() < 100
        );
    }

    #[test]
    fn debug_does_not_show_the_payload() {
        let body = CallBody::Failure { code: FailureCode::FAILED, text: "secret".into() };
        assert!(!format!("{:?}", CallItem { call: 1, body }).contains("secret"));
    }
}
