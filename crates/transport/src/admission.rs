//! Limits on pending connections. Implements the part of `docs/protocol.md` §9 that applies before
//! a peer is authenticated.

mod attempts;
mod crowds;
mod pending;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::attempts::Attempts;
use self::crowds::{Crowds, Entry};
pub(crate) use self::pending::{Awaited, PendingConnection};
use crate::Limits;
use crate::prefix::{self, Prefix};

/// The part of all places that one known address may take, behind which there may be many clients. It has
/// one more for each connection that was established from it, and at most [`CROWD_SHARE`].
const KNOWN_SHARE: usize = 32;

/// The part of all places that an address may take from which ever more clients come: half of those of all known
/// addresses.
const CROWD_SHARE: usize = 4;

/// The part of all places that is freed at once when there are none left: to choose who gives way takes time
/// that grows with the number of places, and a flood must not cause it with each connection.
const FREED_SHARE: usize = 32;

/// The limits on pending connections, and those connections. Each is represented by a
/// [`PendingConnection`] until it is established or gone, but counts as pending only until it is
/// authenticated.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u64,
    /// Pending connections by age: the lowest number is the oldest.
    pending: BTreeMap<u64, Entry>,
    /// The same by where they come from: those of known addresses, and all others.
    crowds: Crowds,
    /// The attempts of addresses that have failed.
    attempts: Attempts,
    /// Addresses from which connections were established, and how many, as far as that counts.
    known: LruCache<Prefix, usize>,
}

/// The limit that a connection exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitReached {
    TooManyAttempts,
    TooManyPending,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let addresses = NonZeroUsize::new(limits.addresses).unwrap_or(NonZeroUsize::MIN);
        let (attempts, known) = (Attempts::new(addresses), LruCache::new(addresses));
        let (pending, crowds) = (BTreeMap::new(), Crowds::default());
        let state = Mutex::new(State { next: 0, pending, crowds, attempts, known });
        Arc::new(Self { limits: Limits { pending: limits.places(), ..limits }, state })
    }

    /// Admits a connection. One that comes through a proxy has no address yet. Others may be
    /// evicted for it; `chance` gives random numbers in `0.0..1.0`.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        now: Instant,
        chance: impl FnMut() -> f64,
    ) -> Result<PendingConnection, LimitReached> {
        let mut state = self.lock();
        let from = address.map(Prefix::from);
        if let Some(from) = from {
            state.make_room_at(from, &self.limits, now)?;
        }
        let number = state.next;
        state.next += 1;
        let evicted = CancellationToken::new();
        let known = from.is_some_and(|from| state.known.contains(&from));
        state.insert(number, Entry { from, known, answered: None, evicted: evicted.clone() });
        if state.pending.len() > self.limits.pending {
            state.evict_from_fullest(&self.limits, chance);
        }
        Ok(PendingConnection::new(self, number, from, evicted))
    }

    /// Keeps room for the next connections from an address: one more was established.
    pub(crate) fn know(&self, address: impl Into<Prefix>) {
        let mut state = self.lock();
        let established = state.known.get_or_insert_mut(address.into(), || 0);
        *established = (*established + 1).min(self.limits.pending);
    }

    #[cfg(test)]
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.lock().known.contains(&Prefix::from(address))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Makes room for one more connection from an address, of which others give way. There
    /// is none at an address whose attempts are used up; and elsewhere than at a known one, where they may be by the
    /// time that all of them are done.
    fn make_room_at(
        &mut self,
        from: Prefix,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), LimitReached> {
        let attempts = self.attempts.left(from, limits, now);
        if attempts == 0 {
            return Err(LimitReached::TooManyAttempts);
        }
        let places = limits.pending_per_address.min(attempts as usize);
        let crowd = self.crowd_at(from, attempts, limits);
        // Where a crowd has lost places by a failure, those that are there already may stay.
        let mut most = if crowd > places { 1 } else { usize::MAX };
        while let Some(here) = self.crowds.at.get(&from)
            && here.len() >= places.max(crowd)
            && most > 0
        {
            let victim = here.victim(now).ok_or(LimitReached::TooManyPending)?;
            self.evict(victim);
            most -= 1;
        }
        Ok(())
    }

    /// Returns the number of places that a known address has, of which attempts may have failed lately.
    fn crowd_at(&self, from: Prefix, attempts: u32, limits: &Limits) -> usize {
        let Some(established) = self.known.peek(&from) else { return 0 };
        let crowd = limits.pending / KNOWN_SHARE + established;
        let crowd = crowd.min(limits.pending / CROWD_SHARE);
        crowd.saturating_mul(attempts as usize) / limits.attempts.max(1) as usize
    }

    /// Evicts connections from the fullest network: silent ones of the older half, the oldest first, or
    /// else any of that half. An honest client is seldom among them, because it is pending only
    /// for a few round trips. Known addresses and all others have half of the places each, and whoever
    /// takes more than half loses some.
    fn evict_from_fullest(&mut self, limits: &Limits, mut chance: impl FnMut() -> f64) {
        let spares_known = self.crowds.known.len() <= limits.pending / 2;
        let crowd = self.crowds.of(!spares_known);
        let beyond_half = crowd.len().saturating_sub(limits.pending / 2);
        let mut older = prefix::fullest(crowd.iter().copied().collect());
        older.truncate(older.len().div_ceil(2));
        let most = beyond_half.min(limits.pending / FREED_SHARE);
        let mut freed = most.min(older.len() / 2).max(1);
        let is_silent = |number: &u64| self.pending[number].answered.is_none();
        let (silent, mut answered): (Vec<u64>, Vec<u64>) = older.into_iter().partition(is_silent);
        for number in silent.into_iter().take(freed) {
            self.evict(number);
            freed -= 1;
        }
        while freed > 0 && !answered.is_empty() {
            let index = (chance() * answered.len() as f64) as usize;
            self.evict(answered.swap_remove(index.min(answered.len() - 1)));
            freed -= 1;
        }
    }

    fn evict(&mut self, number: u64) {
        if let Some(entry) = self.remove(number) {
            entry.evicted.cancel();
        }
    }

    fn insert(&mut self, number: u64, entry: Entry) {
        self.crowds.add(number, &entry);
        self.pending.insert(number, entry);
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.pending.remove(&number)?;
        self.crowds.remove(number, &entry);
        Some(entry)
    }
}
