//! Links that other replicas have changed, as they are taken over. Implements `docs/cluster.md`, "Links".

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use paddington_exchange::{HandlerError, RekeyError, Waiting};
use paddington_wire::keys::KeyRing;
use paddington_wire::{LinkId, PeerName};
use thiserror::Error;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use super::{LinkError, Service};
use crate::known::KnownPeer;
use crate::links::{Keys, LinkDirectory, SharedLink, SharedLinkError};

/// Pause before changes that could not be read or taken over are read again: once, twice, and at most
/// [`MOST_PAUSE`] times as long.
const AGAIN: Duration = Duration::from_secs(1);
const MOST_PAUSE: u32 = 30;

/// The versions that were not taken over, and of which the operator was told.
type Refused = HashMap<LinkId, u64>;

/// The reason why changes of other replicas are not known yet.
#[derive(Debug, Error)]
enum FollowError {
    #[error(transparent)]
    Directory(#[from] SharedLinkError),
    #[error("the link with {0} cannot be changed now")]
    Link(PeerName),
}

impl Service {
    /// Begins to take over what other replicas change, until the service ends.
    pub(super) fn begin_to_follow(&self) {
        let Some(directory) = self.shared.directory().cloned() else { return };
        let service = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = service.follow_directory(&directory) => {}
                _ = service.exchange.finished() => {}
            }
        });
    }

    async fn follow_directory(&self, directory: &LinkDirectory) {
        let mut news = directory.news();
        let mut contacts = directory.first_contacts();
        let mut refused = Refused::new();
        let mut failures = 0;
        loop {
            let heard = *news.borrow_and_update();
            let has_lost = contacts != heard.contacts;
            let done = async {
                if has_lost {
                    self.compare_with(directory).await?;
                }
                self.take_over_newer(directory, &mut refused).await
            };
            match done.await {
                Ok(()) => {
                    if failures > 0 {
                        info!("changes of links at other replicas are known again");
                    }
                    (contacts, failures) = (heard.contacts, 0);
                }
                Err(cause) if failures == 0 => {
                    warn!(%cause, "changes of links at other replicas are not known yet: trying again");
                    failures = 1;
                }
                Err(_) => failures += 1,
            }
            let changed = async {
                match failures {
                    0 => news.changed().await,
                    _ => timeout(AGAIN * failures.min(MOST_PAUSE), news.changed())
                        .await
                        .unwrap_or(Ok(())),
                }
            };
            if changed.await.is_err() {
                return;
            }
        }
    }

    /// Takes over what is new. What cannot be taken over now is read again the next time.
    async fn take_over_newer(
        &self,
        directory: &LinkDirectory,
        refused: &mut Refused,
    ) -> Result<(), FollowError> {
        let mut failed = Ok(());
        let mut again = u64::MAX;
        loop {
            let newer = directory.newer().await;
            if newer.as_ref().map_or(true, Vec::is_empty) {
                directory.read_again_after(again);
                newer?;
                return failed;
            }
            for shared in newer? {
                let (peer, link, version) = (shared.peer.clone(), shared.link, shared.version);
                match self.take_over(directory, shared).await {
                    Ok(()) => drop(refused.remove(&link)),
                    Err(cause) => {
                        if refused.insert(link, version) != Some(version) {
                            error!(%peer, %cause, "a link that another replica has changed is not taken over");
                        }
                        // What is wrong with the text itself stays so until somebody writes another one.
                        if !matches!(cause, LinkError::Config(_)) {
                            again = again.min(version.saturating_sub(1));
                            failed = Err(FollowError::Link(peer));
                        }
                    }
                }
            }
        }
    }

    /// Takes over the state of a link.
    async fn take_over(
        &self,
        directory: &LinkDirectory,
        shared: SharedLink,
    ) -> Result<(), LinkError> {
        let _turn = self.shared.turn.lock().await;
        let SharedLink { peer: name, link, version, state } = shared;
        if version <= directory.version(link) {
            return Ok(()); // this replica has written it
        }
        let new = match state.map_err(crate::ConfigError::from)? {
            Some(file) => Some(self.shared.config().peer_of(file)?),
            None => None,
        };
        let known = self.shared.config().known.peer(&name).filter(|known| known.link() == link);
        let adopted = async |peer: Option<KnownPeer>| {
            self.shared.adopt(directory, (&name, link, version), peer).await;
            Ok::<(), HandlerError>(())
        };
        match (known, new) {
            (None, None) => directory.note(link, &name, version, true),
            (None, Some(new)) => self.begin(&new, adopted(Some(new.clone()))).await?,
            (Some(_), None) => {
                // The messages are those of all replicas: the one that has removed it decides about them.
                self.exchange.remove_with(name.as_str(), Waiting::Keep, adopted(None)).await?;
            }
            (Some(known), Some(new)) => {
                if let Keys::Sealed(ring) = new.keys() {
                    let is_newer = || directory.version(link) < version;
                    let change = |_: &KeyRing| {
                        let outdated = || HandlerError::from("this replica has newer ones");
                        is_newer().then(|| (**ring).clone()).ok_or_else(outdated)
                    };
                    let durable = async |_: Arc<KeyRing>| adopted(Some(new.clone())).await;
                    match self.exchange.change_keys_with(name.as_str(), change, durable).await {
                        Err(RekeyError::Refused(_)) => return Ok(()),
                        changed => changed?,
                    }
                }
                self.move_to(&known, &new).await?;
            }
        }
        debug!(peer = %name, "the link was changed at another replica");
        Ok(())
    }

    /// Lets a peer come from where its new state says, or be there.
    async fn move_to(&self, known: &KnownPeer, new: &KnownPeer) -> Result<(), LinkError> {
        match (known, new) {
            (KnownPeer::Client(known), KnownPeer::Client(new)) => {
                if known.range != new.range {
                    self.exchange.set_range(new.name.as_str(), new.range).await?;
                }
                if known.bucket != new.bucket {
                    self.exchange.set_bucket(new.name.as_str(), new.bucket).await?;
                }
            }
            (KnownPeer::Server(known), KnownPeer::Server(server))
                if !known.has_same_place(server) =>
            {
                self.redirect(new).await?;
            }
            _ => {} // it has the same place, and a link keeps its role
        }
        Ok(())
    }

    /// Compares what this replica has with what is there, because anything may have happened. What a failover
    /// has lost is written again by a replica that knows it: the peers have it, too.
    async fn compare_with(&self, directory: &LinkDirectory) -> Result<(), SharedLinkError> {
        let present = directory.versions().await?;
        for (link, version) in directory.links() {
            let there = present.get(&link).copied().unwrap_or_default();
            if there < version {
                self.shared.write_over(directory, link, there).await?;
            }
        }
        let unread =
            present.into_iter().filter(|(link, version)| directory.version(*link) < *version);
        if let Some((_, first)) = unread.min_by_key(|(_, version)| *version) {
            directory.read_again_after(first.saturating_sub(1));
        }
        Ok(())
    }
}
