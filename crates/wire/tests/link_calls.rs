//! Calls of a link: requests in both directions, their places, their order, and how they go on in
//! another session.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use paddington_wire::link::{
    AckTime, Answer, AnswerRefused, CallCounts, CallEnd, CallEvent, CallId, IncomingRequest,
    LinkConfig, OutgoingRequest, RequestRefused,
};
use paddington_wire::{
    CallBody, CallItem, Calls, Completed, FailureCode, Features, Frame, Payload, Ready, Violation,
};

#[expect(dead_code, reason = "calls need less than messages")]
mod link_sides;

use link_sides::{Side, connect, cut, instance, pair, pair_with, settle};

fn ask(side: &mut Side, text: &'static str) -> u64 {
    ask_at(side, text, 0, None).unwrap()
}

fn ask_at(
    side: &mut Side,
    text: &'static str,
    depth: u8,
    deadline: Option<u64>,
) -> Result<u64, RequestRefused> {
    side.link.request(OutgoingRequest { payload: text.into(), depth, deadline })
}

fn reply(text: &'static str) -> Answer {
    Answer::Reply(text.into())
}

/// Returns the requests among the events since the last time.
fn asked(side: &mut Side) -> Vec<IncomingRequest> {
    let asked = |event| match event {
        CallEvent::Asked(request) => Some(request),
        _ => None,
    };
    side.link.take_call_events().into_iter().filter_map(asked).collect()
}

/// Returns the requests of this side that have ended since the last time.
fn ended(side: &mut Side) -> Vec<(u64, CallEnd)> {
    let ended = |event| match event {
        CallEvent::Ended { call, end } => Some((call, end)),
        _ => None,
    };
    side.link.take_call_events().into_iter().filter_map(ended).collect()
}

fn frame(first: u64, received: u64, items: Vec<(u64, CallBody)>) -> Frame {
    let items = items.into_iter().map(|(call, body)| CallItem { call, body }).collect();
    Frame::Calls(Calls { first, ack: Completed::default(), received, items })
}

fn request(depth: u8, payload: &'static [u8]) -> CallBody {
    CallBody::Request { depth, left: None, payload: Payload::bytes(payload) }
}

fn failure() -> CallBody {
    CallBody::Failure { code: FailureCode::FAILED, text: "".into() }
}

fn conserved(sides: [&Side; 2]) {
    for side in sides {
        let counts = side.link.call_counts();
        assert!(counts.is_conserved(side.link.requests()), "{counts:?}");
        assert!(counts.answers_are_conserved(side.link.unanswered()), "{counts:?}");
    }
}

#[test]
fn a_request_is_answered_once_and_its_place_is_free_again() {
    let (mut a, mut b) = pair();
    let early = ask(&mut a, "before a session");
    connect(&mut a, &mut b);
    settle(&mut a, &mut b);
    let requests = asked(&mut b);
    assert_eq!(requests.len(), 1);
    let IncomingRequest { id, depth, left, payload } = requests[0].clone();
    assert_eq!((id, depth, left), (CallId { pair: 1, call: early }, 0, None));
    assert_eq!(payload, "before a session");
    assert_eq!((a.link.requests(), b.link.unanswered()), (1, 1));
    b.link.answer(id, reply("yes")).unwrap();
    assert_eq!(b.link.answer(id, reply("no")), Err(AnswerRefused::Over));
    settle(&mut a, &mut b);
    assert_eq!(ended(&mut a), [(early, CallEnd::Answered(reply("yes")))]);
    assert_eq!((a.link.requests(), b.link.unanswered()), (0, 0));
    assert_eq!((a.link.call_counts().answered, b.link.call_counts().replied), (1, 1));
    conserved([&a, &b]);
}

#[test]
fn the_time_that_is_left_travels_and_one_that_is_over_is_not_transmitted() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    let [late, soon] = [40, 90].map(|deadline| ask_at(&mut a, "x", 0, Some(deadline)).unwrap());
    for frame in a.frames(40) {
        b.receive(frame).unwrap();
    }
    let requests = asked(&mut b);
    assert_eq!(
        requests.iter().map(|it| (it.id.call, it.left)).collect::<Vec<_>>(),
        [(soon, Some(50))]
    );
    assert_eq!(ended(&mut a), [(late, CallEnd::Expired)]);
    assert!(a.link.give_up_request(soon, true), "the peer is told");
    assert!(!a.link.give_up_request(soon, true), "once");
    settle(&mut a, &mut b);
    assert_eq!(a.link.call_counts().expired, 2);
    conserved([&a, &b]);
}

