//! Numbered frames of one direction, and the keys that change under them.
//! Implements `docs/protocol.md` §4.

use paddington_crypto::kdf::Prk;
use paddington_crypto::sealed::Layers;
use paddington_crypto::{OpenError, SealError};

use crate::TransmitError;

/// Keys are replaced before each frame whose number is a multiple of this.
const REKEY_INTERVAL: u64 = 1024;
/// No number reaches this.
const NUMBER_LIMIT: u64 = 1 << 48;

/// The two secrets of one direction that its keys are derived from.
pub(super) struct Chain {
    inner: Prk,
    outer: Prk,
}

impl Chain {
    pub(super) fn new(inner: Prk, outer: Prk) -> Self {
        Self { inner, outer }
    }

    fn layers(&self) -> Layers {
        Layers::new(&self.inner.derive_key("key", &[]), &self.outer.derive_key("key", &[]))
    }

    /// The secrets of the next epoch. The old ones are wiped as they are dropped.
    fn next(&self) -> Self {
        Self {
            inner: self.inner.derive_prk("next", &[]),
            outer: self.outer.derive_prk("next", &[]),
        }
    }
}

/// One direction of a session: its secrets, its keys, and the number of its next frame.
pub(super) struct Traffic {
    chain: Chain,
    layers: Layers,
    number: u64,
}

impl Traffic {
    pub(super) fn new(chain: Chain) -> Self {
        Self { layers: chain.layers(), chain, number: 0 }
    }

    /// Seals the next frame in place; `buffer` ends with the room that the layers need.
    pub(super) fn seal(&mut self, buffer: &mut [u8]) -> Result<(), TransmitError> {
        let number = self.advance().ok_or(TransmitError::Exhausted)?;
        self.layers.seal(number, &[], buffer).map_err(|SealError| TransmitError::Seal(SealError))
    }

    /// Opens the next frame in place and returns the length of its plaintext, which stands at the
    /// front of `buffer`.
    pub(super) fn open(&mut self, buffer: &mut [u8]) -> Result<usize, OpenError> {
        let number = self.advance().ok_or(OpenError)?;
        self.layers.open(number, &[], buffer).map(|plaintext| plaintext.len())
    }

    /// The number of the next frame, with the keys that belong to it in place. A number is used up
    /// even if sealing or opening then fails: after a failure the session is over.
    fn advance(&mut self) -> Option<u64> {
        let number = self.number;
        if number >= NUMBER_LIMIT {
            return None;
        }
        if number > 0 && number.is_multiple_of(REKEY_INTERVAL) {
            self.chain = self.chain.next();
            self.layers = self.chain.layers();
        }
        self.number = number + 1;
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use paddington_crypto::sealed::OVERHEAD;

    use super::*;

    fn traffic() -> Traffic {
        Traffic::new(Chain::new(Prk::extract(b"", &[b"inner"]), Prk::extract(b"", &[b"outer"])))
    }

    #[test]
    fn both_sides_agree_over_rekeys() {
        let (mut sealer, mut opener) = (traffic(), traffic());
        for number in 0..2 * REKEY_INTERVAL + 10 {
            let mut buffer = vec![number as u8; 3 + OVERHEAD];
            sealer.seal(&mut buffer).unwrap();
            let len = opener.open(&mut buffer).unwrap();
            assert_eq!(buffer[..len], [number as u8; 3], "{number}");
        }
    }

    /// No key seals two frames under one nonce: over rekeys, the pairs of keys and numbers differ.
    #[test]
    fn no_key_meets_a_number_twice() {
        let mut pairs = std::collections::HashSet::new();
        for label in ["c2s", "s2c"] {
            let mut chain = Chain::new(
                Prk::extract(b"", &[b"inner"]).derive_prk(label, &[]),
                Prk::extract(b"", &[b"outer"]).derive_prk(label, &[]),
            );
            for number in 0..5_000_u64 {
                if number > 0 && number.is_multiple_of(REKEY_INTERVAL) {
                    chain = chain.next();
                }
                for secret in [&chain.inner, &chain.outer] {
                    let key = secret.derive_key("key", &[]).expose_bytes().to_vec();
                    assert!(pairs.insert((key, number)), "{label} {number}");
                }
            }
        }
        let keys: std::collections::HashSet<_> = pairs.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), 2 * 2 * 5, "two directions, two layers, five epochs");
    }

    #[test]
    fn a_skipped_or_repeated_frame_does_not_open() {
        let (mut sealer, mut opener) = (traffic(), traffic());
        let mut frames = Vec::new();
        for _ in 0..3 {
            let mut buffer = vec![0; 1 + OVERHEAD];
            sealer.seal(&mut buffer).unwrap();
            frames.push(buffer);
        }
        opener.open(&mut frames[0].clone()).unwrap();
        assert!(opener.open(&mut frames[2].clone()).is_err(), "skipped");
        let mut opener = traffic();
        opener.open(&mut frames[0].clone()).unwrap();
        assert!(opener.open(&mut frames[0].clone()).is_err(), "repeated");
    }

    #[test]
    fn the_last_number_ends_the_session_cleanly() {
        let mut sealer = traffic();
        sealer.number = NUMBER_LIMIT - 1;
        sealer.seal(&mut [0; OVERHEAD]).unwrap();
        for _ in 0..2 {
            assert_eq!(sealer.seal(&mut [0; OVERHEAD]), Err(TransmitError::Exhausted));
        }
        let mut opener = traffic();
        opener.number = NUMBER_LIMIT;
        assert_eq!(opener.open(&mut [0; OVERHEAD]), Err(OpenError));
    }
}
