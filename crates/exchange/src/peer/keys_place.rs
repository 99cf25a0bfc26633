//! Where a peer has the keys of its link. Until something happens to them, they are a ring and nothing else:
//! most peers of a large server are never connected.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use paddington_wire::keys::{KeyRing, Role};

use super::Peer;
use super::keys::{KeyMatters, LinkKeys};

/// The keys of a peer's link, if they have generations.
#[derive(Default)]
pub(super) struct KeysPlace {
    /// Those to which something has happened.
    begun: OnceLock<Arc<LinkKeys>>,
    /// Those to which nothing has. They leave with the first call, so that nobody keeps keys that others
    /// replace.
    untouched: Mutex<Option<Untouched>>,
}

/// Keys to which nothing has happened.
struct Untouched {
    role: Role,
    ring: Arc<KeyRing>,
    common: Arc<KeyMatters>,
}

impl KeysPlace {
    /// Puts keys here, to which nothing has happened; once, before anything does.
    pub(super) fn put(&self, role: Role, ring: Arc<KeyRing>, common: Arc<KeyMatters>) {
        *self.lock() = Some(Untouched { role, ring, common });
    }

    /// Puts those of an earlier term here; once, before anything happens.
    pub(super) fn share(&self, keys: Arc<LinkKeys>) {
        let _ = self.begun.set(keys);
    }

    /// Returns the keys, to which something is about to happen.
    pub(super) fn get(&self) -> Option<&Arc<LinkKeys>> {
        if self.begun.get().is_none() {
            // Under the lock, so that nobody finds neither.
            let mut untouched = self.lock();
            if let Some(Untouched { role, ring, common }) = untouched.take() {
                let _ = self.begun.set(Arc::new(LinkKeys::new(role, ring, common)));
            }
        }
        self.begun.get()
    }

    /// Returns the keys, if anything has happened to them.
    pub(super) fn begun(&self) -> Option<&Arc<LinkKeys>> {
        self.begun.get()
    }

    /// Returns the generations.
    pub(super) fn ring(&self) -> Option<Arc<KeyRing>> {
        let untouched = self.lock();
        match (&*untouched, self.begun.get()) {
            (Some(untouched), _) => Some(Arc::clone(&untouched.ring)),
            (None, begun) => begun.map(|keys| keys.ring()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Untouched>> {
        self.untouched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    /// Gives the peer the keys of its link; once, before anything happens.
    pub(crate) fn set_keys(&self, role: Role, ring: Arc<KeyRing>, common: Arc<KeyMatters>) {
        self.keys.put(role, ring, common);
    }

    /// Gives the peer the keys of an earlier term; once, before anything happens.
    pub(crate) fn share_keys(&self, earlier: &Self) {
        if let Some(keys) = earlier.keys() {
            self.keys.share(Arc::clone(keys));
        }
    }

    /// Returns the keys of its link, to which something is about to happen, if they have generations.
    pub(crate) fn keys(&self) -> Option<&Arc<LinkKeys>> {
        self.keys.get()
    }

    /// Returns the generations of the keys of its link, if they have any.
    pub(crate) fn ring(&self) -> Option<Arc<KeyRing>> {
        self.keys.ring()
    }

    /// Returns whether there is a session with a peer that cannot store new keys.
    pub(crate) fn are_keys_fixed(&self) -> bool {
        self.keys.begun().is_some_and(|keys| keys.are_fixed_by_peer())
    }
}
