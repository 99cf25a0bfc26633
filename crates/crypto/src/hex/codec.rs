//! Hexadecimal encoding and decoding within one buffer, a piece at a time, so that the vectorised
//! codec can be used on each piece.

use crate::OpenError;

/// The size of a piece before encoding, in bytes. Pieces are copied to the stack.
const PIECE: usize = 1024;

/// Encodes the second half of `buffer` so that the digits fill the whole of it.
pub(super) fn encode_in_place(buffer: &mut [u8]) {
    let raw_len = buffer.len() / 2;
    let mut piece = [0; PIECE];
    for start in (0..raw_len).step_by(PIECE) {
        let len = PIECE.min(raw_len - start);
        let piece = &mut piece[..len];
        piece.copy_from_slice(&buffer[raw_len + start..][..len]);
        encode(piece, &mut buffer[2 * start..][..2 * len]);
    }
}

/// Decodes the digits at `from..` in `buffer` to `raw_len` bytes at its front.
pub(super) fn decode_in_place(
    buffer: &mut [u8],
    from: usize,
    raw_len: usize,
) -> Result<(), OpenError> {
    let mut text = [0; 2 * PIECE];
    for start in (0..raw_len).step_by(PIECE) {
        let len = PIECE.min(raw_len - start);
        let text = &mut text[..2 * len];
        text.copy_from_slice(&buffer[from + 2 * start..][..2 * len]);
        decode(text, &mut buffer[start..][..len])?;
    }
    Ok(())
}

/// Decodes `text`, which must fill `raw` exactly. The library would skip a leading `0x`; the length
/// check refuses it.
pub(crate) fn decode(text: &[u8], raw: &mut [u8]) -> Result<(), OpenError> {
    if text.len() != 2 * raw.len() {
        return Err(OpenError);
    }
    const_hex::decode_to_slice(text, raw).map_err(|_| OpenError)
}

#[expect(clippy::expect_used, reason = "the callers pass slices that fit")]
pub(super) fn encode(raw: &[u8], text: &mut [u8]) {
    const_hex::encode_to_slice(raw, text).expect("two digits for each byte");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_place_coding_agrees_with_the_plain_codec() {
        for len in [0, 1, 2, 31, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7] {
            let raw: Vec<u8> = (0..len).map(|i| (i * 7 + 3) as u8).collect();
            let mut buffer = vec![0; len];
            buffer.extend_from_slice(&raw);
            encode_in_place(&mut buffer);
            assert_eq!(buffer, const_hex::encode(&raw).into_bytes(), "{len}");

            let mut shifted = vec![b'"'];
            shifted.extend_from_slice(&buffer);
            decode_in_place(&mut shifted, 1, len).unwrap();
            assert_eq!(shifted[..len], raw, "{len}");
        }
    }

    #[test]
    fn a_0x_prefix_is_refused() {
        assert_eq!(decode(b"0xab", &mut [0; 2]), Err(OpenError));
        assert_eq!(decode(b"0xabcd", &mut [0; 2]), Err(OpenError));
    }
}
