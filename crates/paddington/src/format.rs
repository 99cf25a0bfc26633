//! The format of the files. Implements `docs/protocol.md` §1.1.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use paddington_crypto::{KeyError, KeyPair, SecretKey};
use paddington_exchange::Config;
use paddington_transport::{Endpoint, Fallbacks, TlsFiles};
use paddington_wire::{AddressRange, Bucket, Encoding, LinkId, PeerName};
use serde::de::{self, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::Cluster;
use crate::at_rest::AtRest;
use crate::file::FromText;
use crate::links::KeysEntry;
use crate::timestamp::Timestamp;
use crate::written::{HoldsKeys, stand_in};

/// An invitation, with keys or with sealed ones. Unknown fields are ignored, so that other
/// implementations can add their own.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Self")]
pub(crate) struct InviteFile {
    pub(crate) name: PeerName,
    pub(crate) url: Endpoint,
    #[serde(default, skip_serializing_if = "Fallbacks::is_empty")]
    pub(crate) fallback_urls: Fallbacks,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<PeerName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<Encoding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<Identity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inner_key: Option<KeyTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outer_key: Option<KeyTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<SealedKeys>,
}

impl Serialize for InviteFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for InviteFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = Self::deserialize(deserializer)?;
        let keys = [("inner_key", &file.inner_key), ("outer_key", &file.outer_key)];
        match keys.iter().find(|(_, key)| key.is_none()) {
            Some((field, _)) if file.sealed.is_none() => Err(de::Error::missing_field(field)),
            _ => Ok(file),
        }
    }
}

/// The keys of an invitation, sealed with a passphrase.
#[derive(Serialize, Deserialize)]
pub(crate) struct SealedKeys {
    pub(crate) kdf: Kdf,
    pub(crate) iterations: u32,
    /// In KiB.
    pub(crate) memory: u32,
    /// In hexadecimal digits, as is `data`.
    pub(crate) salt: String,
    pub(crate) data: String,
}

/// How a passphrase becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kdf {
    Argon2id,
}

/// The identity of a link, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) LinkId);

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

/// A service's configuration.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceFile {
    /// The service's name, by which its peers call it.
    pub(crate) name: PeerName,
    /// The URL at which clients reach the service. Their invitations have it.
    pub(crate) url: Endpoint,
    /// Further URLs at which clients reach it, tried in this order when the one before fails. Their invitations
    /// have them, too.
    #[serde(default, skip_serializing_if = "Fallbacks::is_empty")]
    pub(crate) fallback_urls: Fallbacks,
    /// The address that the service listens on, once it has a client.
    pub(crate) ip: IpAddr,
    /// The port that it listens on.
    pub(crate) port: u16,
    /// The file in which messages for `sealed` peers are stored until they are handled. Without one they are
    /// kept in memory only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outbox: Option<PathBuf>,
    /// The folder of links, with one file for each peer and its keys. Without one, keys are not renewed, and
    /// invitations neither burn nor expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) links: Option<PathBuf>,
    /// The secret under which links and messages are sealed on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_rest: Option<AtRest>,
    /// The database that several replicas of this service share, in place of an outbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<Cluster>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsFiles>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) settings: Config,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) clients: Vec<ClientEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) servers: Vec<ServerEntry>,
    // Settings of the original paddington that have no meaning here.
    #[serde(default, skip_serializing, alias = "heathcheck_port")]
    pub(crate) healthcheck_port: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    pub(crate) proxy_header: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    pub(crate) encryption: Option<IgnoredAny>,
    // Settings of the command `paddington`, which have no meaning for a service inside a program.
    #[serde(default, rename = "api", skip_serializing)]
    pub(crate) _api: Option<IgnoredAny>,
    #[serde(default, rename = "health", skip_serializing)]
    pub(crate) _health: Option<IgnoredAny>,
    #[serde(default, rename = "handler", skip_serializing)]
    pub(crate) _handler: Option<IgnoredAny>,
}

/// A client that the service has invited. The original paddington writes it with `ip` and without
/// `encoding`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientEntry {
    /// The client's name.
    pub(crate) name: PeerName,
    /// The addresses from which it may connect.
    #[serde(alias = "ip", deserialize_with = "range")]
    pub(crate) range: AddressRange,
    /// The encoding that its invitation names.
    #[serde(default = "hex")]
    pub(crate) encoding: Encoding,
    #[serde(default, skip_serializing)]
    pub(crate) zone: Option<IgnoredAny>,
    /// The group of clients in which it is looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bucket: Option<Bucket>,
    /// Its identity, if other keys than these began the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<Identity>,
    /// The number of these keys.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) generation: u64,
    /// The key of the inner envelope.
    pub(crate) inner_key: KeyTable,
    /// The key of the outer envelope.
    pub(crate) outer_key: KeyTable,
    /// The keys that these are to replace, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) older: Vec<KeysEntry>,
}

