//! Clients and servers that a service knows.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use paddington_crypto::{KeyError, KeyPair};
use paddington_exchange::{Renewal, Server};
use paddington_transport::{Endpoint, Fallbacks, Tls, TlsError, TlsFiles};
use paddington_wire::keys::KeyRing;
use paddington_wire::{AddressRange, Bucket, Encoding, InvitedClient, LinkId, PeerName};

use crate::buckets::Buckets;
use crate::format::{Form, Identity};
use crate::links::{Keys, LinkFile, PeerRole};

/// All clients and servers that the service knows, each name once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) clients: Vec<KnownClient>,
    pub(crate) servers: Vec<KnownServer>,
    pub(crate) buckets: Buckets,
    /// Where each of them is.
    places: HashMap<PeerName, Place>,
}

/// The place of a peer among the clients, or among the servers.
#[derive(Clone, Copy, Debug)]
enum Place {
    Client(u32),
    Server(u32),
}

/// A peer that the service knows.
#[derive(Clone, Debug)]
pub(crate) enum KnownPeer {
    Client(KnownClient),
    Server(KnownServer),
}

/// A client that the service has invited.
#[derive(Clone, Debug)]
pub(crate) struct KnownClient {
    pub(crate) name: PeerName,
    pub(crate) range: AddressRange,
    /// The group in which it is looked for, as its invitation says.
    pub(crate) bucket: Option<Bucket>,
    pub(crate) link: LinkId,
    pub(crate) keys: Keys,
}

/// A server that the service is invited to.
#[derive(Clone, Debug)]
pub(crate) struct KnownServer {
    pub(crate) name: PeerName,
    pub(crate) url: Endpoint,
    pub(crate) fallbacks: Fallbacks,
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) link: LinkId,
    pub(crate) keys: Keys,
    /// The file that the invitation was read from.
    pub(crate) source: Option<PathBuf>,
}

impl Known {
    pub(crate) fn add(&mut self, peer: KnownPeer) {
        let name = peer.name().clone();
        let place = match peer {
            KnownPeer::Client(client) => {
                if let Some(bucket) = client.bucket {
                    self.buckets.add(bucket);
                }
                self.clients.push(client);
                Place::Client((self.clients.len() - 1) as u32)
            }
            KnownPeer::Server(server) => {
                self.servers.push(server);
                Place::Server((self.servers.len() - 1) as u32)
            }
        };
        self.places.insert(name, place);
    }

    /// Gives back the room that it has for more of them.
    pub(crate) fn shrink(&mut self) {
        self.clients.shrink_to_fit();
        self.servers.shrink_to_fit();
    }

    /// Removes a peer, and returns it if it was there.
    pub(crate) fn remove(&mut self, name: &PeerName) -> Option<KnownPeer> {
        let place = self.places.remove(name)?;
        self.places.values_mut().for_each(|other| other.close_up(place));
        Some(match place {
            Place::Client(at) => {
                let client = self.clients.remove(at as usize);
                if let Some(bucket) = client.bucket {
                    self.buckets.remove(bucket);
                }
                KnownPeer::Client(client)
            }
            Place::Server(at) => KnownPeer::Server(self.servers.remove(at as usize)),
        })
    }

    /// Puts a peer in the place of one of the same name.
    pub(crate) fn replace(&mut self, peer: KnownPeer) {
        let place = self.places.get(peer.name()).copied();
        match (peer, place) {
            (KnownPeer::Client(new), Some(Place::Client(at))) => self.clients[at as usize] = new,
            (KnownPeer::Server(new), Some(Place::Server(at))) => self.servers[at as usize] = new,
            (other, _) => {
                self.remove(other.name());
                self.add(other);
            }
        }
    }

    /// Gives all peers the keys that they have now, where these are known.
    pub(crate) fn refresh(&mut self, now: impl Fn(&str) -> Option<Arc<KeyRing>>) {
        let clients = self.clients.iter_mut().map(|client| (&client.name, &mut client.keys));
        let servers = self.servers.iter_mut().map(|server| (&server.name, &mut server.keys));
        for (name, keys) in clients.chain(servers) {
            if let Some(ring) = now(name.as_str()) {
                *keys = Keys::Sealed(ring);
            }
        }
    }

    pub(crate) fn knows(&self, name: &PeerName) -> bool {
        self.places.contains_key(name)
    }

    pub(crate) fn peer(&self, name: &PeerName) -> Option<KnownPeer> {
        Some(match *self.places.get(name)? {
            Place::Client(at) => KnownPeer::Client(self.clients.get(at as usize)?.clone()),
            Place::Server(at) => KnownPeer::Server(self.servers.get(at as usize)?.clone()),
        })
    }

