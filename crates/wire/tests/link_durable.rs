//! A link with a store: which messages wait until they are stored, and what outlives a restart.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use paddington_wire::link::{
    CursorChanges, Link, LinkConfig, Outcome, StoredCursor, StoredLink, StoredMessage, StoredStream,
};
use paddington_wire::{
    Completed, CursorState, Data, Frame, Instance, MessageId, Payload, Ready, SessionId, Skip, Slot,
};

fn instance(byte: u8) -> Instance {
    Instance::from([byte; 16])
}

fn id(stream: u8, number: u64) -> MessageId {
    MessageId { stream: instance(stream), number }
}

/// Returns the link of instance 2, with the messages that instance 1 has left.
fn link(config: LinkConfig, streams: Vec<StoredStream>) -> Link {
    Link::restore(config, instance(2), StoredLink { streams, cursors: Vec::new() }, 0)
}

fn left_by_instance_1(base: u64, messages: usize) -> Vec<StoredStream> {
    let messages = vec![StoredMessage { len: 1, ttl: None }; messages];
    vec![StoredStream { instance: instance(1), base, mark: base, messages }]
}

/// Returns the READY of a peer in its instance 9 that has received and completed so much of each
/// stream.
fn peer(yours: &[(u8, u64, u64)]) -> Ready {
    let cursor = |&(stream, received, completed): &(u8, u64, u64)| CursorState {
        instance: instance(stream),
        received,
        completed,
    };
    let peer = Link::new(LinkConfig::default(), instance(9)).ready();
    Ready { yours: yours.iter().map(cursor).collect(), ..peer }
}

fn start(link: &mut Link, theirs: &Ready) -> (SessionId, bool) {
    let mut slot = Slot::default();
    let ticket = slot.ticket();
    let session = slot.take(ticket, None).unwrap();
    let ready = link.ready();
    let started = link.start(session, &ready, theirs).unwrap();
    (session, started.regressed)
}

/// Returns what is transmitted, by a link whose store is never behind with a mark.
fn numbers(link: &mut Link, session: SessionId) -> Vec<(u8, u64)> {
    let mut numbers = Vec::new();
    while let Some(frame) = {
        link.take_mark().into_iter().for_each(|mark| link.marked(mark));
        link.transmit(session, 0)
    } {
        match frame {
            Frame::Data(data) => numbers.push((data.stream, data.number)),
            Frame::Batch(batch) => {
                let all = (batch.first..).take(batch.messages.count());
                numbers.extend(all.map(|number| (batch.stream, number)));
            }
            _ => {}
        }
    }
    numbers
}

#[test]
fn nothing_is_transmitted_before_it_is_stored() {
    let mut link = link(LinkConfig::default(), Vec::new());
    let (session, _) = start(&mut link, &peer(&[]));
    for _ in 0..3 {
        link.enqueue("x".into(), 0, None).unwrap();
    }
    assert_eq!(numbers(&mut link, session), []);
    link.stored(2);
    assert_eq!(numbers(&mut link, session), [(0, 1), (0, 2)]);
}

#[test]
fn a_message_that_could_not_be_stored_was_never_accepted_and_its_number_is_reused() {
    let mut link = link(LinkConfig::default(), Vec::new());
    let (session, _) = start(&mut link, &peer(&[]));
    link.enqueue("stored".into(), 0, None).unwrap();
    link.stored(1);
    link.enqueue("lost".into(), 0, None).unwrap();
    link.enqueue("expired and lost".into(), 0, Some(1)).unwrap();
    assert!(link.expire(2));
    assert_eq!(link.unstored(), 2);
    assert_eq!(link.counts().accepted, 1);
    assert_eq!((link.outbox_messages(), link.counts().expired), (1, 0));
    let again = link.enqueue("again".into(), 0, None).unwrap();
    link.stored(again.number);
    assert_eq!((again.number, link.outcome(again)), (2, Outcome::Waiting));
    assert_eq!(numbers(&mut link, session), [(0, 1), (0, 2)]);
}

#[test]
fn a_message_that_expired_before_storing_failed_was_never_accepted() {
    let mut link = link(LinkConfig::default(), Vec::new());
    link.enqueue("stored".into(), 0, None).unwrap();
    link.stored(1);
    link.enqueue("expired".into(), 0, Some(1)).unwrap();
    link.enqueue("abandoned".into(), 0, None).unwrap();
    link.expire(1);
    link.abandon();
    assert_eq!(link.unstored(), 2);
    let counts = link.counts();
    assert_eq!((counts.accepted, counts.expired, counts.abandoned), (1, 0, 1));
}

#[test]
fn messages_of_an_earlier_instance_are_read_from_the_store_and_sent_first() {
    let mut link = link(LinkConfig::default(), left_by_instance_1(5, 3));
    link.enqueue("new".into(), 0, None).unwrap();
    link.stored(1);
    let (session, _) = start(&mut link, &peer(&[(1, 5, 5)]));
    assert_eq!(numbers(&mut link, session), [], "the older ones have to be read first");
    for number in 6..=7 {
        assert_eq!(link.wanted(), Some(id(1, number)));
        link.supply(id(1, number), "y".into());
    }
    assert_eq!(link.wanted(), None);
    assert_eq!(numbers(&mut link, session), [(0, 6), (0, 7), (1, 1)]);
}

