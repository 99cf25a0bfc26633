//! The format of the files. Implements `docs/protocol.md` §1.1.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use paddington_crypto::{KeyError, KeyPair, SecretKey};
use paddington_exchange::Config;
use paddington_transport::Endpoint;
use paddington_wire::{AddressRange, Bucket, Encoding, PeerName};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::written::{HoldsKeys, stand_in};

/// An invitation. Unknown fields are ignored, so that other implementations can add their own.
#[derive(Serialize, Deserialize)]
pub(crate) struct InviteFile {
    pub(crate) name: PeerName,
    pub(crate) url: Endpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<PeerName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<Encoding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
    pub(crate) inner_key: KeyTable,
    pub(crate) outer_key: KeyTable,
}

/// A service's configuration.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceFile {
    pub(crate) name: PeerName,
    pub(crate) url: Endpoint,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outbox: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) settings: Config,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) clients: Vec<ClientEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) servers: Vec<ServerEntry>,
}

/// A client that the service has invited.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientEntry {
    pub(crate) name: PeerName,
    pub(crate) range: AddressRange,
    pub(crate) encoding: Encoding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bucket: Option<Bucket>,
    pub(crate) inner_key: KeyTable,
    pub(crate) outer_key: KeyTable,
}

/// A server that the service is invited to.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerEntry {
    pub(crate) name: PeerName,
    pub(crate) url: Endpoint,
    pub(crate) encoding: Encoding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) inner_key: KeyTable,
    pub(crate) outer_key: KeyTable,
}

/// A key: `data = "<64 hexadecimal digits>"`.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeyTable {
    data: KeyText,
}

/// The text of a key. It is written as a stand-in, over which `written.rs` writes the key.
struct KeyText(Arc<SecretKey>);

impl KeyTable {
    /// Returns both keys of a link in the form in which they are written.
    pub(crate) fn pair(keys: &KeyPair) -> (Self, Self) {
        let table = |key: &Arc<SecretKey>| Self { data: KeyText(Arc::clone(key)) };
        (table(keys.inner()), table(keys.outer()))
    }

    /// Builds the keys of a link from the form in which they were read.
    pub(crate) fn join(inner: Self, outer: Self) -> Result<KeyPair, KeyError> {
        KeyPair::new(inner.data.0, outer.data.0)
    }
}

impl HoldsKeys for InviteFile {
    fn keys(&self) -> Vec<&SecretKey> {
        vec![&self.inner_key.data.0, &self.outer_key.data.0]
    }
}

impl HoldsKeys for ServiceFile {
    fn keys(&self) -> Vec<&SecretKey> {
        let clients = self.clients.iter().map(|entry| (&entry.inner_key, &entry.outer_key));
        let servers = self.servers.iter().map(|entry| (&entry.inner_key, &entry.outer_key));
        clients.chain(servers).flat_map(|(inner, outer)| [&*inner.data.0, &*outer.data.0]).collect()
    }
}

impl Serialize for KeyText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&stand_in(&self.0))
    }
}

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl de::Visitor<'_> for KeyVisitor {
    type Value = KeyText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 hexadecimal digits in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<KeyText, E> {
        SecretKey::from_hex(text).map(|key| KeyText(Arc::new(key))).map_err(E::custom)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
