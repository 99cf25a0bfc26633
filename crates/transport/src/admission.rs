//! Limits on pending connections. Implements the part of `docs/protocol.md` §9 that applies before
//! a peer is authenticated.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Limits;
use crate::prefix::{self, Prefix};

/// Time for which a connection whose request was answered keeps its place among those of its
/// address, to send its hello.
const ANSWERED: Duration = Duration::from_millis(250);

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
    /// The attempts of addresses that have failed.
    attempts: LruCache<Prefix, Bucket>,
    /// Addresses from which connections were established.
    known: LruCache<Prefix, ()>,
}

#[derive(Debug)]
struct Entry {
    from: Option<Prefix>,
    /// Whether a connection from its address was established before.
    known: bool,
    /// The time at which its request was answered. Before that, it is silent.
    answered: Option<Instant>,
    evicted: CancellationToken,
}

/// The attempts that one address has left.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    since: Instant,
}

/// A connection that is not established yet. Dropping it frees what it counts against.
#[derive(Debug)]
pub(crate) struct PendingConnection {
    admission: Arc<Admission>,
    number: u64,
    from: OnceLock<Prefix>,
    answered: AtomicBool,
    authentic: AtomicBool,
    evicted: CancellationToken,
}

/// What a pending connection is to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Awaited {
    Request,
    Hello,
    Ready,
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
        let (attempts, known) = (LruCache::new(addresses), LruCache::new(addresses));
        let state = Mutex::new(State { next: 0, pending: BTreeMap::new(), attempts, known });
        Arc::new(Self { limits, state })
    }

    /// Admits a connection. One that comes through a proxy has no address yet. Another one may be
    /// evicted for it; `chance` is a random number in `0.0..1.0`.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        now: Instant,
        chance: impl FnOnce() -> f64,
    ) -> Result<PendingConnection, LimitReached> {
        let mut state = self.lock();
        let from = address.map(Prefix::from);
        if let Some(from) = from {
            state.make_room_at(from, &self.limits, now)?;
        }
        let number = state.next;
        state.next += 1;
        let evicted = CancellationToken::new();
        let known = from.is_some_and(|from| state.known.get(&from).is_some());
        let entry = Entry { from, known, answered: None, evicted: evicted.clone() };
        state.pending.insert(number, entry);
        if state.pending.len() > self.limits.pending {
            state.evict_from_fullest(&self.limits, chance);
        }
        let from = from.map_or_else(OnceLock::new, OnceLock::from);
        let (answered, authentic) = (AtomicBool::new(false), AtomicBool::new(false));
        let admission = Arc::clone(self);
        Ok(PendingConnection { admission, number, from, answered, authentic, evicted })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingConnection {
    /// Sets the address that a proxy reports, and checks its limits.
    pub(crate) fn resolve(&self, address: IpAddr, now: Instant) -> Result<(), LimitReached> {
        let mut state = self.admission.lock();
        let from = Prefix::from(address);
        state.make_room_at(from, &self.admission.limits, now)?;
        let known = state.known.get(&from).is_some();
        if let Some(entry) = state.pending.get_mut(&self.number) {
            (entry.from, entry.known) = (Some(from), known);
        }
        let _ = self.from.set(from); // a connection has one request
        Ok(())
    }

    /// Ends the silence: the request was answered, and the hello is awaited.
    pub(crate) fn answered(&self, now: Instant) {
        self.answered.store(true, Ordering::Relaxed);
        if let Some(entry) = self.admission.lock().pending.get_mut(&self.number) {
            entry.answered = Some(now);
        }
    }

    /// Stops counting as pending: the peer is authenticated.
    pub(crate) fn authenticated(&self) {
        self.authentic.store(true, Ordering::Relaxed);
        self.admission.lock().pending.remove(&self.number);
    }

    /// Keeps room for the next connections from its address: this one is established.
    pub(crate) fn established(self) {
        if let Some(from) = self.from.get() {
            self.admission.lock().known.put(*from, ());
        }
    }

    /// Charges its address for a malformed request or a hello that failed.
    pub(crate) fn failed(self, now: Instant) {
        if let Some(from) = self.from.get() {
            self.admission.lock().charge(*from, &self.admission.limits, now);
        }
    }

    /// Returns what it is to send next.
    pub(crate) fn awaited(&self) -> Awaited {
        match (self.answered.load(Ordering::Relaxed), self.authentic.load(Ordering::Relaxed)) {
            (_, true) => Awaited::Ready,
            (true, false) => Awaited::Hello,
            (false, false) => Awaited::Request,
        }
    }

    /// Resolves when this connection is evicted.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for PendingConnection {
    fn drop(&mut self) {
        self.admission.lock().pending.remove(&self.number);
    }
}

impl State {
    /// Makes room for one more connection from an address, whose oldest silent one gives way. There
    /// is no room if it may have failed too often by the time that all of them are done.
    fn make_room_at(
        &mut self,
        from: Prefix,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), LimitReached> {
        let attempts = self.attempts_left(from, limits, now);
        if attempts == 0 {
            return Err(LimitReached::TooManyAttempts);
        }
        let places = limits.pending_per_address.min(attempts as usize);
        loop {
            let here = || self.pending.iter().filter(|(_, entry)| entry.from == Some(from));
            if here().count() < places {
                return Ok(());
            }
            let late = |answered: Instant| answered + ANSWERED <= now;
            let silent = here().find(|(_, entry)| entry.answered.is_none());
            let victim =
                silent.or_else(|| here().find(|(_, entry)| entry.answered.is_some_and(late)));
            let victim = victim.map(|(number, _)| *number).ok_or(LimitReached::TooManyPending)?;
            self.evict(victim);
        }
    }

    /// Evicts a connection from the fullest network: the oldest silent one of the older half, or
    /// else any of that half. An honest client is seldom among them, because it is pending only
    /// for a few round trips. Known addresses are spared while they take up no more than half.
    fn evict_from_fullest(&mut self, limits: &Limits, chance: impl FnOnce() -> f64) {
        let known = self.pending.values().filter(|entry| entry.known).count();
        let spares_known = known <= limits.pending / 2;
        let entries = self.pending.iter().filter(|(_, entry)| !(spares_known && entry.known));
        let mut older =
            prefix::fullest(entries.map(|(number, entry)| (entry.from, *number)).collect());
        older.truncate(older.len().div_ceil(2));
        let silent = |number: &&u64| self.pending[*number].answered.is_none();
        let victim = older.iter().find(silent).or_else(|| {
            let index = (chance() * older.len() as f64) as usize;
            older.get(index).or(older.last())
        });
        if let Some(victim) = victim.copied() {
            self.evict(victim);
        }
    }

    fn evict(&mut self, number: u64) {
        if let Some(entry) = self.pending.remove(&number) {
            entry.evicted.cancel();
        }
    }

    fn attempts_left(&mut self, from: Prefix, limits: &Limits, now: Instant) -> u32 {
        self.attempts.get_mut(&from).map_or(limits.attempts, |bucket| {
            bucket.refill(limits, now);
            bucket.tokens
        })
    }

    fn charge(&mut self, from: Prefix, limits: &Limits, now: Instant) {
        let full = || Bucket { tokens: limits.attempts, since: now };
        let bucket = self.attempts.get_or_insert_mut(from, full);
        bucket.refill(limits, now);
        bucket.tokens = bucket.tokens.saturating_sub(1);
    }
}

impl Bucket {
    fn refill(&mut self, limits: &Limits, now: Instant) {
        let interval = limits.attempt_interval.as_nanos().max(1);
        let earned = now.saturating_duration_since(self.since).as_nanos() / interval;
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if self.tokens.saturating_add(earned) >= limits.attempts {
            *self = Self { tokens: limits.attempts, since: now };
        } else {
            self.tokens += earned;
            self.since += limits.attempt_interval * earned;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn limits() -> Limits {
        Limits { pending: 6, pending_per_address: 3, attempts: 4, ..Limits::default() }
    }

    /// Enters at `now`; chance picks the oldest.
    fn enter(
        admission: &Arc<Admission>,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<PendingConnection, LimitReached> {
        admission.enter(address, now, || 0.0)
    }

    fn is_evicted(pending: &PendingConnection) -> bool {
        pending.evicted.is_cancelled()
    }

    #[test]
    fn an_address_has_a_limited_number_of_failures_and_earns_new_ones() {
        let admission = Admission::new(limits());
        let start = Instant::now();
        let attempt =
            |address, now| enter(&admission, ip(address), now).map(|pending| pending.failed(now));
        for _ in 0..4 {
            attempt("192.0.2.1", start).unwrap();
        }
        let refused = attempt("192.0.2.1", start).unwrap_err();
        assert_eq!(refused, LimitReached::TooManyAttempts);
        attempt("192.0.2.2", start).unwrap();
        let later = start + Duration::from_secs(5);
        attempt("::ffff:192.0.2.1", later).unwrap();
        attempt("192.0.2.1", later).unwrap();
        assert!(attempt("192.0.2.1", later).is_err(), "only two were earned");
        assert!(attempt("192.0.2.1", start + Duration::from_secs(6)).is_ok());
    }

    #[test]
    fn a_connection_that_sends_nothing_costs_no_attempt() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        for _ in 0..100 {
            drop(enter(&admission, ip("192.0.2.1"), now).unwrap());
        }
        assert_eq!(admission.lock().attempts.len(), 0);
    }

    #[test]
    fn connections_that_are_pending_at_the_same_time_cannot_fail_more_often_than_allowed() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        for _ in 0..2 {
            enter(&admission, ip("192.0.2.1"), now).unwrap().failed(now);
        }
        let held: Vec<_> =
            (0..3).map(|_| enter(&admission, ip("192.0.2.1"), now).unwrap()).collect();
        let gone: Vec<_> = held.iter().map(is_evicted).collect();
        assert_eq!(gone, [true, false, false], "two attempts are left");
    }

    #[test]
    fn within_an_address_the_oldest_silent_connection_gives_way() {
        let admission = Admission::new(limits());
        let start = Instant::now();
        // an IPv6 /64 counts as one address
        let held = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"]
            .map(|address| enter(&admission, ip(address), start).unwrap());
        held[0].answered(start);
        let fourth = enter(&admission, ip("2001:db8::9"), start).unwrap();
        assert_eq!(held.each_ref().map(is_evicted), [false, true, false]);
        enter(&admission, ip("2001:db8:0:1::1"), start).unwrap();

        fourth.answered(start);
        held[2].answered(start);
        let refused = enter(&admission, ip("2001:db8::9"), start).unwrap_err();
        assert_eq!(refused, LimitReached::TooManyPending, "all of them are answered just now");
        enter(&admission, ip("2001:db8::9"), start + ANSWERED).unwrap();
        assert!(is_evicted(&held[0]), "it had its time");
    }

    #[test]
    fn the_fullest_network_loses_its_oldest_connection() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        let addresses = ["192.0.2.1", "192.0.3.1", "192.0.4.1", "192.1.2.1", "192.2.2.1", "::1"];
        let held = addresses.map(|address| enter(&admission, ip(address), now).unwrap());
        let newcomer = enter(&admission, ip("198.51.100.5"), now).unwrap();
        assert_eq!(held.each_ref().map(is_evicted), [true, false, false, false, false, false]);
        assert!(!is_evicted(&newcomer));
    }

    #[test]
    fn of_the_older_half_silent_ones_go_first_and_else_chance_decides() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        let mut held: Vec<_> = (1..=6)
            .map(|network| enter(&admission, ip(&format!("{network}.0.2.1")), now).unwrap())
            .collect();
        held[0].answered(now);
        held[2].answered(now);
        held.push(enter(&admission, ip("7.0.2.1"), now).unwrap());
        assert!(is_evicted(&held[1]), "the oldest silent one");
        held.iter().for_each(|pending| pending.answered(now));
        held.push(admission.enter(ip("8.0.2.1"), now, || 0.99).unwrap());
        let gone: Vec<_> = held.iter().map(is_evicted).collect();
        // the older half of the seven that are left: 0, 2, 3, 4
        assert_eq!(gone, [false, true, false, false, true, false, false, false]);
    }

    #[test]
    fn known_addresses_are_spared_up_to_half() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        for last in 1..=4 {
            enter(&admission, ip(&format!("192.0.2.{last}")), now).unwrap().established();
        }
        let known: Vec<_> = (1..=3)
            .map(|last| enter(&admission, ip(&format!("192.0.2.{last}")), now).unwrap())
            .collect();
        let mut strangers = Vec::new();
        for network in 1..100 {
            strangers.push(enter(&admission, ip(&format!("{network}.0.2.1")), now).unwrap());
        }
        assert!(!known.iter().any(is_evicted));
        assert_eq!(strangers.iter().filter(|pending| !is_evicted(pending)).count(), 3);
        enter(&admission, ip("192.0.2.4"), now).unwrap();
        assert!(is_evicted(&known[0]), "they are the fullest network, and more than half");
    }

    #[test]
    fn an_authenticated_connection_is_not_pending_and_is_never_evicted() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        let inside: Vec<_> = (0..20)
            .map(|_| enter(&admission, ip("192.0.2.1"), now).unwrap())
            .inspect(PendingConnection::authenticated)
            .collect();
        assert_eq!(admission.lock().pending.len(), 0);
        let full: Vec<_> = (1..=20)
            .map(|last| enter(&admission, ip(&format!("192.0.2.{last}")), now).unwrap())
            .collect();
        assert_eq!(full.iter().filter(|pending| !is_evicted(pending)).count(), 6);
        assert!(!inside.iter().any(is_evicted));
        assert_eq!(inside[0].awaited(), Awaited::Ready);
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let admission = Admission::new(Limits { addresses: 10, ..limits() });
        let now = Instant::now();
        for last in 0..100 {
            enter(&admission, ip(&format!("192.0.2.{last}")), now).unwrap().failed(now);
            enter(&admission, ip(&format!("192.0.3.{last}")), now).unwrap().established();
        }
        let state = admission.lock();
        assert_eq!((state.attempts.len(), state.known.len(), state.pending.len()), (10, 10, 0));
    }

    #[test]
    fn an_address_behind_a_proxy_counts_once_it_is_known() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        let client = "192.0.2.1".parse().unwrap();
        let held: Vec<_> = (0..4).map(|_| enter(&admission, None, now).unwrap()).collect();
        for pending in &held[..3] {
            pending.resolve(client, now).unwrap();
            pending.answered(now);
        }
        assert_eq!(held[3].resolve(client, now), Err(LimitReached::TooManyPending));
        for pending in held {
            pending.failed(now);
        }
        let next = enter(&admission, None, now).unwrap();
        next.resolve(client, now).unwrap();
        next.failed(now);
        let last = enter(&admission, None, now).unwrap();
        assert_eq!(last.resolve(client, now), Err(LimitReached::TooManyAttempts));
    }
}
