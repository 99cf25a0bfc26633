//! The file of a link, as it is written.

use std::path::PathBuf;

use paddington_crypto::SecretKey;
use paddington_transport::Endpoint;
use paddington_wire::{AddressRange, Bucket, Encoding, PeerName};
use serde::{Deserialize, Serialize};

use crate::format::{Identity, KeyTable};
use crate::timestamp::Timestamp;
use crate::written::HoldsKeys;

/// One link: the peer, and all generations of the keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkFile {
    pub(crate) peer: PeerName,
    /// What the peer is.
    pub(crate) role: Role,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) authorities: Option<PathBuf>,
    /// The generations of its keys, oldest first.
    pub(crate) keys: Vec<KeysEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) burned: Vec<BurnedEntry>,
}

/// What a peer is to this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Client,
    Server,
}

/// One generation of keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeysEntry {
    pub(crate) generation: u64,
    pub(crate) since: Timestamp,
    pub(crate) origin: Origin,
    /// The end of their validity, unless they are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    pub(crate) inner_key: KeyTable,
    pub(crate) outer_key: KeyTable,
}

/// How keys came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// Handed over, in an invitation.
    Invitation,
    /// Agreed on in a session.
    Session,
}

/// Keys that were replaced: what recognises them, and opens nothing.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BurnedEntry {
    pub(crate) generation: u64,
    pub(crate) since: Timestamp,
    /// The two halves of `po`.
    pub(crate) hint_key: [KeyTable; 2],
}

impl HoldsKeys for LinkFile {
    fn keys(&self) -> Vec<&SecretKey> {
        let pairs = self.keys.iter().flat_map(|entry| [&entry.inner_key, &entry.outer_key]);
        let hints = self.burned.iter().flat_map(|entry| &entry.hint_key);
        pairs.chain(hints).map(KeyTable::secret).collect()
    }
}
