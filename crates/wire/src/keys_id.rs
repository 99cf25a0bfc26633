//! The identity of a pair of keys, by which it is noticed that two links share them. Implements
//! `docs/protocol.md` §1.2.

use std::fmt;

use paddington_crypto::KeyPair;
use paddington_crypto::kdf::hash;

use crate::LinkId;

/// A pair of keys: 8 bytes that are the same whatever the names and the encoding of the link. They
/// stay in memory, and nothing about the keys follows from them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeysId([u8; 8]);

impl KeysId {
    /// Returns the identity of the keys of an invitation.
    #[must_use]
    pub fn of(invitation: &KeyPair) -> Self {
        let keys = [invitation.inner().expose_bytes(), invitation.outer().expose_bytes()];
        let mut id = [0; 8];
        id.copy_from_slice(&hash(&[b"paddington keys", keys[0], keys[1]])[..8]);
        Self(id)
    }

    /// Returns the identity of a link that has no keys at present, which is that of no keys.
    pub(crate) fn of_nothing(invitation: LinkId) -> Self {
        let [first @ .., _, _, _, _, _, _, _, _] = *invitation.as_bytes();
        Self(first)
    }
}

impl fmt::Debug for KeysId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeysId(..)")
    }
}
