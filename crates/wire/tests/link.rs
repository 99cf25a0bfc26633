//! Two links joined in memory: the guarantees about messages, in single scenarios and under random
//! interruptions.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::VecDeque;

use paddington_wire::link::{AckTime, LinkConfig, Outcome};
use paddington_wire::{
    Ack, Completed, CursorState, Data, Frame, Payload, RejectCode, RejectText, Skip, StreamState,
    Violation,
};
use proptest::prelude::*;

mod link_sides;

use link_sides::{Side, connect, cut, instance, pair, pair_with, settle};

#[test]
fn messages_arrive_in_order_and_are_acknowledged_after_the_handler() {
    let (mut a, mut b) = pair();
    let ids: Vec<_> = ["x", "y", "z"].map(|text| a.send(text)).into();
    connect(&mut a, &mut b);
    settle(&mut a, &mut b);
    assert_eq!(b.texts(), ["x", "y", "z"]);
    assert_eq!(a.link.outcome(ids[0]), Outcome::Waiting, "delivered is not handled");

    b.handle(Ok(()));
    b.handle(Err(RejectCode::FAILED));
    settle(&mut a, &mut b);
    assert_eq!(a.link.outcome(ids[0]), Outcome::Done);
    assert_eq!(a.link.outcome(ids[1]), Outcome::Rejected(RejectCode::FAILED));
    assert_eq!(a.link.outcome(ids[2]), Outcome::Waiting);
    assert_eq!(a.link.outbox_messages(), 1);
}

#[test]
fn a_lost_connection_neither_loses_nor_repeats_messages() {
    let (mut a, mut b) = pair_with(LinkConfig { batch: 0, ..LinkConfig::default() });
    connect(&mut a, &mut b);
    for text in ["1", "2", "3", "4"] {
        a.send(text);
    }
    let frames = a.frames(0);
    b.receive(frames[0].clone()).unwrap();
    b.receive(frames[1].clone()).unwrap();
    b.handle(Ok(()));
    cut(&mut a, &mut b);
    connect(&mut a, &mut b);
    settle(&mut a, &mut b);
    b.handle_all();
    settle(&mut a, &mut b);
    assert_eq!(b.texts(), ["1", "2", "3", "4"]);
    assert_eq!(a.link.outbox_messages(), 0);
    assert_eq!(a.link.counts().acknowledged, 4);
}

#[test]
fn what_a_wider_window_has_let_in_is_not_too_much_for_the_next_session() {
    let (first_window, window, max_payload) = (1_000, 8_000, 100);
    let config =
        LinkConfig { first_window, window, max_payload, batch: 0, ..LinkConfig::default() };
    let (mut a, mut b) = pair_with(config);
    connect(&mut a, &mut b);
    let text = "x".repeat(100);
    for _ in 0..6 {
        a.send(&text);
    }
    settle(&mut a, &mut b);
    b.handle_all();
    b.link.widen(|_| true);
    settle(&mut a, &mut b);
    for _ in 0..12 {
        a.send(&text);
    }
    settle(&mut a, &mut b);
    assert!(b.link.held() > u64::from(first_window) && !b.link.holds_too_much());
    cut(&mut a, &mut b);
    connect(&mut a, &mut b);
    assert!(!b.link.holds_too_much());
}

#[test]
fn a_restarted_receiver_gets_unhandled_messages_again() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    let ids: Vec<_> = ["1", "2", "3"].map(|text| a.send(text)).into();
    settle(&mut a, &mut b);
    b.handle(Ok(()));
    settle(&mut a, &mut b);
    cut(&mut a, &mut b);

    let mut b = Side::new(instance(3), LinkConfig::default());
    connect(&mut a, &mut b);
    settle(&mut a, &mut b);
    assert_eq!(b.texts(), ["2", "3"]);
    assert_eq!(b.delivered[0].0, ids[1], "the same number as before");
}

#[test]
fn a_restarted_sender_starts_at_one_and_its_old_messages_are_still_handled() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    a.send("old");
    settle(&mut a, &mut b);
    cut(&mut a, &mut b);

    let mut a = Side::new(instance(4), LinkConfig::default());
    a.send("new");
    connect(&mut a, &mut b);
    settle(&mut a, &mut b);
    b.handle_all();
    settle(&mut a, &mut b);
    assert_eq!(b.texts(), ["old", "new"]);
    assert_eq!(a.link.counts().acknowledged, 1);
    assert_eq!(b.link.ready().yours.len(), 1, "the old stream is forgotten once it is handled");
}

