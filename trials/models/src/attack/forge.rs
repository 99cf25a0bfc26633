//! Frames of the attacker: all that can be sealed with the right keys. The attacker knows what
//! would be right at the moment and mostly says that, because a peer that talks nonsense does not
//! get far.

use paddington_wire::{Ack, CallItem, Instance, Ready, RejectText, Software};

use super::script::Script;
use super::{LONGEST, ours, theirs};

/// More credit than will be used.
const PLENTY: u64 = 1 << 20;

/// The kinds of items in CALLS.
const REQUEST: u8 = 1;
const FAILURE: u8 = 3;
const CANCEL: u8 = 4;

/// Characters of texts, one to three bytes long, and one that must not reach a terminal.
const CHARACTERS: [&str; 4] = ["x", "é", "€", "\u{1b}"];
/// Characters of the names of software, which are printable ASCII.
const PRINTABLE: [&str; 2] = ["~", " "];

/// Numbers that the attacker knows.
pub(super) struct Knowledge {
    /// The next number that is expected on each of the streams that it has listed.
    pub(super) expected: Vec<u64>,
    /// The highest number that it was sent on each of the streams that were listed to it.
    pub(super) obtained: Vec<u64>,
    /// The next number that is expected in the stream of calls, and the highest one that was sent.
    pub(super) calls: [u64; 2],
    /// The requests that it was sent and has not answered.
    pub(super) asked: Vec<u64>,
}

impl Knowledge {
    fn of(numbers: &[u64], stream: u8) -> u64 {
        numbers.get(usize::from(stream)).copied().unwrap_or_default()
    }
}

/// The plaintext of a READY. `now` is the READY that the service would send, `obtained` the highest
/// number that it has sent on a stream, and `calls` the one in the stream of calls.
pub(super) fn ready(
    script: &mut Script<'_>,
    now: &Ready,
    obtained: impl Fn(Instance) -> u64,
    calls: u64,
) -> Vec<u8> {
    let first = script.byte();
    let (mine, yours) = (1 + script.below(3), script.below(5));
    let instance = |index: usize| theirs(first.wrapping_add(index as u8) % 4);
    let mut payload = Vec::new();
    payload.extend(instance(mine - 1).as_bytes());
    let max_payload = 1 + u32::from(script.byte() / 2);
    let out_of_range = script.one_in(32).then(|| script.number(0) as u32);
    payload.extend(out_of_range.unwrap_or(max_payload).to_be_bytes());
    payload.extend((script.number(200) as u32).to_be_bytes());
    let features = features(script);
    payload.extend(features.to_be_bytes());
    payload.extend((mine as u16).to_be_bytes());
    payload.extend((yours as u16).to_be_bytes());
    for index in 0..mine {
        let known = now.yours.iter().find(|cursor| cursor.instance == instance(index));
        let base = script.number(known.map_or(1, |cursor| cursor.completed.saturating_add(1)));
        let next = base.saturating_add(u64::from(script.byte() % 8));
        payload.extend(instance(index).as_bytes());
        payload.extend(base.to_be_bytes());
        payload.extend(next.to_be_bytes());
    }
    let start = script.byte();
    for index in 0..yours {
        let instance = ours(start.wrapping_add(index as u8) % 5);
        let received = script.number(obtained(instance));
        let completed = received.saturating_sub(u64::from(script.byte() % 4));
        payload.extend(instance.as_bytes());
        payload.extend(received.to_be_bytes());
        payload.extend(completed.to_be_bytes());
    }
    payload.extend(said(script, Software::MAX_LEN, &PRINTABLE));
    if features & 2 != 0 {
        payload.extend(calls_state(script, calls));
    }
    // What a later version may add, or too little.
    match script.byte() {
        0..=15 => payload.push(0xff),
        16..=23 => payload.truncate(payload.len() - 1),
        _ => {}
    }
    plaintext(1, [0, 0, 0], [0, 0], &payload)
}

/// The optional kinds in a READY: mostly BATCH and CALLS, sometimes RENEW or something unknown.
fn features(script: &mut Script<'_>) -> u64 {
    let batch = u64::from(!script.one_in(8));
    let calls = if script.one_in(8) { 0 } else { 2 };
    (script.number(0) & !3) | batch | calls
}