#[test]
fn a_request_whose_time_is_over_at_the_peer_has_expired_here_too() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    let call = ask_at(&mut a, "x", 0, Some(90)).unwrap();
    settle(&mut a, &mut b);
    let id = asked(&mut b)[0].id;
    let expired = Answer::failure(FailureCode::EXPIRED);
    b.link.answer(id, expired.clone()).unwrap();
    settle(&mut a, &mut b);
    assert_eq!(ended(&mut a), [(call, CallEnd::Answered(expired))]);
    let counts = a.link.call_counts();
    assert_eq!((counts.expired, counts.failed), (1, 0));
    conserved([&a, &b]);
}

#[test]
fn a_request_that_is_too_long_for_the_peer_that_comes_is_not_transmitted() {
    let mut a = Side::new(instance(1), LinkConfig::default());
    let mut b = Side::new(instance(2), LinkConfig { max_payload: 6, ..LinkConfig::default() });
    let [long, short] = ["1234567", "123456"].map(|text| ask(&mut a, text));
    connect(&mut a, &mut b);
    settle(&mut a, &mut b);
    assert_eq!(ended(&mut a), [(long, CallEnd::TooLong { len: 7, max: 6 })]);
    let requests = asked(&mut b);
    assert_eq!(requests.iter().map(|it| it.id.call).collect::<Vec<_>>(), [short]);
    assert_eq!(a.link.call_counts().failed, 1);
    conserved([&a, &b]);
}

#[test]
fn requests_of_the_peer_that_are_missing_or_too_many_are_noticed() {
    let counts = CallCounts { asked: 5, replied: 1, refused: 2, ..CallCounts::default() };
    assert!(counts.answers_are_conserved(2) && !counts.answers_are_conserved(1));
    let one_gone = CallCounts { dropped: 1, ..counts };
    assert!(one_gone.answers_are_conserved(1) && !one_gone.answers_are_conserved(0));
    assert!(!CallCounts { replied: 4, ..counts }.answers_are_conserved(9), "one is answered twice");
}

#[test]
fn a_cancelled_request_occupies_its_place_until_its_answer_has_come() {
    let config = LinkConfig { requests: 1, ..LinkConfig::default() };
    let (mut a, mut b) = pair_with(config);
    connect(&mut a, &mut b);
    let [first, second, third] = ["1", "2", "3"].map(|text| ask(&mut a, text));
    for frame in a.frames(0) {
        b.receive(frame).unwrap();
    }
    let id = asked(&mut b)[0].id;
    assert_eq!(id.call, first);
    assert!(
        !a.link.give_up_request(second, false),
        "nothing is told of one that was not transmitted"
    );
    assert!(a.link.give_up_request(first, false));
    let cancel = a.frames(0);
    assert_eq!(cancel.len(), 1, "and no other request: {cancel:?}");
    for frame in cancel {
        b.receive(frame).unwrap();
    }
    assert_eq!(b.link.take_call_events(), [CallEvent::Cancelled(id)]);
    assert_eq!(b.link.answer(id, reply("too late")), Err(AnswerRefused::Over));
    settle(&mut a, &mut b);
    assert_eq!(asked(&mut b)[0].id.call, third);
    assert!(ended(&mut a).is_empty());
    let counts = a.link.call_counts();
    assert_eq!((counts.cancelled, counts.late, a.link.requests()), (2, 1, 1));
    assert_eq!(b.link.call_counts().refused, 1);
    conserved([&a, &b]);
}

