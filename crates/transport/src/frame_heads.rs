//! The heads of the WebSocket frames that a stranger sends, followed in the bytes below the
//! WebSocket, which reserves memory for a frame as soon as it has read its head.

/// The longest head of a WebSocket frame, in bytes.
pub(crate) const LONGEST_HEAD: usize = 14;

/// Follows one message through its frames, and the control frames between them.
#[derive(Debug)]
pub(crate) struct FrameHeads {
    /// The longest payload that a head may claim.
    limit: u64,
    head: [u8; LONGEST_HEAD],
    /// Number of bytes of the present frame's head that have come.
    read: usize,
    /// Number of bytes of the present frame's payload that are still to come.
    payload: u64,
    /// Whether the message is complete.
    complete: bool,
}

/// A head claims a longer payload than is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClaimTooLong;

impl FrameHeads {
    /// Awaits a message whose frames are at most `limit` bytes long.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit as u64, head: [0; _], read: 0, payload: 0, complete: false }
    }

    /// Takes bytes as they come. Returns how many of them belong to the message, or to control
    /// frames before its end.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, ClaimTooLong> {
        let mut taken = 0;
        while taken < bytes.len() && !self.complete {
            taken += self.take_some(&bytes[taken..])?;
        }
        Ok(taken)
    }

    /// Takes at least one byte: as much of a payload as there is, or else one byte of a head.
    fn take_some(&mut self, bytes: &[u8]) -> Result<usize, ClaimTooLong> {
        let taken = if self.payload > 0 {
            let available = bytes.len() as u64;
            let taken = self.payload.min(available);
            self.payload -= taken;
            // it is at most the length of `bytes`
            usize::try_from(taken).unwrap_or(bytes.len())
        } else {
            self.head[self.read] = bytes[0];
            self.read += 1;
            if self.read < self.head_len() {
                return Ok(1);
            }
            self.payload = self.claim();
            if self.payload > self.limit {
                return Err(ClaimTooLong);
            }
            1
        };
        if self.payload == 0 {
            self.read = 0;
            let (is_final, is_control) = (self.head[0] & 0x80 != 0, self.head[0] & 0x08 != 0);
            self.complete = is_final && !is_control;
        }
        Ok(taken)
    }

    /// Returns the length of the present head, as far as it is known.
    fn head_len(&self) -> usize {
        if self.read < 2 {
            return 2;
        }
        let extended = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 != 0 { 4 } else { 0 };
        2 + extended + mask
    }

    /// Returns the length of the payload that a complete head claims.
    fn claim(&self) -> u64 {
        let [_, first, a, b, c, d, e, f, g, h, ..] = self.head;
        match first & 0x7f {
            126 => u16::from_be_bytes([a, b]).into(),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => short.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `bytes` in pieces of `size` bytes.
    fn take(limit: usize, bytes: &[u8], size: usize) -> Result<usize, ClaimTooLong> {
        let mut heads = FrameHeads::new(limit);
        bytes.chunks(size).try_fold(0, |taken, piece| Ok(taken + heads.take(piece)?))
    }

    fn frame(first: u8, masked: bool, len: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = match len {
            0..=125 => vec![first, mask | len as u8],
            126..=0xffff => [&[first, mask | 126][..], &(len as u16).to_be_bytes()].concat(),
            _ => [&[first, mask | 127][..], &(len as u64).to_be_bytes()].concat(),
        };
        bytes.resize(bytes.len() + if masked { 4 } else { 0 } + len, 0xff);
        bytes
    }

    #[test]
    fn a_message_ends_with_its_last_frame_however_it_is_cut() {
        for masked in [false, true] {
            for len in [0, 1, 125, 126, 1_344, 65_535, 65_536] {
                let alone = frame(0x82, masked, len);
                let first = frame(0x02, masked, len);
                let (ping, last) = (frame(0x89, masked, 5), frame(0x80, masked, len));
                for message in [alone, [first, ping, last].concat()] {
                    let more = [&message[..], &frame(0x82, masked, 70_000)].concat();
                    for size in [1, 2, 3, 7, 1_000, more.len()] {
                        assert_eq!(take(65_536, &more, size), Ok(message.len()), "{len} {size}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_claim_beyond_the_limit_is_refused_with_the_last_byte_of_its_head() {
        for masked in [false, true] {
            for len in [101, 126, 1_000, 65_536, usize::MAX >> 1] {
                for first in [0x81, 0x82, 0x01, 0x89, 0x88] {
                    let head = frame(first, masked, 0).len()
                        + [0, 2, 8][(len > 125) as usize + (len > 65_535) as usize];
                    let mut bytes = frame(first, masked, len.min(70_000));
                    if len > 70_000 {
                        bytes[2..10].copy_from_slice(&(len as u64).to_be_bytes());
                    }
                    for size in [1, 3, head] {
                        assert_eq!(take(100, &bytes[..head - 1], size), Ok(head - 1));
                        assert_eq!(take(100, &bytes[..head], size), Err(ClaimTooLong));
                    }
                }
            }
        }
    }
}