#[test]
fn the_outbox_is_bounded_in_messages_and_in_bytes() {
    let config = LinkConfig { outbox_messages: 2, outbox_bytes: 100, ..LinkConfig::default() };
    let (mut a, _) = pair_with(config);
    assert!(a.link.enqueue(Payload::bytes(vec![0; 100]), 0, None).is_err());
    a.send("1");
    a.send("2");
    let full = a.link.enqueue("".into(), 0, None).unwrap_err();
    assert_eq!((full.messages, full.bytes), (2, 50));
}

#[test]
fn nothing_is_sent_beyond_the_credit_and_handling_grants_more() {
    let config = LinkConfig { window: 100, max_payload: 20, ..LinkConfig::default() };
    let (mut a, mut b) = pair_with(config);
    connect(&mut a, &mut b);
    for _ in 0..5 {
        a.send("12345678901234567890");
    }
    settle(&mut a, &mut b);
    assert_eq!(b.delivered.len(), 2, "two of 44 bytes fit into 100");
    assert_eq!(b.link.held(), 88);
    b.handle(Ok(()));
    settle(&mut a, &mut b);
    assert_eq!(b.delivered.len(), 3);
    while b.delivered.len() < 5 {
        b.handle_all();
        settle(&mut a, &mut b);
    }
    b.handle_all();
    settle(&mut a, &mut b);
    assert_eq!(a.link.outbox_messages(), 0);
}

#[test]
fn expired_messages_leave_a_gap_that_the_receiver_accepts() {
    let (mut a, mut b) = pair();
    let ids: Vec<_> = (0..4)
        .map(|number| {
            let deadline = if number == 3 { None } else { Some(10) };
            a.link.enqueue("x".into(), 0, deadline).unwrap()
        })
        .collect();
    connect(&mut a, &mut b);
    for frame in a.frames(11) {
        b.receive(frame).unwrap();
    }
    assert_eq!(b.delivered.len(), 1);
    assert_eq!(b.delivered[0].0, ids[3]);
    b.handle_all();
    settle(&mut a, &mut b);
    assert_eq!(a.link.outcome(ids[0]), Outcome::Expired);
    assert_eq!(a.link.outcome(ids[3]), Outcome::Done);
    let counts = a.link.counts();
    assert_eq!((counts.expired, counts.acknowledged, a.link.outbox_messages()), (3, 1, 0));
}

#[test]
fn a_gap_is_reported_again_after_a_lost_connection() {
    let (mut a, mut b) = pair();
    a.link.enqueue("x".into(), 0, Some(1)).unwrap();
    a.send("y");
    connect(&mut a, &mut b);
    assert_eq!(a.frames(2).len(), 2, "lost with the connection");
    cut(&mut a, &mut b);
    connect(&mut a, &mut b);
    settle(&mut a, &mut b);
    assert_eq!(b.texts(), ["y"]);
}

#[test]
fn a_message_longer_than_the_peer_accepts_does_not_block_the_others() {
    let (mut a, _) = pair();
    let mut b = Side::new(instance(2), LinkConfig { max_payload: 4, ..LinkConfig::default() });
    let long = a.send("12345");
    a.send("1234");
    connect(&mut a, &mut b);
    settle(&mut a, &mut b);
    assert_eq!(b.texts(), ["1234"]);
    assert_eq!(a.link.outcome(long), Outcome::TooLong);
}

#[test]
fn a_rejection_survives_the_loss_of_its_acknowledgement() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    let id = a.send("x");
    settle(&mut a, &mut b);
    b.handle(Err(RejectCode::TIMED_OUT));
    assert_eq!(b.frames(0).len(), 1, "lost with the connection");
    cut(&mut a, &mut b);
    connect(&mut a, &mut b);
    settle(&mut a, &mut b);
    assert_eq!(a.link.outcome(id), Outcome::Rejected(RejectCode::TIMED_OUT));
}

#[test]
fn a_draining_peer_gets_acknowledgements_but_no_new_messages() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    b.send("before");
    settle(&mut a, &mut b);
    a.receive(Frame::Drain).unwrap();
    a.send("after");
    a.handle_all();
    settle(&mut a, &mut b);
    assert_eq!(b.delivered.len(), 0);
    assert_eq!(b.link.outbox_messages(), 0, "acknowledged");
}

