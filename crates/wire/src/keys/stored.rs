//! What is stored of a link's keys, and how it is read back.

use std::sync::Arc;

use paddington_crypto::KeyPair;

use super::generation::{Burned, Expiry, Generation, Origin, Why};
use super::key_ring::{BURNED, GENERATIONS, KeyRing, KeyRingError};
use super::{LAST_GENERATION, Seconds};
use crate::sealed::HintKey;
use crate::{LinkId, PeerName};

/// What a side stores of a link's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKeys {
    /// The generations, oldest first; at most three.
    pub generations: Vec<StoredGeneration>,
    /// The last ones that were removed, oldest first; at most two.
    pub burned: Vec<StoredBurned>,
    /// The identity that a link would have that began with the last invitation: it tells an
    /// invitation that was seen from a new one.
    pub invitation: LinkId,
}

/// One generation, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredGeneration {
    /// Its number.
    pub number: u64,
    /// Its keys.
    pub keys: Arc<KeyPair>,
    /// When this side got them, in seconds since 1970.
    pub since: Seconds,
    /// How they came about.
    pub origin: Origin,
    /// Whether there was a session with them.
    pub used: bool,
    /// When they stop being valid.
    pub expiry: Expiry,
}

/// A generation that was removed, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBurned {
    /// Its number.
    pub number: u64,
    /// Since when it is not valid, in seconds since 1970.
    pub since: Seconds,
    /// Why it is not valid.
    pub why: Why,
    /// What recognises its hints: 64 bytes, a secret like a key.
    pub hints: HintKey,
}

impl KeyRing {
    /// Returns what is to be stored.
    #[must_use]
    pub fn to_stored(&self) -> StoredKeys {
        let generations = self.generations().iter().map(|it| StoredGeneration {
            number: it.number,
            keys: Arc::clone(&it.keys),
            since: it.since,
            origin: it.origin,
            used: it.used,
            expiry: it.expiry,
        });
        let burned = self.burned().iter().map(|it| StoredBurned {
            number: it.number,
            since: it.since,
            why: it.why,
            hints: it.hints.clone(),
        });
        StoredKeys {
            generations: generations.collect(),
            burned: burned.collect(),
            invitation: self.invitation(),
        }
    }

    /// Reads back what was stored of the link between `server` and `client`.
    ///
    /// # Errors
    ///
    /// [`KeyRingError`] if no ring is stored like this.
    pub fn from_stored(
        server: &PeerName,
        client: &PeerName,
        stored: StoredKeys,
    ) -> Result<Self, KeyRingError> {
        check(&stored)?;
        let generation = |it: StoredGeneration| Generation {
            used: it.used,
            expiry: it.expiry,
            ..Generation::new([server, client], it.number, it.keys, it.origin, it.since)
        };
        let burned = |it: StoredBurned| Burned {
            number: it.number,
            since: it.since,
            why: it.why,
            hints: it.hints,
        };
        Ok(Self::of(
            [server.clone(), client.clone()],
            stored.generations.into_iter().map(generation).collect(),
            stored.burned.into_iter().map(burned).collect(),
            stored.invitation,
        ))
    }
}

fn check(stored: &StoredKeys) -> Result<(), KeyRingError> {
    let StoredKeys { generations, burned, .. } = stored;
    if generations.len() > GENERATIONS || burned.len() > BURNED {
        return Err(KeyRingError::TooMany);
    }
    let numbers = generations.iter().map(|it| it.number).chain(burned.iter().map(|it| it.number));
    if numbers.max().is_some_and(|number| number > LAST_GENERATION) {
        return Err(KeyRingError::HighNumber);
    }
    for (index, generation) in generations.iter().enumerate() {
        let others = &generations[..index];
        if others.iter().any(|other| other.number == generation.number) {
            return Err(KeyRingError::SameNumber(generation.number));
        }
        if others.iter().any(|other| share_a_key(&other.keys, &generation.keys)) {
            return Err(KeyRingError::SharedKey);
        }
        if index > 0 && generation.used {
            return Err(KeyRingError::OutOfOrder);
        }
    }
    let agreed = |it: &&StoredGeneration| !it.used && it.origin == Origin::Agreed;
    if generations.iter().filter(agreed).count() > 1 {
        return Err(KeyRingError::OutOfOrder);
    }
    Ok(())
}

/// Returns whether any key of one pair is in the other.
pub(super) fn share_a_key(left: &KeyPair, right: &KeyPair) -> bool {
    let keys = |pair: &KeyPair| [Arc::clone(pair.inner()), Arc::clone(pair.outer())];
    keys(left).iter().any(|key| keys(right).contains(key))
}
