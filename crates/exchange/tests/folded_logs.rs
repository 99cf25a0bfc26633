//! A message that fails costs no line of its own, and no text of others forges a line.

use futures_util::future::join_all;
use paddington::{Delivered, Message, RejectCode, Service};
use paddington_test_support::{capture_logs, pair};

#[tokio::test(start_paused = true)]
async fn a_sender_is_told_of_rejected_messages_in_few_lines() {
    let logs = capture_logs();
    let pair = pair();
    let fail = async |message: Message| {
        if message.is_control() { Ok(()) } else { Err("no\n2026 ERROR forged\u{1b}[2J") }
    };
    let network = pair.network.network();
    let server = Service::start_on(network, &pair.server, fail).await.unwrap();
    let (client, _) = pair.start_client().await;
    let mut receipts = Vec::new();
    for _ in 0..1_000 {
        receipts.push(client.send(Message::new("server", "x")).await.unwrap());
    }
    let outcomes = join_all(receipts.into_iter().map(IntoFuture::into_future)).await;
    assert!(outcomes.iter().all(|it| *it == Delivered::Rejected(RejectCode::FAILED)));
    assert_eq!(client.peers()[0].counts.unwrap().rejected, 1_000);
    let text = logs.lines().join("\n");
    let lines = |part: &str| text.lines().filter(|line| line.contains(part)).count();
    assert!((1..=3).contains(&lines("the peer rejected messages")), "{text}");
    let lost = "messages are lost, because the handler failed on them; the setting on_error";
    assert!((1..=3).contains(&lines(lost)), "{text}");
    assert_eq!(lines("ERROR"), lines(lost), "{text}");
    server.shutdown().await;
    client.shutdown().await;
    for part in ["the peer rejected messages", lost] {
        assert_eq!(
            counted(&logs.lines(), part),
            1_000,
            "all are told of, at the latest at the end"
        );
        assert!((1..=3).contains(&logs.lines().iter().filter(|line| line.contains(part)).count()));
    }
    let mut forged = text.lines().filter(|line| line.contains("2026 ERROR forged"));
    assert!(forged.all(|line| line.contains("u{a}2026") && line.contains("u{1b}[2J")), "{text}");
}

/// Returns the number of messages that the lines with `part` are about.
fn counted(lines: &[String], part: &str) -> u64 {
    let about = lines.iter().filter(|line| line.contains(part));
    let numbers = about.filter_map(|line| line.split("messages=").nth(1)?.split(' ').next());
    numbers.filter_map(|number| number.parse::<u64>().ok()).sum()
}
