//! Supervision of connections, listeners and handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use paddington::{
    Delivered, Encoding, Event, Message, OnError, SendError, SendOptions, ServiceConfig,
};
use paddington_test_support::{Way, eventually, pair, pair_with, tap};
use paddington_wire::RejectCode;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn after_a_suspend_a_dead_connection_is_given_up_within_seconds() {
    let pair = pair();
    let (_server, inbox) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    client.send(Message::new("server", "1")).await.unwrap();
    assert_eq!(inbox.text().await, "1");
    pair.network.freeze();
    pair.network.sleep(60 * SECOND);
    let awake = Instant::now();
    client.send(Message::new("server", "2")).await.unwrap();
    assert_eq!(inbox.text().await, "2");
    // one tick of the clock to notice, three seconds for an answer, half a second to dial again
    assert!(awake.elapsed() <= 14 * SECOND, "{:?}", awake.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_live_connection_survives_a_suspend() {
    let pair = pair();
    let (_server, inbox) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    pair.network.sleep(60 * SECOND);
    sleep(20 * SECOND).await;
    client.send(Message::new("server", "1")).await.unwrap();
    assert_eq!(inbox.text().await, "1");
    assert_eq!(client.peers()[0].counters.sessions, 1);
}

/// On an idle `sealed` connection only the client sends a PING, every 10 s, which also shows the
/// server that the client is alive. On a `hex` link the server sends one too, every 12.5 s.
#[tokio::test(start_paused = true)]
async fn few_pings_keep_an_idle_connection_alive() {
    for (encoding, expected) in [(Encoding::Sealed, 9..=11), (Encoding::Hex, 17..=19)] {
        let pair = pair_with(encoding);
        let (server, _) = pair.start_server().await;
        let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let counted = Arc::clone(&counts);
        let count = move |way, _, frame| {
            counted[usize::from(way == Way::Down)].fetch_add(1, Ordering::Relaxed);
            Ok(vec![frame])
        };
        tap(&pair.network, "127.0.0.9:1", "127.0.0.1:6501", count).await;
        let mut client = ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
        client.add_server(pair.invite.clone().at("ws://127.0.0.9:1/").unwrap()).unwrap();
        let (client, _) = pair.start(&client).await;
        eventually(async || client.peers()[0].is_connected()).await;
        sleep(SECOND).await;
        let now = || [0, 1].map(|way| counts[way].load(Ordering::Relaxed));
        let before = now();
        sleep(100 * SECOND).await;
        let frames = [0, 1].map(|way| now()[way] - before[way]);
        assert!(frames.iter().all(|frames| expected.contains(frames)), "{encoding}: {frames:?}");
        for peer in [&server, &client].map(|service| service.peers().remove(0)) {
            assert!(peer.connected_for.unwrap() > 100 * SECOND, "{encoding}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_fails_is_bound_again_and_live_sessions_stay() {
    let pair = pair();
    let (server, inbox) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    eventually(async || client.peers()[0].is_connected()).await;
    pair.network.fail_listeners();
    assert_eq!(server.exchange().listener_failure(), None, "it is tried again first");
    let down = async || server.exchange().listener_failure().is_some();
    eventually(down).await;
    eventually(async || !down().await).await;
    client.send(Message::new("server", "still the same session")).await.unwrap();
    assert_eq!(inbox.text().await, "still the same session");
    pair.network.cut();
    client.send(Message::new("server", "a new one")).await.unwrap();
    assert_eq!(inbox.text().await, "a new one");
    assert_eq!(server.peers()[0].counters.sessions, 2);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_although_the_peer_reads_nothing() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (server, _) = pair.start_server().await;
        let (client, _) = pair.start_client().await;
        eventually(async || client.peers()[0].is_connected()).await;
        pair.network.freeze();
        for _ in 0..10 {
            let text = "x".repeat(100_000);
            client.send(Message::new("server", text)).await.unwrap();
        }
        let began = Instant::now();
        let report = client.shutdown().await;
        assert!(began.elapsed() <= 45 * SECOND, "{encoding}: {:?}", began.elapsed());
        assert!(!report.is_clean());
        assert!(!client.peers()[0].is_connected(), "{encoding}");
        server.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_waits_for_room_is_told_of_the_shutdown() {
    let mut pair = pair();
    pair.client.settings_mut().outbox_messages = 1;
    let (client, _) = pair.start_client().await;
    client.send(Message::new("server", "1")).await.unwrap();
    let exchange = client.exchange().clone();
    let waiting = tokio::spawn(async move {
        let impatient = exchange.send_timeout(Message::new("server", "2"), SECOND).await;
        (impatient, exchange.send_when_ready(Message::new("server", "3")).await)
    });
    sleep(5 * SECOND).await;
    client.shutdown().await;
    let (impatient, patient) = timeout(SECOND, waiting).await.unwrap().unwrap();
    assert!(matches!(impatient, Err(SendError::Full { .. })), "{impatient:?}");
    assert!(matches!(patient, Err(SendError::ShuttingDown)), "{patient:?}");
}

#[tokio::test(start_paused = true)]
async fn a_receipt_reports_expiry_at_once_even_if_the_peer_is_not_connected() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (client, _) = pair.start_client().await;
        let options = SendOptions { ttl: Some(10 * SECOND) };
        let sent = Instant::now();
        let message = Message::new("server", "short-lived");
        let receipt = client.exchange().send_with(message, options).await.unwrap();
        assert_eq!(receipt.await, Delivered::Expired);
        assert!((10..=11).contains(&sent.elapsed().as_secs()), "{:?}", sent.elapsed());
        assert!(client.peers()[0].is_conserved());
    }
}

#[tokio::test(start_paused = true)]
async fn events_report_connections_and_disconnections() {
    let pair = pair();
    let (server, _) = pair.start_server().await;
    let mut events = server.exchange().events();
    let (client, _) = pair.start_client().await;
    let peer: paddington::PeerName = "client".parse().unwrap();
    assert_eq!(events.recv().await.unwrap(), Event::Up { peer: peer.clone() });
    pair.network.cut();
    assert!(matches!(events.recv().await.unwrap(), Event::Down { peer: down, .. } if down == peer));
    assert_eq!(events.recv().await.unwrap(), Event::Up { peer });
    assert!(events.recv().now_or_never().is_none());
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_cancelled_and_costs_that_message_only() {
    let mut pair = pair();
    pair.server.settings_mut().handler_timeout = 5 * SECOND;
    let handler = async |message: Message| {
        if message.payload() == "hang" {
            std::future::pending::<()>().await;
        }
        Ok::<(), paddington::Error>(())
    };
    let network = pair.network.network();
    let server = paddington::Service::start_on(network, &pair.server, handler).await.unwrap();
    let (client, _) = pair.start_client().await;
    let hang = client.send(Message::new("server", "hang")).await.unwrap();
    let after = client.send(Message::new("server", "after")).await.unwrap();
    assert!(matches!(hang.await, Delivered::Rejected(_)));
    assert_eq!(after.await, Delivered::Handled);
    assert_eq!(server.peers()[0].counters.timed_out, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_is_left_behind() {
    let mut pair = pair();
    pair.server.settings_mut().handler_timeout = Duration::from_millis(100);
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let handler = move |message: Message| {
        if message.payload() == "block" {
            let _ = blocked.lock().unwrap().recv(); // as a handler must not
        }
        std::future::ready(Ok::<(), paddington::Error>(()))
    };
    let network = pair.network.network();
    let server = paddington::Service::start_on(network, &pair.server, handler).await.unwrap();
    let (client, _) = pair.start_client().await;
    let block = client.send(Message::new("server", "block")).await.unwrap();
    let after = client.send(Message::new("server", "after")).await.unwrap();
    assert!(matches!(block.await, Delivered::Rejected(_)));
    assert_eq!(after.await, Delivered::Handled);
    assert_eq!(server.peers()[0].counters.left_behind, 1);
    drop(release);
}

/// A `hex` peer sends a message only once, so it is handled, or given up, before the shutdown.
#[tokio::test(start_paused = true)]
async fn a_shutdown_between_two_attempts_loses_nothing_of_a_hex_peer() {
    let mut pair = pair_with(Encoding::Hex);
    pair.server.settings_mut().on_error = OnError::Retry { attempts: 3, backoff: SECOND };
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = move |message: Message| {
        if !message.is_control() {
            tell.send(message.payload().to_owned()).unwrap();
        }
        std::future::ready(if message.payload() == "1" { Err("as asked") } else { Ok(()) })
    };
    let network = pair.network.network();
    let server = paddington::Service::start_on(network, &pair.server, handler).await.unwrap();
    let (client, _) = pair.start_client().await;
    for text in ["1", "2", "3"] {
        client.send(Message::new("server", text)).await.unwrap();
    }
    assert_eq!(told.recv().await.unwrap(), "1");
    sleep(SECOND / 2).await;
    server.shutdown().await;
    let handled: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    assert_eq!(handled, ["1", "1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn the_delay_before_the_next_attempt_is_not_part_of_a_call() {
    let mut pair = pair();
    let settings = pair.server.settings_mut();
    settings.handler_timeout = SECOND / 2;
    settings.on_error = OnError::Retry { attempts: 5, backoff: SECOND };
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let handler = move |message: Message| {
        let first = message.payload() == "1";
        counted.fetch_add(usize::from(first), Ordering::Relaxed);
        std::future::ready(if first { Err("as asked") } else { Ok(()) })
    };
    let network = pair.network.network();
    let server = paddington::Service::start_on(network, &pair.server, handler).await.unwrap();
    let (client, _) = pair.start_client().await;
    let began = Instant::now();
    let first = client.send(Message::new("server", "1")).await.unwrap();
    let second = client.send(Message::new("server", "2")).await.unwrap();
    assert_eq!(second.await, Delivered::Handled);
    assert!(began.elapsed() >= 4 * SECOND, "the messages after it wait");
    assert_eq!(first.await, Delivered::Rejected(RejectCode::FAILED));
    assert_eq!(attempts.load(Ordering::Relaxed), 5);
    let status = server.peers().remove(0);
    assert_eq!((status.counters.timed_out, status.counters.left_behind), (0, 0));
}
