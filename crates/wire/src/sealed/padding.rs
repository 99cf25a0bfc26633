//! Padding, which hides the exact lengths of messages. Implements `docs/protocol.md` §4.1.

/// The padding of plaintexts. The sender chooses it without the receiver's agreement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Padmé (Nikitin et al., PETS 2019) with at least 128 bytes: beyond that, at most 12 % more.
    #[default]
    Padme,
    /// No padding.
    None,
}

/// The length to which all shorter plaintexts are padded.
const FLOOR: usize = 128;

impl Padding {
    /// Returns the padded length of a plaintext of `len` bytes.
    #[must_use]
    pub const fn padded_len(self, len: usize) -> usize {
        match self {
            Self::None => len,
            Self::Padme if len <= FLOOR => FLOOR,
            Self::Padme => {
                let exponent = len.ilog2();
                let kept = exponent.ilog2() + 1;
                let mask = (1 << (exponent - kept)) - 1;
                (len + mask) & !mask
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_lengths_match_the_specification() {
        let pairs = [
            (24, 128),
            (128, 128),
            (129, 144),
            (200, 208),
            (1000, 1024),
            (1025, 1088),
            (4097, 4352),
            (65537, 67584),
            (1_048_600, 1_081_344),
        ];
        for (len, padded) in pairs {
            assert_eq!(Padding::Padme.padded_len(len), padded);
            assert_eq!(Padding::None.padded_len(len), len);
        }
    }

    #[test]
    fn padding_never_shrinks_and_adds_at_most_an_eighth() {
        for len in 129..100_000 {
            let padded = Padding::Padme.padded_len(len);
            assert!(padded >= len && padded * 100 <= len * 112, "{len} {padded}");
        }
    }
}