#[test]
fn places_are_bounded_by_number_and_bytes_for_each_depth() {
    let config =
        LinkConfig { requests: 2, request_window: 0, max_payload: 6, ..LinkConfig::default() };
    let (mut a, mut b) = pair_with(config);
    connect(&mut a, &mut b);
    let texts = [("123", 0), ("45", 0), ("67", 0), ("8", 1), ("9", 3)];
    for (text, depth) in texts {
        ask_at(&mut a, text, depth, None).unwrap();
    }
    assert_eq!(ask_at(&mut a, "deep", 8, None), Err(RequestRefused::TooDeep));
    assert_eq!(ask_at(&mut a, "1234567", 0, None), Err(RequestRefused::TooLong { max: 6 }));
    settle(&mut a, &mut b);
    let requests = asked(&mut b);
    let seen: Vec<_> = requests.iter().map(|it| (it.payload.clone(), it.depth)).collect();
    let expected =
        [("9", 3), ("8", 1), ("123", 0)].map(|(text, depth)| (Payload::from(text), depth));
    assert_eq!(seen, expected, "30 bytes of depth 0, the deepest first");
    b.link.answer(requests[2].id, reply("")).unwrap();
    settle(&mut a, &mut b);
    assert_eq!(asked(&mut b).len(), 1);
    conserved([&a, &b]);
}

#[test]
fn requests_that_wait_are_bounded() {
    let config = LinkConfig {
        waiting_requests: 2,
        waiting_request_bytes: 60,
        max_payload: 10,
        ..LinkConfig::default()
    };
    let mut a = Side::new(instance(1), config);
    ask(&mut a, "1");
    ask(&mut a, "2");
    assert_eq!(ask_at(&mut a, "3", 0, None), Err(RequestRefused::Full { requests: 2, bytes: 50 }));
    let mut a = Side::new(instance(1), config);
    ask(&mut a, "1234567890");
    assert_eq!(
        ask_at(&mut a, "123", 0, None),
        Err(RequestRefused::Full { requests: 1, bytes: 34 })
    );
}

#[test]
fn replies_that_wait_are_bounded_and_become_failures() {
    let config = LinkConfig { reply_bytes: 60, max_payload: 20, ..LinkConfig::default() };
    let (mut a, mut b) = pair_with(config);
    connect(&mut a, &mut b);
    for _ in 0..3 {
        ask(&mut a, "x");
    }
    settle(&mut a, &mut b);
    let ids: Vec<_> = asked(&mut b).iter().map(|request| request.id).collect();
    b.link.answer(ids[0], reply("0123456789")).unwrap();
    let refused = b.link.answer(ids[1], reply("0123456789"));
    assert_eq!(refused, Err(AnswerRefused::NoRoom { bytes: 34 }));
    let long = b.link.answer(ids[2], reply("012345678901234567890"));
    assert_eq!(long, Err(AnswerRefused::TooLong { max: 20 }));
    settle(&mut a, &mut b);
    let failure = |code| CallEnd::Answered(Answer::failure(code));
    let ends: Vec<_> = ended(&mut a).into_iter().map(|(_, end)| end).collect();
    assert_eq!(ends[1..], [failure(FailureCode::NO_ROOM), failure(FailureCode::TOO_LONG)],);
    assert_eq!(b.link.call_counts().refused, 2);
    conserved([&a, &b]);
}

#[test]
fn calls_and_messages_take_turns() {
    let config = LinkConfig { batch: 0, ..LinkConfig::default() };
    let (mut a, mut b) = pair_with(config);
    connect(&mut a, &mut b);
    const LONG: &str = match std::str::from_utf8(&[b'x'; 10_000]) {
        Ok(text) => text,
        Err(_) => "",
    };
    for _ in 0..4 {
        a.send("message");
        ask(&mut a, LONG);
    }
    let calls: Vec<_> = a.frames(0).iter().map(|frame| matches!(frame, Frame::Calls(_))).collect();
    assert_eq!(calls, [true, false].repeat(4));
    let _ = &mut b;
}

#[test]
fn what_a_broken_connection_has_lost_comes_again_and_nothing_twice() {
    // In each round, the connection breaks after so many frames in either direction.
    for lost in 0..6 {
        let (mut a, mut b) = pair();
        let mut answers = 0;
        let calls: Vec<_> = ["1", "2", "3"].iter().map(|text| ask(&mut a, text)).collect();
        let mut frames_left = lost;
        let mut seen = Vec::new();
        for _ in 0..8 {
            connect(&mut a, &mut b);
            for _ in 0..4 {
                for frame in a.frames(0) {
                    if frames_left > 0 {
                        b.receive(frame).unwrap();
                        frames_left -= 1;
                    }
                }
                for request in asked(&mut b) {
                    seen.push(request.id.call);
                    b.link.answer(request.id, reply("yes")).unwrap();
                }
                for frame in b.frames(0) {
                    if frames_left > 0 {
                        a.receive(frame).unwrap();
                        frames_left -= 1;
                    }
                }
                answers += ended(&mut a).len();
            }
            cut(&mut a, &mut b);
            frames_left = lost + 1;
        }
        assert_eq!((seen, answers), (calls, 3), "cut after {lost} frames");
        assert_eq!((a.link.call_counts().answered, b.link.unanswered()), (3, 0));
        conserved([&a, &b]);
    }
}