#[test]
fn frames_of_an_ended_session_are_ignored() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    a.send("x");
    let frames = a.frames(0);
    let old = b.session.unwrap();
    connect(&mut a, &mut b);
    let mut arrived = Vec::new();
    b.link.receive(old, frames[0].clone(), &mut arrived).unwrap();
    assert_eq!(arrived, []);
    assert_eq!(b.link.transmit(old, 0), None);
    b.link.end(old);
    assert!(b.link.is_current(b.session.unwrap()));
}

#[test]
fn a_restarted_peer_skips_what_its_last_instance_acknowledged_after_the_ready() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    a.send("1");
    a.send("2");
    settle(&mut a, &mut b);
    b.handle(Ok(()));
    let late = b.frames(0).remove(0);

    let mut b = Side::new(instance(3), LinkConfig::default());
    let (ours, theirs) = (a.link.ready(), b.link.ready());
    a.receive(late).unwrap();
    for (side, ours, theirs) in [(&mut a, &ours, &theirs), (&mut b, &theirs, &ours)] {
        let ticket = side.slot.ticket();
        let session = side.slot.take(ticket, None).unwrap();
        side.link.start(session, ours, theirs).unwrap();
        side.session = Some(session);
    }
    settle(&mut a, &mut b);
    assert_eq!(b.texts(), ["2"]);
}

#[test]
fn acknowledgements_are_delayed_but_not_for_long() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    for _ in 0..64 {
        a.send("x");
    }
    for frame in a.frames(0) {
        b.receive(frame).unwrap();
    }
    assert_eq!(b.link.ack_time(0), AckTime::Never);
    b.handle(Ok(()));
    assert_eq!(b.link.ack_time(5), AckTime::At(25));
    b.handle_all();
    assert_eq!(b.link.ack_time(0), AckTime::Now, "64 are enough");
    b.send("y");
    let session = b.session.unwrap();
    assert!(matches!(b.link.transmit(session, 0), Some(Frame::Ack(_))));
    assert!(matches!(b.link.transmit(session, 0), Some(Frame::Data(_))));
    assert_eq!(b.link.transmit(session, 0), None);
}

#[test]
fn a_message_carries_the_acknowledgement_of_handled_messages() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    a.send("ping");
    settle(&mut a, &mut b);
    b.send("pong");
    b.handle_all();
    let session = b.session.unwrap();
    match b.link.transmit(session, 0) {
        Some(Frame::Data(data)) => assert_eq!(data.ack, Completed { stream: 0, number: 1 }),
        other => panic!("{other:?}"),
    }
}

fn data(number: u64) -> Frame {
    let ack = Completed::default();
    Frame::Data(Data { stream: 0, again: false, number, ack, payload: "x".into() })
}

#[test]
fn frames_that_break_the_protocol_are_violations() {
    let ack = |number| Ack { ack: Completed { stream: 0, number }, ..Ack::default() };
    let stream_9 = Completed { stream: 9, number: 1 };
    let cases: Vec<(&str, Vec<Frame>, Violation)> = vec![
        ("a number left out", vec![data(2)], Violation::Gap { expected: 1, got: 2 }),
        ("an unsent message acknowledged", vec![Frame::Ack(ack(1))], Violation::AckOfUnsent(1)),
        (
            "a stream that was not listed",
            vec![Frame::Skip(Skip { stream: 7, to: 1, ack: Completed::default() })],
            Violation::UnknownStream(7),
        ),
        (
            "an acknowledgement of a stream that was not listed",
            vec![Frame::Ack(Ack { ack: stream_9, ..Ack::default() })],
            Violation::UnknownStream(9),
        ),
        ("more than the window", (1..=5).map(data).collect(), Violation::BeyondCredit),
    ];
    for (what, frames, violation) in cases {
        let (mut a, mut b) =
            pair_with(LinkConfig { window: 100, max_payload: 20, ..LinkConfig::default() });
        connect(&mut a, &mut b);
        let results: Vec<_> = frames.into_iter().map(|frame| b.receive(frame)).collect();
        assert_eq!(results.last().unwrap(), &Err(violation), "{what}");
        b.frames(0); // the other half of the connection may not know yet
    }
}