#[test]
fn a_stream_is_listed_until_the_removal_of_its_last_message_is_durable() {
    let mut link = link(LinkConfig::default(), left_by_instance_1(1, 2));
    start(&mut link, &peer(&[(1, 2, 1)]));
    assert_eq!(link.take_trims(), [id(1, 1)]);
    link.trimmed(id(1, 1));
    start(&mut link, &peer(&[(1, 2, 2)]));
    assert_eq!(link.take_trims(), [id(1, 2)]);
    assert_eq!(link.take_trims(), []);
    link.trimmed(id(1, 1));
    assert_eq!(link.ready().mine.len(), 2, "an older removal says nothing about the last message");
    link.trimmed(id(1, 2));
    assert_eq!(link.ready().mine.len(), 1);
}

#[test]
fn a_store_that_knows_less_than_the_peer_is_noticed_and_loses_nothing_new() {
    let mut link = link(LinkConfig::default(), left_by_instance_1(1, 2));
    link.enqueue("new".into(), 0, None).unwrap();
    link.stored(1);
    let (session, regressed) = start(&mut link, &peer(&[(1, 9, 9)]));
    assert!(regressed);
    assert_eq!(numbers(&mut link, session), [(1, 1)]);
}

#[test]
fn a_long_backlog_stays_in_the_store() {
    let config = LinkConfig { window: 100, max_payload: 76, ..LinkConfig::default() };
    let mut link = link(config, Vec::new());
    for number in 1..=10 {
        link.enqueue(Payload::bytes(vec![0; 76]), 0, None).unwrap();
        link.stored(number);
    }
    let (session, _) = start(&mut link, &Ready { window: 100_000, ..peer(&[]) });
    assert_eq!(numbers(&mut link, session), [(0, 1), (0, 2)], "twice the window is in memory");
    assert_eq!(link.wanted(), Some(id(2, 3)));
}

#[test]
fn streams_beyond_the_limit_are_listed_in_a_later_session() {
    let streams = (10..110)
        .map(|byte| StoredStream {
            instance: instance(byte),
            base: 1,
            mark: 1,
            messages: vec![StoredMessage { len: 1, ttl: None }],
        })
        .collect();
    let mut link = link(LinkConfig::default(), streams);
    start(&mut link, &peer(&[]));
    assert!(!link.wants_new_session());
    let handled: Vec<_> = (10..73).map(|byte| (byte, 1, 1)).collect();
    start(&mut link, &peer(&handled));
    assert!(link.wants_new_session(), "everything listed is handled");
    for trim in link.take_trims() {
        link.trimmed(trim);
    }
    start(&mut link, &peer(&handled));
    assert!(!link.wants_new_session());
    assert_eq!(link.ready().mine.len(), 38);
}

#[test]
fn a_restarted_receiver_does_not_handle_finished_messages_again() {
    let cursor = StoredCursor { instance: instance(9), completed: 3, finished: vec![5] };
    let restored = StoredLink { streams: Vec::new(), cursors: vec![cursor] };
    let mut link = Link::restore(LinkConfig::default(), instance(2), restored, 0);
    assert_eq!(link.take_cursors(), CursorChanges::default());
    let mut sender = Link::new(LinkConfig::default(), instance(9));
    for _ in 0..6 {
        sender.enqueue("x".into(), 0, None).unwrap();
    }
    let before_the_restart = Link::new(LinkConfig::default(), instance(1)).ready();
    let (earlier, _) = start(&mut sender, &before_the_restart);
    assert_eq!(numbers(&mut sender, earlier).len(), 6);
    let (ours, theirs) = (link.ready(), sender.ready());
    let (session, other) = (start(&mut link, &theirs).0, start(&mut sender, &ours).0);
    let mut delivered = Vec::new();
    while let Some(frame) = sender.transmit(other, 0) {
        link.receive(session, frame, &mut delivered).unwrap();
    }
    let delivered: Vec<_> = delivered.into_iter().map(|message| message.id).collect();
    assert_eq!(delivered, [id(9, 4), id(9, 6)]);
    link.handled(id(9, 6), Ok(()));
    let moved = link.take_cursors().moved;
    assert_eq!((moved[0].completed, &*moved[0].finished), (3, &[5, 6][..]));
    link.handled(id(9, 4), Ok(()));
    let moved = link.take_cursors().moved;
    assert_eq!((moved[0].completed, moved[0].finished.len()), (6, 0));
}

