//! Batches: which messages share a frame, and that nothing else changes for them.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use paddington_wire::link::{LinkConfig, Outcome};
use paddington_wire::{
    Batch, Completed, Features, Frame, Messages, Payload, RejectCode, Violation,
};

mod link_sides;

use link_sides::{Side, connect, cut, instance, pair, pair_with, settle};

/// Returns the first number of each frame with messages, and how many it has.
fn runs(frames: &[Frame]) -> Vec<(u64, usize)> {
    let run = |frame: &Frame| match frame {
        Frame::Data(data) => Some((data.number, 1)),
        Frame::Batch(batch) => Some((batch.first, batch.messages.count())),
        _ => None,
    };
    frames.iter().filter_map(run).collect()
}

fn batch(first: u64, texts: &[&'static str]) -> Frame {
    let payloads: Vec<_> = texts.iter().map(|text| Payload::from(*text)).collect();
    let messages = Messages::new(payloads.iter()).unwrap();
    Frame::Batch(Batch { stream: 0, again: false, first, ack: Completed::default(), messages })
}

#[test]
fn messages_that_wait_share_a_frame_and_a_single_one_is_sent_at_once() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    a.send("1");
    let alone = a.frames(0);
    assert!(matches!(alone[..], [Frame::Data(_)]), "{alone:?}");
    for text in ["2", "3", "4"] {
        a.send(text);
    }
    let together = a.frames(0);
    assert_eq!(runs(&together), [(2, 3)]);
    for frame in alone.into_iter().chain(together) {
        b.receive(frame).unwrap();
    }
    assert_eq!(b.texts(), ["1", "2", "3", "4"]);
    b.handle(Ok(()));
    b.handle(Err(RejectCode::FAILED));
    settle(&mut a, &mut b);
    assert_eq!((a.link.counts().acknowledged, a.link.counts().rejected), (1, 1));
    b.handle_all();
    settle(&mut a, &mut b);
    assert_eq!(a.link.outbox_messages(), 0);
}

#[test]
fn a_peer_that_does_not_know_batches_gets_none() {
    let (mut a, mut b) = pair();
    let (ready_a, mut ready_b) = (a.link.ready(), b.link.ready());
    assert!(ready_b.features.has(Features::BATCH));
    ready_b.features = Features::NONE;
    for (side, ours, theirs) in [(&mut a, &ready_a, &ready_b), (&mut b, &ready_b, &ready_a)] {
        let ticket = side.slot.ticket();
        let session = side.slot.take(ticket, None).unwrap();
        side.link.start(session, ours, theirs).unwrap();
        side.session = Some(session);
    }
    for text in ["1", "2"] {
        a.send(text);
        b.send(text);
    }
    assert_eq!(runs(&a.frames(0)), [(1, 1), (2, 1)]);
    assert_eq!(runs(&b.frames(0)), [(1, 2)], "batches are understood in the other direction");
}

#[test]
fn a_batch_is_no_longer_than_both_sides_allow() {
    let config = |batch, max_payload| LinkConfig { batch, max_payload, ..LinkConfig::default() };
    for (ours, theirs, expected) in [
        (config(12, 100), config(0, 100), vec![(1, 2), (3, 2), (5, 1)]),
        (config(100, 100), config(0, 18), vec![(1, 3), (4, 2)]),
        (config(11, 100), config(0, 100), (1..=5).map(|number| (number, 1)).collect()),
        (config(0, 100), config(100, 100), (1..=5).map(|number| (number, 1)).collect()),
    ] {
        let (mut a, mut b) = (Side::new(instance(1), ours), Side::new(instance(2), theirs));
        connect(&mut a, &mut b);
        for _ in 0..5 {
            a.send("xx"); // 6 bytes in a batch
        }
        assert_eq!(runs(&a.frames(0)), expected);
    }
}

#[test]
fn a_batch_stays_within_the_credit_and_the_limit_in_flight() {
    let window = LinkConfig { window: 100, max_payload: 50, ..LinkConfig::default() };
    let (mut a, mut b) = pair_with(window);
    connect(&mut a, &mut b);
    for _ in 0..5 {
        a.send("x"); // 25 bytes of credit
    }
    assert_eq!(runs(&a.frames(0)), [(1, 4)]);

    let (mut a, mut b) = pair_with(LinkConfig { in_flight: 3, ..LinkConfig::default() });
    connect(&mut a, &mut b);
    for _ in 0..5 {
        a.send("x");
    }
    assert_eq!(runs(&a.frames(0)), [(1, 3)]);
}

#[test]
fn a_batch_has_no_more_messages_than_allowed() {
    let config = LinkConfig { batch: 1 << 20, ..LinkConfig::default() };
    let (mut a, mut b) = pair_with(config);
    connect(&mut a, &mut b);
    for _ in 0..=Messages::MAX {
        a.send("");
    }
    assert_eq!(runs(&a.frames(0)), [(1, Messages::MAX), (1 + Messages::MAX as u64, 1)]);
}

