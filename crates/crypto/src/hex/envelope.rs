//! Two layers around one JSON value.
//!
//! An envelope is built from the back of the buffer that becomes the result: the JSON is written
//! there, sealed, encoded as hexadecimal text in place, sealed again, and encoded once more.
//! Opening takes the same steps in reverse.

use std::fmt;

use zeroize::Zeroizing;

use super::layer::{OVERHEAD, TEXT_START};
use super::{codec, json, layer};
use crate::aead::{NONCE_LEN, TAG_LEN};
use crate::{KeyPair, OpenError, SealError, SecretKey, random_bytes};

/// The length of the shortest possible envelope: two layers around no JSON.
const MIN_LEN: usize = sealed_len(0);

/// The nonce of an envelope's outer layer, which identifies the envelope.
pub type OuterNonce = [u8; NONCE_LEN];

/// The two nonces of one envelope.
pub struct Nonces {
    inner: [u8; NONCE_LEN],
    outer: OuterNonce,
}

impl Nonces {
    /// Draws both nonces from the operating system's random generator, in one call for 32 bytes,
    /// which cost the Linux kernel no more than 24 would. The nonces overlap, which is harmless:
    /// each is uniformly random, they are used with different keys, and neither is a secret.
    ///
    /// # Errors
    ///
    /// [`SealError`] if the operating system gives no random bytes.
    pub fn random() -> Result<Self, SealError> {
        const DRAWN: usize = 32;
        let drawn: [u8; DRAWN] = random_bytes().map_err(|_| SealError)?;
        let mut nonces = Self { inner: [0; NONCE_LEN], outer: [0; NONCE_LEN] };
        nonces.inner.copy_from_slice(&drawn[..NONCE_LEN]);
        nonces.outer.copy_from_slice(&drawn[DRAWN - NONCE_LEN..]);
        Ok(nonces)
    }

    /// Uses the given nonces, for test vectors. Anything else must use [`random`](Self::random):
    /// two messages sealed with the same nonce and key reveal each other.
    #[must_use]
    pub fn fixed(inner: [u8; NONCE_LEN], outer: OuterNonce) -> Self {
        Self { inner, outer }
    }

    /// Returns the nonce that can be read from the envelope.
    #[must_use]
    pub fn outer(&self) -> &OuterNonce {
        &self.outer
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces(..)")
    }
}

/// Returns the length in characters of an envelope around `json_len` bytes of JSON.
#[must_use]
pub const fn sealed_len(json_len: usize) -> usize {
    2 * (OVERHEAD + quoted_len(json_len))
}

/// Returns the length in characters of an envelope around `text`.
#[must_use]
pub fn sealed_text_len(text: &str) -> usize {
    sealed_len(json::string_len(text))
}

/// Seals `text` as a JSON string. Only the result, lower-case hexadecimal text, is allocated.
///
/// # Errors
///
/// [`SealError`] if the text is longer than the cipher allows.
pub fn seal(keys: &KeyPair, text: &str, nonces: &Nonces) -> Result<String, SealError> {
    seal_json(keys, nonces, json::string_len(text), |buffer| {
        json::write_string(text, buffer);
    })
}

/// Seals a key as `{"data":"<64 hex digits>"}`.
///
/// # Errors
///
/// [`SealError`], which cannot happen: a key is short enough.
pub fn seal_key(keys: &KeyPair, key: &SecretKey, nonces: &Nonces) -> Result<String, SealError> {
    seal_json(keys, nonces, json::KEY_LEN, |buffer| {
        json::write_key(key, buffer);
    })
}

/// Opens an envelope that holds a JSON string.
///
/// # Errors
///
/// [`OpenError`] if anything is wrong with it.
pub fn open(keys: &KeyPair, envelope: &str) -> Result<String, OpenError> {
    json::read_string(open_json(keys, envelope)?)
}

/// Opens an envelope that holds a key.
///
/// # Errors
///
/// [`OpenError`] if anything is wrong with it.
pub fn open_key(keys: &KeyPair, envelope: &str) -> Result<SecretKey, OpenError> {
    json::read_key(&open_json(keys, envelope)?)
}

/// Reads an envelope's outer nonce, without opening the envelope.
///
/// # Errors
///
/// [`OpenError`] if the text is too short or does not begin with hexadecimal digits.
pub fn outer_nonce(envelope: &str) -> Result<OuterNonce, OpenError> {
    let digits = envelope.as_bytes().get(..2 * NONCE_LEN).ok_or(OpenError)?;
    let mut nonce = [0; NONCE_LEN];
    codec::decode(digits, &mut nonce)?;
    Ok(nonce)
}

