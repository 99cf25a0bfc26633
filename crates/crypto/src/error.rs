//! The errors of this crate. None of them contains any of the bytes that were processed.

use thiserror::Error;

/// The reason why a key could not be made or read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not 64 hexadecimal digits.
    #[error("a key is 64 hexadecimal digits (32 bytes)")]
    Malformed,
    /// All bytes are zero: a placeholder, not a key.
    #[error("a key must not be all zeros")]
    Zero,
    /// The two keys of a pair are the same, so the second layer would add nothing.
    #[error("the inner and the outer key must differ")]
    Equal,
    /// The cost of a passphrase is out of bounds.
    #[error("a passphrase is worked on in 1 to 64 iterations over 8 KiB to 1 GiB")]
    Cost,
    /// The operating system gave no random bytes.
    #[error("the operating system's random generator failed")]
    NoRandomness,
}

/// The message could not be sealed: it is longer than its cipher allows (64 GiB), or the operating
/// system gave no random bytes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the message could not be sealed")]
pub struct SealError;

/// The envelope could not be opened. The reason is withheld on purpose.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the envelope could not be opened")]
pub struct OpenError;
