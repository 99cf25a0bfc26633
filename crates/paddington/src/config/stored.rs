//! A configuration as it is stored: in a file of its own, or as a value of another one.

use std::sync::Arc;

use paddington_crypto::KeyPair;
use paddington_wire::PeerName;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracing::warn;

use super::{ConfigError, ServiceConfig};
use crate::format::{ClientEntry, Form, KeyTable, ServerEntry, ServiceFile};
use crate::known::{Known, KnownClient, KnownServer};

impl ServiceConfig {
    pub(super) fn check(file: ServiceFile) -> Result<Self, ConfigError> {
        note_unused(&file);
        let ServiceFile { name, url, ip, port, outbox, settings, clients, servers, .. } = file;
        settings.check()?;
        let mut config = Self { name, url, ip, port, outbox, settings, known: Known::default() };
        for ClientEntry { name, range, encoding, bucket, inner_key, outer_key, .. } in clients {
            config.check_new(&name)?;
            let keys = join(&name, inner_key, outer_key)?;
            config.known.add_client(KnownClient { name, range, bucket, encoding, keys });
        }
        for ServerEntry { name, url, encoding, authorities, inner_key, outer_key, .. } in servers {
            config.check_new(&name)?;
            let keys = join(&name, inner_key, outer_key)?;
            let source = None;
            let server = KnownServer { name, url, encoding, authorities, keys, source };
            config.known.add_server(server);
        }
        match config.known.with_a_shared_key() {
            Some(peers) => Err(ConfigError::SharedKey { peers }),
            None => Ok(config),
        }
    }

    pub(super) fn to_file(&self, form: Form) -> ServiceFile {
        let client = |client: &KnownClient| {
            let (inner_key, outer_key) = KeyTable::pair(&client.keys, form);
            let (name, range, encoding) = (client.name.clone(), client.range, client.encoding);
            let bucket = client.bucket;
            ClientEntry { name, range, encoding, zone: None, bucket, inner_key, outer_key }
        };
        let server = |server: &KnownServer| {
            let (inner_key, outer_key) = KeyTable::pair(&server.keys, form);
            let (name, url, encoding) = (server.name.clone(), server.url.clone(), server.encoding);
            let authorities = server.authorities.clone();
            ServerEntry { name, url, encoding, zone: None, authorities, inner_key, outer_key }
        };
        ServiceFile {
            name: self.name.clone(),
            url: self.url.clone(),
            ip: self.ip,
            port: self.port,
            outbox: self.outbox.clone(),
            settings: self.settings.clone(),
            clients: self.known.clients.iter().map(client).collect(),
            servers: self.known.servers.iter().map(server).collect(),
            healthcheck_port: None,
            proxy_header: None,
            encryption: None,
        }
    }
}

/// Writes the configuration as a value of another file, as its fields. They hold the keys, and the
/// serializer may leave copies of them in memory.
impl Serialize for ServiceConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_file(Form::Plain).serialize(serializer)
    }
}

/// Reads a configuration that is a value of another file, with the checks of
/// [`ServiceConfig::load`].
impl<'de> Deserialize<'de> for ServiceConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::check(ServiceFile::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Logs which settings of the original paddington are in a file, and have no effect here.
fn note_unused(file: &ServiceFile) {
    let zones = file.clients.iter().any(|client| client.zone.is_some())
        || file.servers.iter().any(|server| server.zone.is_some());
    let settings = [
        (file.healthcheck_port.is_some(), "healthcheck_port"),
        (file.proxy_header.is_some(), "proxy_header"),
        (file.encryption.is_some(), "encryption"),
        (zones, "zone"),
    ];
    let unused: Vec<_> =
        settings.iter().filter_map(|(found, name)| found.then_some(*name)).collect();
    if !unused.is_empty() {
        warn!(
            service = %file.name,
            settings = unused.join(", "),
            "these settings of the original paddington have no effect here; trusted proxies are set in \
             settings.transport.proxies"
        );
    }
}

fn join(peer: &PeerName, inner: KeyTable, outer: KeyTable) -> Result<Arc<KeyPair>, ConfigError> {
    let keys = KeyTable::join(inner, outer).map(Arc::new);
    keys.map_err(|source| ConfigError::Keys { peer: peer.clone(), source })
}
