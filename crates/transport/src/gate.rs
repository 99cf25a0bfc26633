//! How many strangers may stand in the door at once. Implements the limits of `docs/protocol.md`
//! §9 that hold before a peer is authenticated. No IO, and time is passed in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Limits;

/// The door. Whoever comes in holds a [`Pending`] until it is authenticated or gone.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u64,
    /// By age: the lowest number is the oldest.
    pending: BTreeMap<u64, Visitor>,
    attempts: LruCache<Prefix, Bucket>,
}

#[derive(Debug)]
struct Visitor {
    from: Option<Prefix>,
    evicted: CancellationToken,
}

/// What counts as one address: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Prefix {
    V4(u32),
    V6(u64),
}

/// The attempts that an address has at hand.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    since: Instant,
}

/// A connection that is not yet established. Gives its place up when dropped.
#[derive(Debug)]
pub(crate) struct Pending {
    gate: Arc<Gate>,
    number: u64,
    evicted: CancellationToken,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    TooManyAttempts,
    TooManyPending,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let addresses = NonZeroUsize::new(limits.addresses).unwrap_or(NonZeroUsize::MIN);
        let attempts = LruCache::new(addresses);
        let state = State { next: 0, pending: BTreeMap::new(), attempts };
        Arc::new(Self { limits, state: Mutex::new(state) })
    }

    /// Lets a connection in. One that comes through a proxy has no address yet.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Pending, Refused> {
        let mut state = self.lock();
        let from = address.map(prefix);
        if let Some(from) = from {
            self.check(&mut state, from, now)?;
        }
        if state.pending.len() >= self.limits.pending {
            state.evict();
        }
        let number = state.next;
        state.next += 1;
        let evicted = CancellationToken::new();
        state.pending.insert(number, Visitor { from, evicted: evicted.clone() });
        Ok(Pending { gate: Arc::clone(self), number, evicted })
    }

    fn check(&self, state: &mut State, from: Prefix, now: Instant) -> Result<(), Refused> {
        let here = state.pending.values().filter(|visitor| visitor.from == Some(from)).count();
        if here >= self.limits.pending_per_address {
            return Err(Refused::TooManyPending);
        }
        let full = || Bucket { tokens: self.limits.attempts, since: now };
        let bucket = state.attempts.get_or_insert_mut(from, full);
        bucket.refill(&self.limits, now);
        bucket.tokens = bucket.tokens.checked_sub(1).ok_or(Refused::TooManyAttempts)?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Names the address that a proxy speaks for.
    pub(crate) fn resolve(&self, address: IpAddr, now: Instant) -> Result<(), Refused> {
        let mut state = self.gate.lock();
        let from = prefix(address);
        self.gate.check(&mut state, from, now)?;
        if let Some(visitor) = state.pending.get_mut(&self.number) {
            visitor.from = Some(from);
        }
        Ok(())
    }

    /// Gives the attempt back: the peer is authenticated.
    pub(crate) fn established(self) {
        let mut state = self.gate.lock();
        let from = state.pending.get(&self.number).and_then(|visitor| visitor.from);
        let bucket = from.and_then(|from| state.attempts.get_mut(&from));
        if let Some(bucket) = bucket {
            bucket.tokens = (bucket.tokens + 1).min(self.gate.limits.attempts);
        }
    }

    /// Resolves when this connection has to make room.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.gate.lock().pending.remove(&self.number);
    }
}

impl State {
    /// Makes room: of the address with the most connections here, the oldest one goes. A flood
    /// from one address thus pushes itself out, and an honest client needs only a moment.
    fn evict(&mut self) {
        let mut crowds: BTreeMap<Option<Prefix>, (usize, u64)> = BTreeMap::new();
        for (number, visitor) in self.pending.iter().rev() {
            let crowd = crowds.entry(visitor.from).or_default();
            *crowd = (crowd.0 + 1, *number);
        }
        let largest =
            crowds.into_values().max_by_key(|(count, oldest)| (*count, u64::MAX - oldest));
        if let Some(visitor) = largest.and_then(|(_, oldest)| self.pending.remove(&oldest)) {
            visitor.evicted.cancel();
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
    use std::time::Duration;

    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn limits() -> Limits {
        Limits { pending: 6, pending_per_address: 3, attempts: 4, ..Limits::default() }
    }

    #[test]
    fn an_address_has_so_many_attempts_and_earns_more() {
        let gate = Gate::new(limits());
        let start = Instant::now();
        for _ in 0..4 {
            gate.enter(ip("192.0.2.1"), start).unwrap();
        }
        let refused = gate.enter(ip("192.0.2.1"), start).unwrap_err();
        assert_eq!(refused, Refused::TooManyAttempts);
        gate.enter(ip("192.0.2.2"), start).unwrap();
        let later = start + Duration::from_secs(5);
        gate.enter(ip("::ffff:192.0.2.1"), later).unwrap();
        gate.enter(ip("192.0.2.1"), later).unwrap();
        assert!(gate.enter(ip("192.0.2.1"), later).is_err(), "two were earned");
        assert!(gate.enter(ip("192.0.2.1"), start + Duration::from_secs(6)).is_ok());
    }

    #[test]
    fn an_established_connection_gives_its_attempt_back() {
        let gate = Gate::new(limits());
        let now = Instant::now();
        for _ in 0..20 {
            gate.enter(ip("192.0.2.1"), now).unwrap().established();
        }
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let gate = Gate::new(limits());
        let now = Instant::now();
        let held: Vec<_> = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"]
            .map(|address| gate.enter(ip(address), now).unwrap())
            .into();
        let refused = gate.enter(ip("2001:db8::9"), now).unwrap_err();
        assert_eq!(refused, Refused::TooManyPending);
        gate.enter(ip("2001:db8:0:1::1"), now).unwrap();
        drop(held);
        gate.enter(ip("2001:db8::9"), now).unwrap();
    }

    #[tokio::test]
    async fn a_crowd_makes_room_for_others() {
        let gate = Gate::new(limits());
        let now = Instant::now();
        let crowd: Vec<_> = (0..3).map(|_| gate.enter(ip("192.0.2.1"), now).unwrap()).collect();
        let others: Vec<_> = ["192.0.2.2", "192.0.2.3", "192.0.2.4"]
            .map(|address| gate.enter(ip(address), now).unwrap())
            .into();
        let newcomer = gate.enter(ip("192.0.2.5"), now).unwrap();
        crowd[0].evicted().await;
        let stays = crowd[1..].iter().chain(&others).chain([&newcomer]);
        assert!(stays.into_iter().all(|pending| !pending.evicted.is_cancelled()));
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let gate = Gate::new(Limits { addresses: 10, ..limits() });
        let now = Instant::now();
        for last in 0..100 {
            drop(gate.enter(ip(&format!("192.0.2.{last}")), now));
        }
        assert_eq!(gate.lock().attempts.len(), 10);
        assert_eq!(gate.lock().pending.len(), 0);
    }

    #[test]
    fn an_address_behind_a_proxy_counts_once_it_is_known() {
        let gate = Gate::new(limits());
        let now = Instant::now();
        let held: Vec<_> = (0..4).map(|_| gate.enter(None, now).unwrap()).collect();
        for pending in &held[..3] {
            pending.resolve("192.0.2.1".parse().unwrap(), now).unwrap();
        }
        let refused = held[3].resolve("192.0.2.1".parse().unwrap(), now).unwrap_err();
        assert_eq!(refused, Refused::TooManyPending);
    }
}