#[test]
fn a_ready_that_claims_unsent_messages_of_this_instance_is_a_violation() {
    let (mut a, b) = pair();
    a.send("not transmitted");
    let mut theirs = b.link.ready();
    theirs.yours = vec![CursorState { instance: instance(1), received: 1, completed: 0 }];
    let (ours, ticket) = (a.link.ready(), a.slot.ticket());
    let session = a.slot.take(ticket, None).unwrap();
    assert_eq!(a.link.start(session, &ours, &theirs), Err(Violation::AckOfUnsent(1)));
    assert!(!a.link.is_current(session));
}

#[test]
fn the_highest_message_number_does_no_harm() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    let (to, ack) = (u64::MAX, Completed::default());
    b.receive(Frame::Skip(Skip { stream: 0, to, ack })).unwrap();
    assert_eq!(b.frames(0).len(), 1, "an acknowledgement");
    let mut theirs = a.link.ready();
    theirs.yours = vec![CursorState { instance: instance(2), received: 0, completed: 0 }];
    let (ours, ticket) = (b.link.ready(), b.slot.ticket());
    let session = b.slot.take(ticket, None).unwrap();
    b.link.start(session, &ours, &theirs).unwrap();
    b.session = Some(session);
    b.receive(data(1)).unwrap();
    assert_eq!(b.delivered.len(), 0, "a repeat");
}

