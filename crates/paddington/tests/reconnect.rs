//! Services reconnect, whichever of them was away, and no accepted message is lost while both run.

use std::time::Duration;

use paddington::{Encoding, Message};
use paddington_test_support::{pair, pair_with};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn messages_flow_again_after_either_side_has_restarted() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (mut server, mut inbox) = pair.start_server().await;
        let (mut client, mut client_inbox) = pair.start_client().await;
        for round in 0..4 {
            client.send(Message::new("server", format!("to server {round}"))).await.unwrap();
            assert_eq!(inbox.text().await, format!("to server {round}"));
            server.send(Message::new("client", format!("to client {round}"))).await.unwrap();
            assert_eq!(client_inbox.text().await, format!("to client {round}"));
            if round % 2 == 0 {
                server.shutdown().await;
                (server, inbox) = pair.start_server().await;
            } else {
                client.shutdown().await;
                (client, client_inbox) = pair.start_client().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_tries_for_ever_and_never_waits_longer_than_five_seconds() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (client, _) = pair.start_client().await;
        client.send(Message::new("server", "patience")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3 * 60 * 60)).await;
        let (_server, inbox) = pair.start_server().await;
        let started = Instant::now();
        assert_eq!(inbox.text().await, "patience");
        assert!(started.elapsed() <= Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_cut_the_client_reconnects_at_once() {
    let pair = pair();
    let (_server, inbox) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    client.send(Message::new("server", "1")).await.unwrap();
    assert_eq!(inbox.text().await, "1");
    tokio::time::sleep(Duration::from_secs(60)).await;
    pair.network.cut();
    let cut = Instant::now();
    client.send(Message::new("server", "2")).await.unwrap();
    assert_eq!(inbox.text().await, "2");
    assert!(cut.elapsed() <= Duration::from_millis(500), "{:?}", cut.elapsed());
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_a_peer_that_is_not_connected_yet() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (server, _) = pair.start_server().await;
        for number in 0..100 {
            server.send(Message::new("client", number.to_string())).await.unwrap();
        }
        assert_eq!(server.peers()[0].outbox_messages, 100);
        let (_client, inbox) = pair.start_client().await;
        for number in 0..100 {
            assert_eq!(inbox.text().await, number.to_string());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_renewed_after_a_day_without_an_interruption() {
    let pair = pair();
    let (server, inbox) = pair.start_server().await;
    let (client, client_inbox) = pair.start_client().await;
    client.send(Message::new("server", "young")).await.unwrap();
    assert_eq!(inbox.text().await, "young");
    tokio::time::sleep(Duration::from_secs(27 * 60 * 60)).await;
    let age = server.peers()[0].connected_for.unwrap();
    assert!(age < Duration::from_secs(6 * 60 * 60), "{age:?}");
    assert_eq!(pair.network.dialled(), 2);
    client.send(Message::new("server", "renewed")).await.unwrap();
    assert_eq!(inbox.text().await, "renewed");
    assert_eq!(client_inbox.drain().await, [r#"{"Connected":{"agent":"server"}}"#]);
}

#[tokio::test(start_paused = true)]
async fn peers_are_told_of_each_others_software() {
    let mut pair = pair();
    pair.client.settings_mut().software = "sensor/2 (test)".parse().unwrap();
    let (server, _) = pair.start_server().await;
    assert!(server.peers()[0].software.is_empty(), "nothing was said yet");
    let (client, _) = pair.start_client().await;
    client.send(Message::new("server", "x")).await.unwrap().await;
    assert_eq!(server.peers()[0].software.as_str(), "sensor/2 (test)");
    let ours = concat!("paddington/", env!("CARGO_PKG_VERSION"));
    assert_eq!(client.peers()[0].software.as_str(), ours);
}

#[tokio::test(start_paused = true)]
async fn a_message_in_flight_when_the_receiver_restarts_is_redelivered_with_its_id() {
    let pair = pair();
    let stuck = async |_: Message| -> Result<(), std::io::Error> { std::future::pending().await };
    let server =
        paddington::Service::start_on(pair.network.network(), &pair.server, stuck).await.unwrap();
    let (client, _) = pair.start_client().await;
    let receipt = client.send(Message::new("server", "x")).await.unwrap();
    while server.peers()[0].inbox_messages == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let unfinished = server.shutdown().await.unfinished;
    assert_eq!(unfinished.len(), 1, "the handler was still busy with Connected");

    let (_server, inbox) = pair.start_server().await;
    let message = loop {
        let message = inbox.next().await;
        if !message.is_control() {
            break message;
        }
    };
    assert_eq!((message.payload(), message.id()), ("x", receipt.id()));
    assert!(message.redelivered());
}

#[tokio::test(start_paused = true)]
async fn a_newer_invitation_takes_effect_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invitation.toml");
    let first = pair();
    first.invite.save(&path).unwrap();
    let mut client =
        paddington::ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    client.add_server(paddington::Invite::load(&path).unwrap()).unwrap();
    let (client, client_inbox) = first.start(&client).await;
    client.send(Message::new("server", "first try")).await.unwrap();
    let (server, inbox) = first.start_server().await;
    assert_eq!(inbox.text().await, "first try");
    server.shutdown().await;

    let mut second = pair();
    second.network = first.network.clone();
    second.invite.save(&path).unwrap();
    let (_server, inbox) = second.start_server().await;
    client.send(Message::new("server", "with new keys")).await.unwrap();
    assert_eq!(inbox.text().await, "with new keys");
    drop(client_inbox);
}
