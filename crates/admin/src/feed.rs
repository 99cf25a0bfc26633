//! Changes of each second, for all streams of the status together. Nothing runs while no stream
//! is open.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, Receiver};
use tokio::time::{Instant, sleep, sleep_until};

use crate::model::{Orphan, Peer, Ready, Refusal, Status};
use crate::sse;

/// Time between two looks at the service.
const SECOND: Duration = Duration::from_secs(1);
/// Number of changes that a stream may be behind before it ends.
const BEHIND: usize = 32;
/// Time between two questions to the store for the orphans, which it has to count.
const ORPHANS: Duration = Duration::from_secs(60);
/// Time until it is asked again after it has not told them.
const ORPHANS_AGAIN: Duration = Duration::from_secs(5);
/// Time between two questions to the database that replicas share: which of them own the links.
const OWNERS: Duration = Duration::from_secs(5);

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
    orphans: Orphans,
}

/// The orphans; `None` if the store has not told them.
type Orphans = Option<Vec<Orphan>>;

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
    orphans: Option<Orphans>,
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
        let mut known = self.lock();
        let known = known.get_or_insert_with(|| Known::of(told));
        if told.orphans.is_none() {
            known.orphans = None; // one stream does not know them: the next answer is told to all
        }
        self.opened.notify_one();
    }

    /// Looks for changes once in a second while a stream is open. `orphans` asks for the orphans and `owners` for the
    /// owners of links, of which the next look tells; none waits for an answer.
    pub(crate) async fn run<O, A>(
        &self,
        look: impl Fn() -> Seen,
        orphans: impl Fn() -> O,
        owners: impl Fn() -> A,
    ) where
        O: Future<Output = Orphans>,
        A: Future<Output = ()>,
    {
        loop {
            self.opened.notified().await;
            // What the store has answered since the last look.
            let answer: Mutex<Option<Orphans>> = Mutex::new(None);
            let looks = async {
                let mut next = Instant::now() + SECOND;
                while self.is_wanted() {
                    sleep_until(next).await;
                    next = Instant::now() + SECOND;
                    let orphans = lock(&answer).take();
                    self.tell(look(), orphans);
                }
            };
            let of_orphans = async {
                let mut are_known = self.knows_orphans();
                loop {
                    sleep(if are_known { ORPHANS } else { ORPHANS_AGAIN }).await;
                    let told = orphans().await;
                    are_known = told.is_some();
                    *lock(&answer) = Some(told);
                }
            };
            let of_owners = async {
                loop {
                    sleep(OWNERS).await;
                    owners().await;
                }
            };
            tokio::select! {
                () = looks => {}
                () = of_orphans => {}
                () = of_owners => {}
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

    fn knows_orphans(&self) -> bool {
        self.lock().as_ref().is_some_and(|known| known.orphans.is_some())
    }

    /// Tells all streams what has changed. `orphans` is what the store has answered, if it has.
    fn tell(&self, seen: Seen, orphans: Option<Orphans>) {
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
        lock(&self.known)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;
    use tokio::time::timeout;

    use super::*;

    fn nothing_is_known() -> Status {
        let status = json!({
            "service": {
                "name": "hub", "software": "", "started": "", "uptime_seconds": 0.0, "url": "",
                "handler": "api", "changes": false
            },
            "ready": {"ready": true, "reasons": []},
            "peers": [], "refusals": [], "orphans": [], "events": []
        });
        serde_json::from_value(status).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn no_look_waits_for_a_database_that_does_not_say_who_owns_the_links() {
        let (feed, looks, questions) = (Feed::new(), AtomicU32::new(0), AtomicU32::new(0));
        let look = || {
            looks.fetch_add(1, Ordering::Relaxed);
            Seen { peers: vec![], ready: nothing_is_known().ready, refusals: vec![] }
        };
        let ask = || {
            questions.fetch_add(1, Ordering::Relaxed);
            std::future::pending()
        };
        let counts = || (looks.load(Ordering::Relaxed), questions.load(Ordering::Relaxed));
        let watching = async {
            sleep(60 * SECOND).await;
            assert_eq!(counts(), (0, 0), "nobody looks");
            let stream = feed.subscribe();
            feed.begin(&nothing_is_known());
            sleep(OWNERS - SECOND / 2).await;
            assert_eq!(counts(), (4, 0));
            sleep(20 * SECOND).await;
            assert_eq!(counts(), (24, 1));
            drop(stream);
            sleep(20 * SECOND).await;
            assert_eq!(counts(), (25, 1), "it is noticed with the next look");
        };
        tokio::select! {
            () = feed.run(look, || std::future::ready(None), ask) => {}
            () = watching => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn orphans_that_the_store_has_not_told_are_unknown_and_asked_for_again() {
        let (feed, looks, questions) = (Feed::new(), AtomicU32::new(0), AtomicU32::new(0));
        let look = || {
            looks.fetch_add(1, Ordering::Relaxed);
            Seen { peers: vec![], ready: nothing_is_known().ready, refusals: vec![] }
        };
        let ask = || {
            let number = questions.fetch_add(1, Ordering::Relaxed);
            async move {
                sleep(10 * SECOND).await; // as long as a service waits for its store
                (number > 0).then(Vec::<Orphan>::new)
            }
        };
        let watching = async {
            let mut stream = feed.subscribe();
            feed.begin(&nothing_is_known());
            let begun = Instant::now();
            let mut told = async || {
                let event = timeout(100 * SECOND, stream.recv()).await.unwrap().unwrap();
                (String::from_utf8(event.into()).unwrap(), begun.elapsed().as_secs())
            };
            let event = |orphans: &str| {
                let changes = format!("{{\"peers\":[],\"removed\":[],\"orphans\":{orphans}}}");
                format!("event: peers\ndata: {changes}\n\n")
            };
            let (unknown, after) = told().await;
            assert_eq!(unknown, event("null"));
            assert!((70..=71).contains(&after), "{after} s");
            let (none, after) = told().await;
            assert_eq!(none, event("[]"));
            assert!((85..=86).contains(&after), "{after} s");
            let looks = u64::from(looks.load(Ordering::Relaxed));
            assert!(looks + 1 >= after, "{looks} looks: none has waited");
        };
        tokio::select! {
            () = feed.run(look, ask, std::future::pending) => {}
            () = watching => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_begins_without_the_orphans_is_told_them_later() {
        let feed = Feed::new();
        let seen = || Seen { peers: vec![], ready: nothing_is_known().ready, refusals: vec![] };
        let watching = async {
            let _first = feed.subscribe();
            feed.begin(&nothing_is_known());
            let mut second = feed.subscribe();
            feed.begin(&Status { orphans: None, ..nothing_is_known() });
            let event = timeout(100 * SECOND, second.recv()).await.unwrap().unwrap();
            assert!(event.ends_with(b"\"orphans\":[]}\n\n"), "{event:?}");
        };
        tokio::select! {
            () = feed.run(seen, || std::future::ready(Some(vec![])), std::future::pending) => {}
            () = watching => {}
        }
    }
}