/// The part about calls of a READY. `obtained` is the highest number in the stream of calls that the
/// service has sent.
fn calls_state(script: &mut Script<'_>, obtained: u64) -> Vec<u8> {
    let mut state = vec![0, script.byte() % 4];
    state.extend((script.number(1_000) as u32).to_be_bytes());
    let (of, received) = match script.byte() % 8 {
        0 => ([0; Instance::LEN], 0),
        1 => (*ours(script.byte() % 5).as_bytes(), obtained),
        _ => (*ours(3).as_bytes(), obtained),
    };
    state.extend(of);
    state.extend(script.number(received).to_be_bytes());
    state
}

/// The plaintext of any other frame.
pub(super) fn frame(script: &mut Script<'_>, known: &Knowledge) -> Vec<u8> {
    match script.byte() % 16 {
        kind @ 0..=8 => {
            let (stream, [ack_stream, ack]) = (script.stream(), acknowledged(script, known));
            let number = script.number(Knowledge::of(&known.expected, stream));
            // `again`, and on DATA `bytes`; any other flag is wrong.
            let flags = match (kind, script.byte()) {
                (_, byte @ 248..) => byte,
                (0..=5, byte) => byte % 4,
                (_, byte) => byte % 2,
            };
            let (kind, payload) = match kind {
                0..=5 => (2, vec![0; script.below(LONGEST as usize + 2)]),
                _ => (9, batch(script)),
            };
            plaintext(kind, [stream, ack_stream as u8, flags], [number, ack], &payload)
        }
        9 | 10 => {
            let [ack_stream, ack] = acknowledged(script, known);
            let rejections = rejections(script, ack);
            let streams = [script.field(0), ack_stream as u8, script.field(0)];
            plaintext(3, streams, [script.number(PLENTY), ack], &rejections)
        }
        11 | 12 => calls(script, known),
        13 | 14 => {
            let (stream, [ack_stream, ack]) = (script.stream(), acknowledged(script, known));
            let to = script.number(Knowledge::of(&known.expected, stream).saturating_add(1));
            plaintext(7, [stream, ack_stream as u8, script.field(0)], [to, ack], &[])
        }
        _ => {
            // PING, PONG, CLOSE, DRAIN, RENEW and RENEWED; of these only DRAIN has no number.
            let kind = [4, 5, 6, 8, 11, 12][script.below(6)];
            let id = if kind == 8 { 0 } else { script.number(1) };
            let streams = [script.field(0), script.field(0), script.field(0)];
            plaintext(script.field(kind), streams, [id, 0], &[])
        }
    }
}

/// Some messages, each behind its flags and length, which may be wrong, and perhaps a piece of
/// another one.
fn batch(script: &mut Script<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    for _ in 0..script.below(9).div_ceil(2) {
        let len = script.below(14);
        let is_bytes = script.byte() % 2;
        payload.push(script.field(is_bytes));
        payload.extend(&length(script, len)[1..]);
        payload.extend(vec![0; len]);
    }
    if script.one_in(16) {
        payload.pop();
    }
    payload
}

/// A length on the wire, which is mostly the right one.
fn length(script: &mut Script<'_>, right: usize) -> [u8; 4] {
    let wrong = script.one_in(32).then(|| script.number(0) as u32);
    wrong.unwrap_or(right as u32).to_be_bytes()
}

/// The messages up to `ack` that are rejected, each with a code and a text.
fn rejections(script: &mut Script<'_>, ack: u64) -> Vec<u8> {
    if script.one_in(64) {
        // As many as there may be, or one more, without a text.
        return [0; 11].repeat(Ack::MAX_REJECTIONS + script.below(2));
    }
    let mut payload = Vec::new();
    for index in 0..script.below(4) {
        let number = script.number(ack.saturating_sub(index as u64));
        payload.extend(number.to_be_bytes());
        payload.extend((script.number(1) as u16).to_be_bytes());
        payload.extend(said(script, RejectText::MAX_LEN, &CHARACTERS));
    }
    payload
}

/// A text behind its length, which is mostly its own.
fn said(script: &mut Script<'_>, longest: usize, characters: &[&str]) -> Vec<u8> {
    let text = text(script, longest, characters);
    let len = script.field(text.len() as u8);
    [&[len][..], &text].concat()
}

/// Mostly no text, or one of at most `longest` bytes; else it is too long, or no text.
fn text(script: &mut Script<'_>, longest: usize, characters: &[&str]) -> Vec<u8> {
    let character = characters[script.below(characters.len())];
    let len = match script.byte() {
        0..=95 => 0,
        96..=239 => script.below(longest + 1),
        240..=247 => longest,
        _ => longest + character.len(),
    };
    let mut text = character.repeat(len / character.len()).into_bytes();
    if script.one_in(32)
        && let Some(last) = text.last_mut()
    {
        *last = 0xff;
    }
    text
}

