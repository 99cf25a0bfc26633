//! What the attacker says: any frame that somebody with the right keys can seal.

use super::script::Script;
use super::{LONGEST, ours, theirs};

/// The plaintext of a READY.
pub(super) fn ready(script: &mut Script<'_>, middle: u64) -> Vec<u8> {
    let first = script.byte();
    let (mine, yours) = (1 + script.below(4), script.below(5));
    let life = |index: usize| theirs(first.wrapping_add(index as u8) % 6);
    let mut payload = Vec::new();
    payload.extend(life(mine - 1).as_bytes());
    payload.extend(u32::from(script.byte() % 128).to_be_bytes());
    payload.extend((script.number(200) as u32).to_be_bytes());
    payload.extend([0; 8]);
    payload.extend((mine as u16).to_be_bytes());
    payload.extend((yours as u16).to_be_bytes());
    for index in 0..mine {
        payload.extend(life(index).as_bytes());
        let base = script.number(middle);
        let next = base.saturating_add(u64::from(script.byte() % 8));
        payload.extend(base.to_be_bytes());
        payload.extend(next.to_be_bytes());
    }
    let start = script.byte();
    for index in 0..yours {
        payload.extend(ours(start.wrapping_add(index as u8) % 5).as_bytes());
        let completed = script.number(middle);
        let received = completed.saturating_add(u64::from(script.byte() % 4));
        payload.extend(received.to_be_bytes());
        payload.extend(completed.to_be_bytes());
    }
    plaintext(1, [0, 0, 0], [0, 0], &payload)
}

/// The plaintext of any other frame.
pub(super) fn frame(script: &mut Script<'_>, middle: u64) -> Vec<u8> {
    let kind = [2, 2, 2, 3, 3, 7, 7, 8][script.below(8)];
    let small = |byte: u8| if byte > 250 { byte } else { byte % 4 };
    let streams = match kind {
        2 | 7 => [small(script.byte()), small(script.byte()), 0],
        3 => [0, small(script.byte()), 0],
        _ => [0; 3],
    };
    let numbers = match kind {
        2 | 3 | 7 => [script.number(middle), script.number(middle)],
        _ => [0; 2],
    };
    let payload = match kind {
        2 => vec![0; script.below(LONGEST as usize + 2)],
        3 => {
            let rejection = |script: &mut Script<'_>| {
                let number = script.number(middle).to_be_bytes();
                [&number[..], &[0, script.byte()]].concat()
            };
            (0..script.below(3)).flat_map(|_| rejection(script)).collect()
        }
        _ => Vec::new(),
    };
    plaintext(kind, streams, numbers, &payload)
}

/// `docs/protocol.md` §4.1.
fn plaintext(kind: u8, streams: [u8; 3], numbers: [u64; 2], payload: &[u8]) -> Vec<u8> {
    let [stream, ack_stream, flags] = streams;
    let mut plaintext = vec![kind, stream, ack_stream, flags];
    plaintext.extend((payload.len() as u32).to_be_bytes());
    plaintext.extend(numbers[0].to_be_bytes());
    plaintext.extend(numbers[1].to_be_bytes());
    plaintext.extend(payload);
    plaintext
}
