//! A link has one connection, in whatever order connections arrive (`docs/protocol.md` §8).

use std::time::Duration;

use paddington::{Encoding, Message, PeerStatus, Service};
use paddington_test_support::{Intruder, Pair, RawFrame, credentials, pair, pair_with};
use paddington_wire::sealed::Greeting;
use paddington_wire::{CloseCode, Frame, Instance};
use tokio::time::Instant;

const SERVER: &str = "127.0.0.1:6501";

fn instance(byte: u8) -> Instance {
    Instance::from([byte; 16])
}

fn status(service: &Service) -> PeerStatus {
    service.peers().remove(0)
}

async fn connected(service: &Service) {
    while !status(service).is_connected() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn generous(mut pair: Pair) -> Pair {
    pair.server.settings_mut().transport.limits.attempts = 100_000;
    pair.server.settings_mut().handshakes = 100_000;
    pair
}

#[tokio::test(start_paused = true)]
async fn a_restarted_client_replaces_its_dead_connection() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (server, inbox) = pair.start_server().await;
        let (first, _) = pair.start_client().await;
        first.send(Message::new("server", "before")).await.unwrap();
        assert_eq!(inbox.text().await, "before");
        pair.network.freeze(); // the client's machine is down, and no FIN was sent
        let restarted = Instant::now();
        let (second, _) = pair.start_client().await;
        second.send(Message::new("server", "after")).await.unwrap();
        assert_eq!(inbox.text().await, "after");
        let took = restarted.elapsed();
        assert!((3..=4).contains(&took.as_secs()), "{encoding}: probe and handshake took {took:?}");
        assert!(status(&server).is_connected());
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_process_takes_over_and_loses_no_message() {
    let pair = pair();
    let (server, inbox) = pair.start_server().await;
    let (client, client_inbox) = pair.start_client().await;
    client.send(Message::new("server", "1")).await.unwrap();
    assert_eq!(inbox.text().await, "1");
    // The network stalls, and the client reconnects once it notices that.
    pair.network.freeze();
    client.send(Message::new("server", "2")).await.unwrap();
    server.send(Message::new("client", "3")).await.unwrap();
    let frozen = Instant::now();
    assert_eq!(inbox.text().await, "2");
    assert_eq!(client_inbox.text().await, "3");
    assert!(frozen.elapsed() <= Duration::from_secs(32), "{:?}", frozen.elapsed());
    assert_eq!(inbox.drain().await, [""; 0], "no message twice, no second Connected");
}

#[tokio::test(start_paused = true)]
async fn a_second_process_with_the_same_invitation_is_refused() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (server, inbox) = pair.start_server().await;
        let (first, _) = pair.start_client().await;
        connected(&server).await;
        let since = Instant::now();
        let (second, second_inbox) = pair.start_client().await;
        for minute in 0..5 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(status(&first).is_connected() && !status(&second).is_connected());
            first.send(Message::new("server", minute.to_string())).await.unwrap();
            assert_eq!(inbox.text().await, minute.to_string());
        }
        let stood = status(&server).connected_for.unwrap();
        assert!(stood >= since.elapsed(), "{encoding}: the first one was never disturbed");
        assert_eq!(second_inbox.drain().await, [""; 0]);
        if encoding == Encoding::Sealed {
            assert!(pair.network.dialled() <= 8, "it backs off: {}", pair.network.dialled());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_process_is_told_why() {
    let pair = generous(pair());
    let (server, _) = pair.start_server().await;
    let (_first, _) = pair.start_client().await;
    connected(&server).await;
    let secrets = credentials(&pair.invite);
    let (_, greeting) =
        Intruder::enter(&pair.network, SERVER, &secrets, instance(9)).await.unwrap();
    assert!(matches!(greeting, Greeting::Closed(CloseCode::Busy)));
}

#[tokio::test(start_paused = true)]
async fn the_newer_of_two_handshakes_wins() {
    let pair = generous(pair());
    let (server, inbox) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    let enter = || async {
        let entered = Intruder::enter(&pair.network, SERVER, &secrets, instance(1)).await;
        let (intruder, Greeting::Ready(session, _)) = entered.unwrap() else { panic!("closed") };
        (intruder, session)
    };
    let ready = Frame::Ready(paddington_test_support::empty_ready(instance(1)));
    let (mut older, mut older_session) = enter().await;
    let (mut newer, mut newer_session) = enter().await;
    older.say(&mut older_session, &ready).await;
    assert_eq!(older.client.rest().await, b"", "the older one must not be established");
    assert!(!status(&server).is_connected());
    newer.say(&mut newer_session, &ready).await;
    connected(&server).await;
    assert_eq!(inbox.next().await.payload(), r#"{"Connected":{"agent":"client"}}"#);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_older_connection_does_not_touch_the_newer_one() {
    let pair = generous(pair());
    let (server, inbox) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    let (mut old, mut old_session) =
        Intruder::establish(&pair.network, SERVER, &secrets, instance(1)).await;
    connected(&server).await;
    let taken_over = Instant::now();
    let (mut new, mut new_session) =
        Intruder::establish(&pair.network, SERVER, &secrets, instance(1)).await;
    let mut heard = old.hear(&mut old_session).await;
    while !matches!(heard, None | Some(Frame::Close(_))) {
        heard = old.hear(&mut old_session).await;
    }
    assert_eq!(heard, Some(Frame::Close(CloseCode::Replaced)));
    assert!(taken_over.elapsed() < Duration::from_millis(100), "the same instance needs no probe");
    old.client.send(&RawFrame::binary(&[0; 100])).await;
    drop(old);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(status(&server).is_connected());
    new.say(&mut new_session, &Frame::Ping(5)).await;
    let mut heard = new.hear(&mut new_session).await;
    while !matches!(heard, None | Some(Frame::Pong(5))) {
        heard = new.hear(&mut new_session).await;
    }
    assert_eq!(heard, Some(Frame::Pong(5)));
    assert_eq!(inbox.drain().await, [r#"{"Connected":{"agent":"client"}}"#], "once");
}

#[tokio::test(start_paused = true)]
async fn too_many_handshakes_of_one_link_are_refused() {
    let mut pair = pair();
    pair.server.settings_mut().transport.limits.attempts = 1_000;
    let (_server, _) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    for attempt in 0..7 {
        let (_, greeting) =
            Intruder::enter(&pair.network, SERVER, &secrets, instance(1)).await.unwrap();
        let refused = matches!(greeting, Greeting::Closed(CloseCode::Overload));
        assert_eq!(refused, attempt >= 5, "{attempt}");
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (_, greeting) =
        Intruder::enter(&pair.network, SERVER, &secrets, instance(1)).await.unwrap();
    assert!(matches!(greeting, Greeting::Ready(..)));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_reconnects_delivers_everything_once_and_in_order() {
    let mut pair = generous(pair());
    for config in [&mut pair.server, &mut pair.client] {
        config.settings_mut().outbox_messages = 200_000;
        config.settings_mut().transport.retry.interval = Duration::from_millis(1);
    }
    let (server, inbox) = pair.start_server().await;
    let (client, client_inbox) = pair.start_client().await;
    let mut sent = 0;
    for round in 0..1_000 {
        for _ in 0..50 {
            client.send(Message::new("server", sent.to_string())).await.unwrap();
            server.send(Message::new("client", sent.to_string())).await.unwrap();
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(round % 7)).await;
        pair.network.cut();
    }
    assert!(pair.network.dialled() > 300, "{} connections", pair.network.dialled());
    for number in 0..sent {
        assert_eq!(inbox.text().await, number.to_string());
        assert_eq!(client_inbox.text().await, number.to_string());
    }
    for service in [&client, &server] {
        while status(service).outbox_messages > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert_eq!((inbox.drain().await, client_inbox.drain().await), (Vec::new(), Vec::new()));
}
