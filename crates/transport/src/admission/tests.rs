use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::crowds::ANSWERED;
use super::{Admission, Awaited, LimitReached, PendingConnection, State};
use crate::Limits;

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
    pending.is_evicted()
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
    let held: Vec<_> = (0..3).map(|_| enter(&admission, ip("192.0.2.1"), now).unwrap()).collect();
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
    let established = |count: usize| {
        (0..count).for_each(|_| enter(&admission, ip("192.0.2.1"), now).unwrap().established());
    };
    assert_eq!(many(100).len(), 3);
    established(1);
    assert_eq!(many(100).len(), 11, "a thirty-second, and one");
    established(40);
    assert_eq!(many(100).len(), 51);
    established(40);
    let held = many(100);
    assert_eq!(held.len(), 80, "a quarter at most");
    for pending in held {
        pending.failed(now);
    }
    let refused = enter(&admission, ip("192.0.2.1"), now).unwrap_err();
    assert_eq!(refused, LimitReached::TooManyAttempts, "those that were pending may all fail");
    // They come back with the attempts.
    for (later, places) in [(2, 20), (4, 40), (6, 60), (7, 60), (8, 80)] {
        assert_eq!(many_at(100, now + Duration::from_secs(later)).len(), places, "{later} s");
    }
}

#[test]
fn one_that_fails_in_a_crowd_does_not_cost_the_others_their_places() {
    let admission = Admission::new(Limits { pending: 320, ..limits() });
    let now = Instant::now();
    let enter_one = || enter(&admission, ip("192.0.2.1"), now);
    (0..100).for_each(|_| enter_one().unwrap().established());
    let mut held: Vec<_> = (0..80).map(|_| enter_one().unwrap()).collect();
    held.pop().unwrap().failed(now);
    let _newcomers = [enter_one().unwrap(), enter_one().unwrap()];
    let gone: Vec<_> = (0..79).filter(|number| is_evicted(&held[*number])).collect();
    assert_eq!(gone, [0, 1], "one for each that comes");
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
    let here: Vec<_> = (0..3).map(|_| enter(&admission, ip("192.0.2.1"), now).unwrap()).collect();
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
