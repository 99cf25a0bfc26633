//! The two JSON values that an envelope can hold: a string, and `{"data":"<64 hex digits>"}`.
//!
//! Compact JSON is written; any valid JSON is read. A string that needs no escaping, which is the
//! common case, is copied between two quotes; serde_json handles the others.

use std::borrow::Cow;
use std::io;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::codec;
use crate::{OpenError, SecretKey};

const KEY_START: &[u8] = br#"{"data":""#;
const KEY_END: &[u8] = br#""}"#;
/// The length of a key's JSON in bytes.
pub(super) const KEY_LEN: usize = KEY_START.len() + 2 * SecretKey::LEN + KEY_END.len();

/// Returns the length of `text` as a JSON string, in bytes.
pub(super) fn string_len(text: &str) -> usize {
    if is_plain(text.as_bytes()) {
        return text.len() + 2;
    }
    let mut counter = Counter(0);
    write_escaped(text, &mut counter);
    counter.0
}

/// Writes `text` as a JSON string into a buffer of exactly [`string_len`] bytes.
pub(super) fn write_string(text: &str, mut buffer: &mut [u8]) {
    if buffer.len() == text.len() + 2 {
        buffer[0] = b'"';
        buffer[1..=text.len()].copy_from_slice(text.as_bytes());
        buffer[text.len() + 1] = b'"';
    } else {
        write_escaped(text, &mut buffer);
    }
}

/// Reads a JSON string from `json`, without a copy if nothing is escaped.
pub(super) fn read_string(mut json: Zeroizing<Vec<u8>>) -> Result<String, OpenError> {
    let len = json.len();
    let plain = len >= 2 && json[0] == b'"' && json[len - 1] == b'"' && is_plain(&json[1..len - 1]);
    if !plain {
        return serde_json::from_slice(&json).map_err(|_| OpenError);
    }
    json.copy_within(1..len - 1, 0);
    json.truncate(len - 2);
    String::from_utf8(std::mem::take(&mut *json)).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        OpenError
    })
}

/// Reads a JSON string that should hold hexadecimal digits, which are not checked here. They are
/// borrowed if nothing is escaped.
pub(super) fn read_digits(json: &[u8]) -> Result<Cow<'_, str>, OpenError> {
    /// A wrapper, because serde borrows a `Cow` only in a field with `#[serde(borrow)]`.
    #[derive(Deserialize)]
    struct Digits<'a>(#[serde(borrow)] Cow<'a, str>);

    serde_json::from_slice::<Digits<'_>>(json).map(|digits| digits.0).map_err(|_| OpenError)
}

/// Writes a key into a buffer of exactly [`KEY_LEN`] bytes.
pub(super) fn write_key(key: &SecretKey, buffer: &mut [u8]) {
    let (start, rest) = buffer.split_at_mut(KEY_START.len());
    let (digits, end) = rest.split_at_mut(2 * SecretKey::LEN);
    start.copy_from_slice(KEY_START);
    codec::encode(key.expose_bytes(), digits);
    end.copy_from_slice(KEY_END);
}

/// Reads a key from any valid JSON form of it.
pub(super) fn read_key(json: &[u8]) -> Result<SecretKey, OpenError> {
    #[derive(Deserialize)]
    struct Key<'a> {
        #[serde(borrow)]
        data: Cow<'a, str>,
    }

    let key: Key<'_> = serde_json::from_slice(json).map_err(|_| OpenError)?;
    SecretKey::from_hex(&key.data).map_err(|_| OpenError)
}

/// Returns whether `text` needs no escaping in a JSON string. Each piece is folded without a branch
/// per byte, so that the compiler can use vector instructions.
fn is_plain(text: &[u8]) -> bool {
    !text.chunks(256).any(|piece| {
        piece.iter().fold(false, |special, &byte| {
            special | (byte < 0x20) | (byte == b'"') | (byte == b'\\')
        })
    })
}

#[expect(clippy::expect_used, reason = "a string always serialises, and the buffer has its length")]
fn write_escaped(text: &str, writer: impl io::Write) {
    serde_json::to_writer(writer, text).expect("room for the JSON string");
}

/// A writer that only counts the bytes written to it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: &str) -> Vec<u8> {
        let mut buffer = vec![0; string_len(text)];
        write_string(text, &mut buffer);
        buffer
    }

    fn read(json: &[u8]) -> Result<String, OpenError> {
        read_string(Zeroizing::new(json.to_vec()))
    }

    #[test]
    fn strings_are_written_as_serde_json_writes_them() {
        let long = format!("{}\u{1}{}", "x".repeat(300), "y".repeat(300));
        for text in ["", "1000", "hé \"q\" ✓", "a\\b\n\t\u{8}\u{7f}", &long] {
            assert_eq!(write(text), serde_json::to_vec(text).unwrap(), "{text:?}");
            assert_eq!(read(&write(text)).unwrap(), text);
        }
    }

    #[test]
    fn any_valid_json_string_is_read() {
        assert_eq!(read(br#" "\u0031\/0" "#).unwrap(), "1/0");
        assert_eq!(read_digits(br#" "\u0061b" "#).unwrap(), "ab");
    }

    #[test]
    fn anything_but_a_json_string_is_refused() {
        let not_utf8: &[u8] = &[b'"', 0xff, b'"'];
        let cases: [&[u8]; 9] =
            [b"", b"\"", b"\"a", b"a\"", b"1", b"\"a\"b\"", b"\"\n\"", b"null", not_utf8];
        for json in cases {
            assert_eq!(read(json), Err(OpenError), "{json:?}");
        }
    }

    #[test]
    fn keys_are_read_with_any_whitespace() {
        let digits = "ab".repeat(32);
        let key = SecretKey::from_hex(&digits).unwrap();
        let mut compact = [0; KEY_LEN];
        write_key(&key, &mut compact);
        assert_eq!(compact.as_slice(), format!("{{\"data\":\"{digits}\"}}").as_bytes());
        assert_eq!(read_key(&compact), Ok(SecretKey::from_hex(&digits).unwrap()));
        let spaced = format!("{{ \"data\" : \"{digits}\" }}");
        assert_eq!(read_key(spaced.as_bytes()), Ok(key));
        for wrong in [r#"{"data":"ab"}"#, r#"{"date":""}"#, "[]", &"\"".repeat(75)] {
            assert_eq!(read_key(wrong.as_bytes()), Err(OpenError), "{wrong}");
        }
    }
}
