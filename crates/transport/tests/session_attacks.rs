//! Attacks on an established session, from the network and from an authenticated peer
//! (`docs/protocol.md` §13).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use paddington::{Encoding, Handler, HandlerError, Message, PeerStatus, Service};
use paddington_test_support::{
    Inbox, Intruder, Pair, RawFrame, Way, conserved, credentials, empty_ready, eventually, pair,
    pair_with, tap,
};
use paddington_wire::sealed::{Greeting, SealedSession};
use paddington_wire::{
    Ack, CallBody, CallItem, Calls, CallsState, CloseCode, Completed, Data, FailureCode, Features,
    Frame, Instance, Payload, Ready, Skip, Violation,
};
use tokio::time::Instant;

const SERVER: &str = "127.0.0.1:6501";
const TAP: &str = "127.0.0.1:7777";

fn instance(byte: u8) -> Instance {
    Instance::from([byte; 16])
}

fn status(service: &Service) -> PeerStatus {
    service.peers().remove(0)
}

/// Starts the client of a pair behind a tap, which lets `meddler` change the frames.
async fn start_tapped(
    pair: &Pair,
    meddler: impl Fn(Way, usize, RawFrame) -> io::Result<Vec<RawFrame>> + Send + Sync + 'static,
) -> (Service, Inbox) {
    tap(&pair.network, TAP, SERVER, meddler).await;
    let mut client =
        paddington::ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    client.add_server(pair.invite.clone().at(&format!("ws://{TAP}/")).unwrap()).unwrap();
    pair.start(&client).await
}

