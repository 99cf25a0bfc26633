//! Tests that both implementations of each cipher compute the same bytes and refuse the same ones.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use proptest::prelude::*;

use super::aes_gcm::PortableAes;
use super::cipher::{Cipher, Prefix, Suffix};
use super::orion::OrionXChaCha;
use super::ring::{RingAes, RingXChaCha};
use crate::{OpenError, SecretKey};

fn texts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        proptest::collection::vec(any::<u8>(), 4_000..9_000),
    ]
}

fn secret(key: [u8; 32]) -> SecretKey {
    SecretKey::from_slice(&key).unwrap()
}

/// Seals with both, and opens with each what the other has sealed.
fn agree(fast: &impl Cipher, reference: &impl Cipher, suffix: Suffix, ad: &[u8], text: &[u8]) {
    let (mut by_fast, mut by_reference) = (text.to_vec(), text.to_vec());
    let tag = fast.seal(suffix, ad, &mut by_fast).unwrap();
    assert_eq!(reference.seal(suffix, ad, &mut by_reference).unwrap(), tag);
    assert_eq!(by_fast, by_reference);

    fast.open(suffix, ad, &mut by_reference, &tag).unwrap();
    reference.open(suffix, ad, &mut by_fast, &tag).unwrap();
    assert_eq!(by_fast, text);
    assert_eq!(by_reference, text);
}

/// Seals with `fast`, flips a bit of the result, and has both refuse it.
fn refuse(fast: &impl Cipher, reference: &impl Cipher, mut text: Vec<u8>, at: usize, bit: u32) {
    let suffix = [4; 8];
    let tag = fast.seal(suffix, b"", &mut text).unwrap();
    text[at] ^= 1 << bit;
    assert_eq!(fast.open(suffix, b"", &mut text.clone(), &tag), Err(OpenError));
    assert_eq!(reference.open(suffix, b"", &mut text, &tag), Err(OpenError));
}

proptest! {
    #[test]
    fn ring_and_orion_agree(
        key in any::<[u8; 32]>(),
        prefix in any::<Prefix>(),
        suffix in any::<Suffix>(),
        ad in proptest::collection::vec(any::<u8>(), 0..100),
        text in texts(),
    ) {
        prop_assume!(key != [0; 32]);
        let key = secret(key);
        let fast = RingXChaCha::new(&key, &prefix);
        agree(&fast, &OrionXChaCha::new(&key, &prefix), suffix, &ad, &text);
    }

    #[test]
    fn ring_and_aes_gcm_agree(
        key in any::<[u8; 32]>(),
        suffix in any::<Suffix>(),
        ad in proptest::collection::vec(any::<u8>(), 0..100),
        text in texts(),
    ) {
        prop_assume!(key != [0; 32]);
        let key = secret(key);
        agree(&RingAes::new(&key), &PortableAes::new(&key), suffix, &ad, &text);
    }

    #[test]
    fn both_refuse_a_flipped_bit(
        key in any::<[u8; 32]>(),
        text in proptest::collection::vec(any::<u8>(), 1..200),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        prop_assume!(key != [0; 32]);
        let (key, prefix, at) = (secret(key), [3; 16], at.index(text.len()));
        let fast = RingXChaCha::new(&key, &prefix);
        refuse(&fast, &OrionXChaCha::new(&key, &prefix), text.clone(), at, bit);
        refuse(&RingAes::new(&key), &PortableAes::new(&key), text, at, bit);
    }
}
