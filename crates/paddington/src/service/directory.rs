//! Links that other replicas have changed, as they are taken over. Implements `docs/cluster.md`, "Links".

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use paddington_exchange::{HandlerError, RekeyError, Waiting};
use paddington_transport::Renewed;
use paddington_wire::keys::KeyRing;
use paddington_wire::{LinkId, PeerName};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, error, info, warn};

use super::{LinkError, Service};
use crate::ConfigError;
use crate::known::KnownPeer;
use crate::links::{Keys, LinkDirectory, SharedLink, SharedLinkError};

/// Pause before changes that could not be read or taken over are read again: once, twice, and at most
/// [`MOST_PAUSE`] times as long.
const AGAIN: Duration = Duration::from_secs(1);
const MOST_PAUSE: u32 = 30;

/// The versions that were not taken over, and of which the operator was told.
type Refused = HashMap<LinkId, u64>;

/// A link that could not be taken over yet, at this version.
struct Left {
    peer: PeerName,
    version: u64,
}

/// Returns whether the text of a link is what is wrong, which stays so until somebody writes another one. A
/// certificate that it names may be there later.
fn is_of_text(cause: &LinkError) -> bool {
    matches!(cause, LinkError::Config(cause) if !matches!(cause, ConfigError::Tls { .. }))
}

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
        let mut left = None;
        let mut failures = 0;
        let mut due = Instant::now();
        loop {
            let heard = *news.borrow_and_update();
            let has_lost = contacts != heard.contacts;
            // What was left before is not read with each change of other links.
            let is_due = failures == 0 || due <= Instant::now();
            let done = async {
                if has_lost {
                    self.compare_with(directory).await?;
                }
                if is_due && let Some(Left { version, .. }) = left.take() {
                    directory.read_again_after(version.saturating_sub(1));
                }
                self.take_over_newer(directory, &mut refused).await
            };
            let failure = match done.await {
                Ok(more) => {
                    contacts = heard.contacts;
                    left = left.into_iter().chain(more).min_by_key(|left| left.version);
                    left.as_ref().map(|left| FollowError::Link(left.peer.clone()))
                }
                Err(cause) => Some(cause),
            };
            match failure {
                None => {
                    if failures > 0 {
                        info!("changes of links at other replicas are known again");
                    }
                    failures = 0;
                }
                Some(cause) if is_due => {
                    if failures == 0 {
                        warn!(%cause, "changes of links at other replicas are not known yet: trying again");
                    }
                    failures += 1;
                    due = Instant::now() + AGAIN * failures.min(MOST_PAUSE);
                }
                Some(_) => {}
            }
            let changed = async {
                match failures {
                    0 => news.changed().await,
                    _ => timeout_at(due, news.changed()).await.unwrap_or(Ok(())),
                }
            };
            if changed.await.is_err() {
                return;
            }
        }
    }

    /// Takes over what is new. Returns the first link that cannot be taken over now.
    async fn take_over_newer(
        &self,
        directory: &LinkDirectory,
        refused: &mut Refused,
    ) -> Result<Option<Left>, FollowError> {
        let mut left: Option<Left> = None;
        loop {
            let newer = directory.newer().await;
            if let (Err(_), Some(left)) = (&newer, &left) {
                directory.read_again_after(left.version.saturating_sub(1));
            }
            let newer = newer?;
            if newer.is_empty() {
                return Ok(left);
            }
            for shared in newer {
                let (peer, link, version) = (shared.peer.clone(), shared.link, shared.version);
                match self.take_over(directory, shared).await {
                    Ok(()) => drop(refused.remove(&link)),
                    Err(cause) => {
                        if refused.insert(link, version) != Some(version) {
                            error!(%peer, %cause, "a link that another replica has changed is not taken over");
                        }
                        if !is_of_text(&cause)
                            && left.as_ref().is_none_or(|it| version < it.version)
                        {
                            left = Some(Left { peer, version });
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
        let new = match state.map_err(ConfigError::from)? {
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
                // What may fail comes first: afterwards this version counts as taken over.
                let place = self.other_place(&known, &new)?;
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
                self.move_to(&known, &new, place).await?;
            }
        }
        debug!(peer = %name, "the link was changed at another replica");
        Ok(())
    }

    /// Returns where a server is now, if that is not where it was.
    fn other_place(
        &self,
        known: &KnownPeer,
        new: &KnownPeer,
    ) -> Result<Option<Renewed>, ConfigError> {
        match (known, new) {
            (KnownPeer::Server(known), KnownPeer::Server(server))
                if !known.has_same_place(server) =>
            {
                self.place_of(server).map(Some)
            }
            _ => Ok(None), // it has the same place, and a link keeps its role
        }
    }

    /// Lets a peer come from where its new state says, or be there.
    async fn move_to(
        &self,
        known: &KnownPeer,
        new: &KnownPeer,
        place: Option<Renewed>,
    ) -> Result<(), LinkError> {
        if let (KnownPeer::Client(known), KnownPeer::Client(new)) = (known, new) {
            if known.range != new.range {
                self.exchange.set_range(new.name.as_str(), new.range).await?;
            }
            if known.bucket != new.bucket {
                self.exchange.set_bucket(new.name.as_str(), new.bucket).await?;
            }
        }
        if let Some(place) = place {
            self.exchange.replace_endpoint(new.name().as_str(), place).await?;
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
