//! How a replica becomes the owner of a link, by a claim, and how the term ends that it begins (S1, S3).

use std::sync::Arc;
use std::time::Duration;

use paddington_wire::{Instance, LinkId};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{error, info};

use super::cluster::{Gate, lock};
use crate::Event;
use crate::config::GOOD_LEASE;
use crate::core::Core;
use crate::dialing::Dialing;
use crate::faults::{Fault, broken};
use crate::joining;
use crate::peer::Peer;
use crate::registry::{Entry, Role};
use crate::restore::claimed;
use crate::store::{Claim, Claimed, Fence, Mailbox, ReplicaId, Signal};

/// The longest time that a claim waits for the owner of the link. It is shorter than the time that a peer
/// waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// The interval at which a link that another replica holds is claimed again, if no answer comes.
const CLAIM_AGAIN: Duration = Duration::from_millis(250);
/// The interval at which the lane is asked for, if no signal comes.
const LANE_AGAIN: Duration = Duration::from_secs(1);

/// Why a replica has not become the owner of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOwned {
    /// It is not possible now; the peer tries again.
    NotNow,
    /// Another process of the peer is connected at another replica (S11).
    Busy,
}

impl Core {
    /// Makes this replica the owner of the link whose peer, of this `life`, is at the door; returns the
    /// peer of the term. It waits for another owner to give the link up, but not for long.
    pub(crate) async fn own(
        self: &Arc<Self>,
        mailbox: &Mailbox,
        life: Option<Instance>,
    ) -> Result<Arc<Peer>, NotOwned> {
        let Some(cluster) = &self.cluster else { return Err(NotOwned::NotNow) };
        let gate = cluster.gate(mailbox.link);
        let deadline = Instant::now() + PATIENCE;
        let Ok(_turn) = timeout_at(deadline, gate.turn.lock()).await else {
            return Err(NotOwned::NotNow);
        };
        loop {
            let entry = self.entry_of(mailbox).ok_or(NotOwned::NotNow)?;
            if entry.peer.is_owner() {
                return Ok(entry.peer);
            }
            let lease = cluster.store.lease(cluster.shard_of(mailbox.link));
            if self.lifecycle.is_ending() || lease < GOOD_LEASE {
                return Err(NotOwned::NotNow);
            }
            let owner = match cluster.store.claim(mailbox, entry.peer.fence()).await {
                Ok(Claimed::Owned(claim)) => return self.begin_term(mailbox, *claim).await,
                Ok(Claimed::Held(_)) if broken(Fault::ClaimSkipped) => {
                    return self.begin_term(mailbox, Claim::pretended()).await;
                }
                Ok(Claimed::Held(owner)) => owner,
                Err(cause) => {
                    error!(peer = %mailbox.peer, %cause, "the link cannot be claimed");
                    return Err(NotOwned::NotNow);
                }
            };
            *lock(&gate.answers) = None;
            let from = cluster.store.replica();
            cluster.store.tell(owner, Signal::Yield { link: mailbox.link, life, from });
            if answer(&gate).await == Some(false) {
                return Err(NotOwned::Busy);
            }
            if Instant::now() >= deadline {
                return Err(NotOwned::NotNow);
            }
        }
    }

    /// Returns the mailbox of a link; the peer's name is for people, and its own if it is not known.
    pub(super) fn mailbox_of(&self, link: LinkId) -> Mailbox {
        let known = self.peers.by_link(link).map(|peer| peer.mailbox.clone());
        known.unwrap_or_else(|| Mailbox { peer: self.shared.name.clone(), link })
    }

    /// Returns the entry of a link that is known.
    pub(super) fn entry_of(&self, mailbox: &Mailbox) -> Option<Entry> {
        let entry = self.peers.entry(mailbox.peer.as_str())?;
        (entry.peer.mailbox.link == mailbox.link).then_some(entry)
    }