#[test]
fn a_restart_of_the_peer_ends_what_it_was_asked_and_no_more() {
    let (mut a, mut b) = pair_with(LinkConfig { requests: 1, ..LinkConfig::default() });
    connect(&mut a, &mut b);
    let [asked_old, waits] = ["1", "2"].map(|text| ask(&mut a, text));
    let theirs = ask(&mut b, "to a");
    settle(&mut a, &mut b);
    let from_old = asked(&mut a);
    assert_eq!(from_old[0].id.call, theirs);
    cut(&mut a, &mut b);
    let mut b = Side::new(instance(3), LinkConfig::default());
    connect(&mut a, &mut b);
    let events = a.link.take_call_events();
    assert_eq!(
        events,
        [
            CallEvent::Ended { call: asked_old, end: CallEnd::PeerChanged },
            CallEvent::Forgotten { pair: 2 },
        ]
    );
    assert_eq!(a.link.answer(from_old[0].id, reply("for nobody")), Err(AnswerRefused::Over));
    assert_eq!((a.link.call_counts().dropped, a.link.unanswered()), (1, 0));
    settle(&mut a, &mut b);
    let id = asked(&mut b)[0].id;
    assert_eq!(id.call, waits, "what was not transmitted goes to the new process");
    b.link.answer(id, reply("yes")).unwrap();
    settle(&mut a, &mut b);
    assert_eq!(ended(&mut a), [(waits, CallEnd::Answered(reply("yes")))]);
    conserved([&a, &b]);
}

/// A second process with the peer's invitation comes and goes: both sides begin anew with the first.
#[test]
fn a_process_that_comes_back_after_another_one_begins_anew() {
    let (mut a, mut b) = pair();
    let mut twin = Side::new(instance(3), LinkConfig::default());
    connect(&mut a, &mut b);
    ask(&mut a, "to b");
    ask(&mut b, "to a");
    settle(&mut a, &mut b);
    let (to_a, to_b) = (asked(&mut a)[0].id, asked(&mut b)[0].id);
    cut(&mut a, &mut b);
    connect(&mut a, &mut twin);
    settle(&mut a, &mut twin);
    cut(&mut a, &mut twin);
    connect(&mut a, &mut b);
    assert_eq!(a.link.answer(to_a, reply("old")), Err(AnswerRefused::Over));
    assert_eq!(b.link.answer(to_b, reply("old")), Err(AnswerRefused::Over));
    assert_eq!(ended(&mut a)[0].1, CallEnd::PeerChanged);
    assert_eq!(ended(&mut b)[0].1, CallEnd::PeerChanged);
    let again = ask(&mut a, "again");
    settle(&mut a, &mut b);
    let id = asked(&mut b)[0].id;
    assert_eq!(id.call, again);
    b.link.answer(id, reply("yes")).unwrap();
    settle(&mut a, &mut b);
    assert_eq!(ended(&mut a), [(again, CallEnd::Answered(reply("yes")))]);
    conserved([&a, &b]);
}

/// The client has begun the pair, and its READY was lost with all that followed.
#[test]
fn requests_that_the_peer_cannot_have_received_are_made_again() {
    let (mut a, mut b) = pair();
    let (ready_a, ready_b) = (a.link.ready(), b.link.ready());
    let ticket = a.slot.ticket();
    let session = a.slot.take(ticket, None).unwrap();
    a.link.start(session, &ready_a, &ready_b).unwrap();
    a.session = Some(session);
    let [gone, call] = ["1", "2"].map(|text| ask(&mut a, text));
    assert_eq!(a.frames(0).len(), 1);
    assert!(a.link.give_up_request(gone, false));
    cut(&mut a, &mut b);
    connect(&mut a, &mut b);
    settle(&mut a, &mut b);
    let requests = asked(&mut b);
    assert_eq!(requests.iter().map(|it| it.id.call).collect::<Vec<_>>(), [call]);
    assert!(ended(&mut a).is_empty());
    conserved([&a, &b]);
}

