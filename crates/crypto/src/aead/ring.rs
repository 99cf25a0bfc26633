//! The fast implementations, in ring's assembly. AES-256-GCM is ring's as it is; for
//! XChaCha20-Poly1305, HChaCha20 derives a subkey, and ring runs ChaCha20-Poly1305 with it.
//!
//! XChaCha20-Poly1305 with key k and nonce n is by definition ChaCha20-Poly1305 with the key
//! HChaCha20(k, n[0..16]) and the nonce 0⁴ ‖ n[16..24] (draft-irtf-cfrg-xchacha-03 §2.3).

use std::hint::black_box;

use orion::hazardous::stream::chacha20::{self, ChaCha20};
use ring::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{Cipher, Prefix, Suffix, Tag};
use crate::{OpenError, SealError, SecretKey};

/// XChaCha20-Poly1305 under one key and one nonce prefix.
pub(crate) struct RingXChaCha(RingKey);

impl RingXChaCha {
    /// Prepares the cipher for nonces that begin with `prefix`.
    pub(crate) fn new(key: &SecretKey, prefix: &Prefix) -> Self {
        Self(RingKey::new(&CHACHA20_POLY1305, hchacha20(key, prefix).as_slice()))
    }
}

impl Cipher for RingXChaCha {
    fn seal(&self, suffix: Suffix, ad: &[u8], text: &mut [u8]) -> Result<Tag, SealError> {
        self.0.seal(suffix, ad, text)
    }

    fn open(&self, suffix: Suffix, ad: &[u8], text: &mut [u8], tag: &Tag) -> Result<(), OpenError> {
        self.0.open(suffix, ad, text, tag)
    }
}

/// AES-256-GCM under one key.
pub(crate) struct RingAes(RingKey);

impl RingAes {
    pub(crate) fn new(key: &SecretKey) -> Self {
        Self(RingKey::new(&AES_256_GCM, key.expose_bytes()))
    }
}

impl Cipher for RingAes {
    fn seal(&self, suffix: Suffix, ad: &[u8], text: &mut [u8]) -> Result<Tag, SealError> {
        self.0.seal(suffix, ad, text)
    }

    fn open(&self, suffix: Suffix, ad: &[u8], text: &mut [u8], tag: &Tag) -> Result<(), OpenError> {
        self.0.open(suffix, ad, text, tag)
    }
}

/// A key of ring with all that ring derives from it: of AES-256-GCM the round keys and the powers of
/// the hash key, which are as secret as the key itself.
struct RingKey(LessSafeKey);

impl RingKey {
    fn new(algorithm: &'static Algorithm, bytes: &[u8]) -> Self {
        Self(expanded(algorithm, bytes))
    }

    fn seal(&self, suffix: Suffix, ad: &[u8], text: &mut [u8]) -> Result<Tag, SealError> {
        let tag = self
            .0
            .seal_in_place_separate_tag(ring_nonce(suffix), Aad::from(ad), text)
            .map_err(|_| SealError)?;
        let mut bytes = [0; super::TAG_LEN];
        bytes.copy_from_slice(tag.as_ref());
        Ok(bytes)
    }

    fn open(&self, suffix: Suffix, ad: &[u8], text: &mut [u8], tag: &Tag) -> Result<(), OpenError> {
        let (nonce, tag) = (ring_nonce(suffix), (*tag).into());
        self.0
            .open_in_place_separate_tag(nonce, Aad::from(ad), tag, text, 0..)
            .map_err(|_| OpenError)?;
        Ok(())
    }
}

impl Drop for RingKey {
    /// Overwrites the key with one of zeros of the same algorithm, which takes the same place, because
    /// ring does not wipe its keys. `black_box` keeps the compiler from removing a store that is never
    /// read.
    fn drop(&mut self) {
        self.0 = expanded(self.0.algorithm(), &[0; SecretKey::LEN]);
        black_box(&self.0);
    }
}

#[expect(clippy::expect_used, reason = "both algorithms accept any 32 bytes")]
fn expanded(algorithm: &'static Algorithm, bytes: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, bytes).expect("a key of 32 bytes"))
}

fn ring_nonce(suffix: Suffix) -> Nonce {
    let mut nonce = [0; ring::aead::NONCE_LEN];
    nonce[4..].copy_from_slice(&suffix);
    Nonce::assume_unique_for_key(nonce)
}

/// HChaCha20 (draft-irtf-cfrg-xchacha-03 §2.2), from the ChaCha20 block function.
///
/// A ChaCha20 block is the permuted state plus the initial state. HChaCha20 is the first and the
/// last row of the permuted state, so it is those rows of a block minus those of the initial state.
#[expect(clippy::expect_used, reason = "a new keystream has at least one block")]
fn hchacha20(key: &SecretKey, prefix: &Prefix) -> Zeroizing<[u8; SecretKey::LEN]> {
    const CONSTANTS: &[u8; 16] = b"expand 32-byte k";
    let (counter, nonce) = prefix.split_at(4);

    let nonce = chacha20::Nonce::try_from(nonce).expect("12 bytes");
    let mut stream = ChaCha20::new(key.as_cipher_key(), &nonce);
    stream.set_position(word(counter));
    let mut block = Zeroizing::new([0; chacha20::CHACHA_BLOCKSIZE]);
    stream.xor_keystream_into(block.as_mut_slice()).expect("the first block");

    let mut subkey = Zeroizing::new([0; SecretKey::LEN]);
    let (first, last) = subkey.split_at_mut(16);
    subtract(&block[..16], CONSTANTS, first);
    subtract(&block[48..], prefix, last);
    subkey
}

/// Subtracts 32-bit little-endian words: `out = left - right`.
fn subtract(left: &[u8], right: &[u8], out: &mut [u8]) {
    let words = left.chunks_exact(4).zip(right.chunks_exact(4));
    for ((left, right), out) in words.zip(out.chunks_exact_mut(4)) {
        out.copy_from_slice(&word(left).wrapping_sub(word(right)).to_le_bytes());
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// draft-irtf-cfrg-xchacha-03 §2.2.1.
    #[test]
    fn hchacha20_matches_the_draft() {
        let key: Vec<u8> = (0..32).collect();
        let key = SecretKey::from_slice(&key).unwrap();
        let prefix = const_hex::decode_to_array("000000090000004a0000000031415927").unwrap();
        assert_eq!(
            const_hex::encode(*hchacha20(&key, &prefix)),
            "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
        );
    }

    #[test]
    fn hchacha20_accepts_the_highest_counter() {
        let key = SecretKey::from_slice(&[1; 32]).unwrap();
        let low = hchacha20(&key, &[0; 16]);
        let high = hchacha20(&key, &[0xff; 16]);
        assert_ne!(*low, *high);
    }
}
