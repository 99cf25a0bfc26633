//! Reads WebSocket frames and makes messages of them. Implements RFC 6455, §5.4 and §5.5.
//!
//! Short payloads share the block that they were read into. A long one gets a buffer of its own, into
//! which it is read directly as far as possible, and where its mask is removed.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use paddington_wire::Session;

use super::FrameError;
use super::head::{Head, Kind, mask};
use crate::Stream;

/// Number of bytes that are read at once from a connection that is mostly idle.
const FEW: usize = 4 * 1024;
/// Number of bytes that are read at once from a peer that has sent more than these few.
const MANY: usize = 64 * 1024;
/// The longest payload that stays in the block that it was read into. Whoever keeps it copies it.
const SHARED: usize = Session::COPIED_FRAME;
/// Number of bytes from which on the rest of a payload is read directly to its place.
const DIRECT: usize = 8 * 1024;

/// Something that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A binary message.
    Binary(BytesMut),
    /// A text message, which is of no use on a `sealed` link.
    Text,
    /// A Ping, with what its Pong has to repeat.
    Ping(Bytes),
    /// A Pong.
    Pong,
    /// A Close, with its code if it has one.
    Close(Option<[u8; 2]>),
}

/// Reads messages, each of at most `longest` bytes.
pub(super) struct FrameReader {
    /// Whether frames have to be masked: those of clients are.
    masked: bool,
    longest: usize,
    /// What was read and not taken.
    buffer: BytesMut,
    /// The head of the frame whose payload is awaited.
    head: Option<Head>,
    /// As much of a long payload as has come.
    long: BytesMut,
    /// The frames of a message that has more than one, and what it is.
    parts: Option<(Kind, BytesMut)>,
    /// Whether the last payload was so long that the next one is too, probably.
    is_long: bool,
    /// Whether much is read at once.
    flows: bool,
    /// Whether as much was there to read since the last [`tidy`](Self::tidy).
    flowed: bool,
}

impl FrameReader {
    pub(super) fn new(masked: bool, longest: usize) -> Self {
        Self {
            masked,
            longest,
            buffer: BytesMut::new(),
            head: None,
            long: BytesMut::new(),
            parts: None,
            is_long: false,
            flows: false,
            flowed: false,
        }
    }

    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Frees memory, if little was received since the last call.
    pub(super) fn tidy(&mut self) {
        self.flows = std::mem::take(&mut self.flowed);
        if !self.flows && self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Reads what comes next; `None` at the end of the stream.
    pub(super) fn poll_next(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Arrival>, FrameError>> {
        loop {
            if let Some(arrival) = self.next()? {
                return Poll::Ready(Ok(Some(arrival)));
            }
            if ready!(self.poll_read(stream, cx))? == 0 {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Takes what comes next out of the buffer, if it is whole.
    fn next(&mut self) -> Result<Option<Arrival>, FrameError> {
        loop {
            let head = match self.head {
                Some(head) => head,
                None => match Head::read(&self.buffer)? {
                    Some((head, len)) => {
                        self.check(&head)?;
                        self.buffer.advance(len);
                        *self.head.insert(head)
                    }
                    None => return Ok(None),
                },
            };
            let Some(mut payload) = self.take_payload(head.len) else { return Ok(None) };
            self.head = None;
            if let Some(key) = head.mask {
                mask(&mut payload, key);
            }
            if let Some(arrival) = self.take(&head, payload)? {
                return Ok(Some(arrival));
            }
        }
    }

    /// Checks whether such a frame may come now.
    fn check(&self, head: &Head) -> Result<(), FrameError> {
        if head.mask.is_some() != self.masked {
            return Err(FrameError::Mask);
        }
        if head.kind.is_control() {
            return Ok(());
        }
        if (head.kind == Kind::Continuation) != self.parts.is_some() {
            return Err(FrameError::Fragment);
        }
        let before = self.parts.as_ref().map_or(0, |(_, parts)| parts.len());
        let room = self.longest.saturating_sub(before) as u64;
        if head.len > room { Err(FrameError::TooLong { max: self.longest }) } else { Ok(()) }
    }

    /// Takes a payload of `len` bytes, which were checked, if all of them have come.
    fn take_payload(&mut self, len: u64) -> Option<BytesMut> {
        let len = usize::try_from(len).ok()?;
        if len <= SHARED {
            self.is_long = false;
            return (len <= self.buffer.len()).then(|| self.buffer.split_to(len));
        }
        if self.long.capacity() == 0 {
            self.long = BytesMut::with_capacity(len);
            self.is_long = len >= 2 * DIRECT;
        }
        let more = (len - self.long.len()).min(self.buffer.len());
        self.long.extend_from_slice(&self.buffer[..more]);
        self.buffer.advance(more);
        (len == self.long.len()).then(|| std::mem::take(&mut self.long))
    }

    /// Takes a frame. Returns what has arrived by it.
    fn take(&mut self, head: &Head, payload: BytesMut) -> Result<Option<Arrival>, FrameError> {
        Ok(match (head.kind, head.is_final) {
            (Kind::Ping, _) => Some(Arrival::Ping(Bytes::copy_from_slice(&payload))),
            (Kind::Pong, _) => Some(Arrival::Pong),
            (Kind::Close, _) if payload.len() == 1 => return Err(FrameError::Control),
            (Kind::Close, _) => Some(Arrival::Close(payload.first_chunk().copied())),
            (Kind::Text, true) => Some(Arrival::Text),
            (Kind::Binary, true) => Some(Arrival::Binary(payload)),
            (kind @ (Kind::Text | Kind::Binary), false) => {
                // A copy, or it would keep the block that was read.
                self.parts = Some((kind, BytesMut::from(&payload[..])));
                None
            }
            (Kind::Continuation, is_final) => {
                if let Some((_, parts)) = &mut self.parts {
                    parts.extend_from_slice(&payload);
                }
                self.parts.take_if(|_| is_final).map(|(kind, parts)| match kind {
                    Kind::Text => Arrival::Text,
                    _ => Arrival::Binary(parts),
                })
            }
        })
    }

    /// Reads more. Returns the number of bytes.
    fn poll_read(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let awaited = self.head.map_or(0, |head| usize::try_from(head.len).unwrap_or(usize::MAX));
        let missing = if awaited > SHARED { awaited.saturating_sub(self.long.len()) } else { 0 };
        if missing >= DIRECT {
            return stream.poll_read_into(cx, &mut (&mut self.long).limit(missing));
        }
        // What is read with the head of a long payload has to be copied to the rest of it.
        let size = if self.flows && !self.is_long { MANY } else { FEW };
        self.buffer.reserve(size);
        let read = ready!(stream.poll_read_into(cx, &mut (&mut self.buffer).limit(size)))?;
        if read >= FEW {
            (self.flows, self.flowed) = (true, true);
        }
        Poll::Ready(Ok(read))
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity() + self.long.capacity()
    }
}
