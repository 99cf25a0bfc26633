//! The head of a WebSocket frame, and the mask of its payload. Implements RFC 6455, §5.2 and §5.3.

use bytes::{BufMut, BytesMut};

use super::FrameError;

/// The most bytes that a control frame may carry.
pub(super) const CONTROL: u64 = 125;
/// The bit of the last frame of a message.
const FINAL: u8 = 0x80;
/// The bits that only extensions use.
const RESERVED: u8 = 0x70;
/// The bit that says that a mask follows.
const MASKED: u8 = 0x80;
/// The length that says that two bytes of length follow.
const TWO_BYTES: u8 = 126;
/// The length that says that eight bytes of length follow.
const EIGHT_BYTES: u8 = 127;

/// The key with which a client masks a payload.
pub(super) type MaskKey = [u8; 4];

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Whether it is the last frame of its message.
    pub(super) is_final: bool,
    pub(super) mask: Option<MaskKey>,
    /// The length of its payload, in bytes.
    pub(super) len: u64,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Returns whether it is no part of a message.
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl Head {
    /// Reads the head at the beginning of `bytes`. Returns it with its length, or `None` if it is not
    /// whole yet.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(FrameError::ReservedBits);
        }
        let kind = Kind::from_code(first & 0x0f).ok_or(FrameError::UnknownKind)?;
        let (len, after) = match second & !MASKED {
            TWO_BYTES => match rest.split_first_chunk() {
                Some((len, after)) => (u64::from(u16::from_be_bytes(*len)), after),
                None => return Ok(None),
            },
            EIGHT_BYTES => match rest.split_first_chunk() {
                Some((len, after)) => (u64::from_be_bytes(*len), after),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        let is_final = first & FINAL != 0;
        if kind.is_control() && (!is_final || len > CONTROL) {
            return Err(FrameError::Control);
        }
        let (mask, after) = if second & MASKED == 0 {
            (None, after)
        } else {
            match after.split_first_chunk() {
                Some((mask, after)) => (Some(*mask), after),
                None => return Ok(None),
            }
        };
        Ok(Some((Self { kind, is_final, mask, len }, bytes.len() - after.len())))
    }

    /// Writes it at the end of `buffer`.
    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let first = self.kind.code() | if self.is_final { FINAL } else { 0 };
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        match (u8::try_from(self.len), u16::try_from(self.len)) {
            (Ok(len), _) if len < TWO_BYTES => buffer.put_slice(&[first, masked | len]),
            (_, Ok(len)) => {
                buffer.put_slice(&[first, masked | TWO_BYTES]);
                buffer.put_u16(len);
            }
            _ => {
                buffer.put_slice(&[first, masked | EIGHT_BYTES]);
                buffer.put_u64(self.len);
            }
        }
        if let Some(mask) = self.mask {
            buffer.put_slice(&mask);
        }
    }
}

/// Masks a whole payload, or removes the mask.
pub(super) fn mask(payload: &mut [u8], key: MaskKey) {
    let [a, b, c, d] = key;
    let wide = [a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d];
    let mut blocks = payload.chunks_exact_mut(wide.len());
    for block in &mut blocks {
        block.iter_mut().zip(wide).for_each(|(byte, key)| *byte ^= key);
    }
    blocks.into_remainder().iter_mut().zip(wide).for_each(|(byte, key)| *byte ^= key);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Kind; 6] =
        [Kind::Continuation, Kind::Text, Kind::Binary, Kind::Close, Kind::Ping, Kind::Pong];

    #[test]
    fn a_head_is_read_as_it_was_written_and_not_before_it_is_whole() {
        for kind in ALL {
            for mask in [None, Some([1, 2, 3, 4])] {
                for len in [0, 1, 125, 126, 65_535, 65_536, u64::from(u32::MAX), u64::MAX] {
                    let head = Head { kind, is_final: true, mask, len };
                    let mut bytes = BytesMut::new();
                    head.write(&mut bytes);
                    let whole = bytes.len();
                    bytes.put_slice(b"payload");
                    if kind.is_control() && len > 125 {
                        assert_eq!(Head::read(&bytes), Err(FrameError::Control));
                        continue;
                    }
                    assert_eq!(Head::read(&bytes), Ok(Some((head, whole))));
                    for part in 0..whole {
                        assert_eq!(Head::read(&bytes[..part]), Ok(None), "{head:?} {part}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_rfc_6455_does_not_allow_is_refused() {
        for (first, error) in [
            (0xc2, FrameError::ReservedBits),
            (0x92, FrameError::ReservedBits),
            (0xa2, FrameError::ReservedBits),
            (0x83, FrameError::UnknownKind),
            (0x8b, FrameError::UnknownKind),
            (0x8f, FrameError::UnknownKind),
            (0x09, FrameError::Control),
            (0x08, FrameError::Control),
        ] {
            assert_eq!(Head::read(&[first, 0]), Err(error), "{first:x}");
        }
        assert_eq!(Head::read(&[0x89, 126, 0, 126]), Err(FrameError::Control));
        assert!(matches!(Head::read(&[0x02, 0]), Ok(Some((Head { is_final: false, .. }, 2)))));
    }

    proptest! {
        #[test]
        fn every_byte_has_its_part_of_the_mask(
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            key in any::<MaskKey>(),
        ) {
            let mut masked = payload.clone();
            mask(&mut masked, key);
            for (at, byte) in payload.iter().enumerate() {
                prop_assert_eq!(masked[at], byte ^ key[at % 4]);
            }
            mask(&mut masked, key);
            prop_assert_eq!(masked, payload);
        }

        #[test]
        fn no_head_is_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(Some((_, len))) = Head::read(&bytes) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}
