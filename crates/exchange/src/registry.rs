//! The peers that an exchange knows at present, by name, link and keys; and among how many places for
//! peers their common room is divided.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use paddington_wire::{InvitedClient, KeysId, LinkId, PeerName};
use tokio_util::sync::CancellationToken;

use crate::dialing::{Dialing, Server};
use crate::peer::Peer;
use crate::store::Mailbox;

/// The peers that an exchange knows.
#[derive(Debug)]
pub(crate) struct Registry {
    known: RwLock<Known>,
    own: PeerName,
    max: usize,
}

#[derive(Debug)]
struct Known {
    peers: BTreeMap<PeerName, Entry>,
    links: HashMap<LinkId, PeerName>,
    keys: HashMap<KeysId, PeerName>,
    /// Peers that were removed while a call of the handler was running.
    removed: Vec<Weak<Peer>>,
    /// Number of peers among which room is divided.
    places: usize,
}

/// A peer that is known.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) peer: Arc<Peer>,
    pub(crate) identity: Identity,
    pub(crate) role: Role,
    /// Stops the store task of the peer, if it has one.
    stop: Option<CancellationToken>,
}

/// What no two peers have in common.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: PeerName,
    pub(crate) link: LinkId,
    pub(crate) keys: KeysId,
}

/// Which side opens the connections.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// The peer does.
    Client,
    /// This side does.
    Server(Arc<Dialing>),
}

/// The reason why a peer cannot be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    OwnName,
    Name,
    /// The link of this peer.
    Link(PeerName),
    /// The keys of this peer.
    Keys(PeerName),
    /// There are as many peers as are allowed.
    Full {
        peers: usize,
        max: usize,
    },
}

impl Entry {
    pub(crate) fn new(peer: Arc<Peer>, identity: Identity, role: Role) -> Self {
        let stop = peer.store().map(|_| CancellationToken::new());
        Self { peer, identity, role, stop }
    }

    /// Returns what stops the store task of the peer.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone().unwrap_or_default()
    }
}

impl Identity {
    pub(crate) fn of_client(client: &InvitedClient) -> Self {
        let (name, keys) = (client.name.clone(), client.credentials.keys_id());
        Self { name, link: client.link, keys }
    }

    pub(crate) fn of_server(server: &Server) -> Self {
        let (name, keys) = (server.name.clone(), server.credentials.keys_id());
        Self { name, link: server.link, keys }
    }

    pub(crate) fn mailbox(&self) -> Mailbox {
        Mailbox { peer: self.name.clone(), link: self.link }
    }
}

impl Registry {
    /// Creates the registry of the service called `own`, which may know up to `max` peers, with
    /// `places` for them.
    pub(crate) fn new(own: PeerName, max: usize, places: usize) -> Self {
        let known = Known {
            peers: BTreeMap::new(),
            links: HashMap::new(),
            keys: HashMap::new(),
            removed: Vec::new(),
            places,
        };
        Self { known: RwLock::new(known), own, max }
    }

    /// Checks whether a peer can be added.
    ///
    /// # Errors
    ///
    /// [`Conflict`] with the peers that are known.
    pub(crate) fn check(&self, identity: &Identity) -> Result<(), Conflict> {
        let known = self.read();
        let Identity { name, link, keys } = identity;
        if *name == self.own {
            Err(Conflict::OwnName)
        } else if known.peers.contains_key(name) {
            Err(Conflict::Name)
        } else if let Some(other) = known.links.get(link) {
            Err(Conflict::Link(other.clone()))
        } else if let Some(other) = known.keys.get(keys) {
            Err(Conflict::Keys(other.clone()))
        } else if known.peers.len() >= self.max {
            Err(Conflict::Full { peers: known.peers.len() + 1, max: self.max })
        } else {
            Ok(())
        }
    }

    /// Adds a peer that was [checked](Self::check). Returns the number of places, if there have to be
    /// more than before.
    pub(crate) fn insert(&self, entry: Entry) -> Option<usize> {
        let mut known = self.write();
        let Identity { name, link, keys } = entry.identity.clone();
        known.links.insert(link, name.clone());
        known.keys.insert(keys, name.clone());
        known.peers.insert(name, entry);
        if known.peers.len() <= known.places {
            return None;
        }
        known.places *= 2;
        Some(known.places)
    }

    /// Removes a peer. Returns the number of places, if there are to be fewer than before because
    /// three quarters of them are not needed.
    pub(crate) fn remove(&self, name: &PeerName) -> Option<usize> {
        let mut known = self.write();
        let entry = known.peers.remove(name)?;
        known.links.remove(&entry.identity.link);
        known.keys.remove(&entry.identity.keys);
        known.removed.retain(|peer| peer.upgrade().is_some_and(|peer| peer.has_workers()));
        known.removed.push(Arc::downgrade(&entry.peer));
        let fewer = known.places > 1 && known.peers.len() <= known.places / 4;
        if fewer {
            known.places /= 2;
        }
        fewer.then_some(known.places)
    }

    /// Replaces the keys of a peer.
    ///
    /// # Errors
    ///
    /// The peer that has these keys.
    pub(crate) fn replace_keys(&self, name: &PeerName, keys: KeysId) -> Result<(), PeerName> {
        let mut known = self.write();
        if let Some(other) = known.keys.get(&keys) {
            return if other == name { Ok(()) } else { Err(other.clone()) };
        }
        if let Some(entry) = known.peers.get_mut(name) {
            let before = std::mem::replace(&mut entry.identity.keys, keys);
            known.keys.remove(&before);
            known.keys.insert(keys, name.clone());
        }
        Ok(())
    }

    pub(crate) fn peer(&self, name: &str) -> Option<Arc<Peer>> {
        self.read().peers.get(name).map(|entry| Arc::clone(&entry.peer))
    }

    pub(crate) fn entry(&self, name: &str) -> Option<Entry> {
        self.read().peers.get(name).cloned()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.read().peers.values().cloned().collect()
    }

    /// Returns the links of all peers.
    pub(crate) fn links(&self) -> Vec<LinkId> {
        self.read().links.keys().copied().collect()
    }

    /// Returns the peer of a link.
    pub(crate) fn peer_of(&self, link: LinkId) -> Option<Arc<Peer>> {
        let known = self.read();
        let entry = known.peers.get(known.links.get(&link)?)?;
        Some(Arc::clone(&entry.peer))
    }

    /// Returns all peers, sorted by name.
    pub(crate) fn peers(&self) -> Vec<Arc<Peer>> {
        self.read().peers.values().map(|entry| Arc::clone(&entry.peer)).collect()
    }

    /// Returns all peers, and those that were removed and for which the handler may still run.
    pub(crate) fn peers_with_calls(&self) -> Vec<Arc<Peer>> {
        let known = self.read();
        let peers = known.peers.values().map(|entry| Arc::clone(&entry.peer));
        peers.chain(known.removed.iter().filter_map(Weak::upgrade)).collect()
    }

    /// Returns the servers, and how they are dialled.
    pub(crate) fn servers(&self) -> Vec<(Arc<Peer>, Arc<Dialing>)> {
        let known = self.read();
        let servers = known.peers.values().filter_map(|entry| match &entry.role {
            Role::Server(dialing) => Some((Arc::clone(&entry.peer), Arc::clone(dialing))),
            Role::Client => None,
        });
        servers.collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}