/// A frame of calls.
fn calls(script: &mut Script<'_>, known: &Knowledge) -> Vec<u8> {
    let [expected, obtained] = known.calls;
    let received = script.number(obtained);
    let items = script.below(4);
    let first = if items == 0 { 0 } else { script.number(expected) };
    let mut payload = received.to_be_bytes().to_vec();
    for index in 0..items {
        // The bodies together may be a little longer than what fits.
        let room = (LONGEST as usize + CallItem::HEADER_LEN) / items - CallItem::HEADER_LEN;
        let item = item(script, known, expected.saturating_add(index as u64), room);
        payload.extend(length(script, item.len()));
        payload.extend(item);
    }
    let [ack_stream, ack] = acknowledged(script, known);
    let streams = [script.field(0), ack_stream as u8, script.field(0)];
    plaintext(10, streams, [first, ack], &payload)
}

/// An item of the stream of calls, without its length: about the call `new`, if it is a request, else
/// about an earlier one. Its body is mostly at most `room` bytes long.
fn item(script: &mut Script<'_>, known: &Knowledge, new: u64, room: usize) -> Vec<u8> {
    let what = 1 + script.byte() % 4;
    let flags = if what < FAILURE { script.byte() % 2 } else { 0 };
    let depth_or_code = match what {
        REQUEST => u16::from(script.byte() % 9),
        FAILURE => script.number(1) as u16,
        _ => u16::from(script.field(0)),
    };
    let left = match what {
        REQUEST if script.one_in(2) => u32::MAX,
        REQUEST => script.number(1_000) as u32,
        _ => u32::from(script.field(0)),
    };
    let call = match what {
        REQUEST => new,
        CANCEL => new.saturating_sub(1 + script.below(3) as u64),
        _ => known.asked.get(script.below(known.asked.len().max(1))).copied().unwrap_or(1),
    };
    let body = match what {
        FAILURE => text(script, room, &CHARACTERS),
        CANCEL => vec![0; usize::from(script.one_in(32))],
        _ => vec![0; script.below(room + 2)],
    };
    let mut item = vec![script.field(what), script.field(flags)];
    item.extend(depth_or_code.to_be_bytes());
    item.extend(left.to_be_bytes());
    item.extend(script.number(call).to_be_bytes());
    item.extend(body);
    item
}

/// A stream of the service, and how far it is acknowledged.
fn acknowledged(script: &mut Script<'_>, known: &Knowledge) -> [u64; 2] {
    let stream = script.stream();
    [u64::from(stream), script.number(Knowledge::of(&known.obtained, stream))]
}

