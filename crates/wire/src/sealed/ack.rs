//! Encoding and decoding of ACK's payload. Implements `docs/protocol.md` §4.1.

#![deny(clippy::arithmetic_side_effects)]

use bytes::{Buf, BufMut};

use crate::frame::{Ack, RejectCode, Rejection};
use crate::{RejectText, Violation};

pub(super) fn encode(rejections: &[Rejection], buffer: &mut impl BufMut) {
    for rejection in rejections {
        buffer.put_u64(rejection.number);
        buffer.put_u16(rejection.code.0);
        let text = rejection.text.as_str().as_bytes();
        buffer.put_u8(text.len() as u8); // it has at most 255
        buffer.put_slice(text);
    }
}

/// Reads the payload of an ACK.
pub(super) fn decode(payload: &[u8]) -> Result<Vec<Rejection>, Violation> {
    let (mut rest, mut rejections) = (payload, Vec::new());
    while !rest.is_empty() {
        if rejections.len() == Ack::MAX_REJECTIONS {
            return Err(Violation::BadPayload);
        }
        rejections.push(rejection(&mut rest).ok_or(Violation::BadPayload)?);
    }
    Ok(rejections)
}

/// Reads one entry of an ACK. Returns `None` if it is cut short or its text is not UTF-8.
fn rejection(bytes: &mut &[u8]) -> Option<Rejection> {
    let (number, code) = (bytes.try_get_u64().ok()?, bytes.try_get_u16().ok()?);
    let len = bytes.try_get_u8().ok()?;
    let text = std::str::from_utf8(bytes.split_off(..usize::from(len))?).ok()?;
    Some(Rejection { number, code: RejectCode(code), text: RejectText::new(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_rejections_are_refused() {
        let entry = |text: &[u8], len: u8| [&[0, 0, 0, 0, 0, 0, 0, 7, 0, 1, len], text].concat();
        let read = |payload: &[u8]| decode(payload);
        let text = "é".repeat(127) + "x";
        let long = read(&entry(text.as_bytes(), 255)).unwrap();
        assert_eq!((long.len(), long[0].number, long[0].text.as_str()), (1, 7, text.as_str()));
        assert!(read(&entry(b"", 0)).unwrap()[0].text.is_empty());
        let two = [entry(b"a", 1), entry(b"", 0)].concat();
        assert_eq!(read(&two).unwrap().len(), 2);
        for cut in (1..two.len()).filter(|cut| *cut != 12) {
            assert_eq!(read(&two[..cut]), Err(Violation::BadPayload), "{cut}");
        }
        for bad in [&entry(b"ab", 1), &entry(b"ab", 3), &entry(b"\xff", 1), &entry(b"\xc3", 1)] {
            assert_eq!(read(bad), Err(Violation::BadPayload), "{bad:?}");
        }
        let most = entry(b"", 0).repeat(Ack::MAX_REJECTIONS);
        assert_eq!(read(&most).unwrap().len(), Ack::MAX_REJECTIONS);
        assert_eq!(read(&[most, entry(b"", 0)].concat()), Err(Violation::BadPayload));
    }
}
