//! Tests that both implementations compute the same bytes and refuse the same ones.

use proptest::prelude::*;

use super::cipher::{Cipher, Prefix, Suffix};
use super::orion::OrionCipher;
use super::ring::RingCipher;
use crate::{OpenError, SecretKey};

fn texts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        proptest::collection::vec(any::<u8>(), 4_000..9_000),
    ]
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
        let key = SecretKey::from_slice(&key).unwrap();
        let fast = RingCipher::new(&key, &prefix);
        let reference = OrionCipher::new(&key, &prefix);

        let (mut by_fast, mut by_reference) = (text.clone(), text.clone());
        let tag = fast.seal(suffix, &ad, &mut by_fast).unwrap();
        prop_assert_eq!(reference.seal(suffix, &ad, &mut by_reference).unwrap(), tag);
        prop_assert_eq!(&by_fast, &by_reference);

        fast.open(suffix, &ad, &mut by_reference, &tag).unwrap();
        reference.open(suffix, &ad, &mut by_fast, &tag).unwrap();
        prop_assert_eq!(&by_fast, &text);
        prop_assert_eq!(&by_reference, &text);
    }

    #[test]
    fn both_refuse_a_flipped_bit(
        key in any::<[u8; 32]>(),
        mut text in proptest::collection::vec(any::<u8>(), 1..200),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        prop_assume!(key != [0; 32]);
        let key = SecretKey::from_slice(&key).unwrap();
        let (prefix, suffix) = ([3; 16], [4; 8]);
        let fast = RingCipher::new(&key, &prefix);
        let tag = fast.seal(suffix, b"", &mut text).unwrap();
        let index = at.index(text.len());
        text[index] ^= 1 << bit;
        prop_assert_eq!(fast.open(suffix, b"", &mut text.clone(), &tag), Err(OpenError));
        let reference = OrionCipher::new(&key, &prefix);
        prop_assert_eq!(reference.open(suffix, b"", &mut text, &tag), Err(OpenError));
    }
}
