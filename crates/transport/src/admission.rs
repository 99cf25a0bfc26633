//! Limits on pending connections. Implements the part of `docs/protocol.md` §9 that applies before
//! a peer is authenticated.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Limits;

/// Time for which a new connection is protected from eviction, to send its request.
const SILENT: Duration = Duration::from_millis(20);
/// Time for which it is protected after its request was answered, to send its hello.
const ANSWERED: Duration = Duration::from_millis(250);

/// The limits on pending connections, and those connections. Each is represented by a
/// [`PendingConnection`] until it is established or gone, but counts as pending only until it is
/// authenticated.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    state: Mutex<State>,
    /// Notified whenever a connection stops being pending.
    freed: Notify,
}

#[derive(Debug)]
struct State {
    next: u64,
    /// Pending connections by age: the lowest number is the oldest.
    pending: BTreeMap<u64, Entry>,
    /// Connections that are authenticated but not established yet.
    inside: BTreeMap<u64, Option<Prefix>>,
    attempts: LruCache<Prefix, Bucket>,
}

#[derive(Debug)]
struct Entry {
    from: Option<Prefix>,
    /// Time until which it is protected from eviction.
    keeps: Instant,
    evicted: CancellationToken,
}

/// The unit of the limits per address: an IPv4 address, or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Prefix {
    V4(u32),
    V6(u64),
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
    evicted: CancellationToken,
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
        let attempts = LruCache::new(addresses);
        let (pending, inside) = (BTreeMap::new(), BTreeMap::new());
        let state = Mutex::new(State { next: 0, pending, inside, attempts });
        Arc::new(Self { limits, state, freed: Notify::new() })
    }

    /// Waits until a connection can be admitted without evicting one that is protected. Until then
    /// new connections stay in the operating system's queue, where they cost nothing.
    pub(crate) async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            let Some(keeps) = self.full_until(Instant::now()) else { return };
            tokio::select! {
                biased;
                () = freed => {}
                () = sleep_until(keeps) => {}
            }
        }
    }

    /// Returns when the first eviction is possible, if the limit is reached and none is yet.
    fn full_until(&self, now: Instant) -> Option<Instant> {
        let state = self.lock();
        let keeps = state.pending.values().map(|entry| entry.keeps).min();
        keeps.filter(|keeps| state.pending.len() >= self.limits.pending && *keeps > now)
    }

    /// Admits a connection. One that comes through a proxy has no address yet.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<PendingConnection, LimitReached> {
        let mut state = self.lock();
        let from = address.map(prefix);
        if let Some(from) = from {
            self.check(&mut state, from, now)?;
        }
        if state.pending.len() >= self.limits.pending {
            state.evict(now);
        }
        let number = state.next;
        state.next += 1;
        let evicted = CancellationToken::new();
        let entry = Entry { from, keeps: now + SILENT, evicted: evicted.clone() };
        state.pending.insert(number, entry);
        Ok(PendingConnection { admission: Arc::clone(self), number, evicted })
    }

    fn check(&self, state: &mut State, from: Prefix, now: Instant) -> Result<(), LimitReached> {
        let here = state.pending.values().filter(|entry| entry.from == Some(from)).count();
        if here >= self.limits.pending_per_address {
            return Err(LimitReached::TooManyPending);
        }
        let full = || Bucket { tokens: self.limits.attempts, since: now };
        let bucket = state.attempts.get_or_insert_mut(from, full);
        bucket.refill(&self.limits, now);
        bucket.tokens = bucket.tokens.checked_sub(1).ok_or(LimitReached::TooManyAttempts)?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingConnection {
    /// Sets the address that a proxy reports, and checks its limits.
    pub(crate) fn resolve(&self, address: IpAddr, now: Instant) -> Result<(), LimitReached> {
        let mut state = self.admission.lock();
        let from = prefix(address);
        self.admission.check(&mut state, from, now)?;
        if let Some(entry) = state.pending.get_mut(&self.number) {
            entry.from = Some(from);
        }
        Ok(())
    }

    /// Renews the protection from eviction: the request was answered, and the hello is awaited.
    pub(crate) fn answered(&self, now: Instant) {
        if let Some(entry) = self.admission.lock().pending.get_mut(&self.number) {
            entry.keeps = now + ANSWERED;
        }
    }

    /// Stops counting as pending: the peer is authenticated.
    pub(crate) fn authenticated(&self) {
        let mut state = self.admission.lock();
        if let Some(entry) = state.pending.remove(&self.number) {
            state.inside.insert(self.number, entry.from);
            self.admission.freed.notify_one();
        }
    }

    /// Returns the attempt to its address: the connection is established.
    pub(crate) fn established(self) {
        let mut state = self.admission.lock();
        let entry = state.pending.get(&self.number).map(|entry| entry.from);
        let from = entry.or_else(|| state.inside.get(&self.number).copied()).flatten();
        let bucket = from.and_then(|from| state.attempts.get_mut(&from));
        if let Some(bucket) = bucket {
            bucket.tokens = (bucket.tokens + 1).min(self.admission.limits.attempts);
        }
    }

    /// Resolves when this connection is evicted.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for PendingConnection {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        if state.pending.remove(&self.number).is_some() {
            self.admission.freed.notify_one();
        }
        state.inside.remove(&self.number);
    }
}

