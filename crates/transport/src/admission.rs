//! Limits on pending connections. Implements the part of `docs/protocol.md` §9 that applies before
//! a peer is authenticated.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Limits;
use crate::prefix::{self, Member, Prefix};

/// Time for which a connection whose request was answered keeps its place among those of its
/// address, to send its hello.
const ANSWERED: Duration = Duration::from_millis(250);

/// The part of all places that one known address may take, behind which there may be many clients.
const KNOWN_SHARE: usize = 32;

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
    attempts: LruCache<Prefix, Bucket>,
    /// Addresses from which connections were established.
    known: LruCache<Prefix, ()>,
}

/// Pending connections, sorted by where they come from.
#[derive(Debug, Default)]
struct Crowds {
    strangers: BTreeSet<Member>,
    known: BTreeSet<Member>,
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
        let entry = Entry { from, known, answered: None, evicted: evicted.clone() };
        state.crowds.of(known).insert((from, number));
        state.pending.insert(number, entry);
        if state.pending.len() > self.limits.pending {
            state.evict_from_fullest(&self.limits, chance);
        }
        let from = from.map_or_else(OnceLock::new, OnceLock::from);
        let (answered, authentic) = (AtomicBool::new(false), AtomicBool::new(false));
        let admission = Arc::clone(self);
        Ok(PendingConnection { admission, number, from, answered, authentic, evicted })
    }

    /// Keeps room for the next connections from an address: one was established.
    pub(crate) fn know(&self, address: impl Into<Prefix>) {
        self.lock().known.put(address.into(), ());
    }

    #[cfg(test)]
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.lock().known.contains(&Prefix::from(address))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingConnection {
    /// Sets the address that a proxy reports, and checks its limits.
    pub(crate) fn resolve(&self, address: IpAddr, now: Instant) -> Result<(), LimitReached> {
        let mut state = self.admission.lock();
        if !state.pending.contains_key(&self.number) {
            return Ok(()); // it was evicted, and takes nobody's place
        }
        let from = Prefix::from(address);
        state.make_room_at(from, &self.admission.limits, now)?;
        let known = state.known.contains(&from);
        if let Some(mut entry) = state.remove(self.number) {
            (entry.from, entry.known) = (Some(from), known);
            state.crowds.of(known).insert((entry.from, self.number));
            state.pending.insert(self.number, entry);
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
        self.admission.lock().remove(self.number);
    }

    /// Keeps room for the next connections from its address: this one is established.
    pub(crate) fn established(self) {
        if let Some(from) = self.from.get() {
            self.admission.know(*from);
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
        self.admission.lock().remove(self.number);
    }
}

impl Crowds {
    fn of(&mut self, known: bool) -> &mut BTreeSet<Member> {
        if known { &mut self.known } else { &mut self.strangers }
    }

    /// Returns the numbers of those of one address, the oldest first.
    fn at(&self, from: Prefix) -> Vec<u64> {
        let of_address = (Some(from), 0)..=(Some(from), u64::MAX);
        let crowds = [&self.strangers, &self.known].into_iter();
        let mut numbers: Vec<u64> =
            crowds.flat_map(|it| it.range(of_address.clone())).map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers
    }
}

impl State {
    /// Makes room for one more connection from an address, whose oldest silent one gives way. There
    /// is no room at an address that may have failed too often by the time that all of them are done,
    /// unless it is known and nobody has failed there lately.
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
        let mut places = limits.pending_per_address.min(attempts as usize);
        if self.known.contains(&from) && attempts == limits.attempts {
            places = places.max(limits.pending / KNOWN_SHARE);
        }
        let mut here = self.crowds.at(from);
        while here.len() >= places {
            let answered = |number: &u64| self.pending.get(number).and_then(|it| it.answered);
            let late = |answered: Instant| answered + ANSWERED <= now;
            let silent = here.iter().position(|number| answered(number).is_none());
            let victim =
                silent.or_else(|| here.iter().position(|it| answered(it).is_some_and(late)));
            let victim = victim.ok_or(LimitReached::TooManyPending)?;
            self.evict(here.remove(victim));
        }
        Ok(())
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

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.pending.remove(&number)?;
        self.crowds.of(entry.known).remove(&(entry.from, number));
        Some(entry)
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
    fn when_known_addresses_take_more_than_half_no_stranger_gives_way() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        for last in 1..=100 {
            enter(&admission, ip(&format!("192.0.2.{last}")), now).unwrap().established();
        }
        let strangers: Vec<_> = (1..=3)
            .map(|last| enter(&admission, ip(&format!("198.51.100.{last}")), now).unwrap())
            .collect();
        let known: Vec<_> = (1..=100)
            .map(|last| enter(&admission, ip(&format!("192.0.2.{last}")), now).unwrap())
            .collect();
        assert!(!strangers.iter().any(is_evicted), "although theirs is the fuller network");
        assert_eq!(known.iter().filter(|pending| !is_evicted(pending)).count(), 3);
    }

    #[test]
    fn known_addresses_keep_their_half_where_several_give_way_at_once() {
        let admission = Admission::new(Limits { pending: 320, ..limits() });
        let now = Instant::now();
        let address = |number: u8| ip(&format!("192.0.2.{number}"));
        for number in 0..165 {
            enter(&admission, address(number), now).unwrap().established();
        }
        let known: Vec<_> =
            (0..165).map(|number| enter(&admission, address(number), now).unwrap()).collect();
        let strangers: Vec<_> = (0..160)
            .map(|number| enter(&admission, ip(&format!("198.51.100.{number}")), now).unwrap())
            .collect();
        let left = |held: &[PendingConnection]| held.iter().filter(|it| !is_evicted(it)).count();
        assert_eq!((left(&known), left(&strangers)), (160, 160));
    }

    #[test]
    fn at_a_known_address_there_is_room_for_many() {
        let admission = Admission::new(Limits { pending: 320, ..limits() });
        let now = Instant::now();
        let many_at = |count: usize, now: Instant| -> Vec<_> {
            let enter = |_| enter(&admission, ip("192.0.2.1"), now).ok();
            (0..count).map_while(enter).inspect(|pending| pending.answered(now)).collect()
        };
        let many = |count: usize| many_at(count, now);
        assert_eq!(many(20).len(), 3);
        enter(&admission, ip("192.0.2.1"), now).unwrap().established();
        let held = many(20);
        assert_eq!(held.len(), 10, "a thirty-second");
        for pending in held {
            pending.failed(now);
        }
        let refused = enter(&admission, ip("192.0.2.1"), now).unwrap_err();
        assert_eq!(refused, LimitReached::TooManyAttempts, "those that were pending may all fail");
        // From then on it has as many as any other address, until all of its attempts are back.
        for (later, places) in [(2, 1), (4, 2), (6, 3), (7, 3), (8, 10)] {
            assert_eq!(many_at(20, now + Duration::from_secs(later)).len(), places, "{later} s");
        }
    }

    #[test]
    fn several_give_way_at_once_where_there_are_many() {
        let admission = Admission::new(Limits { pending: 320, ..limits() });
        let now = Instant::now();
        let many = |network: u8| -> Vec<_> {
            let address = |last| format!("{network}.0.2.{last}");
            (0..160).map(|last| enter(&admission, ip(&address(last)), now).unwrap()).collect()
        };
        let (honest, flood) = (many(1), many(2));
        flood[3..].iter().for_each(|pending| pending.answered(now));
        enter(&admission, ip("2.0.2.200"), now).unwrap();
        assert!(!honest.iter().any(is_evicted));
        let gone: Vec<_> = (0..160).filter(|number| is_evicted(&flood[*number])).collect();
        // the silent ones, and 7 by chance, which picks the oldest and moves the youngest to its place
        assert_eq!(gone, [0, 1, 2, 3, 75, 76, 77, 78, 79, 80]);
        assert_eq!(admission.lock().pending.len(), 310);
    }

    #[test]
    fn pending_connections_take_half_of_the_open_files() {
        let admission = Admission::new(Limits { pending: usize::MAX, ..limits() });
        let files = crate::open_files::limit().map_or(usize::MAX, |files| files / 2);
        assert_eq!(admission.limits.pending, files);
    }

    #[test]
    fn what_is_gone_is_in_no_crowd() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        enter(&admission, ip("192.0.2.1"), now).unwrap().established();
        let held: Vec<_> = (0..9).map(|_| enter(&admission, None, now).unwrap()).collect();
        for (last, pending) in (1..).zip(&held) {
            let address = format!("192.0.2.{last}").parse().unwrap();
            pending.resolve(address, now).unwrap();
        }
        let known = |state: &State| (state.crowds.known.len(), state.crowds.strangers.len());
        assert_eq!(known(&admission.lock()), (0, 6), "the first was evicted before");
        let late = enter(&admission, None, now).unwrap();
        late.resolve("192.0.2.1".parse().unwrap(), now).unwrap();
        assert_eq!(known(&admission.lock()), (1, 5));
        held[8].authenticated();
        assert_eq!(known(&admission.lock()), (1, 4));
        drop((late, held));
        assert_eq!(known(&admission.lock()), (0, 0));
    }

    #[test]
    fn one_that_was_evicted_takes_nobodys_place() {
        let admission = Admission::new(limits());
        let now = Instant::now();
        let late = enter(&admission, None, now).unwrap();
        let _others: Vec<_> = (0..6).map(|_| enter(&admission, None, now).unwrap()).collect();
        assert!(is_evicted(&late));
        let here: Vec<_> =
            (0..3).map(|_| enter(&admission, ip("192.0.2.1"), now).unwrap()).collect();
        late.resolve("192.0.2.1".parse().unwrap(), now).unwrap();
        assert!(!here.iter().any(is_evicted));
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