/// The plaintext of a frame (`docs/protocol.md` §4.1).
fn plaintext(kind: u8, streams: [u8; 3], numbers: [u64; 2], payload: &[u8]) -> Vec<u8> {
    let [stream, ack_stream, flags] = streams;
    let mut plaintext = vec![kind, stream, ack_stream, flags];
    plaintext.extend((payload.len() as u32).to_be_bytes());
    plaintext.extend(numbers[0].to_be_bytes());
    plaintext.extend(numbers[1].to_be_bytes());
    plaintext.extend(payload);
    plaintext
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use paddington_wire::link::{Link, LinkConfig};
    use paddington_wire::sealed::fuzzing::decode;
    use paddington_wire::{CallBody, Features, Frame};

    use super::*;
    use crate::random::Random;

    /// Forges a frame from the next bytes of a random generator; one of eight is a READY.
    fn forged(random: &mut Random, now: &Ready) -> Vec<u8> {
        let mut bytes = [0; 256];
        random.fill(&mut bytes);
        let mut script = Script::new(&bytes);
        if script.one_in(8) {
            return ready(&mut script, now, |_| 5, 6);
        }
        let (expected, obtained) = (vec![3, 7], vec![5, 2]);
        let known = Knowledge { expected, obtained, calls: [4, 6], asked: vec![2, 3] };
        frame(&mut script, &known)
    }

    /// Names the forms of a frame that was forged as the page has them.
    fn forms(frame: &Frame) -> Vec<&'static str> {
        let mut forms = Vec::new();
        let mut note = |is_so: bool, form: &'static str| forms.extend(is_so.then_some(form));
        match frame {
            Frame::Ready(ready) => {
                let longest = ready.software.as_str().len() == Software::MAX_LEN;
                note(!ready.software.is_empty(), "READY with software");
                note(longest, "READY with the longest name of software");
                note(ready.features.has(Features::CALLS), "READY with calls");
                note(!ready.features.has(Features::CALLS), "READY without calls");
                note(!ready.features.has(Features::BATCH), "READY without batches");
                note(ready.features.0 > 7, "READY with unknown features");
                note(ready.calls.received > 0, "READY that goes on with calls");
            }
            Frame::Data(data) => {
                note(data.again, "DATA again");
                note(data.payload.is_bytes(), "DATA with bytes");
                note(!data.payload.is_bytes(), "DATA with text");
            }
            Frame::Batch(batch) => {
                note(batch.again, "BATCH again");
                let mut payloads = batch.messages.clone().into_iter();
                note(payloads.any(|payload| payload.is_bytes()), "BATCH with bytes");
            }
            Frame::Ack(ack) => {
                let longest = |text: &RejectText| text.as_str().len() > RejectText::MAX_LEN - 3;
                let texts = || ack.rejected.iter().map(|rejection| &rejection.text);
                note(ack.rejected.is_empty(), "ACK without rejections");
                note(texts().any(RejectText::is_empty), "ACK with a rejection without text");
                note(texts().any(|text| !text.is_empty()), "ACK with a text");
                note(texts().any(longest), "ACK with the longest text");
                note(ack.rejected.len() == Ack::MAX_REJECTIONS, "ACK with the most rejections");
            }
            Frame::Calls(calls) => {
                note(calls.items.is_empty(), "CALLS without items");
                note(calls.items.len() > 1, "CALLS with several items");
                for item in &calls.items {
                    note(true, form_of_item(&item.body));
                    note(!item.payload().is_empty(), "an item with a body");
                }
            }
            _ => {}
        }
        forms
    }

    fn form_of_item(body: &CallBody) -> &'static str {
        match body {
            CallBody::Request { left: None, .. } => "a request without a limit",
            CallBody::Request { payload, .. } if payload.is_bytes() => "a request of bytes",
            CallBody::Request { .. } => "a request of text with a limit",
            CallBody::Reply { payload } if payload.is_bytes() => "a reply of bytes",
            CallBody::Reply { .. } => "a reply of text",
            CallBody::Failure { text, .. } if text.is_empty() => "a failure without text",
            CallBody::Failure { .. } => "a failure with text",
            CallBody::Cancel => "a cancel",
        }
    }

    const FORMS: [&str; 29] = [
        "READY with software",
        "READY with the longest name of software",
        "READY with calls",
        "READY without calls",
        "READY without batches",
        "READY with unknown features",
        "READY that goes on with calls",
        "DATA again",
        "DATA with bytes",
        "DATA with text",
        "BATCH again",
        "BATCH with bytes",
        "ACK without rejections",
        "ACK with a rejection without text",
        "ACK with a text",
        "ACK with the longest text",
        "ACK with the most rejections",
        "CALLS without items",
        "CALLS with several items",
        "an item with a body",
        "a request without a limit",
        "a request of bytes",
        "a request of text with a limit",
        "a reply of bytes",
        "a reply of text",
        "a failure without text",
        "a failure with text",
        "a cancel",
        "what is refused",
    ];

    /// A generator that has not followed the format would only ever be refused, and nobody would notice.
    #[test]
    fn most_of_each_kind_of_frame_is_as_the_page_has_it() {
        let now = Link::new(LinkConfig::default(), ours(3)).ready();
        let (mut kinds, mut seen) = (BTreeMap::new(), BTreeMap::new());
        let mut random = Random::new(1);
        for _ in 0..40_000 {
            let forged = forged(&mut random, &now);
            let decoded = decode(&forged, LONGEST);
            let (made, read): &mut (u32, u32) = kinds.entry(forged[0]).or_default();
            (*made, *read) = (*made + 1, *read + u32::from(decoded.is_ok()));
            let forms = decoded.map_or_else(|_| vec!["what is refused"], |frame| forms(&frame));
            forms.into_iter().for_each(|form| *seen.entry(form).or_insert(0) += 1);
        }
        for kind in 1..=12 {
            let (made, read) = kinds.get(&kind).copied().unwrap_or_default();
            assert!(made >= 100 && 2 * read >= made, "kind {kind}: {read} of {made}");
        }
        for form in FORMS {
            let times = seen.get(form).copied().unwrap_or_default();
            assert!(times >= 10, "{form}: {times} times");
        }
    }
}
