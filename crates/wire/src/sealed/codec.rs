//! Encoding and decoding of plaintext frames. Implements `docs/protocol.md` §4.1.

#![deny(clippy::arithmetic_side_effects)]

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Padding, ack, ready};
use crate::call_items::{self, CallItem};
use crate::frame::{
    Ack, Batch, Calls, CloseCode, Completed, Data, Frame, HEADER_LEN, Rejection, Skip,
};
use crate::{Messages, Payload, TransmitError, Violation};

const READY: u8 = 1;
const DATA: u8 = 2;
const ACK: u8 = 3;
const PING: u8 = 4;
const PONG: u8 = 5;
const CLOSE: u8 = 6;
const SKIP: u8 = 7;
const DRAIN: u8 = 8;
const BATCH: u8 = 9;
const CALLS: u8 = 10;
const RENEW: u8 = 11;
const RENEWED: u8 = 12;

/// The flag on DATA and BATCH that were transmitted in an earlier session too.
const AGAIN: u8 = 1;
/// The flag on DATA whose message is bytes and not text.
const BYTES: u8 = 2;

/// The fixed fields of a frame.
#[derive(Default)]
struct Header {
    kind: u8,
    stream: u8,
    ack_stream: u8,
    flags: u8,
    len: u32,
    id: u64,
    ack: u64,
}

impl Header {
    fn bare(kind: u8, id: u64) -> Self {
        Self { kind, id, ..Self::default() }
    }

    fn acknowledging(kind: u8, id: u64, ack: Completed) -> Self {
        Self { kind, id, ack_stream: ack.stream, ack: ack.number, ..Self::default() }
    }

    fn write(&self, buffer: &mut BytesMut) {
        buffer.put_slice(&[self.kind, self.stream, self.ack_stream, self.flags]);
        buffer.put_u32(self.len);
        buffer.put_u64(self.id);
        buffer.put_u64(self.ack);
    }

    fn read(bytes: &mut Bytes) -> Result<Self, Violation> {
        if bytes.len() < HEADER_LEN {
            return Err(Violation::Truncated);
        }
        Ok(Self {
            kind: bytes.get_u8(),
            stream: bytes.get_u8(),
            ack_stream: bytes.get_u8(),
            flags: bytes.get_u8(),
            len: bytes.get_u32(),
            id: bytes.get_u64(),
            ack: bytes.get_u64(),
        })
    }

    fn has_messages(&self) -> bool {
        matches!(self.kind, DATA | BATCH)
    }

    fn messages(kind: u8, stream: u8, again: bool, first: u64, ack: Completed) -> Self {
        let flags = if again { AGAIN } else { 0 };
        Self { stream, flags, ..Self::acknowledging(kind, first, ack) }
    }

    fn completed(&self) -> Completed {
        Completed { stream: self.ack_stream, number: self.ack }
    }

    /// Checks that the fields that `kind` does not use are zero.
    fn check(&self) -> Result<(), Violation> {
        let uses_stream = matches!(self.kind, DATA | SKIP | BATCH);
        let uses_ack = matches!(self.kind, DATA | SKIP | ACK | BATCH | CALLS);
        let uses_id = !matches!(self.kind, READY | DRAIN);
        let flags = match self.kind {
            DATA => AGAIN | BYTES,
            BATCH => AGAIN,
            _ => 0,
        };
        let zero = self.flags & !flags == 0
            && (uses_stream || self.stream == 0)
            && (uses_ack || (self.ack_stream == 0 && self.ack == 0))
            && (uses_id || self.id == 0);
        if zero { Ok(()) } else { Err(Violation::NotZero) }
    }
}

/// Writes the padded plaintext of `frame`, followed by `room` zero bytes, into the empty `buffer`.
pub(super) fn encode(
    frame: &Frame,
    padding: Padding,
    room: usize,
    buffer: &mut BytesMut,
) -> Result<(), TransmitError> {
    let mut header = header(frame)?;
    let len = payload_len(frame);
    header.len = u32::try_from(len).map_err(|_| TransmitError::Unsupported)?;
    let total = padding.padded_len(HEADER_LEN.saturating_add(len)).saturating_add(room);
    buffer.reserve(total);
    header.write(buffer);
    match frame {
        Frame::Ready(ready) => ready::encode(ready, buffer),
        Frame::Data(data) => buffer.put_slice(&data.payload),
        Frame::Batch(batch) => buffer.put_slice(batch.messages.block()),
        Frame::Calls(calls) => call_items::encode(calls.received, &calls.items, buffer),
        Frame::Ack(ack) => ack::encode(&ack.rejected, buffer),
        _ => {}
    }
    buffer.resize(total, 0);
    Ok(())
}

