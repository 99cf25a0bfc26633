//! Whatever becomes of a message, its sender is told, however late it asks.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use futures_util::future::join_all;
use paddington::{Delivered, Event, Message, OnError, SendError, SendOptions, Service};
use paddington_test_support::{Inbox, pair};

fn counts(service: &Service) -> paddington::Counts {
    let status = &service.peers()[0];
    assert!(status.is_conserved());
    status.counts.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_is_awaited_late_never_claims_that_a_message_was_handled() {
    let mut pair = pair();
    pair.client.settings_mut().outbox_messages = 20_000;
    let (client, _) = pair.start_client().await;
    let ttl = SendOptions { ttl: Some(Duration::from_secs(1)) };
    let mut receipts = Vec::new();
    for number in 0..9_000 {
        let message = Message::new("server", number.to_string());
        receipts.push(client.exchange().send_with(message, ttl).await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(counts(&client).expired, 9_000);
    let (_server, inbox) = pair.start_server().await;
    client.send(Message::new("server", "last")).await.unwrap().await;
    assert_eq!(inbox.text().await, "last");
    let outcomes = join_all(receipts.into_iter().map(IntoFuture::into_future)).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Delivered::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_long_for_the_peer_is_reported_as_that() {
    let mut pair = pair();
    pair.server.settings_mut().transport.limits.max_payload = 100;
    let (client, _) = pair.start_client().await;
    let mut events = client.exchange().events();
    let long = client.send(Message::new("server", "x".repeat(101))).await.unwrap();
    let short = client.send(Message::new("server", "x")).await.unwrap();
    let (_server, _inbox) = pair.start_server().await;
    assert_eq!((long.await, short.await), (Delivered::TooLong, Delivered::Handled));
    let counts = counts(&client);
    assert_eq!((counts.too_long, counts.expired, counts.acknowledged), (1, 0, 1));
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(event);
    }
    let expected = Event::Undelivered {
        peer: "server".parse().unwrap(),
        outcome: Delivered::TooLong,
        messages: 1,
        text: None,
    };
    assert!(told.contains(&expected), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_long_for_a_peer_that_is_connected_is_refused() {
    let mut pair = pair();
    pair.server.settings_mut().transport.limits.max_payload = 100;
    let (server, inbox) = pair.start_server().await;
    let (client, client_inbox) = pair.start_client().await;
    client.send(Message::new("server", "x".repeat(100))).await.unwrap().await;
    let long = || Message::new("server", "x".repeat(101));
    let refused = client.send(long()).await.unwrap_err();
    assert!(matches!(refused, SendError::TooLong { len: 101, max: 100 }), "{refused:?}");
    assert!(!refused.is_retryable());
    let waited = client.exchange().send_when_ready(long()).await.unwrap_err();
    assert!(matches!(waited, SendError::TooLong { .. }), "it does not wait for room: {waited:?}");
    let counted = counts(&client);
    assert_eq!((counted.accepted, counted.too_long), (1, 0), "nothing of it is kept");
    assert_eq!(inbox.text().await.len(), 100);
    server.send(Message::new("client", "y".repeat(100))).await.unwrap();
    assert_eq!(client_inbox.text().await.len(), 100);

    server.shutdown().await;
    let later = client.send(long()).await.unwrap();
    let (_server, _) = pair.start_server().await;
    assert_eq!(later.await, Delivered::TooLong, "it was accepted while the peer was away");
    assert_eq!(counts(&client).too_long, 1);
}

#[tokio::test(start_paused = true)]
async fn a_pause_between_two_attempts_holds_up_no_other_peer() {
    let mut pair = pair();
    let invite = pair.server.add_client("third", "127.0.0.1").unwrap();
    let settings = pair.server.settings_mut();
    settings.handlers = 1;
    settings.on_error = OnError::Retry { attempts: 3, backoff: Duration::from_secs(600) };
    let (handled, mut told) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |message: Message| {
        let handled = handled.clone();
        async move {
            match message.payload() {
                "fails" => Err("as planned"),
                payload => handled.send(payload.to_owned()).map_err(|_| "nobody listens"),
            }
        }
    };
    let _server = Service::start_on(pair.network.network(), &pair.server, handler).await.unwrap();
    let (client, _) = pair.start_client().await;
    client.send(Message::new("server", "fails")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let begun = tokio::time::Instant::now();
    let mut third =
        paddington::ServiceConfig::new("third", "ws://third.example:1", "127.0.0.1", &1).unwrap();
    third.add_server(invite).unwrap();
    let (_inbox, handler) = Inbox::new();
    let third = Service::start_on(pair.network.network(), &third, handler).await.unwrap();
    third.send(Message::new("server", "works")).await.unwrap();
    while told.recv().await.unwrap() != "works" {}
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// READY cannot carry rejections: after so many, completions wait for a session in which it shows
/// which of them the sender knows.
#[tokio::test(start_paused = true)]
async fn thousands_of_rejections_in_a_row_are_told_one_by_one() {
    let pair = pair();
    let fail = async |message: Message| match message.is_control() {
        true => Ok(()),
        false => Err("as planned"),
    };
    let network = pair.network.network();
    let server = Service::start_on(network, &pair.server, fail).await.unwrap();
    let (client, _) = pair.start_client().await;
    for round in 1..=3 {
        let mut receipts = Vec::new();
        for _ in 0..1_500 {
            let sent = client.exchange().send_when_ready(Message::new("server", "x"));
            receipts.push(sent.await.unwrap());
        }
        let outcomes = join_all(receipts.into_iter().map(IntoFuture::into_future)).await;
        let rejected = Delivered::Rejected(paddington::RejectCode::FAILED);
        assert!(outcomes.iter().all(|outcome| *outcome == rejected));
        assert_eq!(counts(&client).rejected, round * 1_500);
        assert_eq!(server.peers()[0].failed, round * 1_500, "none is handled twice");
    }
}

/// Returns a server that fails on every message with the message itself as its error.
async fn failing_server(pair: &paddington_test_support::Pair) -> Service {
    let fail = async |message: Message| match message.is_control() {
        true => Ok(()),
        false => Err(message.payload().to_owned()),
    };
    Service::start_on(pair.network.network(), &pair.server, fail).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_text_of_a_handlers_error_is_told_if_the_setting_says_so() {
    let failed = Delivered::Rejected(paddington::RejectCode::FAILED);
    for reveals in [false, true] {
        let mut pair = pair();
        pair.server.settings_mut().reveal_errors = reveals;
        let _server = failing_server(&pair).await;
        let (client, _) = pair.start_client().await;
        let mut events = client.exchange().events();
        let evil = format!("out of stock\n\u{1b}[2J{}", "ä".repeat(200));
        let receipt = client.send(Message::new("server", &*evil)).await.unwrap();
        assert_eq!(receipt.error_text(), None, "it is not known yet");
        assert_eq!(receipt.clone().await, failed);
        let expected = format!("out of stock\\u{{a}}\\u{{1b}}[2J{}", "ä".repeat(119));
        let expected = reveals.then_some(expected);
        assert_eq!(receipt.error_text(), expected);
        let text = loop {
            if let Event::Undelivered { text, .. } = events.recv().await.unwrap() {
                break text;
            }
        };
        assert_eq!(text, expected);
        let fine = client.send(Message::new("server", "")).await.unwrap();
        assert_eq!(fine.clone().await, failed);
        assert_eq!(fine.error_text(), None, "an empty text is none");
    }
}

#[tokio::test(start_paused = true)]
async fn texts_of_many_errors_are_told_although_acknowledgements_are_short() {
    let mut pair = pair();
    pair.server.settings_mut().reveal_errors = true;
    for config in [&mut pair.server, &mut pair.client] {
        config.settings_mut().transport.limits.max_payload = 400;
    }
    let _server = failing_server(&pair).await;
    let (client, _) = pair.start_client().await;
    let mut receipts = Vec::new();
    for number in 0..1_500 {
        let text = format!("{number} {}", "x".repeat(300));
        receipts.push(client.send(Message::new("server", text)).await.unwrap());
    }
    for (number, receipt) in receipts.into_iter().enumerate() {
        receipt.clone().await;
        let Some(text) = receipt.error_text() else { continue };
        assert!(text.starts_with(&format!("{number} xx")), "{number}: {text}");
    }
    assert_eq!(counts(&client).rejected, 1_500, "whether or not all texts had room");
}
