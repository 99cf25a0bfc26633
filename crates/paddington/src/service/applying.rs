//! Makes a running service like a configuration.

use paddington_exchange::Waiting;
use paddington_wire::keys::KeyRing;

use super::{Changes, LinkError, Service};
use crate::known::KnownPeer;
use crate::links::Keys;
use crate::{ConfigError, ServiceConfig};

impl Service {
    /// Gives a peer the keys that its link has at present.
    fn with_present_keys(&self, mut peer: KnownPeer) -> KnownPeer {
        if let Some(ring) = self.exchange.keys(peer.name().as_str()) {
            *peer.keys_mut() = Keys::Sealed(ring);
        }
        peer
    }

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
        for peer in present.known.peers().filter(|peer| !stays(peer)) {
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
        let mut changed = false;
        match (&known, &new) {
            (KnownPeer::Client(old), KnownPeer::Client(client)) if old.range != client.range => {
                self.change_range(&client.name, client.range).await?;
                changed = true;
            }
            (KnownPeer::Server(old), KnownPeer::Server(server))
                if old.url != server.url || old.authorities != server.authorities =>
            {
                let (url, authorities) = (server.url.clone(), server.authorities.clone());
                let change = |peer: &mut KnownPeer| {
                    if let KnownPeer::Server(server) = peer {
                        (server.url, server.authorities) = (url, authorities);
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
            (KnownPeer::Client(_), KnownPeer::Client(_))
            | (KnownPeer::Server(_), KnownPeer::Server(_)) => {}
            _ => return Err(ConfigError::Duplicate(new.name().clone()).into()),
        }
        let owns_keys = self.shared.config().links().is_some();
        if !owns_keys && self.takes_keys(&new).await? {
            changed = true;
        }
        Ok(changed)
    }

    /// Takes over keys of a configuration in one file, if they are others. Returns whether they were.
    async fn takes_keys(&self, new: &KnownPeer) -> Result<bool, LinkError> {
        let name = new.name().clone();
        let Some(known) = self.shared.config().known.peer(&name) else { return Ok(false) };
        let pairs = |peer: &KnownPeer| peer.keys().pairs().cloned().collect::<Vec<_>>();
        if pairs(&self.with_present_keys(known.clone())).last() == pairs(new).last() {
            return Ok(false);
        }
        let keys = new.keys().clone();
        let change = move |ring: &KeyRing| match keys {
            Keys::Sealed(new) => Ok((*new).clone()),
            Keys::Hex(_) => Ok(ring.clone()),
        };
        self.rekey(new.clone(), change).await?;
        Ok(true)
    }
}
