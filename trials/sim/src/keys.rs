//! Where a host keeps the keys of its links: it outlives the process, may be slow or fail, and notices
//! what must never be stored (`docs/protocol.md` §3.6).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use paddington::{HandlerError, KeyStore};
use paddington_test_support::Random;
use paddington_wire::PeerName;
use paddington_wire::keys::{Generation, KeyRing, Origin};
use tokio::time::sleep;

use crate::ledger::{Bound, Ledger};

/// The most generations of a link, and the most burned ones.
const GENERATIONS: usize = 3;
const BURNED: usize = 2;

/// The keys of all links of a host.
pub(crate) struct KeyDisk {
    links: Mutex<BTreeMap<PeerName, Kept>>,
    /// The longest time that storing takes.
    lag: Duration,
    random: Mutex<Random>,
    is_broken: AtomicBool,
    ledger: Ledger,
}

/// The keys of a link, and a copy that was made before the newest of them came.
#[derive(Clone)]
struct Kept {
    ring: Arc<KeyRing>,
    copy: Option<Arc<KeyRing>>,
}

impl KeyDisk {
    pub(crate) fn new(lag: Duration, random: Random, ledger: Ledger) -> Arc<Self> {
        Arc::new(Self {
            links: Mutex::default(),
            lag,
            random: Mutex::new(random),
            is_broken: AtomicBool::new(false),
            ledger,
        })
    }

    /// Keeps the keys of a new link.
    pub(crate) fn begin(&self, peer: PeerName, ring: Arc<KeyRing>) {
        lock(&self.links).insert(peer, Kept { ring, copy: None });
    }

    /// Opens it for one instance of the service.
    pub(crate) fn open(self: &Arc<Self>) -> Arc<dyn KeyStore> {
        Arc::new(OpenKeys { disk: Arc::clone(self), is_closed: Arc::default() })
    }

    /// Returns the keys of the link with a peer, as they would be after a crash now.
    pub(crate) fn ring(&self, peer: &PeerName) -> Option<Arc<KeyRing>> {
        lock(&self.links).get(peer).map(|kept| Arc::clone(&kept.ring))
    }

    /// Makes storing fail, or work again.
    pub(crate) fn set_broken(&self, is_broken: bool) {
        self.is_broken.store(is_broken, Ordering::Relaxed);
    }

    /// Puts the keys of the link with a peer back to the copy, if its newest generation is still among
    /// `others`, the keys of the other side. Returns whether they are.
    pub(crate) fn restore(&self, peer: &PeerName, others: &KeyRing) -> bool {
        let mut links = lock(&self.links);
        let Some(kept) = links.get_mut(peer) else { return false };
        let copy = kept.copy.take_if(|copy| {
            newest(copy).is_some_and(|it| {
                let same = others.generation(it.number());
                same.is_some_and(|same| same.keys() == it.keys())
            })
        });
        let is_restored = copy.is_some();
        kept.ring = copy.unwrap_or_else(|| Arc::clone(&kept.ring));
        is_restored
    }

    fn put(&self, peer: &PeerName, ring: Arc<KeyRing>) {
        let (generations, burned) = (ring.generations(), ring.burned());
        if !(1..=GENERATIONS).contains(&generations.len()) || burned.len() > BURNED {
            let counts = (generations.len(), burned.len());
            self.ledger.failed(format!("{counts:?} generations and burned ones with {peer}"));
        }
        let mut links = lock(&self.links);
        let Some(kept) = links.get_mut(peer) else {
            return self.ledger.failed(format!("keys of {peer} are stored, who is not known"));
        };
        let before = std::mem::replace(&mut kept.ring, ring);
        if newest(&before).map(Generation::number) != newest(&kept.ring).map(Generation::number) {
            kept.copy = Some(before);
            self.ledger.reached(Bound::Renewal);
        }
    }
}

/// The newest generation of a ring.
pub(crate) fn newest(ring: &KeyRing) -> Option<&Generation> {
    ring.generations().last()
}

/// Returns what is wrong with the keys of both sides of a link in which all is quiet, if something is.
pub(crate) fn disagreement(server: &KeyRing, client: &KeyRing) -> Option<&'static str> {
    let same = match (newest(server), newest(client)) {
        (Some(ours), Some(theirs)) => {
            ours.number() == theirs.number() && ours.keys() == theirs.keys()
        }
        _ => false,
    };
    let handed_over = |ring: &KeyRing| {
        ring.generations().iter().any(|generation| generation.origin() == Origin::HandedOver)
    };
    match same {
        false => Some("the two sides have different keys"),
        true if handed_over(server) || handed_over(client) => Some("handed-over keys are kept"),
        true if server.generations().len().max(client.generations().len()) == GENERATIONS => {
            Some("old generations are kept")
        }
        true => None,
    }
}

/// The keys as an instance of a service sees them.
struct OpenKeys {
    disk: Arc<KeyDisk>,
    is_closed: Arc<AtomicBool>,
}

impl KeyStore for OpenKeys {
    fn store(
        &self,
        peer: &PeerName,
        ring: Arc<KeyRing>,
    ) -> BoxFuture<'static, Result<(), HandlerError>> {
        let (disk, is_closed, peer) =
            (Arc::clone(&self.disk), Arc::clone(&self.is_closed), peer.clone());
        // A process that is killed in the first wait has not stored them, in the second it has.
        let [before, after] = [(), ()].map(|()| lock(&disk.random).up_to(disk.lag / 2));
        Box::pin(async move {
            sleep(before).await;
            if disk.is_broken.load(Ordering::Relaxed) {
                return Err("as planned".into());
            }
            if is_closed.load(Ordering::Relaxed) {
                disk.ledger.failed(format!("keys of {peer} are stored after the end"));
            }
            disk.put(&peer, ring);
            sleep(after).await;
            Ok(())
        })
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for OpenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenKeys").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
