//! The file of a link, as it is written.

use std::path::PathBuf;
use std::sync::Arc;

use paddington_crypto::{KeyError, KeyPair, SecretKey};
use paddington_transport::{Endpoint, Fallbacks};
use paddington_wire::keys::{Expiry, Origin, StoredBurned, StoredGeneration, StoredKeys, Why};
use paddington_wire::sealed::HintKey;
use paddington_wire::{AddressRange, Bucket, Encoding, PeerName};
use serde::{Deserialize, Serialize};

use crate::file::FromText;
use crate::format::{Form, Identity, KeyTable};
use crate::timestamp::Timestamp;
use crate::written::HoldsKeys;

/// One link: the peer, and all generations of the keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkFile {
    pub(crate) peer: PeerName,
    /// What the peer is.
    pub(crate) role: PeerRole,
    pub(crate) link: Identity,
    pub(crate) encoding: Encoding,
    /// Of a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<AddressRange>,
    /// Of a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bucket: Option<Bucket>,
    /// Of a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<Endpoint>,
    /// Of a server.
    #[serde(default, skip_serializing_if = "Fallbacks::is_empty")]
    pub(crate) fallback_urls: Fallbacks,
    /// Of a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) authorities: Option<PathBuf>,
    /// Tells an invitation that was seen from a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) invitation: Option<Identity>,
    /// The generations of its keys, oldest first.
    pub(crate) keys: Vec<KeysEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) burned: Vec<BurnedEntry>,
}

/// What a peer is to this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerRole {
    /// It was invited by this service, and connects to it.
    Client,
    /// It has invited this service, which connects to it.
    Server,
}

/// One generation of keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeysEntry {
    generation: u64,
    since: Timestamp,
    origin: KeysOrigin,
    #[serde(default)]
    used: bool,
    /// The end of their validity, unless they are used before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    /// The end of their validity: others take their place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends: Option<Timestamp>,
    inner_key: KeyTable,
    outer_key: KeyTable,
}

/// How keys came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeysOrigin {
    /// Handed over.
    Invitation,
    /// Agreed on.
    Session,
}

/// Keys that were replaced: what recognises them, and opens nothing.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BurnedEntry {
    generation: u64,
    since: Timestamp,
    why: Reason,
    /// The two halves of `po`.
    hint_key: [KeyTable; 2],
}

/// Why keys are not valid any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reason {
    Burned,
    Expired,
}

impl KeysEntry {
    /// The entry of a generation.
    pub(crate) fn new(generation: &StoredGeneration, form: Form) -> Self {
        let (inner_key, outer_key) = KeyTable::pair(&generation.keys, form);
        let (expires, ends) = match generation.expiry {
            Expiry::Never => (None, None),
            Expiry::UnlessUsed(moment) => (Some(moment), None),
            Expiry::At(moment) => (None, Some(moment)),
        };
        Self {
            generation: generation.number,
            since: Timestamp::from_seconds(generation.since),
            origin: match generation.origin {
                Origin::HandedOver => KeysOrigin::Invitation,
                Origin::Agreed => KeysOrigin::Session,
            },
            used: generation.used,
            expires: expires.map(Timestamp::from_seconds),
            ends: ends.map(Timestamp::from_seconds),
            inner_key,
            outer_key,
        }
    }

    /// The generation of an entry.
    pub(crate) fn read(self) -> Result<StoredGeneration, KeyError> {
        Ok(StoredGeneration {
            number: self.generation,
            since: self.since.seconds(),
            origin: match self.origin {
                KeysOrigin::Invitation => Origin::HandedOver,
                KeysOrigin::Session => Origin::Agreed,
            },
            used: self.used,
            expiry: match (self.ends, self.expires) {
                (Some(moment), _) => Expiry::At(moment.seconds()),
                (None, Some(moment)) => Expiry::UnlessUsed(moment.seconds()),
                (None, None) => Expiry::Never,
            },
            keys: Arc::new(KeyTable::join(self.inner_key, self.outer_key)?),
        })
    }

    pub(crate) fn tables(&self) -> [&KeyTable; 2] {
        [&self.inner_key, &self.outer_key]
    }
}

impl BurnedEntry {
    fn new(burned: &StoredBurned, form: Form) -> Result<Self, KeyError> {
        let bytes = burned.hints.expose_bytes();
        let half = |at: usize| SecretKey::from_slice(&bytes[at..][..SecretKey::LEN]).map(Arc::new);
        let halves = KeyPair::new(half(0)?, half(SecretKey::LEN)?)?;
        let (first, second) = KeyTable::pair(&halves, form);
        Ok(Self {
            generation: burned.number,
            since: Timestamp::from_seconds(burned.since),
            why: match burned.why {
                Why::Burned => Reason::Burned,
                Why::Expired => Reason::Expired,
            },
            hint_key: [first, second],
        })
    }

    fn read(self) -> Result<StoredBurned, KeyError> {
        let halves = self.hint_key.each_ref().map(|half| half.secret().expose_bytes());
        let bytes = zeroize::Zeroizing::new(halves.concat());
        let hints = HintKey::from_slice(&bytes).ok_or(KeyError::Malformed)?;
        Ok(StoredBurned {
            number: self.generation,
            since: self.since.seconds(),
            why: match self.why {
                Reason::Burned => Why::Burned,
                Reason::Expired => Why::Expired,
            },
            hints,
        })
    }
}

impl LinkFile {
    /// Puts the keys of a sealed link into the file.
    pub(crate) fn put(&mut self, stored: &StoredKeys, form: Form) -> Result<(), KeyError> {
        self.invitation = Some(Identity(stored.invitation));
        self.keys = stored.generations.iter().map(|keys| KeysEntry::new(keys, form)).collect();
        let burned = stored.burned.iter().map(|burned| BurnedEntry::new(burned, form));
        self.burned = burned.collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Takes the keys out of the file.
    pub(crate) fn take(&mut self) -> Result<StoredKeys, KeyError> {
        let (keys, burned) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.burned));
        let generations = keys.into_iter().map(KeysEntry::read).collect::<Result<_, _>>()?;
        let burned = burned.into_iter().map(BurnedEntry::read).collect::<Result<_, _>>()?;
        let Identity(invitation) = self.invitation.unwrap_or(self.link);
        Ok(StoredKeys { generations, burned, invitation })
    }
}

impl FromText for LinkFile {
    fn from_text(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

impl HoldsKeys for LinkFile {
    fn keys(&self) -> Vec<&SecretKey> {
        let pairs = self.keys.iter().flat_map(KeysEntry::tables);
        let hints = self.burned.iter().flat_map(|entry| &entry.hint_key);
        pairs.chain(hints).map(KeyTable::secret).collect()
    }
}