#[test]
fn a_peer_that_answers_no_requests_gets_none() {
    let (mut a, mut b) = pair_with(LinkConfig { requests: 0, ..LinkConfig::default() });
    let early = ask(&mut a, "x");
    connect(&mut a, &mut b);
    assert_eq!(ended(&mut a), [(early, CallEnd::NotAnswered)]);
    assert_eq!(ask_at(&mut a, "y", 0, None), Err(RequestRefused::NotAnswered));
    settle(&mut a, &mut b);

    // One that does not know calls at all.
    let (mut a, b) = pair();
    ask(&mut a, "x");
    let (ours, mut theirs) = (a.link.ready(), b.link.ready());
    theirs.features = Features::BATCH;
    theirs.calls = paddington_wire::CallsState::default();
    let session = start(&mut a, &ours, &theirs).unwrap();
    assert!(a.frames(0).is_empty());
    assert_eq!(ended(&mut a)[0].1, CallEnd::NotAnswered);
    let refused = a.link.receive(session, frame(0, 0, Vec::new()), &mut Vec::new());
    assert_eq!(refused, Err(Violation::NotOffered));
    conserved([&a, &a]);
}

fn start(
    side: &mut Side,
    ours: &Ready,
    theirs: &Ready,
) -> Result<paddington_wire::SessionId, Violation> {
    let ticket = side.slot.ticket();
    let session = side.slot.take(ticket, None).unwrap();
    side.link.start(session, ours, theirs)?;
    side.session = Some(session);
    Ok(session)
}

#[test]
fn a_peer_that_drains_is_asked_nothing_new_and_answers_what_it_was_asked() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    let first = ask(&mut a, "1");
    settle(&mut a, &mut b);
    b.link.drain();
    settle(&mut a, &mut b);
    ask(&mut a, "2");
    settle(&mut a, &mut b);
    let requests = asked(&mut b);
    assert_eq!(requests.len(), 1);
    b.link.answer(requests[0].id, reply("yes")).unwrap();
    let answer = b.frames(0);
    answer.into_iter().for_each(|frame| a.receive(frame).unwrap());
    assert_eq!(a.link.ack_time(0), AckTime::Now, "it is acknowledged at once");
    settle(&mut a, &mut b);
    assert_eq!(ended(&mut a), [(first, CallEnd::Answered(reply("yes")))]);
    assert_eq!(b.link.unanswered(), 0);
    let unsent = a.link.abandon_requests();
    assert!(matches!(&unsent[..], [(2, request)] if *request.payload == *b"2"), "{unsent:?}");
    assert_eq!(a.link.call_counts().cancelled, 1);
    assert!(!a.link.has_waiting_requests());
    conserved([&a, &b]);
}

#[test]
fn an_acknowledgement_waits_for_something_that_can_carry_it() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    ask(&mut a, "1");
    let session = b.session.unwrap();
    for frame in a.frames(0) {
        b.receive(frame).unwrap();
    }
    assert_eq!(b.link.transmit(session, 5), None);
    assert_eq!(b.link.ack_time(5), AckTime::At(25));
    assert_eq!(b.link.transmit(session, 25), Some(frame(0, 1, Vec::new())));
    assert_eq!((b.link.ack_time(26), b.link.transmit(session, 26)), (AckTime::Never, None));
    for _ in 0..64 {
        ask(&mut a, "x");
    }
    for frame in a.frames(0) {
        b.receive(frame).unwrap();
    }
    assert_eq!(
        b.link.transmit(session, 30),
        Some(frame(0, 65, Vec::new())),
        "64 items do not wait"
    );
}

