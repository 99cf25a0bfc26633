//! Two services exchange messages in both encodings, on a network in memory and on real sockets.

use paddington::{Control, Delivered, Encoding, Message, SendError, Service, ServiceConfig};
use paddington_test_support::{Inbox, pair_with};

const ENCODINGS: [Encoding; 2] = [Encoding::Sealed, Encoding::Hex];

#[tokio::test(start_paused = true)]
async fn messages_go_both_ways_in_order() {
    for encoding in ENCODINGS {
        let pair = pair_with(encoding);
        let (server, server_inbox) = pair.start_server().await;
        let (client, client_inbox) = pair.start_client().await;
        for number in 0..100 {
            server.send(Message::new("client", format!("s{number}"))).await.unwrap();
            client.send(Message::new("server", format!("c{number}"))).await.unwrap();
        }
        for number in 0..100 {
            assert_eq!(client_inbox.text().await, format!("s{number}"));
            assert_eq!(server_inbox.text().await, format!("c{number}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_side_is_told_once_of_a_connection_and_once_of_its_end() {
    for encoding in ENCODINGS {
        let pair = pair_with(encoding);
        let (_server, inbox) = pair.start_server().await;
        let (client, client_inbox) = pair.start_client().await;
        let connected = inbox.next().await;
        assert_eq!(connected.payload(), r#"{"Connected":{"agent":"client"}}"#);
        assert!(matches!(connected.control(), Some(Control::Connected { .. })));
        assert_eq!(client_inbox.next().await.payload(), r#"{"Connected":{"agent":"server"}}"#);
        client.shutdown().await;
        assert_eq!(inbox.next().await.payload(), r#"{"Disconnected":{"agent":"client"}}"#);
        assert_eq!(inbox.drain().await, [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_has_its_sender_and_its_id() {
    let pair = pair_with(Encoding::Sealed);
    let (_server, inbox) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    let receipt = client.send(Message::new("server", "x")).await.unwrap();
    inbox.next().await;
    let message = inbox.next().await;
    assert_eq!((message.sender(), message.recipient()), ("client", "server"));
    assert_eq!(message.to_string(), "Message from client to server: x");
    assert_eq!(message.id(), receipt.id());
    assert_eq!((message.attempt(), message.redelivered()), (1, false));
    assert_eq!(receipt.await, Delivered::Handled);
}

#[tokio::test(start_paused = true)]
async fn a_hex_link_reports_only_that_a_message_was_sent() {
    let pair = pair_with(Encoding::Hex);
    let (server, inbox) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    let receipt = client.send(Message::new("server", "x")).await.unwrap();
    assert_eq!(inbox.text().await, "x");
    assert_eq!(receipt.id(), None);
    assert_eq!(receipt.await, Delivered::Sent);
    assert_eq!(server.peers()[0].encoding, Encoding::Hex);
}

#[tokio::test(start_paused = true)]
async fn any_text_arrives_as_it_was_sent() {
    let long = "x".repeat(1024 * 1024);
    for encoding in ENCODINGS {
        let pair = pair_with(encoding);
        let (server, inbox) = pair.start_server().await;
        let (client, _) = pair.start_client().await;
        for text in ["", "hé \"q\" ✓", "\u{0}\n\\", &long] {
            client.send(Message::new("server", text)).await.unwrap();
            assert_eq!(inbox.text().await, text);
        }
        let too_long = client.send(Message::new("server", format!("{long}x"))).await.unwrap_err();
        assert!(matches!(too_long, SendError::TooLong { len: 1_048_577, .. }));
        let unknown = server.send(Message::new("nobody", "x")).await.unwrap_err();
        assert_eq!(unknown, SendError::UnknownPeer("nobody".into()));
    }
}

#[tokio::test]
async fn services_connect_on_real_sockets() {
    for (encoding, ip) in [(Encoding::Sealed, "127.0.0.1"), (Encoding::Hex, "127.0.0.1")] {
        let (server_inbox, handler) = Inbox::new();
        let mut server = ServiceConfig::new("server", "ws://localhost:1", ip, &0).unwrap();
        let invite = server.add_client_with("client", "127.0.0.0/8", encoding).unwrap();
        let server = Service::start(&server, handler).await.unwrap();
        let url = format!("ws://localhost:{}", server.address().unwrap().port());

        let (client_inbox, handler) = Inbox::new();
        let mut client = ServiceConfig::new("client", "ws://localhost:1", ip, &0).unwrap();
        client.add_server(invite.at(&url).unwrap()).unwrap();
        let client = Service::start(&client, handler).await.unwrap();
        assert_eq!(client.address(), None, "a service without clients does not listen");

        client.send(Message::new("server", "hello")).await.unwrap();
        assert_eq!(server_inbox.text().await, "hello");
        server.send(Message::new("client", "hello yourself")).await.unwrap();
        assert_eq!(client_inbox.text().await, "hello yourself");
        assert!(client.shutdown().await.is_clean());
        assert!(server.shutdown().await.is_clean());
    }
}