impl State {
    /// Evicts the oldest connection of the address with the most pending connections, preferring
    /// those that are no longer protected. A flood from one address thus evicts itself.
    fn evict(&mut self, now: Instant) {
        let mut counts: BTreeMap<Option<Prefix>, usize> = BTreeMap::new();
        for entry in self.pending.values() {
            *counts.entry(entry.from).or_default() += 1;
        }
        let rank = |(number, entry): &(&u64, &Entry)| {
            (entry.keeps <= now, counts[&entry.from], u64::MAX - **number)
        };
        let victim = self.pending.iter().max_by_key(rank).map(|(number, _)| *number);
        if let Some(entry) = victim.and_then(|number| self.pending.remove(&number)) {
            entry.evicted.cancel();
        }
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

fn prefix(address: IpAddr) -> Prefix {
    match address.to_canonical() {
        IpAddr::V4(address) => Prefix::V4(address.to_bits()),
        IpAddr::V6(address) => Prefix::V6((address.to_bits() >> 64) as u64),
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

    #[test]
    fn an_address_has_a_limited_number_of_attempts_and_earns_new_ones() {
        let admission = Admission::new(limits());
        let start = Instant::now();
        for _ in 0..4 {
            admission.enter(ip("192.0.2.1"), start).unwrap();
        }
        let refused = admission.enter(ip("192.0.2.1"), start).unwrap_err();
        assert_eq!(refused, LimitReached::TooManyAttempts);
        admission.enter(ip("192.0.2.2"), start).unwrap();
        let later = start + Duration::from_secs(5);
        admission.enter(ip("::ffff:192.0.2.1"), later).unwrap();
        admission.enter(ip("192.0.2.1"), later).unwrap();
        assert!(admission.enter(ip("192.0.2.1"), later).is_err(), "only two were earned");
        assert!(admission.enter(ip("192.0.2.1"), start + Duration::from_secs(6)).is_ok());
    }

    #[test]
    fn an_established_connection_gives_its_attempt_back() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        for _ in 0..20 {
            admission.enter(ip("192.0.2.1"), now).unwrap().established();
        }
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        let held: Vec<_> = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"]
            .map(|address| admission.enter(ip(address), now).unwrap())
            .into();
        let refused = admission.enter(ip("2001:db8::9"), now).unwrap_err();
        assert_eq!(refused, LimitReached::TooManyPending);
        admission.enter(ip("2001:db8:0:1::1"), now).unwrap();
        drop(held);
        admission.enter(ip("2001:db8::9"), now).unwrap();
    }

    #[tokio::test]
    async fn the_address_with_the_most_connections_loses_its_oldest() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        let crowd: Vec<_> =
            (0..3).map(|_| admission.enter(ip("192.0.2.1"), now).unwrap()).collect();
        let others: Vec<_> = ["192.0.2.2", "192.0.2.3", "192.0.2.4"]
            .map(|address| admission.enter(ip(address), now).unwrap())
            .into();
        let newcomer = admission.enter(ip("192.0.2.5"), now).unwrap();
        crowd[0].evicted().await;
        let stays = crowd[1..].iter().chain(&others).chain([&newcomer]);
        assert!(stays.into_iter().all(|pending| !pending.evicted.is_cancelled()));
    }

    #[tokio::test(start_paused = true)]
    async fn no_connection_is_evicted_before_it_has_had_time_to_send() {
        let admission = Admission::new(limits());
        let start = Instant::now();
        admission.room().await;
        let mut held: Vec<_> = (1..=6)
            .map(|last| admission.enter(ip(&format!("192.0.2.{last}")), start).unwrap())
            .collect();
        held[0].answered(start);
        admission.room().await;
        assert_eq!(start.elapsed(), SILENT);
        let newcomer = admission.enter(ip("192.0.2.7"), Instant::now()).unwrap();
        held[1].evicted().await;
        assert!(!held[0].evicted.is_cancelled(), "it was answered, and is protected for longer");

        drop(held.split_off(1));
        held.extend((11..=14).map(|last| {
            let pending = admission.enter(ip(&format!("192.0.2.{last}")), Instant::now()).unwrap();
            pending.answered(Instant::now());
            pending
        }));
        newcomer.answered(Instant::now());
        admission.room().await;
        assert_eq!(start.elapsed(), ANSWERED, "the first that was answered is no longer protected");
    }

    #[tokio::test(start_paused = true)]
    async fn an_authenticated_connection_is_not_pending_and_is_never_evicted() {
        let admission = Admission::new(limits());
        let start = Instant::now();
        let inside: Vec<_> = (0..20)
            .map(|_| {
                let pending = admission.enter(ip("192.0.2.1"), Instant::now());
                pending.inspect(PendingConnection::authenticated)
            })
            .collect();
        assert_eq!(inside.iter().filter(|pending| pending.is_ok()).count(), 4, "four attempts");
        assert_eq!(admission.lock().pending.len(), 0);
        let waits = tokio::spawn({
            let admission = Arc::clone(&admission);
            let full: Vec<_> = (1..=6)
                .map(|last| admission.enter(ip(&format!("198.51.100.{last}")), start).unwrap())
                .collect();
            async move {
                full[3].authenticated();
                admission.room().await;
                assert_eq!(start.elapsed(), Duration::ZERO);
            }
        });
        waits.await.unwrap();
        for pending in inside.into_iter().flatten() {
            assert!(!pending.evicted.is_cancelled());
            pending.established();
        }
        assert_eq!(admission.lock().inside.len(), 0);
        assert!(admission.enter(ip("192.0.2.1"), start).is_ok(), "attempts were given back");
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let admission = Admission::new(Limits { addresses: 10, ..limits() });
        let now = Instant::now();
        for last in 0..100 {
            drop(admission.enter(ip(&format!("192.0.2.{last}")), now));
        }
        assert_eq!(admission.lock().attempts.len(), 10);
        assert_eq!(admission.lock().pending.len(), 0);
    }

    #[test]
    fn an_address_behind_a_proxy_counts_once_it_is_known() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        let held: Vec<_> = (0..4).map(|_| admission.enter(None, now).unwrap()).collect();
        for pending in &held[..3] {
            pending.resolve("192.0.2.1".parse().unwrap(), now).unwrap();
        }
        let refused = held[3].resolve("192.0.2.1".parse().unwrap(), now).unwrap_err();
        assert_eq!(refused, LimitReached::TooManyPending);
    }
}
