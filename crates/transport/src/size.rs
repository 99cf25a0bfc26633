//! Sizes in configuration files: a number of bytes, or a size as people write it, such as `"16 MiB"` or
//! `"64kB"`.

use std::fmt;
use std::marker::PhantomData;

use bytesize::ByteSize;
use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Reads a number of bytes.
///
/// # Errors
///
/// An error if the value is not a size, or too large.
pub fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    deserializer.deserialize_any(Bytes(PhantomData))
}

/// The error about a text. It does not show the text, which may be anything.
const NO_SIZE: &str =
    "this is no size: write bytes, or a number with a unit such as kB, KiB or MiB";

struct Bytes<T>(PhantomData<T>);

impl<T: TryFrom<u64>> Visitor<'_> for Bytes<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, or a size such as \"16 MiB\"")
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<T, E> {
        T::try_from(bytes).map_err(|_| E::custom(format_args!("{bytes} bytes are too many here")))
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<T, E> {
        match u64::try_from(bytes) {
            Ok(bytes) => self.visit_u64(bytes),
            Err(_) => Err(E::custom("a size is not negative")),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        match text.parse::<ByteSize>() {
            Ok(size) => self.visit_u64(size.as_u64()),
            Err(_) => Err(E::custom(NO_SIZE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct File {
        #[serde(deserialize_with = "deserialize")]
        size: u32,
    }

    fn read(value: &str) -> Result<u32, String> {
        let file: Result<File, _> = serde_json::from_str(&format!("{{\"size\": {value}}}"));
        file.map(|file| file.size).map_err(|error| error.to_string())
    }

    #[test]
    fn a_size_is_a_number_of_bytes_or_has_a_unit() {
        for (value, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("\"16 MiB\"", 16 << 20),
            ("\"64kB\"", 64_000),
            ("\"64 KiB\"", 64 << 10),
            ("\"100\"", 100),
        ] {
            assert_eq!(read(value), Ok(bytes), "{value}");
        }
        for (value, cause) in [
            ("-1", "not negative"),
            ("\"8 GiB\"", "8589934592 bytes are too many here"),
            ("\"large\"", "this is no size"),
            ("\"16 MiX\"", "this is no size"),
            ("1.5", "a number of bytes, or a size such as"),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.contains(cause), "{value}: {error}");
        }
    }
}