#[test]
fn everything_that_a_peer_can_send_wrong_is_a_violation() {
    let reply = |payload: &'static [u8]| CallBody::Reply { payload: Payload::bytes(payload) };
    let ask_twice = |depth| vec![(1, request(depth, b"")), (2, request(depth, b""))];
    let cases: Vec<(&str, Frame, Violation)> = vec![
        ("a gap", frame(2, 0, vec![(1, request(0, b""))]), Violation::Gap { expected: 1, got: 2 }),
        ("number 0", frame(0, 0, vec![(1, CallBody::Cancel)]), Violation::BadPayload),
        ("the last number", frame(u64::MAX, 0, vec![(1, CallBody::Cancel)]), Violation::BadPayload),
        ("nothing was sent", frame(0, 4, Vec::new()), Violation::AckOfUnsent(4)),
        ("two of one number", frame(1, 0, vec![(1, request(0, b"")); 2]), Violation::BadPayload),
        ("too many", frame(1, 0, ask_twice(0)), Violation::TooManyRequests),
        ("too many of depth 7", frame(1, 0, ask_twice(7)), Violation::TooManyRequests),
        ("too long", frame(1, 0, vec![(1, request(0, &[0; 11]))]), Violation::TooManyRequests),
        ("depth 8", frame(1, 0, vec![(1, request(8, b""))]), Violation::BadPayload),
        ("of none", frame(1, 0, vec![(1_000, reply(b""))]), Violation::AnswerOfNothing(1_000)),
        ("of one that waits", frame(1, 2, vec![(3, failure())]), Violation::AnswerOfNothing(3)),
        ("not acknowledged", frame(1, 1, vec![(2, failure())]), Violation::AnswerOfNothing(2)),
        ("twice", frame(1, 1, vec![(1, failure()); 2]), Violation::AnswerOfNothing(1)),
    ];
    for (what, frame, violation) in cases {
        let config = LinkConfig { requests: 1, max_payload: 10, ..LinkConfig::default() };
        let config = LinkConfig { request_window: 0, ..config };
        let mut a = Side::new(instance(1), config);
        let mut b = Side::new(instance(2), LinkConfig { requests: 2, ..config });
        let b_config = LinkConfig { request_window: 68, requests: 2, ..config };
        b.link = paddington_wire::link::Link::new(b_config, instance(2));
        connect(&mut a, &mut b);
        for _ in 0..3 {
            ask(&mut a, "");
        }
        assert_eq!(a.frames(0).len(), 2, "one waits");
        assert_eq!(a.receive(frame), Err(violation), "{what}");
        assert_eq!(a.link.transmit(a.session.unwrap(), 0), None, "the session is over");
        conserved([&a, &a]);
    }
}

#[test]
fn a_ready_that_claims_too_much_is_a_violation() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    ask(&mut a, "1");
    settle(&mut a, &mut b);
    let (ours, mut theirs) = (a.link.ready(), b.link.ready());
    assert_eq!((theirs.calls.of, theirs.calls.received), (Some(instance(1)), 1));
    theirs.calls.received = 2;
    assert_eq!(start(&mut a, &ours, &theirs), Err(Violation::AckOfUnsent(2)));
}

#[test]
fn a_ready_that_is_older_than_an_acknowledgement_changes_nothing() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    ask(&mut a, "1");
    settle(&mut a, &mut b);
    let before = b.link.ready();
    assert_eq!(before.calls.received, 1);
    ask(&mut a, "2");
    settle(&mut a, &mut b);
    let ours = a.link.ready();
    start(&mut a, &ours, &before).unwrap();
    ask(&mut a, "3");
    let frames = a.frames(0);
    assert!(matches!(&frames[0], Frame::Calls(calls) if calls.first == 3), "{frames:?}");
    assert_eq!(a.link.requests(), 3);
}

#[test]
fn a_peer_that_never_acknowledges_keeps_a_bounded_number_of_items() {
    let (mut a, mut b) = pair_with(LinkConfig { requests: 3, ..LinkConfig::default() });
    connect(&mut a, &mut b);
    for call in 0..10 {
        let items = vec![(call, request(0, b""))];
        let taken = a.receive(frame(call + 1, 0, items));
        if call == 3 {
            assert_eq!(
                taken,
                Err(Violation::TooManyRequests),
                "three answers are not acknowledged"
            );
            return;
        }
        taken.unwrap();
        let id = asked(&mut a)[0].id;
        a.link.answer(id, reply("x")).unwrap();
        a.frames(0);
    }
    unreachable!("nothing was refused");
}
