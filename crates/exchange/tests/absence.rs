//! Handlers are told when a peer is gone that did not say so.

use std::time::Duration;

use paddington::{Message, Service};
use paddington_test_support::{Intruder, Pair, credentials, pair};
use paddington_wire::Instance;
use tokio::time::{Instant, sleep};

const SERVER: &str = "127.0.0.1:6501";
const CONNECTED: &str = r#"{"Connected":{"agent":"client"}}"#;
const DISCONNECTED: &str = r#"{"Disconnected":{"agent":"client"}}"#;
const SECOND: Duration = Duration::from_secs(1);

/// Connects as the client's instance 7, and is killed after a second.
async fn live_briefly(pair: &Pair, server: &Service) {
    let secrets = credentials(&pair.invite);
    let instance = Instance::from([7; 16]);
    let connection = Intruder::establish(&pair.network, SERVER, &secrets, instance).await;
    sleep(SECOND).await;
    assert!(server.peers()[0].is_connected());
    drop(connection);
}

#[tokio::test(start_paused = true)]
async fn a_killed_peer_that_does_not_return_is_told_once_as_disconnected() {
    let pair = pair();
    let (server, inbox) = pair.start_server().await;
    live_briefly(&pair, &server).await;
    let killed = Instant::now();
    assert_eq!(inbox.next().await.payload(), CONNECTED);
    assert_eq!(inbox.next().await.payload(), DISCONNECTED);
    let after = killed.elapsed();
    assert!((60 * SECOND..61 * SECOND).contains(&after), "{after:?}");
    sleep(3_600 * SECOND).await;
    assert_eq!(inbox.drain().await, [""; 0]);

    let (client, _) = pair.start_client().await;
    client.send(Message::new("server", "back")).await.unwrap();
    assert_eq!(inbox.next().await.payload(), CONNECTED, "nothing else came between");
    assert_eq!(inbox.next().await.payload(), "back");
    client.shutdown().await;
    sleep(3_600 * SECOND).await;
    assert_eq!(inbox.drain().await, [DISCONNECTED], "who has left is told at once, and once");
}

#[tokio::test(start_paused = true)]
async fn the_same_instance_may_return_after_its_absence() {
    let mut pair = pair();
    pair.server.settings_mut().absence = 6 * SECOND;
    let (server, inbox) = pair.start_server().await;
    for _ in 0..3 {
        live_briefly(&pair, &server).await;
        sleep(7 * SECOND).await;
        assert_eq!(inbox.drain().await, [CONNECTED, DISCONNECTED]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_returns_in_time_is_not_told_as_absent() {
    let pair = pair();
    let (server, inbox) = pair.start_server().await;
    for _ in 0..5 {
        live_briefly(&pair, &server).await;
        sleep(58 * SECOND).await;
    }
    assert_eq!(inbox.drain().await, [CONNECTED]);
    sleep(3 * SECOND).await;
    assert_eq!(inbox.drain().await, [DISCONNECTED]);
}

#[tokio::test(start_paused = true)]
async fn an_absence_that_a_shutdown_ends_is_not_told() {
    let pair = pair();
    let (server, inbox) = pair.start_server().await;
    live_briefly(&pair, &server).await;
    sleep(59 * SECOND).await;
    server.shutdown().await;
    sleep(60 * SECOND).await;
    assert_eq!(inbox.drain().await, [CONNECTED]);
}
