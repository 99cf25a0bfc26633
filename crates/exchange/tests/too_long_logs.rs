//! Messages that turn out to be too long cost no line of their own.

use paddington::{Delivered, Message};
use paddington_test_support::{capture_logs, conserved, pair};

#[tokio::test(start_paused = true)]
async fn messages_that_are_too_long_for_a_peer_that_comes_are_told_in_few_lines_with_the_remedy() {
    let logs = capture_logs();
    let mut pair = pair();
    pair.server.settings_mut().transport.limits.max_payload = 100;
    let (client, _) = pair.start_client().await;
    let mut receipts = Vec::new();
    for _ in 0..1_000 {
        let message = Message::new("server", "a secret ".repeat(12));
        receipts.push(client.send(message).await.unwrap());
    }
    let (server, _inbox) = pair.start_server().await;
    for receipt in receipts {
        assert_eq!(receipt.await, Delivered::TooLong);
    }
    conserved([&server, &client]);
    let lines = || {
        let part = "they are longer than the peer accepts; raise its setting max_payload";
        logs.lines().into_iter().filter(|line| line.contains(part)).collect::<Vec<_>>()
    };
    let first = lines();
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(first[0].starts_with("WARN") && first[0].contains("peer=server"), "{first:?}");
    client.shutdown().await;
    server.shutdown().await;
    let told = lines();
    assert!(told.len() <= 2, "the others are in one more: {told:?}");
    let numbers = told.iter().filter_map(|line| line.split("messages=").nth(1)?.split(' ').next());
    let numbers = numbers.filter_map(|number| number.parse::<u64>().ok());
    assert_eq!(numbers.sum::<u64>(), 1_000, "{told:?}");
    let all = logs.lines().join("\n");
    assert!(!all.contains("a secret") && !all.contains("ERROR"), "{all}");
}