fn header(frame: &Frame) -> Result<Header, TransmitError> {
    Ok(match frame {
        Frame::Bare(_) => return Err(TransmitError::Unsupported),
        Frame::Ready(_) => Header::bare(READY, 0),
        Frame::Data(data) => {
            let header = Header::messages(DATA, data.stream, data.again, data.number, data.ack);
            let bytes = if data.payload.is_bytes() { BYTES } else { 0 };
            Header { flags: header.flags | bytes, ..header }
        }
        Frame::Batch(batch) => {
            Header::messages(BATCH, batch.stream, batch.again, batch.first, batch.ack)
        }
        Frame::Ack(ack) => Header::acknowledging(ACK, ack.credit, ack.ack),
        Frame::Ping(token) => Header::bare(PING, *token),
        Frame::Pong(token) => Header::bare(PONG, *token),
        Frame::Close(code) => Header::bare(CLOSE, code.code()),
        Frame::Skip(skip) => {
            Header { stream: skip.stream, ..Header::acknowledging(SKIP, skip.to, skip.ack) }
        }
        Frame::Drain => Header::bare(DRAIN, 0),
        Frame::Calls(calls) => Header::acknowledging(CALLS, calls.first, calls.ack),
        Frame::Renew(generation) => Header::bare(RENEW, *generation),
        Frame::Renewed(generation) => Header::bare(RENEWED, *generation),
    })
}

pub(super) fn payload_len(frame: &Frame) -> usize {
    match frame {
        Frame::Ready(ready) => ready::encoded_len(ready),
        Frame::Data(data) => data.payload.len(),
        Frame::Batch(batch) => batch.messages.block().len(),
        Frame::Ack(ack) => ack.rejected.iter().map(Rejection::encoded_len).sum(),
        Frame::Calls(calls) => call_items::encoded_len(&calls.items),
        _ => 0,
    }
}

/// The length up to which payloads are copied out of the block in which they arrived, in bytes.
pub(super) const COPIED: usize = 2_048;

/// Reads a plaintext. A message longer than [`COPIED`] stays in its buffer, so a plaintext that may
/// hold one needs a buffer of its own. It is copied if much of the buffer is something else, so
/// that messages take little more memory than credit.
pub(super) fn decode(mut plaintext: Bytes, max_payload: u32) -> Result<Frame, Violation> {
    let header = Header::read(&mut plaintext)?;
    if header.has_messages() && header.len > max_payload {
        return Err(Violation::TooLong { len: header.len, max: max_payload });
    }
    let len = header.len as usize;
    if plaintext.len() < len {
        return Err(Violation::Truncated);
    }
    let whole = plaintext.len();
    let padding = plaintext.split_off(len);
    if !is_zero(&padding) {
        return Err(Violation::NotZero);
    }
    if !(READY..=RENEWED).contains(&header.kind) {
        return Err(Violation::UnknownKind(header.kind));
    }
    header.check()?;
    if len != 0 && !matches!(header.kind, READY | DATA | ACK | BATCH | CALLS) {
        return Err(Violation::BadPayload);
    }
    if header.kind == CALLS {
        return calls(&header, compact(plaintext, whole), max_payload);
    }
    frame(&header, compact(plaintext, whole))
}

/// The bytes that a frame may have beyond its header and a longest message.
pub(super) const CALL_OVERHEAD: usize = CallItem::OVERHEAD;

fn calls(header: &Header, payload: Bytes, max_payload: u32) -> Result<Frame, Violation> {
    let max = (max_payload as usize).saturating_add(CALL_OVERHEAD);
    if payload.len() > max {
        return Err(Violation::TooLong { len: header.len, max: max_payload });
    }
    let (received, items) = call_items::decode(payload, max_payload)?;
    if items.is_empty() != (header.id == 0) {
        return Err(Violation::BadPayload);
    }
    Ok(Frame::Calls(Calls { first: header.id, ack: header.completed(), received, items }))
}

/// Copies a payload out of its block of `whole` bytes if it is short or the block has much padding.
fn compact(payload: Bytes, whole: usize) -> Bytes {
    let len = payload.len();
    if len <= COPIED || whole > len.saturating_add(len / 16).saturating_add(HEADER_LEN) {
        return Bytes::copy_from_slice(&payload);
    }
    payload
}

fn frame(header: &Header, payload: Bytes) -> Result<Frame, Violation> {
    Ok(match header.kind {
        READY => Frame::Ready(ready::decode(&payload)?),
        DATA => Frame::Data(Data {
            stream: header.stream,
            again: header.flags & AGAIN != 0,
            number: header.id,
            ack: header.completed(),
            payload: Payload::flagged(header.flags & BYTES != 0, payload),
        }),
        BATCH => Frame::Batch(Batch {
            stream: header.stream,
            again: header.flags & AGAIN != 0,
            first: header.id,
            ack: header.completed(),
            messages: Messages::parse(payload)?,
        }),
        ACK => Frame::Ack(Ack {
            ack: header.completed(),
            credit: header.id,
            rejected: ack::decode(&payload)?,
        }),
        PING => Frame::Ping(header.id),
        PONG => Frame::Pong(header.id),
        CLOSE => Frame::Close(CloseCode::from(header.id)),
        SKIP => Frame::Skip(Skip { stream: header.stream, to: header.id, ack: header.completed() }),
        DRAIN => Frame::Drain,
        RENEW => Frame::Renew(header.id),
        RENEWED => Frame::Renewed(header.id),
        kind => return Err(Violation::UnknownKind(kind)),
    })
}

/// Returns whether all bytes are zero, without a branch per byte.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}

#[cfg(test)]
mod tests;
