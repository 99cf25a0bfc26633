//! The type that holds the bytes of a symmetric key.

use std::fmt;

use orion::hazardous::stream::chacha20;
use zeroize::Zeroizing;

use crate::KeyError;
use crate::hex::codec;
use crate::stack::cleared;

/// A 256-bit symmetric key.
///
/// A key stays at its place in memory when it is moved. It is wiped when dropped, compared in constant time and printed as `SecretKey(..)`. It is
/// neither `Clone` nor serialisable: share it in an `Arc`, and use
/// [`expose_bytes`](Self::expose_bytes) to write it to a file.
#[derive(PartialEq, Eq)]
pub struct SecretKey(Box<chacha20::SecretKey>);

impl SecretKey {
    /// The length of a key in bytes.
    pub const LEN: usize = 32;

    /// Draws a key from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        cleared(|| chacha20::SecretKey::generate().map(Box::new).map(Self))
            .map_err(|_| KeyError::NoRandomness)
    }

    /// Reads a key of exactly [`LEN`](Self::LEN) bytes.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`] for any other length, [`KeyError::Zero`] if all bytes are zero.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        cleared(|| Self::copied(bytes))
    }

    /// Does the same, and leaves the stack to the caller.
    pub(crate) fn copied(bytes: &[u8]) -> Result<Self, KeyError> {
        let key =
            chacha20::SecretKey::try_from(bytes).map(Box::new).map_err(|_| KeyError::Malformed)?;
        if *key == [0; Self::LEN].as_slice() {
            return Err(KeyError::Zero);
        }
        Ok(Self(key))
    }

    /// Reads a key of 64 hexadecimal digits, in either case.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`] or [`KeyError::Zero`]; the error never repeats the text.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        cleared(|| {
            let mut bytes = Zeroizing::new([0; Self::LEN]);
            codec::decode(text.as_bytes(), bytes.as_mut_slice())
                .map_err(|_| KeyError::Malformed)?;
            Self::copied(bytes.as_slice())
        })
    }

    /// Returns the key's bytes. Wherever this is called, a secret leaves its type.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.0.unprotected_as_ref()
    }

    /// Returns the key as orion's type.
    #[cfg(feature = "ring")]
    pub(crate) fn as_cipher_key(&self) -> &chacha20::SecretKey {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_key() {
        let key = SecretKey::from_slice(&[0xab; 32]).unwrap();
        assert_eq!(format!("{key:?} {key:#?}"), "SecretKey(..) SecretKey(..)");
    }

    #[test]
    fn hex_of_either_case_is_read() {
        let lower = SecretKey::from_hex(&"ab".repeat(32)).unwrap();
        assert_eq!(lower, SecretKey::from_hex(&"AB".repeat(32)).unwrap());
        assert_eq!(lower.expose_bytes(), [0xab; 32]);
    }

    #[test]
    fn malformed_and_zero_keys_are_refused() {
        let prefixed = format!("0x{}", "ab".repeat(31));
        let prefixed_and_whole = format!("0x{}", "ab".repeat(32));
        let short = "ab".repeat(31);
        let long = "ab".repeat(33);
        let multibyte = "é".repeat(32);
        let not_hex = "g".repeat(64);
        for text in ["", "ab", &prefixed, &short, &long, &multibyte, &not_hex] {
            assert_eq!(SecretKey::from_hex(text), Err(KeyError::Malformed), "{text:?}");
        }
        assert_eq!(SecretKey::from_hex(&prefixed_and_whole), Err(KeyError::Malformed));
        assert_eq!(SecretKey::from_hex(&"00".repeat(32)), Err(KeyError::Zero));
        assert_eq!(SecretKey::from_slice(&[1; 31]), Err(KeyError::Malformed));
    }

    #[test]
    fn generated_keys_differ() {
        assert_ne!(SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
    }
}
