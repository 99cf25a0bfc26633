//! Clients and servers that a service knows.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use paddington_crypto::KeyPair;
use paddington_exchange::{Renewal, Server};
use paddington_transport::{Endpoint, Tls, TlsError};
use paddington_wire::{AddressRange, Bucket, Encoding, InvitedClient, LinkId, PeerName};

use crate::buckets::Buckets;
use crate::credentials::credentials;

/// All clients and servers that the service knows, each name once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) clients: Vec<KnownClient>,
    pub(crate) servers: Vec<KnownServer>,
    pub(crate) buckets: Buckets,
    names: HashSet<PeerName>,
}

impl Known {
    pub(crate) fn add_client(&mut self, client: KnownClient) {
        self.names.insert(client.name.clone());
        if let Some(bucket) = client.bucket {
            self.buckets.add(bucket);
        }
        self.clients.push(client);
    }

    pub(crate) fn add_server(&mut self, server: KnownServer) {
        self.names.insert(server.name.clone());
        self.servers.push(server);
    }

    pub(crate) fn knows(&self, name: &PeerName) -> bool {
        self.names.contains(name)
    }

    /// Returns the peers of two links that share a key, if there are any.
    pub(crate) fn with_a_shared_key(&self) -> Option<[PeerName; 2]> {
        let mut owners = HashMap::with_capacity(2 * self.names.len());
        self.keys().find_map(|(name, keys)| {
            let mut pair = [keys.inner(), keys.outer()].into_iter();
            let other = pair.find_map(|key| owners.insert(key.expose_bytes(), name))?;
            Some([other.clone(), name.clone()])
        })
    }

    /// Returns the peer whose link has one of these keys.
    pub(crate) fn owner_of(&self, keys: &KeyPair) -> Option<&PeerName> {
        let both = [keys.inner(), keys.outer()];
        let is_used =
            |used: &KeyPair| both.iter().any(|key| *key == used.inner() || *key == used.outer());
        self.keys().find_map(|(name, used)| is_used(used).then_some(name))
    }

    fn keys(&self) -> impl Iterator<Item = (&PeerName, &KeyPair)> {
        let clients = self.clients.iter().map(|client| (&client.name, &*client.keys));
        clients.chain(self.servers.iter().map(|server| (&server.name, &*server.keys)))
    }
}

/// A client that the service has invited.
#[derive(Clone, Debug)]
pub(crate) struct KnownClient {
    pub(crate) name: PeerName,
    pub(crate) range: AddressRange,
    /// The group in which it is looked for, as its invitation says.
    pub(crate) bucket: Option<Bucket>,
    pub(crate) encoding: Encoding,
    pub(crate) keys: Arc<KeyPair>,
}

/// A server that the service is invited to.
#[derive(Clone, Debug)]
pub(crate) struct KnownServer {
    pub(crate) name: PeerName,
    pub(crate) url: Endpoint,
    pub(crate) encoding: Encoding,
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) keys: Arc<KeyPair>,
    /// The file that the invitation was read from.
    pub(crate) source: Option<PathBuf>,
}

impl KnownClient {
    /// The client as a listener expects it, of the service called `own`.
    pub(crate) fn invited(&self, own: &PeerName) -> InvitedClient {
        InvitedClient {
            link: LinkId::of(own, &self.name, &self.keys),
            name: self.name.clone(),
            range: self.range,
            bucket: self.bucket.filter(|_| self.encoding == Encoding::Sealed),
            credentials: credentials(self.encoding, own, &self.name, &self.keys),
        }
    }
}

impl KnownServer {
    /// The server as a dialer of the service called `own` needs it, and where it finds a newer
    /// invitation.
    pub(crate) fn to_dial(
        &self,
        own: &PeerName,
        renewal: Option<Arc<dyn Renewal>>,
    ) -> Result<Server, TlsError> {
        Ok(Server {
            link: LinkId::of(&self.name, own, &self.keys),
            renewal,
            name: self.name.clone(),
            endpoint: self.url.clone(),
            credentials: credentials(self.encoding, &self.name, own, &self.keys),
            tls: self.tls_for(&self.url)?,
        })
    }

    /// The TLS for this server at `url`, which may be a newer one; `None` for `ws`.
    pub(crate) fn tls_for(&self, url: &Endpoint) -> Result<Option<Tls>, TlsError> {
        let tls = match &self.authorities {
            _ if !url.is_secure() => return Ok(None),
            Some(path) => Tls::with_authorities(path),
            None => Tls::platform(),
        };
        tls.map(Some)
    }
}
