//! The identity of a link, which stays when its keys are renewed. Implements `docs/protocol.md` §1.4.

use std::fmt;
use std::str::FromStr;

use paddington_crypto::KeyPair;
use thiserror::Error;

use crate::{PeerName, sealed};

/// A link: 16 bytes that both sides derive from the keys of its first invitation, and keep. They are
/// no secret: nothing about the keys follows from them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId([u8; LinkId::LEN]);

/// The text is not the identity of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a link's identity is written as 32 lower-case hexadecimal digits")]
pub struct LinkIdError;

impl LinkId {
    /// The length in bytes.
    pub const LEN: usize = 16;

    /// The identity of the link that begins with `invitation`, of either encoding.
    #[must_use]
    pub fn of(server: &PeerName, client: &PeerName, invitation: &KeyPair) -> Self {
        sealed::Credentials::new(server, client, invitation).link_id()
    }

    /// Returns the bytes as they are stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl From<[u8; Self::LEN]> for LinkId {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl FromStr for LinkId {
    type Err = LinkIdError;

    fn from_str(text: &str) -> Result<Self, LinkIdError> {
        if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(LinkIdError);
        }
        const_hex::decode_to_array(text).map(Self).map_err(|_| LinkIdError)
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_told_by_its_names_and_its_keys() {
        let name = |text: &str| text.parse::<PeerName>().unwrap();
        let (keys, others) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let id = LinkId::of(&name("hub"), &name("sensor"), &keys);
        assert_eq!(LinkId::of(&name("hub"), &name("sensor"), &keys), id);
        assert_ne!(LinkId::of(&name("hub"), &name("sensor"), &others), id);
        assert_ne!(LinkId::of(&name("sensor"), &name("hub"), &keys), id);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "0", "g0", &"0".repeat(33), &"A".repeat(32)] {
            assert_eq!(text.parse::<LinkId>(), Err(LinkIdError), "{text}");
        }
    }
}
