//! Attacks on an established session, from the network and from an authenticated peer
//! (`docs/protocol.md` §13).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use paddington::{Encoding, Message, PeerStatus, Service};
use paddington_test_support::{
    Inbox, Intruder, Pair, RawFrame, Way, credentials, pair, pair_with, tap,
};
use paddington_wire::{Ack, CloseCode, Completed, Data, Frame, Instance, Payload, Skip};
use tokio::time::Instant;

const SERVER: &str = "127.0.0.1:6501";
const TAP: &str = "127.0.0.1:7777";

fn instance(byte: u8) -> Instance {
    Instance::from([byte; 16])
}

fn status(service: &Service) -> PeerStatus {
    service.peers().remove(0)
}

/// Checks that every message arrives once and in order although `meddler` changes the frames:
/// messages that are lost with a connection are sent again on the next.
async fn survives(
    meddler: impl Fn(Way, usize, RawFrame) -> io::Result<Vec<RawFrame>> + Send + Sync + 'static,
) {
    let mut pair = pair();
    pair.server.settings_mut().transport.limits.attempts = 1_000;
    let (_server, inbox) = pair.start_server().await;
    tap(&pair.network, TAP, SERVER, meddler).await;
    let mut client =
        paddington::ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    client.add_server(pair.invite.clone().at(&format!("ws://{TAP}/")).unwrap()).unwrap();
    let (client, client_inbox) = pair.start(&client).await;
    for number in 0..50 {
        client.send(Message::new("server", number.to_string())).await.unwrap();
        assert_eq!(inbox.text().await, number.to_string());
    }
    assert_eq!(inbox.drain().await, [""; 0]);
    assert_eq!(client_inbox.drain().await, [r#"{"Connected":{"agent":"server"}}"#]);
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

#[tokio::test(start_paused = true)]
async fn a_frame_of_an_earlier_session_ends_the_connection() {
    let recorded: Mutex<Vec<RawFrame>> = Mutex::new(Vec::new());
    survives(move |way, index, frame| {
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_cut_between_any_two_frames_resumes() {
    for cut_at in 2..12 {
        for cut_way in [Way::Up, Way::Down] {
            let cuts = Mutex::new(0);
            survives(move |way, index, frame| {
                let mut cuts = cuts.lock().unwrap();
                if way == cut_way && index == cut_at && *cuts < 3 {
                    *cuts += 1;
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Ok(vec![frame])
            })
            .await;
        }
    }
}

/// An authenticated peer that breaks the protocol, and the server that it attacks.
struct Rogue {
    pair: Pair,
    server: Service,
    inbox: Inbox,
}

impl Rogue {
    async fn new() -> Self {
        let mut pair = pair();
        pair.server.settings_mut().transport.limits.attempts = 10_000;
        pair.server.settings_mut().handshakes = 10_000;
        let (server, inbox) = pair.start_server().await;
        Self { pair, server, inbox }
    }

    async fn enter(&self) -> (Intruder, Box<paddington_wire::sealed::SealedSession>) {
        let secrets = credentials(&self.pair.invite);
        Intruder::establish(&self.pair.network, SERVER, &secrets, instance(7)).await
    }
}

fn data(number: u64, payload: &'static [u8]) -> Frame {
    let (ack, payload) = (Completed::default(), Payload::text(payload));
    Frame::Data(Data { stream: 0, again: false, number, ack, payload })
}

#[tokio::test(start_paused = true)]
async fn an_authenticated_peer_that_breaks_the_protocol_is_told_so() {
    let rogue = Rogue::new().await;
    let ack = |stream, number| Completed { stream, number };
    let ready = Frame::Ready(paddington_test_support::empty_ready(instance(7)));
    let mut unlisted = match data(1, b"x") {
        Frame::Data(data) => data,
        _ => panic!(),
    };
    unlisted.stream = 3;
    let violations = [
        ("a second READY", ready),
        ("a number left out", data(9, b"x")),
        ("an unlisted stream", Frame::Data(unlisted)),
        ("an unsent message acknowledged", Frame::Ack(Ack { ack: ack(0, 1), ..Ack::default() })),
        ("an unlisted stream acknowledged", Frame::Ack(Ack { ack: ack(5, 0), ..Ack::default() })),
        ("an unlisted stream skipped", Frame::Skip(Skip { stream: 2, to: 1, ack: ack(0, 0) })),
    ];
    for (what, violation) in violations {
        let (mut intruder, mut session) = rogue.enter().await;
        intruder.say(&mut session, &violation).await;
        let mut heard = intruder.hear(&mut session).await;
        while !matches!(heard, None | Some(Frame::Close(_))) {
            heard = intruder.hear(&mut session).await;
        }
        assert_eq!(heard, Some(Frame::Close(CloseCode::Violation)), "{what}");
        intruder.client.rest().await;
        assert!(!status(&rogue.server).is_connected(), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plaintext_that_is_not_a_frame_is_a_violation() {
    let rogue = Rogue::new().await;
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
    let wrong = [
        ("an unknown kind", header(9, 0, 0, 0)),
        ("kind 0", header(0, 0, 0, 0)),
        ("padding that is not zero", dirty),
        ("an unknown flag", header(2, 0, 4, 0)),
        ("bytes that are a PING", header(4, 0, 2, 0)),
        ("bytes that are a BATCH", batch(2, 0)),
        ("an unknown flag of a message in a BATCH", batch(0, 2)),
        ("the highest flag of a message in a BATCH", batch(0, 0x80)),
        ("a stream where none belongs", header(4, 1, 0, 0)),
        ("a payload where none belongs", header(4, 0, 0, 5)),
        ("a payload beyond the plaintext", header(2, 0, 0, 500)),
        ("a payload beyond what was announced", header(2, 0, 0, u32::MAX)),
        ("nothing", Vec::new()),
    ];
    for (what, plaintext) in wrong {
        let (mut intruder, mut session) = rogue.enter().await;
        let frame = session.encode_raw(&plaintext).unwrap();
        intruder.client.send(&RawFrame::binary(&frame)).await;
        let mut heard = intruder.hear(&mut session).await;
        while !matches!(heard, None | Some(Frame::Close(_))) {
            heard = intruder.hear(&mut session).await;
        }
        assert_eq!(heard, Some(Frame::Close(CloseCode::Violation)), "{what}");
    }
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
