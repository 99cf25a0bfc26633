//! Encoding and decoding of READY's payload. Implements `docs/protocol.md` §4.1.

#![deny(clippy::arithmetic_side_effects)]

use bytes::{Buf, BufMut};

use crate::frame::{CallsState, CursorState, Data, Features, MAX_PAYLOAD, Ready, StreamState};
use crate::{Instance, Software, Violation};

const STREAM_LEN: usize = 32;
const FIXED_LEN: usize = 36;
/// The length of the part about calls.
const CALLS_LEN: usize = 30;

/// The instance that stands for none.
const NOBODY: [u8; Instance::LEN] = [0; Instance::LEN];

pub(super) fn encoded_len(ready: &Ready) -> usize {
    let entries = ready.mine.len().saturating_add(ready.yours.len());
    let fixed = FIXED_LEN.saturating_add(1).saturating_add(ready.software.as_str().len());
    let calls = if ready.features.has(Features::CALLS) { CALLS_LEN } else { 0 };
    fixed.saturating_add(STREAM_LEN.saturating_mul(entries)).saturating_add(calls)
}

pub(super) fn encode(ready: &Ready, buffer: &mut impl BufMut) {
    buffer.put_slice(ready.instance.as_bytes());
    buffer.put_u32(ready.max_payload);
    buffer.put_u32(ready.window);
    buffer.put_u64(ready.features.0);
    buffer.put_u16(ready.mine.len() as u16);
    buffer.put_u16(ready.yours.len() as u16);
    for stream in &ready.mine {
        buffer.put_slice(stream.instance.as_bytes());
        buffer.put_u64(stream.base);
        buffer.put_u64(stream.next);
    }
    for cursor in &ready.yours {
        buffer.put_slice(cursor.instance.as_bytes());
        buffer.put_u64(cursor.received);
        buffer.put_u64(cursor.completed);
    }
    let software = ready.software.as_str().as_bytes();
    buffer.put_u8(software.len() as u8); // it has at most 64
    buffer.put_slice(software);
    if ready.features.has(Features::CALLS) {
        encode_calls(&ready.calls, buffer);
    }
}

fn encode_calls(calls: &CallsState, buffer: &mut impl BufMut) {
    buffer.put_u16(calls.requests);
    buffer.put_u32(calls.request_window);
    buffer.put_slice(calls.of.as_ref().map_or(&NOBODY[..], |of| of.as_bytes()));
    buffer.put_u64(calls.received);
}

/// Reads a READY and checks that it is consistent in itself. Trailing bytes are ignored, so that
/// later versions can add fields.
pub(super) fn decode(mut bytes: &[u8]) -> Result<Ready, Violation> {
    if bytes.len() < FIXED_LEN {
        return Err(Violation::Truncated);
    }
    let instance = instance(&mut bytes);
    let max_payload = bytes.get_u32();
    let window = bytes.get_u32();
    let features = Features(bytes.get_u64());
    let mine = usize::from(bytes.get_u16());
    let yours = usize::from(bytes.get_u16());
    if !(1..=MAX_PAYLOAD).contains(&max_payload) {
        return Err(Violation::BadReady("max_payload is out of range"));
    }
    if !(1..=Ready::MAX_ENTRIES).contains(&mine) || yours > Ready::MAX_ENTRIES {
        return Err(Violation::BadReady("it lists too many streams or none"));
    }
    if bytes.len() < STREAM_LEN.saturating_mul(mine.saturating_add(yours)) {
        return Err(Violation::Truncated);
    }
    let mine = (0..mine).map(|_| stream(&mut bytes)).collect::<Result<Vec<_>, _>>()?;
    let yours = (0..yours).map(|_| cursor(&mut bytes)).collect::<Result<Vec<_>, _>>()?;
    let software = software(&mut bytes)?;
    if mine.last().map(|stream| stream.instance) != Some(instance) {
        return Err(Violation::BadReady("its last stream is of another instance"));
    }
    if repeats(mine.iter().map(|stream| stream.instance))
        || repeats(yours.iter().map(|cursor| cursor.instance))
    {
        return Err(Violation::BadReady("a stream is listed twice"));
    }
    let calls = if features.has(Features::CALLS) {
        decode_calls(&mut bytes, max_payload)?
    } else {
        CallsState::default()
    };
    Ok(Ready { instance, max_payload, window, features, mine, yours, software, calls })
}

fn decode_calls(bytes: &mut &[u8], max_payload: u32) -> Result<CallsState, Violation> {
    if bytes.len() < CALLS_LEN {
        return Err(Violation::Truncated);
    }
    let (requests, request_window) = (bytes.get_u16(), bytes.get_u32());
    let of = Some(instance(bytes)).filter(|of| *of.as_bytes() != NOBODY);
    let calls = CallsState { requests, request_window, of, received: bytes.get_u64() };
    if requests > 0 && u64::from(request_window) < Data::cost(max_payload as usize) {
        return Err(Violation::BadReady("no request of max_payload bytes fits its window"));
    }
    if calls.of.is_none() && calls.received > 0 {
        return Err(Violation::BadReady("calls of nobody were received"));
    }
    Ok(calls)
}

fn stream(bytes: &mut &[u8]) -> Result<StreamState, Violation> {
    let stream =
        StreamState { instance: instance(bytes), base: bytes.get_u64(), next: bytes.get_u64() };
    if stream.base < 1 || stream.base > stream.next {
        return Err(Violation::BadReady("the numbers of a stream are out of order"));
    }
    Ok(stream)
}

fn cursor(bytes: &mut &[u8]) -> Result<CursorState, Violation> {
    let cursor = CursorState {
        instance: instance(bytes),
        received: bytes.get_u64(),
        completed: bytes.get_u64(),
    };
    if cursor.completed > cursor.received {
        return Err(Violation::BadReady("more is completed than received"));
    }
    Ok(cursor)
}

fn software(bytes: &mut &[u8]) -> Result<Software, Violation> {
    let len = usize::from(bytes.try_get_u8().map_err(|_| Violation::Truncated)?);
    let text = bytes.split_off(..len).ok_or(Violation::Truncated)?;
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or(Violation::BadReady("the name of its software is too long or not printable"))
}

fn instance(bytes: &mut &[u8]) -> Instance {
    let mut instance = [0; Instance::LEN];
    bytes.copy_to_slice(&mut instance);
    Instance::from(instance)
}

fn repeats(instances: impl Iterator<Item = Instance>) -> bool {
    let mut instances: Vec<_> = instances.collect();
    instances.sort_unstable();
    instances.windows(2).any(|pair| pair[0] == pair[1])
}
