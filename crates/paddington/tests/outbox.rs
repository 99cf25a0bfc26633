//! Services whose outbox is a file.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::os::unix::fs::PermissionsExt;

use paddington::{Delivered, Message, Service, ServiceConfig, ServiceError, accept_bytes};
use paddington_test_support::{Pair, eventually, pair};

async fn start(pair: &Pair, config: &ServiceConfig) -> Result<Service, ServiceError> {
    let handler = async |_: Message| Ok::<(), paddington::Error>(());
    Service::start_on(pair.network.network(), config, handler).await
}

fn with_outbox() -> (Pair, tempfile::TempDir) {
    let (mut pair, folder) = (pair(), tempfile::tempdir().unwrap());
    pair.client.set_outbox(folder.path().join("outbox.sqlite"));
    (pair, folder)
}

#[tokio::test]
async fn accepted_messages_outlive_the_process() {
    let (pair, folder) = with_outbox();
    let client = start(&pair, &pair.client).await.unwrap();
    for number in 0..100 {
        client.send(Message::new("server", number.to_string())).await.unwrap();
    }
    assert_eq!(client.shutdown().await.left_in_store[0].1, 100);
    let mode = std::fs::metadata(folder.path().join("outbox.sqlite")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);

    let (_server, inbox) = pair.start_server().await;
    let client = start(&pair, &pair.client).await.unwrap();
    for number in 0..100 {
        assert_eq!(inbox.text().await, number.to_string());
    }
    let receipt = client.send(Message::new("server", "new")).await.unwrap();
    assert_eq!(receipt.await, Delivered::Handled);
    eventually(async || client.peers()[0].outbox_messages == 0).await;
    assert!(client.peers()[0].is_conserved());
    assert!(client.shutdown().await.left_in_store.is_empty());
}

#[tokio::test]
async fn bytes_outlive_the_process_as_bytes() {
    let (pair, _folder) = with_outbox();
    let client = start(&pair, &pair.client).await.unwrap();
    let block = |number: usize| vec![number as u8; [0, 3, 700, 20_000][number % 4]];
    for number in 0..100 {
        let message = match number % 3 {
            0 => Message::new("server", number.to_string()),
            _ => Message::with_bytes("server", block(number)),
        };
        client.send(message).await.unwrap();
    }
    assert_eq!(client.shutdown().await.left_in_store[0].1, 100);

    let (given, mut messages) = tokio::sync::mpsc::channel(200);
    let keep = move |message: Message| std::future::ready(given.try_send(message));
    let network = pair.network.network();
    let _server = Service::start_on(network, &pair.server, accept_bytes(keep)).await.unwrap();
    let client = start(&pair, &pair.client).await.unwrap();
    assert!(messages.recv().await.unwrap().is_control());
    for number in 0..100 {
        let message = messages.recv().await.unwrap();
        assert_eq!(message.is_bytes(), number % 3 != 0, "{number}");
        match message.is_bytes() {
            true => assert_eq!(message.bytes(), &block(number)),
            false => assert_eq!(message.payload(), number.to_string()),
        }
    }
    client.shutdown().await;
    assert!(client.peers()[0].is_conserved());
}

#[tokio::test]
async fn a_service_goes_on_with_what_was_salvaged() {
    let (pair, folder) = with_outbox();
    let path = folder.path().join("outbox.sqlite");
    let client = start(&pair, &pair.client).await.unwrap();
    for number in 1..=6 {
        client.send(Message::new("server", format!("text {number}"))).await.unwrap();
    }
    client.shutdown().await;
    // Two messages in the middle are damaged.
    let mut bytes = std::fs::read(&path).unwrap();
    for text in ["text 3", "text 4"] {
        let found = bytes.windows(text.len()).position(|bytes| bytes == text.as_bytes());
        bytes[found.unwrap()] = b'?';
    }
    std::fs::write(&path, bytes).unwrap();
    let error = format!("{:?}", start(&pair, &pair.client).await.unwrap_err());
    assert!(error.contains("paddington::salvage keeps what is intact"), "{error}");

    // The refused service may still be closing the file.
    let mut report = None;
    let mut salvaged = || {
        report = paddington::salvage(&path).ok();
        report.is_some()
    };
    eventually(|| std::future::ready(salvaged())).await;
    let report = report.unwrap();
    let (mailbox, server) = report.mailboxes.first_key_value().unwrap();
    assert_eq!(mailbox.peer.as_str(), "server");
    assert_eq!((server.kept, server.lost_between, report.damaged_rows), (4, 2, 2));
    let client = start(&pair, &pair.client).await.unwrap();
    client.send(Message::new("server", "new")).await.unwrap();
    let (_server, inbox) = pair.start_server().await;
    for text in ["text 1", "text 2", "text 5", "text 6", "new"] {
        assert_eq!(inbox.text().await, text);
    }
    eventually(async || client.peers()[0].outbox_messages == 0).await;
    let peer = &client.peers()[0];
    assert!(peer.is_conserved() && peer.counts.unwrap().expired == 2, "{:?}", peer.counts);
}

#[tokio::test]
async fn a_second_process_with_the_same_outbox_does_not_start() {
    let (pair, _folder) = with_outbox();
    let first = start(&pair, &pair.client).await.unwrap();
    let error = start(&pair, &pair.client).await.unwrap_err();
    assert!(matches!(error, ServiceError::Outbox(_)), "{error}");
    first.shutdown().await;
    start(&pair, &pair.client).await.unwrap();
}

#[tokio::test]
async fn a_backlog_that_exceeds_the_window_is_delivered_in_order() {
    let (mut pair, _folder) = with_outbox();
    pair.client.settings_mut().window = 100_000;
    pair.client.settings_mut().transport.limits.max_payload = 10_000;
    let client = start(&pair, &pair.client).await.unwrap();
    for number in 0..200 {
        let text = format!("{number:0>10000}");
        client.send(Message::new("server", text)).await.unwrap();
    }
    let (_server, inbox) = pair.start_server().await;
    for number in 0..200 {
        assert_eq!(inbox.text().await, format!("{number:0>10000}"));
    }
    assert!(client.peers()[0].is_conserved());
}

#[tokio::test]
async fn senders_that_wait_for_room_share_the_syncs_of_the_disk() {
    const SENDERS: u64 = 64;
    const EACH: u64 = 10;
    let (pair, _folder) = with_outbox();
    let client = start(&pair, &pair.client).await.unwrap();
    let before = client.exchange().store().unwrap().health().commits;
    let senders = (0..SENDERS).map(|_| async {
        for _ in 0..EACH {
            let message = Message::new("server", "x");
            client.exchange().send_when_ready(message).await.unwrap();
        }
    });
    futures_util::future::join_all(senders).await;
    let commits = client.exchange().store().unwrap().health().commits - before;
    assert!(commits < SENDERS * EACH / 4, "{commits} commits");
    assert_eq!(client.peers()[0].outbox_messages as u64, SENDERS * EACH);
}

#[tokio::test]
async fn the_outbox_is_saved_with_the_configuration() {
    let (pair, folder) = with_outbox();
    let path = folder.path().join("service.toml");
    pair.client.save(&path).unwrap();
    let loaded = ServiceConfig::load(&path).unwrap();
    assert_eq!(loaded.outbox(), pair.client.outbox());
}
