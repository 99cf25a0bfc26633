//! Frames of the attacker: all that can be sealed with the right keys. The attacker knows what
//! would be right at the moment and mostly says that, because a peer that talks nonsense does not
//! get far.

use paddington_wire::{Instance, Ready};

use super::script::Script;
use super::{LONGEST, ours, theirs};

/// More credit than will be used.
const PLENTY: u64 = 1 << 20;

/// Numbers that the attacker knows.
pub(super) struct Knowledge {
    /// The next number that is expected on each of the streams that it has listed.
    pub(super) expected: Vec<u64>,
    /// The highest number that it was sent on each of the streams that were listed to it.
    pub(super) obtained: Vec<u64>,
    /// The next number that is expected in the stream of calls, and the highest one that was sent.
    pub(super) calls: [u64; 2],
}

impl Knowledge {
    fn of(numbers: &[u64], stream: u8) -> u64 {
        numbers.get(usize::from(stream)).copied().unwrap_or_default()
    }
}

/// The plaintext of a READY. `now` is the READY that the service would send, `obtained` the highest
/// number that it has sent on a stream.
pub(super) fn ready(
    script: &mut Script<'_>,
    now: &Ready,
    obtained: impl Fn(Instance) -> u64,
) -> Vec<u8> {
    let first = script.byte();
    let (mine, yours) = (1 + script.below(3), script.below(5));
    let instance = |index: usize| theirs(first.wrapping_add(index as u8) % 4);
    let mut payload = Vec::new();
    payload.extend(instance(mine - 1).as_bytes());
    payload.extend(u32::from(1 + script.byte() / 2).to_be_bytes());
    payload.extend((script.number(200) as u32).to_be_bytes());
    let calls = !script.one_in(8);
    payload.extend([0, 0, 0, 0, 0, 0, 0, if calls { 3 } else { 1 }]);
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
    payload.push(0);
    if calls {
        payload.extend([0, script.byte() % 4]);
        payload.extend(1_000_u32.to_be_bytes());
        payload.extend(ours(if script.one_in(4) { script.byte() % 5 } else { 3 }).as_bytes());
        payload.extend(script.number(0).to_be_bytes());
    }
    plaintext(1, [0, 0, 0], [0, 0], &payload)
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
        9..=11 => {
            let [ack_stream, ack] = acknowledged(script, known);
            let rejected = script.below(3);
            let rejections = (0..rejected).flat_map(|_| {
                let number = script.number(ack).to_be_bytes();
                [&number[..], &[0, script.byte()]].concat()
            });
            let rejections: Vec<_> = rejections.collect();
            plaintext(3, [0, ack_stream as u8, 0], [script.number(PLENTY), ack], &rejections)
        }
        12 => calls(script, known),
        13 | 14 => {
            let (stream, [ack_stream, ack]) = (script.stream(), acknowledged(script, known));
            let to = script.number(Knowledge::of(&known.expected, stream).saturating_add(1));
            plaintext(7, [stream, ack_stream as u8, 0], [to, ack], &[])
        }
        _ => plaintext(script.byte() % 12, [0; 3], [script.number(1), 0], &[]),
    }
}

/// Some messages, each behind its flags and length, which may be wrong, and perhaps a piece of
/// another one.
fn batch(script: &mut Script<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    for _ in 0..script.below(5) {
        let len = script.below(12);
        let claimed = script.number(len as u64);
        let is_bytes = (len as u32 % 2) << 24;
        payload.extend((claimed as u32 ^ is_bytes).to_be_bytes());
        payload.extend(vec![0; len]);
    }
    payload.truncate(payload.len() - script.below(4).min(payload.len()) / 3);
    payload
}

/// A frame of calls.
fn calls(script: &mut Script<'_>, known: &Knowledge) -> Vec<u8> {
    let [expected, obtained] = known.calls;
    let received = script.number(obtained);
    let items = script.below(4);
    let first = if items == 0 { 0 } else { script.number(expected) };
    let mut payload = received.to_be_bytes().to_vec();
    for index in 0..items {
        let what = 1 + script.byte() % 4;
        let (len, short) = match what {
            1 => (script.below(LONGEST as usize + 2), script.byte() % 9),
            2 | 3 => (script.below(8), if what == 3 { script.byte() } else { 0 }),
            _ => (0, 0),
        };
        let call = script.number(index as u64 + 1);
        payload.extend((16 + len as u32).to_be_bytes());
        payload.extend([what, 0, 0, short, 0, 0, 0, 0]);
        payload.extend(call.to_be_bytes());
        payload.extend(vec![0; len]);
    }
    let [ack_stream, ack] = acknowledged(script, known);
    plaintext(10, [0, ack_stream as u8, 0], [first, ack], &payload)
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
