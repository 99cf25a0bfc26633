//! Makes a running service like a configuration.
//!
//! A configuration may be older than the keys that a link has by now, so it takes none away, and brings
//! back none that were replaced. Keys in it that the link has never had are a new invitation.

use std::sync::Arc;

use paddington_crypto::KeyPair;
use paddington_exchange::Waiting;
use paddington_wire::keys::{Expiry, Generation, KeyRing, KeyRingError, Seconds};

use super::{Changes, LinkError, Service};
use crate::known::KnownPeer;
use crate::links::{Keys, PeerRole};
use crate::{ConfigError, ServiceConfig};

impl Service {
    /// Makes the links of this service those of a configuration.
    pub(super) async fn follow(
        &self,
        config: ServiceConfig,
        waiting: Waiting,
    ) -> Result<Changes, LinkError> {
        let mut changes = Changes::default();
        let present = self.shared.config().clone();
        changes.restart = present.differences(&config)?;
        let stays = |peer: &KnownPeer| {
            config.known.peer(peer.name()).is_some_and(|new| new.link() == peer.link())
        };
        // In a database are the links of all replicas; those in a file are the first state of them.
        let directory = self.shared.directory();
        for peer in present.known.peers().filter(|peer| directory.is_none() && !stays(peer)) {
            let name = peer.name().to_string();
            match self.leave(&name, waiting).await {
                Ok(_) => changes.removed.push(name),
                Err(why) => changes.refused.push((name, why)),
            }
        }
        for peer in config.known.peers() {
            let name = peer.name().to_string();
            let known = self.shared.config().known.peer(peer.name());
            let done = match known {
                None if directory.is_some_and(|it| it.has_removed(peer.link())) => continue,
                Some(known) if directory.is_some() && known.link() == peer.link() => continue,
                None => self.add(peer).await.map(|()| changes.added.push(name.clone())),
                Some(known) if known.link() != peer.link() => continue, // it was refused
                Some(known) => self.adapt(known, peer).await.map(|changed| {
                    changes.changed.extend(changed.then(|| name.clone()));
                }),
            };
            if let Err(why) = done {
                changes.refused.push((name, why));
            }
        }
        Ok(changes)
    }

    /// Makes a link that is known like that of a configuration. Returns whether they differed.
    async fn adapt(&self, known: KnownPeer, new: KnownPeer) -> Result<bool, LinkError> {
        let name = new.name().clone();
        if known.role() != new.role() {
            return Err(ConfigError::Duplicate(name).into());
        }
        if known.keys().encoding() != new.keys().encoding() {
            return Err(ConfigError::OtherEncoding(name).into());
        }
        let takes_keys = self.takes_keys(&new)?;
        let mut changed = takes_keys;
        match (&known, &new) {
            (KnownPeer::Client(old), KnownPeer::Client(client)) if old.range != client.range => {
                self.change_range(&client.name, client.range).await?;
                changed = true;
            }
            (KnownPeer::Server(old), KnownPeer::Server(server)) if !old.has_same_place(server) => {
                let moved = server.clone();
                let change = |peer: &mut KnownPeer| {
                    if let KnownPeer::Server(server) = peer {
                        server.move_to(moved);
                    }
                };
                let amended = self.shared.amend(&server.name, change).await;
                amended.map_err(LinkError::NotDurable)?;
                let peer = self.shared.config().known.peer(&server.name);
                if let Some(peer) = peer {
                    self.redirect(&peer).await?;
                }
                changed = true;
            }
            _ => {}
        }
        if takes_keys {
            self.take_keys(new).await?;
        }
        Ok(changed)
    }

    /// Returns whether a link has to take over keys of a configuration.
    fn takes_keys(&self, new: &KnownPeer) -> Result<bool, LinkError> {
        let name = new.name();
        let present = self.config(); // with the keys that the links have at present
        let Some(known) = present.known.peer(name).filter(|_| !present.keeps_links()) else {
            return Ok(false); // keys that are kept are the service's own
        };
        let unseen: Vec<Arc<KeyPair>> = match (known.keys(), new.keys()) {
            (Keys::Sealed(ring), Keys::Sealed(new)) => {
                let now = self.now().seconds();
                let changed = with_unseen(ring, new, known.role(), now);
                changed.map_err(|source| ConfigError::Ring { peer: name.clone(), source })?;
                unseen(ring, new, now).map(|it| Arc::clone(it.keys())).collect()
            }
            // There is nothing to tell older ones from newer ones.
            (old, new) => {
                let is_other = |pair: &&Arc<KeyPair>| !old.pairs().any(|it| it == *pair);
                new.pairs().filter(is_other).cloned().collect()
            }
        };
        for pair in &unseen {
            if let Some(other) = present.known.owner_of(pair).filter(|other| *other != name) {
                let peers = [other.clone(), name.clone()];
                return Err(ConfigError::SharedKey { peers }.into());
            }
        }
        Ok(!unseen.is_empty())
    }

    /// Takes over the keys of a configuration that the link has never had.
    async fn take_keys(&self, new: KnownPeer) -> Result<(), LinkError> {
        let Some(mut peer) = self.shared.config().known.peer(new.name()) else { return Ok(()) };
        let (keys, role, now) = (new.keys().clone(), new.role(), self.now().seconds());
        *peer.keys_mut() = keys.clone();
        let change = move |ring: &KeyRing| match keys {
            Keys::Sealed(new) => Ok(with_unseen(ring, &new, role, now)?),
            Keys::Hex(_) => Ok(ring.clone()),
        };
        self.rekey(peer, change).await.map(drop)
    }
}

/// Returns the keys of a configuration that a link has never had, as far as its ring knows, oldest first.
fn unseen<'a>(
    ring: &'a KeyRing,
    new: &'a KeyRing,
    now: Seconds,
) -> impl Iterator<Item = &'a Generation> {
    let generations = new.generations().iter();
    generations.filter(move |it| !it.expiry().has_passed(now) && !ring.knows(it.keys()))
}

/// Returns the ring of a link with the keys of a configuration that it has never had, each as an
/// invitation that is newer than all others; `role` is that of the peer.
fn with_unseen(
    ring: &KeyRing,
    new: &KeyRing,
    role: PeerRole,
    now: Seconds,
) -> Result<KeyRing, KeyRingError> {
    // One that knows the keys in use was made not long ago. A server that was put back to an old copy
    // writes invitations with low numbers.
    let is_recent = new.generations().iter().any(|it| ring.knows(it.keys()));
    let mut next = ring.clone();
    for it in unseen(ring, new, now) {
        let (keys, number) = (Arc::clone(it.keys()), it.number());
        next = match role {
            PeerRole::Client => {
                let expires = match it.expiry() {
                    Expiry::UnlessUsed(moment) => Some(moment),
                    Expiry::Never | Expiry::At(_) => None,
                };
                next.invite_as(number, keys, expires, now)?
            }
            PeerRole::Server if is_recent || number >= next.next_number() => {
                next.accept(keys, number, now).ok_or(KeyRingError::SharedKey)?
            }
            PeerRole::Server => return Err(KeyRingError::OldNumber(number)),
        };
    }
    Ok(next)
}