/// Returns the length of an inner layer's text as a JSON string, in bytes.
const fn quoted_len(json_len: usize) -> usize {
    2 * (OVERHEAD + json_len) + 2
}

fn seal_json(
    keys: &KeyPair,
    nonces: &Nonces,
    json_len: usize,
    write: impl FnOnce(&mut [u8]),
) -> Result<String, SealError> {
    let mut text = vec![0; sealed_len(json_len)];
    let outer_start = text.len() / 2;

    let outer = &mut text[outer_start..];
    let quoted_end = outer.len() - TAG_LEN;
    let quoted = &mut outer[TEXT_START..quoted_end];
    write_inner(keys, nonces, json_len, write, quoted)?;
    layer::seal(keys.outer(), &nonces.outer, outer)?;
    codec::encode_in_place(&mut text);
    String::from_utf8(text).map_err(|_| SealError)
}

/// Fills `quoted` with the inner layer: hexadecimal text between two quotes.
fn write_inner(
    keys: &KeyPair,
    nonces: &Nonces,
    json_len: usize,
    write: impl FnOnce(&mut [u8]),
    quoted: &mut [u8],
) -> Result<(), SealError> {
    let last = quoted.len() - 1;
    quoted[0] = b'"';
    quoted[last] = b'"';
    let digits = &mut quoted[1..last];
    let inner_start = digits.len() / 2;
    let inner = &mut digits[inner_start..];
    write(&mut inner[TEXT_START..TEXT_START + json_len]);
    layer::seal(keys.inner(), &nonces.inner, inner)?;
    codec::encode_in_place(digits);
    Ok(())
}

/// Opens both layers. The resulting JSON is wiped when it is dropped.
fn open_json(keys: &KeyPair, envelope: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let text = envelope.as_bytes();
    if text.len() < MIN_LEN || !text.len().is_multiple_of(2) {
        return Err(OpenError);
    }
    let outer_nonce = outer_nonce(envelope)?;
    let mut buffer = Zeroizing::new(vec![0; text.len() / 2 - NONCE_LEN]);
    codec::decode(&text[2 * NONCE_LEN..], &mut buffer)?;
    let quoted_len = buffer.len() - TAG_LEN;
    let outer_tag = tag_at(&buffer, quoted_len)?;
    layer::open(keys.outer(), &outer_nonce, &mut buffer[..quoted_len], &outer_tag)?;
    buffer.truncate(quoted_len);

    let digits_start = unquote(&mut buffer)?;
    let inner_digits = buffer.len() - digits_start;
    if inner_digits < 2 * OVERHEAD || !inner_digits.is_multiple_of(2) {
        return Err(OpenError);
    }
    let mut inner_nonce = [0; NONCE_LEN];
    let after_nonce = digits_start + 2 * NONCE_LEN;
    codec::decode(&buffer[digits_start..after_nonce], &mut inner_nonce)?;
    let raw_len = inner_digits / 2 - NONCE_LEN;
    codec::decode_in_place(&mut buffer, after_nonce, raw_len)?;
    let json_len = raw_len - TAG_LEN;
    let inner_tag = tag_at(&buffer, json_len)?;
    layer::open(keys.inner(), &inner_nonce, &mut buffer[..json_len], &inner_tag)?;
    buffer.truncate(json_len);
    Ok(buffer)
}

/// Removes what follows the digits of a JSON string from the buffer, and returns where the digits
/// begin.
fn unquote(buffer: &mut Vec<u8>) -> Result<usize, OpenError> {
    if let [b'"', digits @ .., b'"'] = buffer.as_slice()
        && const_hex::check_raw(digits)
    {
        buffer.truncate(buffer.len() - 1);
        return Ok(1);
    }
    *buffer = json::read_digits(buffer)?.into_owned().into_bytes();
    Ok(0)
}

