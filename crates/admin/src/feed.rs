//! Changes of each second, for all streams of the status together. Nothing runs while no stream
//! is open.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, Receiver};
use tokio::time::{Instant, sleep_until};

use crate::model::{Orphan, Peer, Ready, Refusal, Status};
use crate::sse;

/// Time between two looks at the service.
const SECOND: Duration = Duration::from_secs(1);
/// Number of changes that a stream may be behind before it ends.
const BEHIND: usize = 32;
/// Number of seconds after which the orphans are looked for again, which the store has to count.
const ORPHANS: u32 = 60;

/// The changes of each second.
#[derive(Debug)]
pub(crate) struct Feed {
    ticks: broadcast::Sender<Bytes>,
    /// The state that all open streams know; `None` if there are none.
    known: Mutex<Option<Known>>,
    opened: Notify,
}

/// The service as it is in a second.
pub(crate) struct Seen {
    pub(crate) peers: Vec<Peer>,
    pub(crate) ready: Ready,
    pub(crate) refusals: Vec<Refusal>,
}

#[derive(Debug)]
struct Known {
    peers: BTreeMap<String, Peer>,
    ready: Ready,
    refusals: Vec<Refusal>,
    orphans: Vec<Orphan>,
}

/// The changes of a second.
#[derive(Default, Serialize)]
struct Changes {
    peers: Vec<Peer>,
    removed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<Ready>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusals: Option<Vec<Refusal>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    orphans: Option<Vec<Orphan>>,
}

impl Feed {
    pub(crate) fn new() -> Self {
        let (known, opened) = (Mutex::default(), Notify::new());
        Self { ticks: broadcast::channel(BEHIND).0, known, opened }
    }

    /// Returns a receiver of all changes from now on.
    pub(crate) fn subscribe(&self) -> Receiver<Bytes> {
        self.ticks.subscribe()
    }

    /// Begins to look for changes, after a subscriber was told everything.
    pub(crate) fn begin(&self, told: &Status) {
        self.lock().get_or_insert_with(|| Known::of(told));
        self.opened.notify_one();
    }

    /// Looks for changes once in a second while a stream is open. `orphans` is `None` if the store cannot
    /// count them.
    pub(crate) async fn run<O>(&self, look: impl Fn() -> Seen, orphans: impl Fn() -> O)
    where
        O: Future<Output = Option<Vec<Orphan>>>,
    {
        loop {
            self.opened.notified().await;
            let mut next = Instant::now() + SECOND;
            let mut seconds: u32 = 0;
            while self.is_wanted() {
                sleep_until(next).await;
                next = Instant::now() + SECOND;
                seconds = seconds.wrapping_add(1);
                let orphans = match seconds % ORPHANS {
                    0 => orphans().await,
                    _ => None,
                };
                self.tell(look(), orphans);
            }
        }
    }

    /// Returns whether anybody wants changes. If not, nothing is known any more.
    fn is_wanted(&self) -> bool {
        let mut known = self.lock();
        if self.ticks.receiver_count() == 0 {
            *known = None;
        }
        known.is_some()
    }

    /// Tells all streams what has changed.
    fn tell(&self, seen: Seen, orphans: Option<Vec<Orphan>>) {
        let Seen { peers, ready, refusals } = seen;
        let mut known = self.lock();
        let Some(known) = known.as_mut() else { return };
        let changes = Changes {
            removed: known.take_peers(&peers),
            peers: peers.into_iter().filter(|peer| known.takes(peer)).collect(),
            ready: replaced(&mut known.ready, ready),
            refusals: replaced(&mut known.refusals, refusals),
            orphans: orphans.and_then(|orphans| replaced(&mut known.orphans, orphans)),
        };
        if changes.is_any()
            && let Some(event) = sse::event("peers", &changes)
        {
            let _ = self.ticks.send(event); // whoever wanted it may be gone
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    fn is_any(&self) -> bool {
        let lists = self.peers.is_empty() && self.removed.is_empty();
        !lists || self.ready.is_some() || self.refusals.is_some() || self.orphans.is_some()
    }
}

impl Known {
    fn of(told: &Status) -> Self {
        let peers = told.peers.iter().map(|peer| (peer.name.clone(), peer.clone()));
        Self {
            peers: peers.collect(),
            ready: told.ready.clone(),
            refusals: told.refusals.clone(),
            orphans: told.orphans.clone(),
        }
    }

    /// Forgets the peers that are not among these, and returns their names. Both are sorted.
    fn take_peers(&mut self, present: &[Peer]) -> Vec<String> {
        let is_here = |name: &String| present.binary_search_by(|peer| peer.name.cmp(name)).is_ok();
        let gone: Vec<String> = self.peers.keys().filter(|name| !is_here(name)).cloned().collect();
        for name in &gone {
            self.peers.remove(name);
        }
        gone
    }

    /// Takes a peer, and returns whether it has changed.
    fn takes(&mut self, peer: &Peer) -> bool {
        let changed = self.peers.get(&peer.name).is_none_or(|before| differs(before, peer));
        if changed {
            self.peers.insert(peer.name.clone(), peer.clone());
        }
        changed
    }
}

/// Returns whether a peer has changed. That its oldest message gets older is no change.
fn differs(before: &Peer, now: &Peer) -> bool {
    let (was, is) = (before.outbox.oldest_seconds, now.outbox.oldest_seconds);
    if is < was {
        return true;
    }
    let mut same_age = before.clone();
    same_age.outbox.oldest_seconds = is;
    same_age != *now
}

/// Replaces a value, and returns the new one if they differ.
fn replaced<T: PartialEq + Clone>(place: &mut T, new: T) -> Option<T> {
    if *place == new {
        return None;
    }
    place.clone_from(&new);
    Some(new)
}
