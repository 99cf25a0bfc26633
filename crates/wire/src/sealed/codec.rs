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
    })
}

fn payload_len(frame: &Frame) -> usize {
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
    if !(READY..=CALLS).contains(&header.kind) {
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
        kind => return Err(Violation::UnknownKind(kind)),
    })
}

/// Returns whether all bytes are zero, without a branch per byte.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::call_items::{CallBody, FailureCode};
    use crate::frame::{CallsState, CursorState, Features, MAX_PAYLOAD, Ready, StreamState};
    use crate::{Instance, RejectCode, RejectText, Software};

    fn plaintext(frame: &Frame, padding: Padding) -> Bytes {
        let mut buffer = BytesMut::new();
        encode(frame, padding, 0, &mut buffer).unwrap();
        buffer.freeze()
    }

    fn completed() -> impl Strategy<Value = Completed> {
        (any::<u8>(), any::<u64>()).prop_map(|(stream, number)| Completed { stream, number })
    }

    fn readies() -> impl Strategy<Value = Ready> {
        let stream = (any::<[u8; 16]>(), 1..u64::MAX, any::<u64>()).prop_map(|(id, base, more)| {
            StreamState { instance: id.into(), base, next: base.saturating_add(more) }
        });
        let cursor = (any::<[u8; 16]>(), any::<u64>(), any::<u64>()).prop_map(|(id, a, b)| {
            CursorState { instance: id.into(), received: a.max(b), completed: a.min(b) }
        });
        (
            proptest::collection::vec(stream, 1..64),
            proptest::collection::vec(cursor, 0..64),
            (1..=MAX_PAYLOAD, any::<u32>(), any::<u64>(), "[ -~]{0,64}"),
            (any::<u16>(), 1..u8::MAX, any::<u64>()),
        )
            .prop_map(|(mine, yours, (max_payload, window, features, software), calls)| {
                Ready {
                    instance: mine.last().unwrap().instance,
                    max_payload,
                    window,
                    features: Features(features),
                    mine,
                    yours,
                    software: software.parse().unwrap(),
                    calls: if Features(features).has(Features::CALLS) {
                        CallsState {
                            requests: calls.0,
                            request_window: u32::MAX,
                            of: Some(Instance::from([calls.1; 16])),
                            received: calls.2,
                        }
                    } else {
                        CallsState::default()
                    },
                }
            })
    }

    fn calls() -> impl Strategy<Value = Frame> {
        let payload = (any::<bool>(), any::<Vec<u8>>())
            .prop_map(|(is_bytes, payload)| Payload::flagged(is_bytes, payload.into()));
        let body = prop_oneof![
            (0..8_u8, any::<u32>(), payload.clone()).prop_map(|(depth, left, payload)| {
                let left = Some(left).filter(|left| *left != u32::MAX);
                CallBody::Request { depth, left, payload }
            }),
            payload.prop_map(|payload| CallBody::Reply { payload }),
            (any::<u16>(), any::<String>()).prop_map(|(code, text)| {
                CallBody::Failure { code: FailureCode(code), text: text.into() }
            }),
            Just(CallBody::Cancel),
        ];
        let item = (any::<u64>(), body).prop_map(|(call, body)| CallItem { call, body });
        (1..u64::MAX, completed(), any::<u64>(), proptest::collection::vec(item, 0..20)).prop_map(
            |(first, ack, received, items)| {
                let first = if items.is_empty() { 0 } else { first };
                Frame::Calls(Calls { first, ack, received, items })
            },
        )
    }

    fn frames() -> impl Strategy<Value = Frame> {
        let payload = || {
            any::<(bool, Vec<u8>)>()
                .prop_map(|(is_bytes, bytes)| Payload::flagged(is_bytes, bytes.into()))
        };
        let data = (any::<(u8, bool, u64)>(), completed(), payload()).prop_map(
            |((stream, again, number), ack, payload)| {
                Frame::Data(Data { stream, again, number, ack, payload })
            },
        );
        let rejection =
            (any::<(u64, u16)>(), any::<String>()).prop_map(|((number, code), text)| Rejection {
                number,
                code: RejectCode(code),
                text: RejectText::cut(&text),
            });
        let ack = (completed(), any::<u64>(), proptest::collection::vec(rejection, 0..20))
            .prop_map(|(ack, credit, rejected)| Frame::Ack(Ack { ack, credit, rejected }));
        let skip = (any::<u8>(), any::<u64>(), completed())
            .prop_map(|(stream, to, ack)| Frame::Skip(Skip { stream, to, ack }));
        let payloads = proptest::collection::vec(payload(), 1..20);
        let batch = (any::<(u8, bool, u64)>(), completed(), payloads).prop_map(
            |((stream, again, first), ack, payloads)| {
                let messages = Messages::new(payloads.iter()).unwrap();
                Frame::Batch(Batch { stream, again, first, ack, messages })
            },
        );
        prop_oneof![
            readies().prop_map(Frame::Ready),
            data,
            batch,
            ack,
            any::<u64>().prop_map(Frame::Ping),
            any::<u64>().prop_map(Frame::Pong),
            any::<u64>().prop_map(|code| Frame::Close(CloseCode::from(code))),
            skip,
            Just(Frame::Drain),
            calls(),
        ]
    }

    proptest! {
        #[test]
        fn encoded_then_decoded_is_equal(frame in frames(), padded in any::<bool>()) {
            let padding = if padded { Padding::Padme } else { Padding::None };
            prop_assert_eq!(decode(plaintext(&frame, padding), MAX_PAYLOAD), Ok(frame));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(bytes.into(), 100);
        }

        #[test]
        fn any_kind_with_any_bytes_decodes_or_is_refused(
            kind in 0..12_u8,
            mut bytes in proptest::collection::vec(any::<u8>(), 24..300),
        ) {
            bytes[0] = kind;
            bytes[3] &= 7;
            bytes[4..6].fill(0);
            let _ = decode(bytes.into(), 1_000);
        }
    }

    #[test]
    fn bytes_that_must_be_zero_are_checked() {
        let ping = plaintext(&Frame::Ping(7), Padding::Padme);
        for at in [1, 2, 3, 16, 23, 24, 127] {
            let mut changed = ping.to_vec();
            changed[at] = 1;
            assert_eq!(decode(changed.into(), 100), Err(Violation::NotZero), "{at}");
        }
        let data = Frame::Data(Data {
            stream: 0,
            again: true,
            number: 1,
            ack: Completed::default(),
            payload: "1000".into(),
        });
        for (at, value) in [(3, 5), (3, 8), (3, 128), (28, 1)] {
            let mut changed = plaintext(&data, Padding::Padme).to_vec();
            changed[at] = value;
            assert_eq!(decode(changed.into(), 100), Err(Violation::NotZero), "{at}");
        }
    }

    #[test]
    fn only_data_and_entries_of_a_batch_say_that_they_are_bytes() {
        for kind in 0..=u8::MAX {
            let mut bytes = vec![0; 128];
            (bytes[0], bytes[3]) = (kind, BYTES);
            let decoded = decode(bytes.into(), 100);
            match kind {
                DATA => {
                    let Ok(Frame::Data(data)) = decoded else { panic!("{decoded:?}") };
                    assert!(data.payload.is_bytes() && !data.again);
                }
                READY..=CALLS => assert_eq!(decoded, Err(Violation::NotZero), "{kind}"),
                kind => assert_eq!(decoded, Err(Violation::UnknownKind(kind))),
            }
        }
    }

    #[test]
    fn malformed_frames_are_refused() {
        let header = |kind: u8, len: u32| {
            let mut bytes = BytesMut::new();
            Header { len, ..Header::bare(kind, 0) }.write(&mut bytes);
            bytes.resize(128, 0);
            bytes.freeze()
        };
        assert_eq!(decode(Bytes::new(), 100), Err(Violation::Truncated));
        assert_eq!(decode(header(DATA, 0).slice(..23), 100), Err(Violation::Truncated));
        assert_eq!(decode(header(DATA, 105), 200), Err(Violation::Truncated));
        assert_eq!(
            decode(header(DATA, u32::MAX), 100),
            Err(Violation::TooLong { len: u32::MAX, max: 100 })
        );
        assert_eq!(decode(header(0, 0), 100), Err(Violation::UnknownKind(0)));
        assert_eq!(decode(header(11, 0), 100), Err(Violation::UnknownKind(11)));
        assert_eq!(decode(header(CALLS, 7), 100), Err(Violation::BadPayload));
        let long = Err(Violation::TooLong { len: 129, max: 100 });
        assert_eq!(decode(header(CALLS, 129).repeat(2).into(), 100), long.clone());
        assert_eq!(decode(header(BATCH, 0), 100), Err(Violation::BadPayload));
        assert_eq!(decode(header(BATCH, 7), 100), Err(Violation::BadPayload));
        assert_eq!(decode(header(BATCH, 101), 100), Err(Violation::TooLong { len: 101, max: 100 }));
        assert_eq!(decode(header(PING, 8), 100), Err(Violation::BadPayload));
        assert_eq!(decode(header(ACK, 10), 100), Err(Violation::BadPayload));
        assert_eq!(decode(header(ACK, 12), 100), Err(Violation::BadPayload), "a second entry");
        assert_eq!(decode(header(READY, 35), 100), Err(Violation::Truncated));
    }

    #[test]
    fn a_ready_with_an_odd_name_of_its_software_is_refused() {
        let instance = Instance::from([1; 16]);
        let ready = Ready {
            instance,
            max_payload: 1,
            window: 0,
            features: Features::NONE,
            mine: vec![StreamState { instance, base: 1, next: 1 }],
            yours: Vec::new(),
            software: Software::default(),
            calls: CallsState::default(),
        };
        let good = plaintext(&Frame::Ready(ready), Padding::None);
        let with = |software: &[u8]| {
            let mut bytes = [&good[..good.len() - 1], software].concat();
            let len = (bytes.len() - HEADER_LEN) as u32;
            bytes[4..8].copy_from_slice(&len.to_be_bytes());
            decode(bytes.into(), MAX_PAYLOAD).map(drop)
        };
        let longest = [b"\x40".as_slice(), &[b'~'; 64]].concat();
        let good: [&[u8]; 4] = [b"\0", b"\x03a b", &longest, b"\x01a later version"];
        good.iter().for_each(|software| assert_eq!(with(software), Ok(())));
        let too_long = [b"\x41".as_slice(), &[b'~'; 65]].concat();
        let bad: [&[u8]; 5] = [&too_long, b"\x01\n", b"\x01\x7f", b"\x02\xc3\xa9", b"\x01\xff"];
        for software in bad {
            assert!(matches!(with(software), Err(Violation::BadReady(_))), "{software:?}");
        }
        for cut in [&b""[..], b"\x01", b"\x40a", b"\xffa"] {
            assert_eq!(with(cut), Err(Violation::Truncated), "{cut:?}");
        }
    }

    #[test]
    fn an_inconsistent_ready_is_refused() {
        let instance = Instance::from([1; 16]);
        let good = Ready {
            instance,
            max_payload: 1,
            window: 0,
            features: Features(u64::MAX),
            mine: vec![StreamState { instance, base: 1, next: 1 }],
            yours: Vec::new(),
            software: Software::default(),
            calls: CallsState { requests: 1, request_window: 25, of: None, received: 0 },
        };
        let check = |change: &dyn Fn(&mut Ready)| {
            let mut ready = good.clone();
            change(&mut ready);
            decode(plaintext(&Frame::Ready(ready), Padding::None), MAX_PAYLOAD).map(drop)
        };
        assert_eq!(check(&|_| {}), Ok(()));
        let cursor = CursorState { instance, received: 1, completed: 2 };
        let wrong: [&dyn Fn(&mut Ready); 9] = [
            &|ready| ready.max_payload = 0,
            &|ready| ready.max_payload = MAX_PAYLOAD + 1,
            &|ready| ready.mine.clear(),
            &|ready| ready.mine = vec![ready.mine[0]; 65],
            &|ready| ready.mine = vec![ready.mine[0]; 2],
            &|ready| ready.mine[0].base = 0,
            &|ready| ready.mine[0].base = 2,
            &|ready| ready.instance = Instance::from([2; 16]),
            &|ready| ready.yours = vec![cursor],
        ];
        for (index, change) in wrong.iter().enumerate() {
            assert!(matches!(check(change), Err(Violation::BadReady(_))), "{index}");
        }
    }

    #[test]
    fn additions_of_later_versions_to_ready_are_ignored() {
        let instance = Instance::from([1; 16]);
        let ready = Ready {
            instance,
            max_payload: 1,
            window: 1,
            features: Features::NONE,
            mine: vec![StreamState { instance, base: 1, next: 1 }],
            yours: Vec::new(),
            software: "x".parse().unwrap(),
            calls: CallsState::default(),
        };
        let frame = Frame::Ready(ready);
        let mut bytes = plaintext(&frame, Padding::None).to_vec();
        bytes.extend([1, 2, 3]);
        bytes[7] += 3;
        assert_eq!(decode(bytes.into(), 1_000), Ok(frame));
    }

    #[test]
    fn calls_are_read_as_the_vectors_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/calls.json");
        let v: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let read = |digits: &serde_json::Value| {
            decode(const_hex::decode(digits.as_str().unwrap()).unwrap().into(), 1 << 20)
        };
        let Frame::Ready(ready) = read(&v["ready"]).unwrap() else { panic!() };
        let of = Some(Instance::from(std::array::from_fn(|index| 0x11 + index as u8)));
        let state = CallsState { requests: 128, request_window: 2_097_152, of, received: 5 };
        assert_eq!((ready.features, ready.calls), (Features(3), state));
        let Frame::Calls(calls) = read(&v["plaintext"]).unwrap() else { panic!() };
        assert_eq!((calls.first, calls.received, calls.items.len()), (1, 5, 6));
        for payload in v["bad_payloads"].as_array().unwrap() {
            let payload = const_hex::decode(payload.as_str().unwrap()).unwrap();
            let mut bytes = BytesMut::new();
            Header { len: payload.len() as u32, ..Header::bare(CALLS, 1) }.write(&mut bytes);
            bytes.put_slice(&payload);
            assert!(decode(bytes.freeze(), 1 << 20).is_err(), "{payload:?}");
        }
    }
}