    /// Returns whether these are the very same peers, in the same order, with the same keys in memory.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let same_clients = self.clients.iter().zip(&other.clients).all(|(ours, theirs)| {
            (&ours.name, ours.range, ours.bucket, ours.link)
                == (&theirs.name, theirs.range, theirs.bucket, theirs.link)
                && ours.keys.shares(&theirs.keys)
        });
        let same_servers = self.servers.iter().zip(&other.servers).all(|(ours, theirs)| {
            (&ours.name, ours.link) == (&theirs.name, theirs.link)
                && ours.source == theirs.source
                && ours.has_same_place(theirs)
                && ours.keys.shares(&theirs.keys)
        });
        let counts = |known: &Self| (known.clients.len(), known.servers.len());
        counts(self) == counts(other) && same_clients && same_servers
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = KnownPeer> {
        let clients = self.clients.iter().cloned().map(KnownPeer::Client);
        clients.chain(self.servers.iter().cloned().map(KnownPeer::Server))
    }

    /// Returns the encodings of all links.
    pub(crate) fn encodings(&self) -> impl Iterator<Item = Encoding> {
        let clients = self.clients.iter().map(|client| client.keys.encoding());
        clients.chain(self.servers.iter().map(KnownServer::encoding))
    }

    /// Returns the links of all peers, by name.
    pub(crate) fn links(&self) -> impl Iterator<Item = (&PeerName, LinkId)> {
        let clients = self.clients.iter().map(|client| (&client.name, client.link));
        clients.chain(self.servers.iter().map(|server| (&server.name, server.link)))
    }

    /// Returns the peers of two links that share a key, if there are any.
    pub(crate) fn with_a_shared_key(&self) -> Option<[PeerName; 2]> {
        let mut owners = HashMap::with_capacity(2 * self.places.len());
        self.pairs().find_map(|(name, keys)| {
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
        self.pairs().find_map(|(name, used)| is_used(used).then_some(name))
    }

    fn pairs(&self) -> impl Iterator<Item = (&PeerName, &Arc<KeyPair>)> {
        let clients = self.clients.iter().map(|client| (&client.name, &client.keys));
        let all = clients.chain(self.servers.iter().map(|server| (&server.name, &server.keys)));
        all.flat_map(|(name, keys)| keys.pairs().map(move |pair| (name, pair)))
    }
}

impl Place {
    /// Moves up if it is behind one that is removed.
    fn close_up(&mut self, removed: Self) {
        match (self, removed) {
            (Self::Client(at), Self::Client(gap)) | (Self::Server(at), Self::Server(gap)) => {
                *at -= u32::from(*at > gap);
            }
            _ => {}
        }
    }
}

impl KnownPeer {
    pub(crate) fn name(&self) -> &PeerName {
        match self {
            Self::Client(client) => &client.name,
            Self::Server(server) => &server.name,
        }
    }

    pub(crate) fn link(&self) -> LinkId {
        match self {
            Self::Client(client) => client.link,
            Self::Server(server) => server.link,
        }
    }

    pub(crate) fn keys(&self) -> &Keys {
        match self {
            Self::Client(client) => &client.keys,
            Self::Server(server) => &server.keys,
        }
    }

    pub(crate) fn keys_mut(&mut self) -> &mut Keys {
        match self {
            Self::Client(client) => &mut client.keys,
            Self::Server(server) => &mut server.keys,
        }
    }

    pub(crate) fn role(&self) -> PeerRole {
        match self {
            Self::Client(_) => PeerRole::Client,
            Self::Server(_) => PeerRole::Server,
        }
    }

    /// The file of the link.
    pub(crate) fn to_file(&self) -> Result<LinkFile, KeyError> {
        let mut file = LinkFile {
            peer: self.name().clone(),
            role: self.role(),
            link: Identity(self.link()),
            encoding: self.keys().encoding(),
            range: None,
            bucket: None,
            url: None,
            fallback_urls: Fallbacks::default(),
            authorities: None,
            invitation: None,
            keys: Vec::new(),
            burned: Vec::new(),
        };
        match self {
            Self::Client(client) => {
                (file.range, file.bucket) = (Some(client.range), client.bucket);
            }
            Self::Server(server) => {
                file.url = Some(server.url.clone());
                file.fallback_urls = server.fallbacks.clone();
                file.authorities = server.authorities.clone();
            }
        }
        file.put(&self.keys().to_stored(self.link()), Form::StandIns)?;
        Ok(file)
    }
}

impl KnownClient {
    /// The client as a listener expects it.
    pub(crate) fn invited(&self) -> InvitedClient {
        InvitedClient {
            link: self.link,
            name: self.name.clone(),
            range: self.range,
            bucket: self.bucket.filter(|_| self.keys.encoding() == Encoding::Sealed),
            credentials: self.keys.credentials(),
        }
    }
}

impl KnownServer {
    /// The server as a dialer needs it, and where it finds a newer invitation.
    pub(crate) fn to_dial(
        &self,
        renewal: Option<Arc<dyn Renewal>>,
        certificate: Option<TlsFiles>,
    ) -> Result<Server, TlsError> {
        Ok(Server {
            renewal,
            link: self.link,
            name: self.name.clone(),
            endpoint: self.url.clone(),
            fallbacks: self.fallbacks.clone(),
            credentials: self.keys.credentials(),
            tls: self.tls_for(&self.url, &self.fallbacks, certificate)?,
        })
    }

    /// The TLS for this server at these URLs, which may be newer ones, with the certificate that it may ask
    /// for; `None` if all are `ws`.
    pub(crate) fn tls_for(
        &self,
        url: &Endpoint,
        fallbacks: &Fallbacks,
        certificate: Option<TlsFiles>,
    ) -> Result<Option<Tls>, TlsError> {
        let is_secure = url.is_secure() || fallbacks.iter().any(Endpoint::is_secure);
        let load = || Tls::load(self.authorities.as_deref(), certificate);
        is_secure.then(load).transpose()
    }

    /// Returns whether it is reached as another one is.
    pub(crate) fn has_same_place(&self, other: &Self) -> bool {
        self.url == other.url
            && self.fallbacks == other.fallbacks
            && self.authorities == other.authorities
    }

    /// Lets it be reached as another one is.
    pub(crate) fn move_to(&mut self, other: Self) {
        self.url = other.url;
        self.fallbacks = other.fallbacks;
        self.authorities = other.authorities;
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.keys.encoding()
    }
}
