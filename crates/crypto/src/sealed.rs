//! The double envelope of the `sealed` encoding: two binary layers in one buffer.
//!
//! Implements `Seal` and `Open` of `docs/protocol.md` §1.2: the inner layer is XChaCha20-Poly1305,
//! the outer one AES-256-GCM. The nonce is a number that both sides count and do not transmit, so a
//! layer adds only its tag.

use std::fmt;

use crate::aead::{Aes256Gcm, Cipher, TAG_LEN, XChaCha20Poly1305};
use crate::stack::cleared;
use crate::{OpenError, SealError, SecretKey};

/// The number of bytes that the two layers add.
pub const OVERHEAD: usize = 2 * TAG_LEN;

/// Both layers of an envelope, each with its own cipher and its own key.
///
/// All that the ciphers derive from their keys is computed once, by [`new`](Self::new). It stays at its
/// place in memory when the value is moved, and is wiped when it is dropped.
pub struct Layers(Box<Ciphers>);

struct Ciphers {
    inner: XChaCha20Poly1305,
    outer: Aes256Gcm,
}

impl Layers {
    /// Prepares both layers with their keys.
    #[must_use]
    pub fn new(inner: &SecretKey, outer: &SecretKey) -> Self {
        cleared(|| {
            Self(Box::new(Ciphers {
                inner: XChaCha20Poly1305::new(inner, &[0; 16]),
                outer: Aes256Gcm::new(outer),
            }))
        })
    }

    /// Seals in place. `buffer` holds the text, followed by [`OVERHEAD`] bytes of room.
    ///
    /// No number may be used twice with the same keys.
    ///
    /// # Errors
    ///
    /// [`SealError`] if there is no room or the text is longer than a cipher allows.
    pub fn seal(&self, number: u64, ad: &[u8], buffer: &mut [u8]) -> Result<(), SealError> {
        let inner_end = buffer.len().checked_sub(TAG_LEN).ok_or(SealError)?;
        seal_layer(&self.0.inner, number, ad, &mut buffer[..inner_end])?;
        seal_layer(&self.0.outer, number, ad, buffer)
    }

    /// Opens in place and returns the text, which is [`OVERHEAD`] bytes shorter than `buffer`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if anything is wrong with it. The contents of `buffer` must then not be used.
    pub fn open<'a>(
        &self,
        number: u64,
        ad: &[u8],
        buffer: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        let inner = open_layer(&self.0.outer, number, ad, buffer)?;
        open_layer(&self.0.inner, number, ad, inner)
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layers(..)")
    }
}

/// Seals one layer. Its tag fills the last [`TAG_LEN`] bytes of `layer`.
fn seal_layer(
    cipher: &impl Cipher,
    number: u64,
    ad: &[u8],
    layer: &mut [u8],
) -> Result<(), SealError> {
    let text_len = layer.len().checked_sub(TAG_LEN).ok_or(SealError)?;
    let (text, room) = layer.split_at_mut(text_len);
    let tag = cipher.seal(number.to_be_bytes(), ad, text)?;
    room.copy_from_slice(&tag);
    Ok(())
}

fn open_layer<'a>(
    cipher: &impl Cipher,
    number: u64,
    ad: &[u8],
    layer: &'a mut [u8],
) -> Result<&'a mut [u8], OpenError> {
    let text_len = layer.len().checked_sub(TAG_LEN).ok_or(OpenError)?;
    let (text, tag) = layer.split_at_mut(text_len);
    let tag = (&*tag).try_into().map_err(|_| OpenError)?;
    cipher.open(number.to_be_bytes(), ad, text, tag)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layers(inner: u8, outer: u8) -> Layers {
        let key = |byte| SecretKey::from_slice(&[byte; 32]).unwrap();
        Layers::new(&key(inner), &key(outer))
    }

    fn sealed(number: u64, ad: &[u8], text: &[u8]) -> Vec<u8> {
        let mut buffer = [text, &[0; OVERHEAD]].concat();
        layers(1, 2).seal(number, ad, &mut buffer).unwrap();
        buffer
    }

    #[test]
    fn keys_number_and_associated_data_all_matter() {
        let envelope = sealed(7, b"ad", b"text");
        let open = |layers: Layers, number, ad: &[u8]| {
            layers.open(number, ad, &mut envelope.clone()).map(|text| text.to_vec())
        };
        assert_eq!(open(layers(1, 2), 7, b"ad").unwrap(), b"text");
        assert!(open(layers(2, 1), 7, b"ad").is_err());
        assert!(open(layers(1, 3), 7, b"ad").is_err());
        assert!(open(layers(3, 2), 7, b"ad").is_err());
        assert!(open(layers(1, 2), 8, b"ad").is_err());
        assert!(open(layers(1, 2), 7, b"AD").is_err());
    }

    #[test]
    fn a_buffer_without_room_is_an_error_not_a_panic() {
        for len in 0..OVERHEAD {
            assert_eq!(layers(1, 2).seal(0, b"", &mut vec![0; len]), Err(SealError));
            assert!(layers(1, 2).open(0, b"", &mut vec![0; len]).is_err());
        }
    }

    proptest! {
        #[test]
        fn sealed_then_opened_is_equal(
            number in any::<u64>(),
            text in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            let mut envelope = sealed(number, b"", &text);
            prop_assert_eq!(envelope.len(), text.len() + OVERHEAD);
            prop_assert_eq!(layers(1, 2).open(number, b"", &mut envelope).unwrap(), &text);
        }

        #[test]
        fn any_damage_is_refused(
            text in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            mask in 1..=255_u8,
        ) {
            let mut envelope = sealed(0, b"", &text);
            prop_assert!(layers(1, 2).open(0, b"", &mut envelope.clone()[1..]).is_err());
            let at = at.index(envelope.len());
            envelope[at] ^= mask;
            prop_assert!(layers(1, 2).open(0, b"", &mut envelope).is_err());
        }
    }
}