/// Checks that every message arrives once and in order although `meddler` changes the frames:
/// messages that are lost with a connection are sent again on the next.
async fn survives(
    meddler: impl Fn(Way, usize, RawFrame) -> io::Result<Vec<RawFrame>> + Send + Sync + 'static,
) {
    let mut pair = pair();
    pair.server.settings_mut().transport.limits.attempts = 1_000;
    let (_server, inbox) = pair.start_server().await;
    let (client, client_inbox) = start_tapped(&pair, meddler).await;
    for number in 0..50 {
        client.send(Message::new("server", number.to_string())).await.unwrap();
        assert_eq!(inbox.text().await, number.to_string());
    }
    assert_eq!(inbox.drain().await, [""; 0]);
    assert_eq!(client_inbox.drain().await, [r#"{"Connected":{"agent":"server"}}"#]);
}

/// Checks that every request is handled once and gets its own reply although `meddler` changes the
/// frames. Returns the number of sessions that it took.
async fn answers(
    meddler: impl Fn(Way, usize, RawFrame) -> io::Result<Vec<RawFrame>> + Send + Sync + 'static,
) -> u64 {
    let mut pair = pair();
    pair.server.settings_mut().transport.limits.attempts = 1_000;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let echo = move |message: Message| {
        if message.is_request() {
            heard.lock().unwrap().push(message.payload().to_owned());
        }
        echo(message)
    };
    let server = Service::start_on(pair.network.network(), &pair.server, echo).await.unwrap();
    let (client, _client_inbox) = start_tapped(&pair, meddler).await;
    let texts: Vec<_> = (100..160).map(|number: u32| number.to_string()).collect();
    for together in texts.chunks(3) {
        join_all(together.iter().map(|text| ask(&client, text))).await;
    }
    let mut asked = asked.lock().unwrap().clone();
    asked.sort();
    assert_eq!(asked, texts, "each was handled once");
    conserved([&server, &client]);
    status(&server).counters.sessions
}

/// Asks the server, and checks that the reply is the one to this request.
async fn ask(client: &Service, text: &str) {
    let question = Message::new("server", text);
    let reply = client.request(question, Duration::from_secs(600)).await.unwrap();
    assert_eq!(reply.payload(), text);
}

/// A handler that replies to requests with what they ask.
async fn echo(message: Message) -> Result<(), HandlerError> {
    if message.is_request() {
        message.reply(message.payload())?;
    }
    Ok(())
}

/// Applies `what` to the first data frame in one direction, once.
fn once(
    at: Way,
    what: impl Fn(RawFrame) -> Vec<RawFrame> + Send + Sync + 'static,
) -> impl Fn(Way, usize, RawFrame) -> io::Result<Vec<RawFrame>> + Send + Sync + 'static {
    let done = Mutex::new(false);
    move |way, index, frame| {
        let mut done = done.lock().unwrap();
        if way == at && index == 5 && !*done {
            *done = true;
            return Ok(what(frame));
        }
        Ok(vec![frame])
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_frame_ends_the_connection_and_delivers_nothing_wrong() {
    for at in [0, 1, 40, 100, 150, 159] {
        survives(once(Way::Up, move |mut frame| {
            let at = at.min(frame.payload.len() - 1);
            frame.payload[at] ^= 0x10;
            vec![frame]
        }))
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_dropped_truncated_or_joined_frame_ends_the_connection() {
    survives(once(Way::Up, |frame| vec![frame.clone(), frame])).await;
    survives(once(Way::Up, |_| Vec::new())).await;
    survives(once(Way::Down, |frame| vec![frame.clone(), frame])).await;
    survives(once(Way::Up, |frame| vec![RawFrame::binary(&frame.payload[1..])])).await;
    survives(once(Way::Up, |_| vec![RawFrame::binary(&[])])).await;
    survives(once(Way::Up, |frame| {
        vec![RawFrame::binary(&[frame.payload.clone(), frame.payload].concat())]
    }))
    .await;
    survives(once(Way::Up, |frame| vec![RawFrame::text(&"x".repeat(frame.payload.len()))])).await;
}

#[tokio::test(start_paused = true)]
async fn reordered_frames_end_the_connection() {
    let held: Mutex<Option<RawFrame>> = Mutex::new(None);
    let done = Mutex::new(false);
    survives(move |way, index, frame| {
        let (mut held, mut done) = (held.lock().unwrap(), done.lock().unwrap());
        if way == Way::Up && index == 3 && !*done {
            *done = true;
            *held = Some(frame);
            return Ok(Vec::new());
        }
        let mut frames = vec![frame];
        if way == Way::Up {
            frames.extend(held.take());
        }
        Ok(frames)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reflected_frame_ends_the_connection() {
    let heard: Mutex<Option<RawFrame>> = Mutex::new(None);
    let done = Mutex::new(false);
    survives(move |way, index, frame| {
        let (mut heard, mut done) = (heard.lock().unwrap(), done.lock().unwrap());
        if way == Way::Up && index == 4 {
            *heard = Some(frame.clone());
        }
        let mut frames = vec![frame];
        if way == Way::Down && !*done && heard.is_some() {
            *done = true;
            frames = heard.take().into_iter().chain(frames).collect();
        }
        Ok(frames)
    })
    .await;
}

/// Cuts the first session, and puts a frame of it into the second.
fn replay() -> impl Fn(Way, usize, RawFrame) -> io::Result<Vec<RawFrame>> + Send + Sync + 'static {
    let recorded: Mutex<Vec<RawFrame>> = Mutex::new(Vec::new());
    move |way, index, frame| {
        let mut recorded = recorded.lock().unwrap();
        if way == Way::Up && index == 6 {
            recorded.push(frame.clone());
            if recorded.len() == 1 {
                return Err(io::ErrorKind::ConnectionReset.into()); // and a new session begins
            }
            if recorded.len() == 2 {
                return Ok(vec![recorded[0].clone()]);
            }
        }
        Ok(vec![frame])
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_of_an_earlier_session_ends_the_connection() {
    survives(replay()).await;
}

/// Cuts three connections before the frame with one number.
fn cut(
    cut_way: Way,
    cut_at: usize,
) -> impl Fn(Way, usize, RawFrame) -> io::Result<Vec<RawFrame>> + Send + Sync + 'static {
    let cuts = Mutex::new(0);
    move |way, index, frame| {
        let mut cuts = cuts.lock().unwrap();
        if way == cut_way && index == cut_at && *cuts < 3 {
            *cuts += 1;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(vec![frame])
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_cut_between_any_two_frames_resumes() {
    for cut_at in 2..12 {
        for cut_way in [Way::Up, Way::Down] {
            survives(cut(cut_way, cut_at)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_and_replies_survive_frames_that_are_changed_lost_or_repeated() {
    for way in [Way::Up, Way::Down] {
        for at in [0, 40, 150] {
            let change = move |mut frame: RawFrame| {
                let at = at.min(frame.payload.len() - 1);
                frame.payload[at] ^= 0x10;
                vec![frame]
            };
            assert_eq!(answers(once(way, change)).await, 2, "{way:?}: byte {at} is changed");
        }
        assert_eq!(answers(once(way, |_| Vec::new())).await, 2, "{way:?}: lost");
        let repeat = |frame: RawFrame| vec![frame.clone(), frame];
        assert_eq!(answers(once(way, repeat)).await, 2, "{way:?}: repeated");
        let shorten = |frame: RawFrame| vec![RawFrame::binary(&frame.payload[1..])];
        assert_eq!(answers(once(way, shorten)).await, 2, "{way:?}: cut short");
    }
    assert_eq!(answers(replay()).await, 3, "a frame of an earlier session");
}

#[tokio::test(start_paused = true)]
async fn requests_and_replies_survive_connections_that_are_cut_between_any_two_frames() {
    for cut_at in 2..8 {
        for cut_way in [Way::Up, Way::Down] {
            let sessions = answers(cut(cut_way, cut_at)).await;
            assert_eq!(sessions, 4, "{cut_way:?}: {cut_at}");
        }
    }
}

/// An authenticated peer that breaks the protocol, and the server that it attacks.
struct Rogue {
    pair: Pair,
    server: Service,
    inbox: Inbox,
    /// Sessions that the server has ended because of a violation.
    violations: u64,
}

impl Rogue {
    async fn new() -> Self {
        let mut pair = pair();
        pair.server.settings_mut().transport.limits.attempts = 10_000;
        pair.server.settings_mut().handshakes = 10_000;
        let (server, inbox) = pair.start_server().await;
        Self { pair, server, inbox, violations: 0 }
    }

    /// Starts the server anew, with another handler and the settings of now.
    async fn restart(&mut self, handler: impl Handler) {
        self.server.shutdown().await;
        let server = Service::start_on(self.pair.network.network(), &self.pair.server, handler);
        (self.server, self.violations) = (server.await.unwrap(), 0);
    }

    async fn enter(&self) -> (Intruder, Box<SealedSession>) {
        let secrets = credentials(&self.pair.invite);
        Intruder::establish(&self.pair.network, SERVER, &secrets, instance(7)).await
    }

    /// Enters with a READY that has the part about calls.
    async fn enter_for_calls(&self) -> (Intruder, Box<SealedSession>) {
        let secrets = credentials(&self.pair.invite);
        let entered = Intruder::enter(&self.pair.network, SERVER, &secrets, instance(7)).await;
        let (mut intruder, greeting) = entered.unwrap();
        let Greeting::Ready(mut session, _) = greeting else { unreachable!("closed") };
        let (requests, request_window) = (8, 2 * 1024 * 1024);
        let calls = CallsState { requests, request_window, of: None, received: 0 };
        let ready = Ready { features: Features::CALLS, calls, ..empty_ready(instance(7)) };
        intruder.say(&mut session, &Frame::Ready(ready)).await;
        (intruder, session)
    }

    /// Checks that the server ends the session because of `violation`, and of nothing else.
    async fn closed_for(
        &mut self,
        (mut intruder, mut session): (Intruder, Box<SealedSession>),
        violation: Violation,
        what: &str,
    ) {
        let mut heard = intruder.hear(&mut session).await;
        while !matches!(heard, None | Some(Frame::Close(_))) {
            heard = intruder.hear(&mut session).await;
        }
        assert_eq!(heard, Some(Frame::Close(CloseCode::Violation)), "{what}");
        intruder.client.rest().await;
        let server = &self.server;
        eventually(async || !status(server).is_connected()).await;
        let status = status(&self.server);
        self.violations += 1;
        assert_eq!(status.counters.violations, self.violations, "{what}");
        let cause = format!("the peer broke the protocol: {violation}");
        assert_eq!(status.last_error.unwrap().cause, cause, "{what}");
    }
}

fn data(number: u64, payload: &'static [u8]) -> Frame {
    let (ack, payload) = (Completed::default(), Payload::text(payload));
    Frame::Data(Data { stream: 0, again: false, number, ack, payload })
}

#[tokio::test(start_paused = true)]
async fn an_authenticated_peer_that_breaks_the_protocol_is_told_so() {
    let mut rogue = Rogue::new().await;
    let ack = |stream, number| Completed { stream, number };
    let ready = Frame::Ready(empty_ready(instance(7)));
    let mut unlisted = match data(1, b"x") {
        Frame::Data(data) => data,
        _ => panic!(),
    };
    unlisted.stream = 3;
    let unsent = Frame::Ack(Ack { ack: ack(0, 1), ..Ack::default() });
    let not_listed = Frame::Ack(Ack { ack: ack(5, 0), ..Ack::default() });
    let skip = Frame::Skip(Skip { stream: 2, to: 1, ack: ack(0, 0) });
    let gap = Violation::Gap { expected: 1, got: 9 };
    let violations = [
        ("a second READY", ready, Violation::ReadyOutOfPlace),
        ("a number left out", data(9, b"x"), gap),
        ("an unlisted stream", Frame::Data(unlisted), Violation::UnknownStream(3)),
        ("an unsent message acknowledged", unsent, Violation::AckOfUnsent(1)),
        ("an unlisted stream acknowledged", not_listed, Violation::UnknownStream(5)),
        ("an unlisted stream skipped", skip, Violation::UnknownStream(2)),
        ("calls without their bit", calls(0, 0, Vec::new()), Violation::NotOffered),
        ("a request without the bit", calls(1, 0, vec![(1, request("x"))]), Violation::NotOffered),
    ];
    for (what, frame, violation) in violations {
        let (mut intruder, mut session) = rogue.enter().await;
        intruder.say(&mut session, &frame).await;
        rogue.closed_for((intruder, session), violation, what).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_plaintext_that_is_not_a_frame_is_a_violation() {
    let mut rogue = Rogue::new().await;
    let header = |kind: u8, stream: u8, flags: u8, len: u32| {
        let mut bytes = vec![kind, stream, 0, flags];
        bytes.extend(len.to_be_bytes());
        bytes.resize(128, 0);
        bytes
    };
    let batch = |flags: u8, entry_flags: u8| {
        let mut bytes = header(9, 0, flags, 5);
        bytes[15] = 1;
        bytes[24..29].copy_from_slice(&[entry_flags, 0, 0, 1, b'x']);
        bytes
    };
    let mut dirty = header(4, 0, 0, 0);
    dirty[127] = 1;
    let (len, max) = (u32::MAX, 1024 * 1024);
    let wrong = [
        ("an unknown kind", header(13, 0, 0, 0), Violation::UnknownKind(13)),
        ("kind 0", header(0, 0, 0, 0), Violation::UnknownKind(0)),
        ("padding that is not zero", dirty, Violation::NotZero),
        ("an unknown flag", header(2, 0, 4, 0), Violation::NotZero),
        ("bytes that are a PING", header(4, 0, 2, 0), Violation::NotZero),
        ("bytes that are a BATCH", batch(2, 0), Violation::NotZero),
        ("an unknown flag of a message in a BATCH", batch(0, 2), Violation::NotZero),
        ("the highest flag of a message in a BATCH", batch(0, 0x80), Violation::NotZero),
        ("an empty BATCH", header(9, 0, 0, 0), Violation::BadPayload),
        ("a stream where none belongs", header(4, 1, 0, 0), Violation::NotZero),
        ("a payload where none belongs", header(4, 0, 0, 5), Violation::BadPayload),
        ("half a rejection", header(3, 0, 0, 10), Violation::BadPayload),
        ("a payload beyond the plaintext", header(2, 0, 0, 500), Violation::Truncated),
        ("more than was announced", header(2, 0, 0, len), Violation::TooLong { len, max }),
        ("nothing", Vec::new(), Violation::Truncated),
    ];
    for (what, plaintext, violation) in wrong {
        let (mut intruder, mut session) = rogue.enter().await;
        let frame = session.encode_raw(&plaintext).unwrap();
        intruder.client.send(&RawFrame::binary(&frame)).await;
        rogue.closed_for((intruder, session), violation, what).await;
    }
}

/// A CALLS, whose first item has the number `first`.
fn calls(first: u64, received: u64, items: Vec<(u64, CallBody)>) -> Frame {
    let items = items.into_iter().map(|(call, body)| CallItem { call, body }).collect();
    Frame::Calls(Calls { first, ack: Completed::default(), received, items })
}

fn request(text: impl Into<Bytes>) -> CallBody {
    CallBody::Request { depth: 0, left: None, payload: Payload::text(text) }
}

#[tokio::test(start_paused = true)]
async fn calls_that_break_the_protocol_are_a_violation() {
    let mut rogue = Rogue::new().await;
    let two = |body: CallBody| vec![(1, body.clone()), (1, body)];
    let gap = Violation::Gap { expected: 1, got: 2 };
    let reply = CallBody::Reply { payload: Payload::text("x") };
    let failure = CallBody::Failure { code: FailureCode::FAILED, text: "x".into() };
    let deep = CallBody::Request { depth: 8, left: None, payload: Payload::text("x") };
    let long = request(vec![b'x'; 1024 * 1024 + 1]);
    let too_long = Violation::TooLong { len: 1024 * 1024 + 29, max: 1024 * 1024 };
    let unlisted = Frame::Calls(Calls {
        first: 0,
        ack: Completed { stream: 5, number: 0 },
        received: 0,
        items: Vec::new(),
    });
    let wrong = [
        ("an item left out", calls(2, 0, vec![(1, request("x"))]), gap),
        ("items without a number", calls(0, 0, vec![(1, request("x"))]), Violation::BadPayload),
        ("a number without items", calls(1, 0, Vec::new()), Violation::BadPayload),
        ("the highest number", calls(u64::MAX, 0, vec![(1, request("x"))]), Violation::BadPayload),
        ("an item acknowledged that was not sent", calls(0, 4, vec![]), Violation::AckOfUnsent(4)),
        ("an unlisted stream acknowledged", unlisted, Violation::UnknownStream(5)),
        ("two requests with one number", calls(1, 0, two(request("x"))), Violation::BadPayload),
        ("a depth of 8", calls(1, 0, vec![(1, deep)]), Violation::BadPayload),
        ("a request that is too long", calls(1, 0, vec![(1, long)]), too_long),
        ("a reply to nothing", calls(1, 0, vec![(7, reply)]), Violation::AnswerOfNothing(7)),
        ("a failure of nothing", calls(1, 0, vec![(7, failure)]), Violation::AnswerOfNothing(7)),
    ];
    for (what, frame, violation) in wrong {
        let (mut intruder, mut session) = rogue.enter_for_calls().await;
        intruder.say(&mut session, &frame).await;
        rogue.closed_for((intruder, session), violation, what).await;
    }
}

/// The plaintext of a CALLS with one item: what it is, its flags, its depth or code; the
/// milliseconds that are left; and its body.
fn item(head: [u8; 4], left: u32, body: &[u8]) -> Vec<u8> {
    let len = 16 + body.len() as u32;
    let mut bytes = vec![10, 0, 0, 0];
    bytes.extend((8 + 4 + len).to_be_bytes());
    bytes.extend(1_u64.to_be_bytes());
    bytes.extend([0; 16]); // `ack` and `received`
    bytes.extend(len.to_be_bytes());
    bytes.extend(head);
    bytes.extend(left.to_be_bytes());
    bytes.extend(1_u64.to_be_bytes());
    bytes.extend(body);
    bytes
}

#[tokio::test(start_paused = true)]
async fn an_item_of_calls_without_its_form_is_a_violation() {
    let mut rogue = Rogue::new().await;
    let with = |at: usize, value: u8| {
        let mut bytes = item([1, 0, 0, 0], 0, b"x");
        bytes[at] = value;
        bytes
    };
    let wrong = [
        ("kind 0", item([0, 0, 0, 0], 0, b""), Violation::BadPayload),
        ("kind 5", item([5, 0, 0, 0], 0, b""), Violation::BadPayload),
        ("an unknown flag", item([1, 2, 0, 0], 0, b""), Violation::NotZero),
        ("a depth of 256", item([1, 0, 1, 0], 0, b""), Violation::BadPayload),
        ("a reply with a depth", item([2, 0, 0, 1], 0, b""), Violation::NotZero),
        ("a reply with a limit", item([2, 0, 0, 0], 1, b""), Violation::NotZero),
        ("a failure of bytes", item([3, 1, 0, 1], 0, b""), Violation::NotZero),
        ("a failure that is no text", item([3, 0, 0, 1], 0, b"\xff"), Violation::BadPayload),
        ("words without end", item([3, 0, 0, 1], 0, &[b'x'; 1_025]), Violation::BadPayload),
        ("a cancel with a body", item([4, 0, 0, 0], 0, b"x"), Violation::BadPayload),
        ("a length beyond the payload", with(35, 18), Violation::BadPayload),
        ("a length within the head", with(35, 15), Violation::BadPayload),
        ("a flag of messages", with(3, 1), Violation::NotZero),
        ("a stream", with(1, 1), Violation::NotZero),
    ];
    for (what, plaintext, violation) in wrong {
        let (mut intruder, mut session) = rogue.enter_for_calls().await;
        let frame = session.encode_raw(&plaintext).unwrap();
        intruder.client.send(&RawFrame::binary(&frame)).await;
        rogue.closed_for((intruder, session), violation, what).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_more_than_it_may_is_closed() {
    let mut rogue = Rogue::new().await;
    for (requests, window, allowed) in [(4, 1024, 4), (100, 300, 2)] {
        let settings = rogue.pair.server.settings_mut();
        settings.transport.limits.max_payload = 100;
        (settings.requests, settings.request_window) = (requests, window);
        rogue
            .restart(async |_: Message| -> Result<(), io::Error> { std::future::pending().await })
            .await;
        let (mut intruder, mut session) = rogue.enter_for_calls().await;
        for number in 1..=100 {
            let asked = vec![(number, request(vec![b'x'; 100]))];
            intruder.say(&mut session, &calls(number, 0, asked)).await;
        }
        let what = format!("{requests} requests, {window} bytes");
        rogue.closed_for((intruder, session), Violation::TooManyRequests, &what).await;
        assert_eq!(status(&rogue.server).calls.counts.asked, allowed, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_acknowledges_answers_gets_no_more_of_them() {
    let mut rogue = Rogue::new().await;
    rogue.restart(echo).await;
    let (mut intruder, mut session) = rogue.enter_for_calls().await;
    for number in 1..=128 {
        intruder.say(&mut session, &calls(number, 0, vec![(number, request("x"))])).await;
    }
    let mut answers = 0;
    while answers < 128 {
        if let Frame::Calls(calls) = intruder.hear(&mut session).await.unwrap() {
            answers += calls.items.len();
        }
    }
    assert_eq!(status(&rogue.server).calls.unanswered, 128, "their places are kept");
    intruder.say(&mut session, &calls(129, 0, vec![(129, request("x"))])).await;
    rogue.closed_for((intruder, session), Violation::TooManyRequests, "one more").await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_ignores_the_window_is_closed() {
    let mut rogue = Rogue::new().await;
    rogue.server.shutdown().await;
    rogue.pair.server.settings_mut().window = 1024;
    rogue.pair.server.settings_mut().transport.limits.max_payload = 100;
    let server = Service::start_on(
        rogue.pair.network.network(),
        &rogue.pair.server,
        async |_: Message| -> Result<(), io::Error> { std::future::pending().await },
    );
    rogue.server = server.await.unwrap();
    let (mut intruder, mut session) = rogue.enter().await;
    for number in 1..100 {
        intruder.say(&mut session, &data(number, &[b'x'; 100])).await;
    }
    let mut heard = None;
    while let Some(frame) = intruder.hear(&mut session).await {
        heard = Some(frame);
    }
    assert_eq!(heard, Some(Frame::Close(CloseCode::Violation)));
    assert!(status(&rogue.server).inbox_messages <= 1024 / 124, "the window bounds the memory");
}

#[tokio::test(start_paused = true)]
async fn floods_of_pings_and_acknowledgements_do_not_block_messages() {
    let rogue = Rogue::new().await;
    let (mut intruder, mut session) = rogue.enter().await;
    for token in 0..10_000 {
        intruder.say(&mut session, &Frame::Ping(token)).await;
        intruder.say(&mut session, &Frame::Ack(Ack::default())).await;
    }
    intruder.say(&mut session, &data(1, b"still served")).await;
    assert_eq!(rogue.inbox.text().await, "still served");
    let mut answers = 0;
    while let Ok(frame) =
        tokio::time::timeout(Duration::from_secs(1), intruder.hear(&mut session)).await
    {
        answers += usize::from(matches!(frame, Some(Frame::Pong(_))));
    }
    assert!((1..=10_000).contains(&answers), "{answers}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_is_dead_after_thirty_seconds() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (server, _) = pair.start_server().await;
        let (client, inbox) = pair.start_client().await;
        inbox.next().await;
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert!(status(&server).is_connected(), "an idle connection stays");
        assert!(status(&client).connected_for.unwrap() >= Duration::from_secs(300));
        pair.network.freeze();
        let frozen = Instant::now();
        let old = |service| status(service).connected_for >= Some(Duration::from_secs(300));
        while old(&server) && old(&client) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let died = frozen.elapsed().as_secs();
        assert!((20..=31).contains(&died), "{encoding}: {died} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_reading_is_given_up_and_others_are_not_held_up() {
    let mut pair = pair();
    let invite = pair.server.add_client("other", "127.0.0.1").unwrap();
    let (server, _) = pair.start_server().await;
    let mut other =
        paddington::ServiceConfig::new("other", "ws://other:1", "127.0.0.1", &1).unwrap();
    other.add_server(invite).unwrap();
    let (_other, other_inbox) = pair.start(&other).await;

    let secrets = credentials(&pair.invite);
    let (mut intruder, mut session) =
        Intruder::establish(&pair.network, SERVER, &secrets, instance(7)).await;
    while !server.peers().iter().all(PeerStatus::is_connected) {
        tokio::task::yield_now().await;
    }
    for _ in 0..15 {
        server.send(Message::new("client", "x".repeat(1024 * 1024 - 100))).await.unwrap();
    }
    let begun = Instant::now();
    while server.peers()[0].is_connected() {
        intruder.say(&mut session, &Frame::Ping(1)).await; // it is alive, but does not read
        server.send(Message::new("other", "tick")).await.unwrap();
        assert_eq!(other_inbox.text().await, "tick");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // 64 KiB wait in the network, for which a slow line would take 13 s
    assert!((43..=45).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(server.peers()[0].outbox_messages, 15, "no message is lost");
}

/// Starts a server, and a client of the `hex` encoding behind a tap.
async fn hex_services(
    meddler: impl Fn(Way, usize, RawFrame) -> io::Result<Vec<RawFrame>> + Send + Sync + 'static,
) -> [(Service, Inbox); 2] {
    let mut pair = pair_with(Encoding::Hex);
    pair.server.settings_mut().transport.limits.attempts = 1_000;
    let server = pair.start_server().await;
    tap(&pair.network, TAP, SERVER, meddler).await;
    let mut client =
        paddington::ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    client.add_server(pair.invite.clone().at(&format!("ws://{TAP}/")).unwrap()).unwrap();
    [server, pair.start(&client).await]
}

#[tokio::test(start_paused = true)]
async fn a_replayed_hex_frame_ends_the_connection() {
    let meddler = once(Way::Up, |frame| vec![frame.clone(), frame]);
    let [(_server, inbox), (client, _)] = hex_services(meddler).await;
    let (mut texts, mut controls) = (Vec::new(), Vec::new());
    for number in 0..8 {
        client.send(Message::new("server", number.to_string())).await.unwrap();
        while texts.len() <= number {
            let message = inbox.next().await;
            let kind = if message.is_control() { &mut controls } else { &mut texts };
            kind.push(message.payload().to_owned());
        }
    }
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6", "7"], "each once");
    assert_eq!(controls.len(), 3, "connected, disconnected, connected: {controls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reflected_hex_frame_ends_the_connection() {
    let stolen: Mutex<Option<RawFrame>> = Mutex::new(None);
    let meddler = move |way, index, frame: RawFrame| {
        let mut stolen = stolen.lock().unwrap();
        if way == Way::Up && index == 1 {
            *stolen = Some(frame.clone());
        }
        let reflected = if way == Way::Down { stolen.take() } else { None };
        Ok(reflected.into_iter().chain([frame]).collect())
    };
    let [(server, inbox), (client, client_inbox)] = hex_services(meddler).await;
    client.send(Message::new("server", "stolen")).await.unwrap();
    assert_eq!(inbox.text().await, "stolen");
    server.send(Message::new("client", "lost, as hex loses what is under way")).await.unwrap();
    let connected = r#"{"Connected":{"agent":"server"}}"#;
    let disconnected = r#"{"Disconnected":{"agent":"server"}}"#;
    for expected in [connected, disconnected, connected] {
        assert_eq!(client_inbox.next().await.payload(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_clings_to_its_keys_is_made_to_renew_them() {
    let mut pair = pair();
    let hour = Duration::from_secs(60 * 60);
    pair.server.settings_mut().transport.timeouts.session_age = 10 * hour;
    let (_server, _) = pair.start_server().await;
    let (begun, link) = (Instant::now(), credentials(&pair.invite));
    let (mut peer, mut session) =
        Intruder::establish(&pair.network, SERVER, &link, instance(1)).await;
    let code = loop {
        match peer.hear(&mut session).await.unwrap() {
            Frame::Ping(token) => peer.say(&mut session, &Frame::Pong(token)).await,
            Frame::Close(code) => break code,
            _ => {}
        }
    };
    assert_eq!(code, CloseCode::SessionAge);
    let age = begun.elapsed();
    assert!(age > 11 * hour, "clients are first: {age:?}");
    assert!(age < 12 * hour + Duration::from_secs(60), "{age:?}");
    let closed = Instant::now();
    peer.say(&mut session, &Frame::Ping(1)).await;
    while peer.hear(&mut session).await.is_some() {}
    assert!(closed.elapsed() < Duration::from_secs(3), "it may not linger");
}
