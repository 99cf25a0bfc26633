//! The peers that an exchange knows at present, by name, link and keys; and among how many places for
//! peers their common room is divided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use paddington_wire::{InvitedClient, KeysId, LinkId, PeerName};

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
    links: BTreeMap<LinkId, PeerName>,
    keys: BTreeSet<KeysId>,
    /// Peers that were removed while a call of the handler was running.
    removed: Vec<Weak<Peer>>,
    /// Number of peers among which room is divided.
    places: usize,
}

/// A peer that is known.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) peer: Arc<Peer>,
    pub(crate) keys: KeysId,
    pub(crate) role: Role,
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
            links: BTreeMap::new(),
            keys: BTreeSet::new(),
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
        } else if known.keys.contains(keys) {
            let of = |entry: &Entry| entry.keys == *keys;
            Err(Conflict::Keys(known.find(of).unwrap_or_else(|| name.clone())))
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
        known.links.insert(entry.peer.mailbox.link, entry.peer.name.clone());
        known.keys.insert(entry.keys);
        known.peers.insert(entry.peer.name.clone(), entry);
        if known.peers.len() <= known.places {
            return None;
        }
        known.places *= 2;
        Some(known.places)
    }

    /// Replaces the peer of a link by that of a new term. Returns whether the link is still known.
    pub(crate) fn replace(&self, entry: &Entry) -> bool {
        let mut known = self.write();
        let link = entry.peer.mailbox.link;
        let known = known.peers.get_mut(&entry.peer.name);
        let Some(known) = known.filter(|known| known.peer.mailbox.link == link) else {
            return false;
        };
        known.peer = Arc::clone(&entry.peer);
        known.role = entry.role.clone();
        true
    }

    /// Returns the peer with this link, if this replica owns it.
    pub(crate) fn owned(&self, link: LinkId) -> Option<Arc<Peer>> {
        let peer = self.by_link(link)?;
        peer.is_owner().then_some(peer)
    }

    /// Returns the peer with this link.
    pub(crate) fn by_link(&self, link: LinkId) -> Option<Arc<Peer>> {
        let known = self.read();
        let name = known.links.get(&link)?;
        known.peers.get(name).map(|entry| Arc::clone(&entry.peer))
    }

    /// Removes a peer. Returns the number of places, if there are to be fewer than before because
    /// three quarters of them are not needed.
    pub(crate) fn remove(&self, name: &PeerName) -> Option<usize> {
        let mut known = self.write();
        let entry = known.peers.remove(name)?;
        known.links.remove(&entry.peer.mailbox.link);
        known.keys.remove(&entry.keys);
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
        // Most changes leave the newest keys as they are, such as their first use: nobody is looked for then.
        if known.peers.get(name).is_some_and(|entry| entry.keys == keys) {
            return Ok(());
        }
        if known.keys.contains(&keys) {
            return known.find(|entry| entry.keys == keys).map_or(Ok(()), Err);
        }
        if let Some(entry) = known.peers.get_mut(name) {
            let before = std::mem::replace(&mut entry.keys, keys);
            known.keys.remove(&before);
            known.keys.insert(keys);
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

    /// Returns whether a peer has this link.
    pub(crate) fn has_link(&self, link: LinkId) -> bool {
        self.read().links.contains_key(&link)
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

impl Known {
    /// Returns the name of the first peer that `is` the one.
    fn find(&self, is: impl Fn(&Entry) -> bool) -> Option<PeerName> {
        self.peers.values().find(|entry| is(entry)).map(|entry| entry.peer.name.clone())
    }
}
