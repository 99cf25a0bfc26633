//! Bytes for a handler that takes text cost no line of their own.

use paddington::{Delivered, Message, RejectCode};
use paddington_test_support::{capture_logs, pair};

#[tokio::test(start_paused = true)]
async fn bytes_for_a_text_handler_are_logged_once_with_the_remedy() {
    let logs = capture_logs();
    let pair = pair();
    let (server, _inbox) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    let mut receipts = Vec::new();
    for _ in 0..1_000 {
        let message = Message::with_bytes("server", &b"a secret"[..]);
        receipts.push(client.send(message).await.unwrap());
    }
    for receipt in receipts {
        assert_eq!(receipt.await, Delivered::Rejected(RejectCode::TEXT_ONLY));
    }
    let lines = || {
        let part = "they are bytes, and the handler takes text; wrap it in accept_bytes";
        logs.lines().into_iter().filter(|line| line.contains(part)).collect::<Vec<_>>()
    };
    let first = lines();
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(first[0].starts_with("WARN") && first[0].contains("peer=client"), "{first:?}");
    server.shutdown().await;
    client.shutdown().await;
    assert_eq!(lines().len(), 2, "the others in one more");
    let all = logs.lines().join("\n");
    assert!(all.contains("the handler takes text, and the message is bytes"), "at the sender");
    assert!(!all.contains("a secret") && !all.contains("ERROR"), "{all}");
}
