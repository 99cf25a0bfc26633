//! Writes values that hold keys as TOML, and leaves no copies of the keys.
//!
//! A serializer builds its text in buffers that grow and move, and leaves behind what they held. So
//! it gets a stand-in for each key, a hash of the same length, and the keys themselves are written
//! over the stand-ins of the finished text.

use std::collections::HashMap;
use std::io;

use paddington_crypto::SecretKey;
use paddington_crypto::kdf::hash;
use serde::Serialize;
use zeroize::Zeroizing;

/// The number of digits of a key, and of a stand-in.
const DIGITS: usize = 2 * SecretKey::LEN;
/// The text before a key.
const BEFORE: &[u8] = b"\ndata = \"";

/// A value that is written to a file.
pub(crate) trait HoldsKeys {
    /// Returns every key in it.
    fn keys(&self) -> Vec<&SecretKey>;
}

/// Returns what a serializer is given instead of `key`: 64 hexadecimal digits.
pub(crate) fn stand_in(key: &SecretKey) -> String {
    const_hex::encode(&hash(&[b"stand-in", key.expose_bytes()])[..SecretKey::LEN])
}

/// Writes `value` as TOML.
///
/// # Errors
///
/// If the value cannot be written as TOML, or a key of it is not in the text.
pub(crate) fn to_toml<T: Serialize + HoldsKeys>(value: &T) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(toml::to_string(value).map_err(io::Error::other)?.into_bytes());
    let keys = value.keys();
    let by_stand_in: HashMap<_, _> = keys.iter().map(|key| (stand_in(key), *key)).collect();
    let mut missing = keys.len();
    let mut at = 0;
    while let Some(found) = find(&text[at..], BEFORE) {
        at += found + BEFORE.len();
        let Some(place) = text.get_mut(at..at + DIGITS) else { break };
        let key = std::str::from_utf8(place).ok().and_then(|digits| by_stand_in.get(digits));
        if let Some(key) = key {
            const_hex::encode_to_slice(key.expose_bytes(), place).map_err(io::Error::other)?;
            missing = missing.saturating_sub(1);
        }
    }
    if missing > 0 {
        return Err(io::Error::other("a key has no place in the file"));
    }
    // The bytes are moved, not copied. They are UTF-8, as digits have replaced digits.
    let text = String::from_utf8(std::mem::take(&mut *text));
    text.map(Zeroizing::new).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        io::Error::other("a key has broken the text")
    })
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Sample<'a> {
        name: &'a str,
        data: String,
        #[serde(skip)]
        keys: Vec<&'a SecretKey>,
    }

    impl HoldsKeys for Sample<'_> {
        fn keys(&self) -> Vec<&SecretKey> {
            self.keys.clone()
        }
    }

    #[test]
    fn keys_are_written_over_their_stand_ins_only() {
        let key = SecretKey::from_slice(&[7; SecretKey::LEN]).unwrap();
        let sample = Sample { name: &stand_in(&key), data: stand_in(&key), keys: vec![&key] };
        let text = to_toml(&sample).unwrap();
        let expected = format!("name = \"{}\"\ndata = \"{}\"\n", stand_in(&key), "07".repeat(32));
        assert_eq!(*text, expected);
    }

    #[test]
    fn a_key_without_a_place_is_an_error() {
        let key = SecretKey::from_slice(&[7; SecretKey::LEN]).unwrap();
        for data in [String::new(), "0".repeat(DIGITS)] {
            assert!(to_toml(&Sample { name: "a", data, keys: vec![&key] }).is_err());
        }
    }
}
