//! Transmission marks: which messages of a stored stream may have been transmitted before a restart
//! (rule R17).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use paddington_wire::link::{Link, LinkConfig, StoredLink, StoredMessage, StoredStream};
use paddington_wire::{CursorState, Frame, Instance, MessageId, Ready, SessionId, Slot};

/// Marks are at most 32 messages ahead, and 2 beyond the last message.
const STEP: u64 = 32;

fn config() -> LinkConfig {
    LinkConfig { mark_step: STEP, batch: 0, ..LinkConfig::default() }
}

fn instance(byte: u8) -> Instance {
    Instance::from([byte; 16])
}

fn id(stream: u8, number: u64) -> MessageId {
    MessageId { stream: instance(stream), number }
}

/// Returns the link of instance 2, after instance 1 has left so many messages with this mark.
fn restarted(messages: usize, mark: u64) -> Link {
    let messages = vec![StoredMessage { len: 1, ttl: None }; messages];
    let streams = match messages.is_empty() {
        true => Vec::new(),
        false => vec![StoredStream { instance: instance(1), base: 1, mark, messages }],
    };
    Link::restore(config(), instance(2), StoredLink { streams, cursors: Vec::new() }, 0)
}

fn start(link: &mut Link) -> SessionId {
    start_with(link, Vec::new())
}

fn start_with(link: &mut Link, yours: Vec<CursorState>) -> SessionId {
    let mut slot = Slot::default();
    let ticket = slot.ticket();
    let session = slot.take(ticket, None).unwrap();
    let peer = Ready { yours, ..Link::new(config(), instance(9)).ready() };
    let ready = link.ready();
    link.start(session, &ready, &peer).unwrap();
    session
}

/// Accepts and stores a message. Returns the mark that is stored with it.
fn store(link: &mut Link) -> Option<u64> {
    let id = link.enqueue("x".into(), 0, None).unwrap();
    let mark = link.take_mark_of_last();
    link.stored(id.number);
    mark.into_iter().for_each(|number| link.marked(MessageId { number, ..id }));
    mark
}

/// Returns the numbers that are transmitted, and whether each is said to be a repeat.
fn transmitted(link: &mut Link, session: SessionId) -> Vec<(u64, bool)> {
    let mut found = Vec::new();
    loop {
        if let Some(wanted) = link.wanted() {
            link.supply(wanted, "x".into());
        }
        match link.transmit(session, 0) {
            Some(Frame::Data(data)) => found.push((data.number, data.again)),
            Some(_) => {}
            None if link.wanted().is_some() => {}
            None => return found,
        }
    }
}

fn all(numbers: std::ops::RangeInclusive<u64>, again: bool) -> Vec<(u64, bool)> {
    numbers.map(|number| (number, again)).collect()
}

#[test]
fn a_backlog_that_was_never_transmitted_is_not_said_to_be_a_repeat() {
    let mut link = restarted(0, 0);
    let marks: Vec<_> = (0..100).filter_map(|_| store(&mut link)).collect();
    assert_eq!((marks, link.take_mark()), (vec![], None), "nothing is transmitted");

    let mut link = restarted(100, 0);
    let session = start(&mut link);
    assert_eq!(transmitted(&mut link, session), [], "the store does not know yet");
    let mut found = Vec::new();
    while let Some(mark) = link.take_mark() {
        assert!(!link.wants_mark(), "it is asked for once");
        link.marked(mark);
        found.extend(transmitted(&mut link, session));
    }
    assert_eq!(found, all(1..=100, false));
}

#[test]
fn what_may_have_been_transmitted_is_said_to_be_a_repeat() {
    for mark in [7, 40] {
        let mut link = restarted(10, mark);
        let session = start(&mut link);
        link.take_mark().into_iter().for_each(|mark| link.marked(mark));
        let until = mark.min(10);
        let expected = [all(1..=until, true), all(until + 1..=10, false)].concat();
        assert_eq!(transmitted(&mut link, session), expected, "{mark}");
    }
}

#[test]
fn nothing_is_transmitted_beyond_the_mark() {
    let mut link = restarted(100, 0);
    let session = start(&mut link);
    let first = link.take_mark().unwrap();
    assert_eq!(first, id(1, STEP));
    assert_eq!(transmitted(&mut link, session), [], "it is not durable yet");
    link.marked(first);
    assert_eq!(transmitted(&mut link, session), all(1..=STEP, false));
    let second = link.take_mark().unwrap();
    assert_eq!(second, id(1, 2 * STEP));
    link.end(session);
    link.marked(second);
    let session = start(&mut link);
    let expected = [all(1..=STEP, true), all(STEP + 1..=2 * STEP, false)].concat();
    assert_eq!(transmitted(&mut link, session), expected, "within one life, it is exact");
}

#[test]
fn the_next_mark_is_asked_for_half_a_step_before_it_is_needed() {
    let mut link = restarted(100, STEP);
    let received = CursorState { instance: instance(1), received: 15, completed: 15 };
    start_with(&mut link, vec![received]);
    assert!(!link.wants_mark() && link.take_mark().is_none(), "16 more messages are marked");
    let received = CursorState { received: 16, completed: 16, ..received };
    start_with(&mut link, vec![received]);
    assert!(link.wants_mark());
    assert_eq!(link.take_mark(), Some(id(1, 16 + STEP)));
}

#[test]
fn a_mark_goes_with_messages_that_are_transmitted_at_once() {
    let mut link = restarted(0, 0);
    let session = start(&mut link);
    let mut marks = Vec::new();
    for number in 1..=9 {
        marks.extend(store(&mut link));
        assert_eq!(transmitted(&mut link, session), [(number, false)]);
        assert!(!link.wants_mark());
    }
    assert_eq!(marks, [3, 6, 9], "two beyond the last message");
    link.end(session);
    assert!((0..50).all(|_| store(&mut link).is_none()), "what waits is not marked");
}

#[test]
fn a_mark_whose_message_could_not_be_stored_is_asked_for_again() {
    let mut link = restarted(0, 0);
    let session = start(&mut link);
    link.enqueue("x".into(), 0, None).unwrap();
    assert_eq!(link.take_mark_of_last(), Some(3));
    assert_eq!(link.unstored(), 1);
    assert_eq!(link.take_mark(), None, "nothing is stored");
    assert_eq!(store(&mut link), Some(3));
    assert_eq!(transmitted(&mut link, session), [(1, false)]);
}

#[test]
fn a_mark_of_this_instance_waits_for_older_streams() {
    let mut link = restarted(2, 0);
    start(&mut link);
    assert_eq!(store(&mut link), None, "the older stream goes first");
    assert_eq!(link.take_mark(), Some(id(1, 2 + 2)));
    assert_eq!(link.take_mark(), None);
}
