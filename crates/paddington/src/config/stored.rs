//! A configuration as it is stored: in a file of its own, or as a value of another one.

use std::sync::Arc;

use paddington_crypto::{KeyError, KeyPair};
use paddington_wire::{Encoding, LinkId, PeerName};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracing::warn;

use super::{ConfigError, ServiceConfig};
use crate::at_rest::Vault;
use crate::format::{ClientEntry, Form, Identity, KeyTable, ServerEntry, ServiceFile};
use crate::known::{KnownClient, KnownPeer, KnownServer};
use crate::links::{Keys, KeysEntry, handed_over};

impl ServiceConfig {
    pub(super) fn check(file: ServiceFile) -> Result<Self, ConfigError> {
        note_unused(&file);
        let ServiceFile {
            name,
            url,
            ip,
            port,
            outbox,
            cluster,
            tls,
            settings,
            clients,
            servers,
            ..
        } = file;
        settings.check()?;
        let (folder, known, fallbacks) = (file.links, Arc::default(), file.fallback_urls);
        let vault = file.at_rest.map(|settings| Arc::new(Vault::new(settings)));
        let links = None;
        let mut config = Self {
            name,
            url,
            fallbacks,
            ip,
            port,
            outbox,
            cluster,
            links,
            is_shared: false,
            vault,
            tls,
            settings,
            known,
        };
        config.known_mut().clients.reserve_exact(clients.len());
        for entry in clients {
            config.check_new(&entry.name)?;
            let client = config.client_of(entry)?;
            config.known_mut().add(KnownPeer::Client(client));
        }
        for entry in servers {
            config.check_new(&entry.name)?;
            let server = config.server_of(entry)?;
            config.known_mut().add(KnownPeer::Server(server));
        }
        if let Some(peers) = config.known.with_a_shared_key() {
            return Err(ConfigError::SharedKey { peers });
        }
        if let Some(folder) = folder {
            config.set_links(folder)?;
        }
        config.check_cluster()?;
        Ok(config)
    }

    fn client_of(&self, entry: ClientEntry) -> Result<KnownClient, ConfigError> {
        let ClientEntry { name, range, encoding, bucket, link, generation, .. } = entry;
        let pair = KeyTable::join(entry.inner_key, entry.outer_key);
        let names = [&self.name, &name];
        let (link, keys) = keys(&name, names, encoding, link, generation, pair, entry.older)?;
        Ok(KnownClient { name, range, bucket, link, keys })
    }

    fn server_of(&self, entry: ServerEntry) -> Result<KnownServer, ConfigError> {
        let ServerEntry { name, url, encoding, authorities, link, generation, .. } = entry;
        let fallbacks = entry.fallback_urls;
        let pair = KeyTable::join(entry.inner_key, entry.outer_key);
        let names = [&name, &self.name];
        let (link, keys) = keys(&name, names, encoding, link, generation, pair, entry.older)?;
        Ok(KnownServer { name, url, fallbacks, authorities, link, keys, source: None })
    }

    pub(super) fn to_file(&self, form: Form) -> ServiceFile {
        // What is in the folder of links or in a database is kept there.
        let inline = self.links.is_none() && !self.is_shared;
        let clients = self.known.clients.iter().filter(|_| inline);
        let servers = self.known.servers.iter().filter(|_| inline);
        ServiceFile {
            name: self.name.clone(),
            url: self.url.clone(),
            fallback_urls: self.fallbacks.clone(),
            ip: self.ip,
            port: self.port,
            outbox: self.outbox.clone(),
            links: self.links.as_ref().map(|folder| folder.path().to_owned()),
            at_rest: self.at_rest().cloned(),
            cluster: self.cluster.clone(),
            tls: self.tls.clone(),
            settings: self.settings.clone(),
            clients: clients.filter_map(|client| self.client_entry(client, form)).collect(),
            servers: servers.filter_map(|server| self.server_entry(server, form)).collect(),
            healthcheck_port: None,
            proxy_header: None,
            encryption: None,
            _api: None,
            _health: None,
            _handler: None,
        }
    }

    fn client_entry(&self, client: &KnownClient, form: Form) -> Option<ClientEntry> {
        let written = Written::of(&client.keys, client.link, [&self.name, &client.name], form);
        let Written { link, generation, inner_key, outer_key, older } = written?;
        Some(ClientEntry {
            name: client.name.clone(),
            range: client.range,
            encoding: client.keys.encoding(),
            zone: None,
            bucket: client.bucket,
            link,
            generation,
            inner_key,
            outer_key,
            older,
        })
    }

    fn server_entry(&self, server: &KnownServer, form: Form) -> Option<ServerEntry> {
        let written = Written::of(&server.keys, server.link, [&server.name, &self.name], form);
        let Written { link, generation, inner_key, outer_key, older } = written?;
        Some(ServerEntry {
            name: server.name.clone(),
            url: server.url.clone(),
            fallback_urls: server.fallbacks.clone(),
            encoding: server.keys.encoding(),
            zone: None,
            authorities: server.authorities.clone(),
            link,
            generation,
            inner_key,
            outer_key,
            older,
        })
    }
}

/// The keys of a link as an entry holds them: the newest, and those that they are to replace.
struct Written {
    link: Option<Identity>,
    generation: u64,
    inner_key: KeyTable,
    outer_key: KeyTable,
    older: Vec<KeysEntry>,
}

impl Written {
    fn of(keys: &Keys, id: LinkId, [server, client]: [&PeerName; 2], form: Form) -> Option<Self> {
        let mut generations = keys.to_stored(id).generations;
        let newest = generations.pop()?;
        let (inner_key, outer_key) = KeyTable::pair(&newest.keys, form);
        let first = LinkId::of(server, client, &newest.keys);
        Some(Self {
            link: Some(Identity(id)).filter(|_| first != id),
            generation: newest.number,
            inner_key,
            outer_key,
            older: generations.iter().map(|older| KeysEntry::new(older, form)).collect(),
        })
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

/// The identity and the keys of a link with `peer`, from its entry.
fn keys(
    peer: &PeerName,
    names: [&PeerName; 2],
    encoding: Encoding,
    link: Option<Identity>,
    generation: u64,
    newest: Result<KeyPair, KeyError>,
    older: Vec<KeysEntry>,
) -> Result<(LinkId, Keys), ConfigError> {
    let keys_error = |source| ConfigError::Keys { peer: peer.clone(), source };
    let newest = Arc::new(newest.map_err(keys_error)?);
    let older = older.into_iter().map(KeysEntry::read).collect::<Result<Vec<_>, _>>();
    let mut generations = older.map_err(keys_error)?;
    generations.push(handed_over(generation, Arc::clone(&newest)));
    let keys = Keys::from_handed_over(encoding, names, generations);
    let keys = keys.map_err(|source| ConfigError::Ring { peer: peer.clone(), source })?;
    let first = keys.link_id().unwrap_or_else(|| LinkId::of(names[0], names[1], &newest));
    Ok((link.map_or(first, |Identity(link)| link), keys))
}
