//! When the requests of this side are over time: one look at a time for each peer that has some, instead of a
//! timer for each request. Most have their answer long before, and then nothing is to be done.

use std::collections::BTreeMap;
use std::collections::btree_map::OccupiedEntry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Peer;

/// The next look at the requests of each peer that has some with a deadline.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// By time and place in memory of the peer.
    planned: Mutex<BTreeMap<(Instant, usize), Weak<Peer>>>,
    /// Notified whenever another look is the first one.
    news: Notify,
}

impl Looks {
    /// Plans the next look at the requests of `peer`, instead of the one that was planned `before`.
    pub(super) fn plan(&self, peer: &Arc<Peer>, before: Option<Instant>, at: Instant) {
        let place = Arc::as_ptr(peer) as usize;
        let mut planned = self.lock();
        before.and_then(|before| planned.remove(&(before, place)));
        planned.insert((at, place), Arc::downgrade(peer));
        let is_first = planned.keys().next() == Some(&(at, place));
        drop(planned);
        if is_first {
            self.news.notify_one();
        }
    }

    /// Looks at each peer when it is time, until `end`.
    pub(crate) async fn run(&self, end: impl Future) {
        tokio::select! {
            biased;
            _ = end => {}
            () = self.look() => {}
        }
    }

    async fn look(&self) {
        loop {
            let first = self.lock().keys().next().map(|(at, _)| *at);
            let first = async {
                match first {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.news.notified() => continue,
                () = first => {}
            }
            let now = Instant::now();
            while let Some(peer) = self.take(now) {
                if let Some(peer) = peer.upgrade() {
                    peer.end_overdue(now);
                }
            }
        }
    }

    /// Takes out a look whose time has come.
    fn take(&self, now: Instant) -> Option<Weak<Peer>> {
        let mut planned = self.lock();
        let first = planned.first_entry().filter(|first| first.key().0 <= now);
        first.map(OccupiedEntry::remove)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Instant, usize), Weak<Peer>>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
