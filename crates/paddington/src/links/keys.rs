//! The keys of a link, in either encoding.

use std::sync::Arc;

use paddington_crypto::KeyPair;
use paddington_wire::keys::{
    Expiry, Generation, KeyRing, KeyRingError, Origin, StoredGeneration, StoredKeys,
};
use paddington_wire::{Credentials, Encoding, LinkId, PeerName, hex};

use crate::timestamp::Timestamp;

/// The keys of a link.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    /// Two keys that stay until a person replaces them.
    Hex(Arc<KeyPair>),
    /// Generations of keys.
    Sealed(Arc<KeyRing>),
}

impl Keys {
    /// The keys of a link between a server and a client, by `names`, that begins with an invitation,
    /// which holds the generation `number`. At the server, `expires` is the end of the invitation.
    pub(crate) fn begin(
        encoding: Encoding,
        names: [&PeerName; 2],
        number: u64,
        keys: Arc<KeyPair>,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        match encoding {
            Encoding::Hex => Self::Hex(keys),
            _ => {
                let (expires, now) = (expires.map(Timestamp::seconds), now.seconds());
                Self::Sealed(Arc::new(KeyRing::begin(names, keys, number, expires, now)))
            }
        }
    }

    /// Keys of which nothing else was stored.
    pub(crate) fn from_handed_over(
        encoding: Encoding,
        names: [&PeerName; 2],
        generations: Vec<StoredGeneration>,
    ) -> Result<Self, KeyRingError> {
        // That of the last invitation is found out from its keys.
        let invitation = LinkId::from([0; LinkId::LEN]);
        let stored = StoredKeys { generations, burned: Vec::new(), invitation };
        if encoding == Encoding::Hex {
            return Self::from_stored(encoding, names, stored);
        }
        let ring = KeyRing::from_stored(names[0], names[1], stored)?;
        Ok(Self::Sealed(Arc::new(ring.as_invited())))
    }

    /// The identity that a link would have that began with the last invitation, if the keys have
    /// generations.
    pub(crate) fn link_id(&self) -> Option<LinkId> {
        match self {
            Self::Hex(_) => None,
            Self::Sealed(ring) => Some(ring.invitation()),
        }
    }

    /// The keys as they were stored.
    pub(crate) fn from_stored(
        encoding: Encoding,
        [server, client]: [&PeerName; 2],
        mut stored: StoredKeys,
    ) -> Result<Self, KeyRingError> {
        if encoding != Encoding::Hex {
            let ring = KeyRing::from_stored(server, client, stored);
            return ring.map(Arc::new).map(Self::Sealed);
        }
        match stored.generations.pop() {
            Some(only) if stored.generations.is_empty() => Ok(Self::Hex(only.keys)),
            _ => Err(KeyRingError::TooMany),
        }
    }

    /// The keys as they are stored.
    pub(crate) fn to_stored(&self, link: LinkId) -> StoredKeys {
        match self {
            Self::Sealed(ring) => ring.to_stored(),
            Self::Hex(keys) => StoredKeys {
                generations: vec![handed_over(0, Arc::clone(keys))],
                burned: Vec::new(),
                invitation: link,
            },
        }
    }

    /// Returns whether both are the same keys in memory.
    pub(crate) fn shares(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hex(ours), Self::Hex(theirs)) => Arc::ptr_eq(ours, theirs),
            (Self::Sealed(ours), Self::Sealed(theirs)) => Arc::ptr_eq(ours, theirs),
            _ => false,
        }
    }

    /// Returns whether these keys are stored like this.
    pub(crate) fn are_stored_as(&self, encoding: Encoding, stored: &StoredKeys) -> bool {
        self.encoding() == encoding && self.to_stored(stored.invitation) == *stored
    }

    pub(crate) fn encoding(&self) -> Encoding {
        match self {
            Self::Hex(_) => Encoding::Hex,
            Self::Sealed(_) => Encoding::Sealed,
        }
    }

    /// The secrets that follow from the keys.
    pub(crate) fn credentials(&self) -> Credentials {
        match self {
            Self::Hex(keys) => Credentials::Hex(Arc::new(hex::Credentials::new(Arc::clone(keys)))),
            Self::Sealed(ring) => Credentials::Ring(Arc::clone(ring)),
        }
    }

    /// All pairs, oldest first.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = &Arc<KeyPair>> {
        let (hex, ring) = match self {
            Self::Hex(keys) => (Some(keys), None),
            Self::Sealed(ring) => (None, Some(&**ring)),
        };
        let generations = ring.into_iter().flat_map(KeyRing::generations);
        hex.into_iter().chain(generations.map(Generation::keys))
    }
}

/// A generation that was handed over, and never ends, as it is stored.
pub(crate) fn handed_over(number: u64, keys: Arc<KeyPair>) -> StoredGeneration {
    StoredGeneration {
        number,
        keys,
        since: 0,
        origin: Origin::HandedOver,
        used: false,
        expiry: Expiry::Never,
    }
}
