//! Tests the `hex` encoding against `docs/vectors/hex.json` (`docs/protocol.md` §14): byte for
//! byte, in both directions, and with each character changed.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use paddington_crypto::hex::{self, Nonces};
use paddington_crypto::{KeyPair, OpenError, SecretKey};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    inner_key: String,
    outer_key: String,
    kc: String,
    ks: String,
    inner_nonce: String,
    outer_nonce: String,
    hello: String,
    reply: String,
    message_1000: String,
    message_utf8_text: String,
    message_utf8: String,
}

impl Vectors {
    fn load() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/hex.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn nonces(&self) -> Nonces {
        Nonces::fixed(array(&self.inner_nonce), array(&self.outer_nonce))
    }

    fn invitation(&self) -> KeyPair {
        pair(&self.inner_key, &self.outer_key)
    }

    /// Returns the keys of the reply: the invitation's inner key and the client's new key.
    fn reply_keys(&self) -> KeyPair {
        pair(&self.inner_key, &self.kc)
    }

    fn session(&self) -> KeyPair {
        pair(&self.ks, &self.kc)
    }
}

fn array(digits: &str) -> [u8; 24] {
    const_hex::decode_to_array(digits).unwrap()
}

fn key(digits: &str) -> Arc<SecretKey> {
    Arc::new(SecretKey::from_hex(digits).unwrap())
}

fn pair(inner: &str, outer: &str) -> KeyPair {
    KeyPair::new(key(inner), key(outer)).unwrap()
}

#[test]
fn the_handshake_is_sealed_and_opened_as_in_the_vectors() {
    let v = Vectors::load();
    let hello = hex::seal_key(&v.invitation(), &key(&v.kc), &v.nonces()).unwrap();
    assert_eq!(hello, v.hello);
    assert_eq!(hex::open_key(&v.invitation(), &v.hello).unwrap(), *key(&v.kc));

    let reply = hex::seal_key(&v.reply_keys(), &key(&v.ks), &v.nonces()).unwrap();
    assert_eq!(reply, v.reply);
    assert_eq!(hex::open_key(&v.reply_keys(), &v.reply).unwrap(), *key(&v.ks));
}

#[test]
fn messages_are_sealed_and_opened_as_in_the_vectors() {
    let v = Vectors::load();
    for (text, envelope) in [("1000", &v.message_1000), (&*v.message_utf8_text, &v.message_utf8)] {
        assert_eq!(&hex::seal(&v.session(), text, &v.nonces()).unwrap(), envelope);
        assert_eq!(hex::open(&v.session(), envelope).unwrap(), text);
        assert_eq!(hex::outer_nonce(envelope).unwrap(), array(&v.outer_nonce));
    }
}

#[test]
fn a_vector_with_any_one_character_changed_is_refused() {
    let v = Vectors::load();
    for changed in one_character_changed(&v.message_1000) {
        assert_eq!(hex::open(&v.session(), &changed), Err(OpenError), "{changed}");
    }
    for changed in one_character_changed(&v.hello) {
        assert_eq!(hex::open_key(&v.invitation(), &changed), Err(OpenError), "{changed}");
    }
}

/// Returns every text in which one character of `text` is replaced: by another digit, by a letter
/// that is not a digit, by nothing, or by a character of two bytes.
fn one_character_changed(text: &str) -> impl Iterator<Item = String> {
    (0..text.len()).flat_map(move |at| {
        let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
        [other, "g", "", "é"].map(|wrong| {
            let mut changed = text.to_owned();
            changed.replace_range(at..=at, wrong);
            changed
        })
    })
}

#[test]
fn a_vector_does_not_open_under_other_or_swapped_keys() {
    let v = Vectors::load();
    for wrong in [pair(&v.kc, &v.ks), pair(&v.ks, &v.outer_key), pair(&v.inner_key, &v.kc)] {
        assert_eq!(hex::open(&wrong, &v.message_1000), Err(OpenError));
    }
    assert!(hex::open_key(&pair(&v.outer_key, &v.inner_key), &v.hello).is_err());
}