#[test]
fn an_unknown_stream_does_not_start_at_zero() {
    let (mut a, b) = pair();
    let mut theirs = b.link.ready();
    theirs.mine = vec![StreamState { instance: instance(2), base: 7, next: 9 }];
    let (ours, ticket) = (a.link.ready(), a.slot.ticket());
    let session = a.slot.take(ticket, None).unwrap();
    a.link.start(session, &ours, &theirs).unwrap();
    a.session = Some(session);
    assert_eq!(a.receive(data(6)), Ok(()), "a repeat");
    assert_eq!(a.delivered.len(), 0);
    a.receive(data(7)).unwrap();
    assert_eq!(a.delivered.len(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Send(bool),
    Carry(bool),
    Handle(bool),
    Cut,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any::<bool>().prop_map(Step::Send),
        4 => any::<bool>().prop_map(Step::Carry),
        3 => any::<bool>().prop_map(Step::Handle),
        1 => Just(Step::Cut),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Wherever connections are lost: in order, exactly once, nothing lost, memory within the
    /// window.
    #[test]
    fn messages_arrive_exactly_once_in_order_wherever_connections_are_lost(
        steps in steps(),
        batch in prop_oneof![Just(0), 0..40_u32],
    ) {
        let config = LinkConfig { window: 200, max_payload: 20, batch, ..LinkConfig::default() };
        let (mut a, mut b) = pair_with(config);
        connect(&mut a, &mut b);
        let mut wires: [VecDeque<Frame>; 2] = [VecDeque::new(), VecDeque::new()];
        let mut sent = [0, 0];
        for step in steps {
            match step {
                Step::Send(first) => {
                    let (side, index) = if first { (&mut a, 0) } else { (&mut b, 1) };
                    sent[index] += 1;
                    side.send(&sent[index].to_string());
                }
                Step::Carry(first) => {
                    let (from, to, wire) = if first {
                        (&mut a, &mut b, &mut wires[0])
                    } else {
                        (&mut b, &mut a, &mut wires[1])
                    };
                    wire.extend(from.frames(0));
                    if let Some(frame) = wire.pop_front() {
                        to.receive(frame).unwrap();
                    }
                }
                Step::Handle(first) => (if first { &mut a } else { &mut b }).handle(Ok(())),
                Step::Cut => {
                    wires = [VecDeque::new(), VecDeque::new()];
                    cut(&mut a, &mut b);
                    connect(&mut a, &mut b);
                }
            }
            prop_assert!(a.link.held() <= 200 && b.link.held() <= 200);
        }
        cut(&mut a, &mut b);
        connect(&mut a, &mut b);
        for _ in 0..sent[0] + sent[1] + 2 {
            settle(&mut a, &mut b);
            a.handle_all();
            b.handle_all();
        }
        for (receiver, sender, sent) in [(&b, &a, sent[0]), (&a, &b, sent[1])] {
            let expected: Vec<_> = (1..=sent).map(|number: i32| number.to_string()).collect();
            prop_assert_eq!(receiver.texts(), expected);
            let counts = sender.link.counts();
            prop_assert_eq!((counts.accepted, counts.acknowledged), (sent as u64, sent as u64));
        }
    }
}

/// A second process with the same invitation, and nothing of the first one's memory or file.
#[test]
fn a_twin_of_the_sender_does_not_make_its_messages_come_twice() {
    let (mut a, mut b) = pair();
    let mut twin = Side::new(instance(3), LinkConfig::default());
    for round in 0..3 {
        for message in 0..3 {
            a.send(&format!("{round}-{message}"));
        }
        connect(&mut a, &mut b);
        for frame in a.frames(0) {
            b.receive(frame).unwrap();
        }
        b.handle_all();
        drop(b.frames(0)); // the acknowledgements are lost
        cut(&mut a, &mut b);
        twin.send(&format!("twin {round}"));
        connect(&mut twin, &mut b);
        settle(&mut twin, &mut b);
        b.handle_all();
        cut(&mut twin, &mut b);
    }
    connect(&mut a, &mut b);
    settle(&mut a, &mut b);
    let expected = (0..3).flat_map(|round| {
        let own = (0..3).map(move |message| format!("{round}-{message}"));
        own.chain([format!("twin {round}")])
    });
    assert_eq!(b.texts(), expected.collect::<Vec<_>>());
    assert_eq!(a.link.counts().acknowledged, 9);
}

/// Rejections that READY cannot carry are never forgotten: completions wait for them.
#[test]
fn thousands_of_rejections_are_told_although_connections_break() {
    let (mut a, mut b) = pair();
    let ids: Vec<_> = (0..5_000).map(|_| a.send("x")).collect();
    for session in 0..40 {
        connect(&mut a, &mut b);
        for round in 0..200 {
            for frame in a.frames(0) {
                b.receive(frame).unwrap();
            }
            while !b.unhandled.is_empty() {
                b.handle(Err(RejectCode::FAILED));
            }
            let frames = b.frames(0);
            // Every third session loses the acknowledgements of its second round.
            if frames.is_empty() || (session % 3 == 2 && round == 1) {
                break;
            }
            for frame in frames {
                a.receive(frame).unwrap();
            }
        }
        cut(&mut a, &mut b);
    }
    let rejected = Outcome::Rejected(RejectCode::FAILED);
    let wrong: Vec<_> = ids.iter().filter(|id| a.link.outcome(**id) != rejected).collect();
    assert!(wrong.is_empty(), "{} of 5000 are not known to be rejected", wrong.len());
    assert_eq!(b.link.held(), 0);
}

#[test]
fn texts_of_rejections_are_told_and_bounded() {
    let (mut a, mut b) = pair();
    let ids: Vec<_> = (0..500).map(|number| a.send(&number.to_string())).collect();
    connect(&mut a, &mut b);
    settle(&mut a, &mut b);
    for id in &ids {
        let text = RejectText::cut(&format!("{} {}", id.number, "x".repeat(300)));
        b.link.reject(*id, RejectCode::FAILED, text);
    }
    b.unhandled.clear();
    let (mut told, mut kept) = (0, 0);
    for frame in b.frames(100) {
        let Frame::Ack(ack) = &frame else { continue };
        assert!(ack.rejected.len() <= 64);
        told += ack.rejected.len();
        kept += ack.rejected.iter().map(|entry| entry.text.as_str().len()).sum::<usize>();
        a.receive(frame).unwrap();
    }
    assert_eq!(told, 500);
    assert!((32 * 1024 - 255..=32 * 1024).contains(&kept), "{kept} bytes are kept of a stream");
    let texts = a.link.take_texts();
    assert_eq!(texts.len(), kept / 255);
    assert!(texts.iter().all(|(id, text)| text.as_str().starts_with(&id.number.to_string())));
    assert_eq!(a.link.take_outcomes().len(), 500);
}

#[test]
fn a_renewal_of_keys_that_was_not_offered_is_a_violation() {
    for frame in [Frame::Renew(0), Frame::Renew(1), Frame::Renewed(1)] {
        let (mut a, mut b) = pair();
        connect(&mut a, &mut b);
        assert!(matches!(a.receive(frame), Err(Violation::BadRenewal(_))));
    }
}
