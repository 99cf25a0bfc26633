//! The name and version of the software that a peer runs, as it says. Implements the field
//! `software` of READY in `docs/protocol.md` §4.1.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A name and version, such as `paddington/0.1.0`: at most 64 printable ASCII characters, or none.
///
/// What a peer says about itself is for people only: nothing depends on it, and it may be a lie.
///
/// ```
/// use paddington_wire::Software;
///
/// let software: Software = "paddington/0.1.0".parse()?;
/// assert_eq!(software.as_str(), "paddington/0.1.0");
/// assert!("a\nb".parse::<Software>().is_err());
/// # Ok::<(), paddington_wire::SoftwareError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Software(Option<Arc<str>>);

/// The text cannot name software.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the name and version of software are at most {max} printable ASCII characters", max = Software::MAX_LEN)]
pub struct SoftwareError;

impl Software {
    /// The maximum length, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Returns the text, which may be empty.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Returns whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl FromStr for Software {
    type Err = SoftwareError;

    fn from_str(text: &str) -> Result<Self, SoftwareError> {
        let is_printable = |byte: u8| matches!(byte, b' '..=b'~');
        if text.len() > Self::MAX_LEN || !text.bytes().all(is_printable) {
            return Err(SoftwareError);
        }
        Ok(Self((!text.is_empty()).then(|| text.into())))
    }
}

impl TryFrom<String> for Software {
    type Error = SoftwareError;

    fn try_from(text: String) -> Result<Self, SoftwareError> {
        text.parse()
    }
}

impl From<Software> for String {
    fn from(software: Software) -> Self {
        software.as_str().to_owned()
    }
}

impl fmt::Display for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_printable_ascii_names_software() {
        let longest = "x".repeat(64);
        for good in ["", "paddington/0.1.0", "a b ~!", &longest] {
            assert_eq!(good.parse::<Software>().unwrap().as_str(), good);
        }
        let too_long = "x".repeat(65);
        for bad in ["a\n", "\u{1b}[2J", "\u{7f}", "é", &too_long] {
            assert_eq!(bad.parse::<Software>(), Err(SoftwareError), "{bad:?}");
        }
    }
}