    /// Begins the term of a claim.
    async fn begin_term(
        self: &Arc<Self>,
        mailbox: &Mailbox,
        claim: Claim,
    ) -> Result<Arc<Peer>, NotOwned> {
        let cluster = self.cluster.as_ref().ok_or(NotOwned::NotNow)?;
        let (fence, has_lane) = (claim.fence, claim.has_lane);
        let before = self.entry_of(mailbox).ok_or(NotOwned::NotNow)?;
        let earlier = Arc::clone(&before.peer);
        let peer = claimed(&self.shared, mailbox.clone(), Arc::clone(&cluster.store), claim);
        peer.share_keys(&before.peer);
        let role = match (&before.role, peer.term()) {
            (Role::Server(_), Some(term)) => {
                Role::Server(Arc::new(Dialing::until(term.ended.child_token())))
            }
            _ => before.role.clone(),
        };
        let entry = Entry { peer, role, keys: before.keys };
        joining::begin(self, &entry);
        entry.peer.go_on_from(&earlier);
        if !self.peers.replace(&entry) {
            entry.peer.depose();
            return Err(NotOwned::NotNow); // it was removed meanwhile
        }
        cluster.serving().look_at(mailbox.link);
        self.shared.tell(Event::Claimed { peer: mailbox.peer.clone() });
        info!(peer = %mailbox.peer, fence = fence.0, has_lane, "claimed");
        if has_lane && !before.peer.has_workers() {
            entry.peer.enter_lane(Vec::new());
        } else {
            tokio::spawn(enter_lane(Arc::clone(self), Arc::clone(&entry.peer), before.peer));
        }
        Ok(entry.peer)
    }

    /// Ends a term in order: the link is released, and whoever has asked for it is told.
    pub(super) async fn end_term(&self, peer: &Arc<Peer>, to: Option<ReplicaId>) {
        let Some(cluster) = &self.cluster else { return };
        let link = peer.mailbox.link;
        let entry = self.peers.entry(peer.name.as_str()).filter(|it| Arc::ptr_eq(&it.peer, peer));
        if let Some(Entry { role: Role::Server(dialing), .. }) = entry {
            dialing.stop.cancel(); // another replica dials from now on, also while a call runs here
        }
        let Some(released) = peer.begin_yield().await else { return };
        if let Some(to) = to {
            cluster.store.tell(to, Signal::Yielded { link, free: true });
        }
        self.shared.tell(Event::Yielded { peer: peer.name.clone() });
        peer.finish_yield(released).await;
        cluster.shard_with(link).dial.notify_one();
    }
}

impl Claim {
    /// Makes a claim that no store has answered, for a replica that breaks the rules.
    fn pretended() -> Self {
        Self {
            fence: Fence::default(),
            stream: [0; 16].into(),
            streams: Vec::new(),
            cursors: Vec::new(),
            letters: Vec::new(),
            has_lane: true,
        }
    }
}

/// Waits for the answer of the owner that was asked to give the link up, but not for long.
async fn answer(gate: &Gate) -> Option<bool> {
    let answered = async {
        loop {
            let told = gate.answered.notified();
            if let Some(free) = *lock(&gate.answers) {
                return free;
            }
            told.await;
        }
    };
    timeout(CLAIM_AGAIN, answered).await.ok()
}

/// Asks for the lane until this replica has it, or its term has ended (S10). What runs here for an
/// earlier term of the same link ends before.
async fn enter_lane(core: Arc<Core>, peer: Arc<Peer>, before: Arc<Peer>) {
    let (Some(cluster), Some(term)) = (&core.cluster, peer.term()) else { return };
    if term.ended.run_until_cancelled(before.workers_have_ended()).await.is_none() {
        return;
    }
    while !peer.has_lane() {
        match cluster.store.take_lane(&peer.mailbox, term.fence).await {
            Ok(Some(cursors)) => peer.enter_lane(cursors),
            Err(cause) if peer.note_stale(&cause) => return,
            Ok(None) | Err(_) => {}
        }
        let told = peer.lane_may_be_free();
        let again = term.ended.run_until_cancelled(timeout(LANE_AGAIN, told));
        if peer.has_lane() || again.await.is_none() {
            return;
        }
    }
}
