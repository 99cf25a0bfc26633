//! Names of services. Implements `docs/protocol.md` §1.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The name of a service: 1 to 64 characters from `A-Z a-z 0-9 . _ -`, compared byte for byte.
///
/// A name is checked once, when it is parsed. A clone shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerName(Arc<str>);

impl PeerName {
    /// The maximum length of a name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Returns a name for secrets that no peer has.
    pub(crate) fn of_nobody() -> Self {
        Self("nobody".into())
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not a valid name. The error shows it, because names are not secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a service name: a name is 1 to 64 characters from A-Z, a-z, 0-9, '.', '_' and '-'"
)]
pub struct NameError(String);

impl FromStr for PeerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(NameError(text.chars().take(Self::MAX_LEN).collect()))
        }
    }
}

impl TryFrom<String> for PeerName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<PeerName> for String {
    fn from(name: PeerName) -> Self {
        name.as_str().to_owned()
    }
}

impl Borrow<str> for PeerName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_names_are_parsed() {
        let longest = "x".repeat(64);
        for good in ["a", "echo-client", "A.b_c-9", &longest] {
            assert_eq!(good.parse::<PeerName>().unwrap().as_str(), good);
        }
        let too_long = "x".repeat(65);
        for bad in ["", " ", "a b", "é", "a/b", "a\n", &too_long] {
            assert!(bad.parse::<PeerName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn serde_refuses_invalid_names() {
        assert!(serde_json::from_str::<PeerName>("\"a b\"").is_err());
        let name: PeerName = serde_json::from_str("\"a\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"a\"");
    }
}