#[test]
fn expired_and_too_long_messages_are_left_out_of_batches() {
    let (mut a, mut b) = (
        Side::new(instance(1), LinkConfig::default()),
        Side::new(instance(2), LinkConfig { max_payload: 30, ..LinkConfig::default() }),
    );
    let long = Payload::text(vec![b'x'; 31]);
    for (payload, deadline) in [
        ("1".into(), None),
        ("2".into(), None),
        ("3".into(), Some(5)),
        ("4".into(), None),
        (long, None),
        ("6".into(), None),
        ("7".into(), Some(6)),
    ] {
        a.link.enqueue(payload, 0, deadline).unwrap();
    }
    connect(&mut a, &mut b);
    let frames = a.frames(5);
    assert_eq!(runs(&frames), [(1, 2), (4, 1), (6, 2)], "{frames:?}");
    for frame in frames {
        b.receive(frame).unwrap();
    }
    assert_eq!(b.texts(), ["1", "2", "4", "6", "7"]);
    assert_eq!(a.link.counts().expired + a.link.counts().too_long, 2);
}

#[test]
fn repeated_and_new_messages_do_not_share_a_batch() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    let ids: Vec<_> = ["1", "2", "3"].map(|text| a.send(text)).into();
    let lost = a.frames(0);
    assert_eq!(runs(&lost), [(1, 3)]);
    a.send("4");
    a.send("5");
    cut(&mut a, &mut b);
    connect(&mut a, &mut b);
    let frames = a.frames(0);
    let again: Vec<_> =
        frames.iter().map(|frame| matches!(frame, Frame::Batch(it) if it.again)).collect();
    assert_eq!((runs(&frames), again), (vec![(1, 3), (4, 2)], vec![true, false]));

    for frame in frames {
        b.receive(frame).unwrap();
    }
    b.handle_all();
    settle(&mut a, &mut b);
    assert_eq!(b.texts(), ["1", "2", "3", "4", "5"]);
    assert_eq!(a.link.outcome(ids[2]), Outcome::Done);
}

#[test]
fn only_the_new_messages_of_an_overlapping_batch_are_delivered() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    b.receive(batch(1, &["1", "2"])).unwrap();
    b.receive(batch(1, &["1", "2", "3", "4"])).unwrap();
    b.receive(batch(2, &["2", "3"])).unwrap();
    assert_eq!(b.texts(), ["1", "2", "3", "4"]);
    assert_eq!(b.link.held(), 4 * 25);
    let kept =
        b.delivered.pop().unwrap().1.into_bytes().try_into_mut().expect("its block is not shared");
    assert!(kept.capacity() < 4, "nothing else of the block is kept");
}

#[test]
fn the_highest_message_number_can_be_used() {
    let (mut a, mut b) = pair();
    let (mut ready_a, ready_b) = (a.link.ready(), b.link.ready());
    (ready_a.mine[0].base, ready_a.mine[0].next) = (u64::MAX - 1, u64::MAX - 1);
    let ticket = b.slot.ticket();
    let session = b.slot.take(ticket, None).unwrap();
    b.link.start(session, &ready_b, &ready_a).unwrap();
    b.session = Some(session);
    b.receive(batch(u64::MAX - 1, &["a", "b"])).unwrap();
    b.handle_all();
    let acks = b.frames(0);
    let [Frame::Ack(ack)] = &acks[..] else { panic!("{acks:?}") };
    assert_eq!((b.texts(), ack.ack.number), (vec!["a", "b"], u64::MAX));
    assert_eq!(b.receive(batch(u64::MAX, &["b", "c"])), Err(Violation::BadPayload));
    cut(&mut a, &mut b);
}

#[test]
fn by_default_the_messages_of_a_batch_share_its_block() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    for _ in 0..1_000 {
        a.send("a message of some length");
    }
    for frame in a.frames(0) {
        let Frame::Batch(batch) = frame else { continue };
        let len = batch.messages.block().len();
        assert!(len <= Messages::SHARED as usize, "{len}");
    }
    assert!(a.link.in_flight() == 1_000);
}

#[test]
fn a_batch_that_breaks_the_protocol_delivers_nothing() {
    let config = LinkConfig { window: 100, max_payload: 50, ..LinkConfig::default() };
    let more = Violation::BeyondCredit;
    for (frame, violation) in [
        (batch(2, &["a"]), Violation::Gap { expected: 1, got: 2 }),
        (batch(1, &["a", "b", "c", "d", "e"]), more),
        (batch(u64::MAX, &["a", "b"]), Violation::BadPayload),
        (batch(u64::MAX - 1, &["a", "b", "c"]), Violation::BadPayload),
    ] {
        let (mut a, mut b) = pair_with(config);
        connect(&mut a, &mut b);
        assert_eq!(b.receive(frame), Err(violation));
        assert_eq!((b.delivered.len(), b.link.held()), (0, 0));
        b.receive(batch(1, &["a"])).unwrap();
        assert_eq!(b.delivered.len(), 0, "the session is over");
    }
}