#[test]
fn a_gap_does_not_hide_a_message_that_was_finished_out_of_order() {
    let cursor = StoredCursor { instance: instance(9), completed: 0, finished: vec![4] };
    let restored = StoredLink { streams: Vec::new(), cursors: vec![cursor] };
    let mut link = Link::restore(LinkConfig::default(), instance(2), restored, 0);
    let (session, _) = start(&mut link, &peer(&[]));
    for frame in [data(1), data(2), skip(3), skip(4), skip(5)] {
        link.receive(session, frame, &mut Vec::new()).unwrap();
    }
    link.handled(id(9, 2), Ok(()));
    let moved = link.take_cursors().moved;
    assert_eq!((moved[0].completed, &*moved[0].finished), (0, &[2][..]));
    link.handled(id(9, 1), Ok(()));
    let moved = link.take_cursors().moved;
    assert_eq!((moved[0].completed, moved[0].finished.len()), (5, 0));
}

fn data(number: u64) -> Frame {
    let ack = Completed::default();
    Frame::Data(Data { stream: 0, again: true, number, ack, payload: "x".into() })
}

fn skip(to: u64) -> Frame {
    Frame::Skip(Skip { stream: 0, to, ack: Completed::default() })
}

#[test]
fn cursors_of_ended_instances_are_forgotten_after_a_while() {
    let cursor = StoredCursor { instance: instance(8), completed: 3, finished: Vec::new() };
    let restored = StoredLink { streams: Vec::new(), cursors: vec![cursor] };
    let config = LinkConfig { ended_time: 1_000, ..LinkConfig::default() };
    let mut link = Link::restore(config, instance(2), restored, 0);
    start(&mut link, &peer(&[]));
    let changes = link.take_cursors();
    assert_eq!((changes.forgotten.len(), changes.moved[0].instance), (0, instance(9)));
    link.forget_ended(5_000);
    link.forget_ended(5_999);
    assert_eq!(link.take_cursors().forgotten, []);
    link.forget_ended(6_000);
    assert_eq!(link.take_cursors().forgotten, [instance(8)]);
}

#[test]
fn the_cursors_of_the_last_ended_instances_are_kept() {
    let config = LinkConfig { ended: 3, ..LinkConfig::default() };
    let cursors = (1..=6).map(|number| StoredCursor {
        instance: instance(100 + number),
        // The last one knows of no message.
        completed: u64::from(6 - number),
        finished: Vec::new(),
    });
    let restored = StoredLink { streams: Vec::new(), cursors: cursors.collect() };
    let mut link = Link::restore(config, instance(2), restored, 0);
    start(&mut link, &peer(&[]));
    let mut forgotten = link.take_cursors().forgotten;
    forgotten.sort();
    assert_eq!(forgotten, [101, 102, 106].map(instance));
}

/// A service that has been restarted 1 000 times, with one message of each instance left.
#[test]
fn however_many_instances_have_left_messages_they_arrive_once_and_in_order() {
    const INSTANCES: u64 = 1_000;
    let name = |index: u64| {
        let mut bytes = [0xff; 16];
        bytes[..8].copy_from_slice(&index.to_be_bytes());
        Instance::from(bytes)
    };
    let stored = |index| StoredStream {
        instance: name(index),
        base: 1,
        mark: 0,
        messages: vec![StoredMessage { len: 8, ttl: None }],
    };
    let streams = (0..INSTANCES).map(stored).collect();
    let stored = StoredLink { streams, cursors: Vec::new() };
    let mut sender = Link::restore(LinkConfig::default(), instance(2), stored, 0);
    let payload = |index: u64| Payload::bytes(index.to_be_bytes().to_vec());
    sender.enqueue(payload(INSTANCES), 0, None).unwrap();
    sender.stored(1);
    let mut receiver = Link::new(LinkConfig::default(), instance(3));
    let (mut slots, mut arrived) = ([Slot::default(), Slot::default()], Vec::new());
    for session in 1.. {
        assert!(session <= 2 * INSTANCES / 63 + 2, "the backlog does not get shorter");
        let [ours, theirs] = slots.each_mut().map(|slot| {
            let ticket = slot.ticket();
            slot.take(ticket, None).unwrap()
        });
        let (ready, their_ready) = (sender.ready(), receiver.ready());
        sender.start(ours, &ready, &their_ready).unwrap();
        receiver.start(theirs, &their_ready, &ready).unwrap();
        // Every other session breaks before its acknowledgements have arrived.
        while let Some(frame) = {
            while let Some(wanted) = sender.wanted() {
                let index = u64::from_be_bytes(wanted.stream.as_bytes()[..8].try_into().unwrap());
                sender.supply(wanted, payload(index));
            }
            sender.take_mark().into_iter().for_each(|mark| sender.marked(mark));
            sender.transmit(ours, 0)
        } {
            receiver.receive(theirs, frame, &mut arrived).unwrap();
        }
        for message in &arrived {
            receiver.handled(message.id, Ok(()));
        }
        while let Some(ack) = receiver.acknowledge(theirs).filter(|_| session % 2 == 0) {
            sender.receive(ours, ack, &mut Vec::new()).unwrap();
        }
        sender.take_trims().into_iter().for_each(|trim| sender.trimmed(trim));
        if sender.outbox_messages() == 0 {
            break;
        }
    }
    let order: Vec<_> = arrived.iter().map(|message| message.payload.clone()).collect();
    assert_eq!(order, (0..=INSTANCES).map(payload).collect::<Vec<_>>());
}