fn tag_at(buffer: &[u8], start: usize) -> Result<[u8; TAG_LEN], OpenError> {
    let tag = buffer.get(start..start + TAG_LEN).ok_or(OpenError)?;
    tag.try_into().map_err(|_| OpenError)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn keys(inner: u8, outer: u8) -> KeyPair {
        let key = |byte| Arc::new(SecretKey::from_slice(&[byte; 32]).unwrap());
        KeyPair::new(key(inner), key(outer)).unwrap()
    }

    fn sealed(text: &str) -> String {
        seal(&keys(1, 2), text, &Nonces::random().unwrap()).unwrap()
    }

    #[test]
    fn an_envelope_has_244_characters_and_four_per_byte_of_json() {
        assert_eq!(sealed("").len(), 244 + 4 * 2);
        assert_eq!(sealed("1000").len(), 244 + 4 * 6);
        assert_eq!(sealed("é\"").len(), 244 + 4 * 6);
        let key = SecretKey::generate().unwrap();
        let envelope = seal_key(&keys(1, 2), &key, &Nonces::random().unwrap()).unwrap();
        assert_eq!(envelope.len(), 544);
    }

    #[test]
    fn every_draw_gives_new_nonces() {
        let drawn: Vec<_> = (0..100).map(|_| Nonces::random().unwrap()).collect();
        let mut all: Vec<_> = drawn.iter().flat_map(|it| [it.inner, it.outer]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200);
        for index in 0..NONCE_LEN {
            assert!(all.iter().any(|nonce| nonce[index] != all[0][index]), "byte {index}");
        }
    }

    #[test]
    fn an_envelope_opens_only_with_both_keys_in_order() {
        let envelope = sealed("1000");
        for wrong in [keys(2, 1), keys(1, 3), keys(3, 2)] {
            assert_eq!(open(&wrong, &envelope), Err(OpenError));
        }
        assert_eq!(open(&keys(1, 2), &envelope).unwrap(), "1000");
    }

    #[test]
    fn upper_case_digits_are_accepted() {
        assert_eq!(open(&keys(1, 2), &sealed("1000").to_uppercase()).unwrap(), "1000");
    }

    #[test]
    fn an_envelope_of_any_other_length_is_refused() {
        let envelope = sealed("1000");
        for len in 0..envelope.len() {
            assert_eq!(open(&keys(1, 2), &envelope[..len]), Err(OpenError), "{len}");
        }
        for longer in [format!("{envelope}0"), format!("{envelope}00"), format!("0x{envelope}")] {
            assert_eq!(open(&keys(1, 2), &longer), Err(OpenError));
        }
    }

    #[test]
    fn keys_and_messages_do_not_open_as_each_other() {
        let key = SecretKey::generate().unwrap();
        let envelope = seal_key(&keys(1, 2), &key, &Nonces::random().unwrap()).unwrap();
        assert_eq!(open(&keys(1, 2), &envelope), Err(OpenError));
        assert_eq!(open_key(&keys(1, 2), &envelope), Ok(key));
        assert_eq!(open_key(&keys(1, 2), &sealed("1000")), Err(OpenError));
    }

    /// The original accepts such an inner layer too, although this crate never writes one.
    #[test]
    fn an_escaped_inner_text_is_read() {
        let pair = keys(1, 2);
        let mut inner = vec![0; OVERHEAD];
        inner.splice(TEXT_START..TEXT_START, *b"\"1000\"");
        layer::seal(pair.inner(), &[5; NONCE_LEN], &mut inner).unwrap();
        let digits = const_hex::encode(&inner);
        let quoted = format!(" \"\\u00{:x}{}\" ", digits.as_bytes()[0], &digits[1..]);
        let mut outer = vec![0; OVERHEAD];
        outer.splice(TEXT_START..TEXT_START, quoted.into_bytes());
        layer::seal(pair.outer(), &[6; NONCE_LEN], &mut outer).unwrap();
        assert_eq!(open(&pair, &const_hex::encode(outer)).unwrap(), "1000");
    }

    proptest! {
        #[test]
        fn sealed_then_opened_is_equal(text in any::<String>()) {
            prop_assert_eq!(open(&keys(1, 2), &sealed(&text)).unwrap(), text);
        }

        #[test]
        fn long_texts_survive(text in "[ -~é]{3000,9000}") {
            prop_assert_eq!(open(&keys(1, 2), &sealed(&text)).unwrap(), text);
        }

        #[test]
        fn any_changed_character_is_refused(at in any::<prop::sample::Index>(), to in any::<char>()) {
            let envelope = sealed("1000");
            let at = at.index(envelope.len());
            let mut changed = envelope.clone();
            changed.replace_range(at..=at, &to.to_string());
            prop_assume!(!changed.eq_ignore_ascii_case(&envelope));
            prop_assert_eq!(open(&keys(1, 2), &changed), Err(OpenError));
        }

        #[test]
        fn arbitrary_text_is_refused_without_a_panic(text in any::<String>()) {
            prop_assert_eq!(open(&keys(1, 2), &text), Err(OpenError));
            prop_assert_eq!(open_key(&keys(1, 2), &text), Err(OpenError));
            let _ = outer_nonce(&text);
        }
    }
}