/// Clients of a configuration, without the rest of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clients {
    pub(crate) clients: Vec<ClientEntry>,
}

/// A server that the service is invited to. The original paddington writes it without `encoding`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerEntry {
    /// The server's name.
    pub(crate) name: PeerName,
    /// The URL at which it is reached.
    pub(crate) url: Endpoint,
    /// Further URLs, tried in this order when the one before fails.
    #[serde(default, skip_serializing_if = "Fallbacks::is_empty")]
    pub(crate) fallback_urls: Fallbacks,
    /// The encoding that its invitation names.
    #[serde(default = "hex")]
    pub(crate) encoding: Encoding,
    #[serde(default, skip_serializing)]
    pub(crate) zone: Option<IgnoredAny>,
    /// The file of the certificate authorities that are trusted for a `wss` URL. Without one, those of the
    /// system are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) authorities: Option<PathBuf>,
    /// Its identity, if other keys than these began the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<Identity>,
    /// The number of these keys.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) generation: u64,
    /// The key of the inner envelope.
    pub(crate) inner_key: KeyTable,
    /// The key of the outer envelope.
    pub(crate) outer_key: KeyTable,
    /// The keys that these are to replace, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) older: Vec<KeysEntry>,
}

/// A key: `data = "<64 hexadecimal digits>"`.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeyTable {
    data: KeyText,
}

/// The text of a key.
struct KeyText(Arc<SecretKey>, Form);

/// How keys are given to a serializer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As stand-ins, over which `written.rs` writes the keys.
    StandIns,
    /// As they are: the serializer may leave copies of them in memory.
    Plain,
}

impl KeyTable {
    /// Returns both keys of a link in the form in which they are written.
    pub(crate) fn pair(keys: &KeyPair, form: Form) -> (Self, Self) {
        let table = |key: &Arc<SecretKey>| Self { data: KeyText(Arc::clone(key), form) };
        (table(keys.inner()), table(keys.outer()))
    }

    pub(crate) fn secret(&self) -> &SecretKey {
        &self.data.0
    }

    /// Builds the keys of a link from the form in which they were read.
    pub(crate) fn join(inner: Self, outer: Self) -> Result<KeyPair, KeyError> {
        KeyPair::new(inner.data.0, outer.data.0)
    }
}

impl FromText for InviteFile {
    fn from_text(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

impl HoldsKeys for InviteFile {
    fn keys(&self) -> Vec<&SecretKey> {
        let tables = self.inner_key.iter().chain(&self.outer_key);
        tables.map(|table| &*table.data.0).collect()
    }
}

impl HoldsKeys for ServiceFile {
    fn keys(&self) -> Vec<&SecretKey> {
        let clients = self.clients.iter();
        let clients = clients.map(|it| (&it.older, [&it.inner_key, &it.outer_key]));
        let servers = self.servers.iter();
        let servers = servers.map(|it| (&it.older, [&it.inner_key, &it.outer_key]));
        let older = |(older, newest)| {
            let older: &Vec<KeysEntry> = older;
            older.iter().flat_map(KeysEntry::tables).chain(newest).collect::<Vec<_>>()
        };
        clients.chain(servers).flat_map(older).map(KeyTable::secret).collect()
    }
}

impl Serialize for KeyText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1 {
            Form::StandIns => serializer.serialize_str(&stand_in(&self.0)),
            Form::Plain => {
                let digits = Zeroizing::new(const_hex::encode(self.0.expose_bytes()));
                serializer.serialize_str(&digits)
            }
        }
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
        let key = SecretKey::from_hex(text).map_err(E::custom)?;
        Ok(KeyText(Arc::new(key), Form::StandIns))
    }
}

fn hex() -> Encoding {
    Encoding::Hex
}

/// Reads a range: text, or the table of the original, `{ IP = ".." }` or `{ Range = ".." }`.
fn range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AddressRange, D::Error> {
    struct RangeVisitor;

    impl<'de> de::Visitor<'de> for RangeVisitor {
        type Value = AddressRange;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<AddressRange, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<AddressRange, A::Error> {
            #[derive(Deserialize)]
            enum Original {
                #[serde(rename = "IP")]
                Address(AddressRange),
                Range(AddressRange),
            }
            let table = de::value::MapAccessDeserializer::new(map);
            let (Original::Address(range) | Original::Range(range)) =
                Deserialize::deserialize(table)?;
            Ok(range)
        }
    }

    deserializer.deserialize_any(RangeVisitor)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
