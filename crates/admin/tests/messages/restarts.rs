//! Shutdowns and restarts: what was not acknowledged is not lost.

use std::time::Duration;

use paddington::{Delivered, Message};
use paddington_test_support::{eventually, pair};
use tokio::time::Instant;

use crate::side::{Both, Side, next, numbers, text};

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_after_a_restart() {
    for stored in [false, true] {
        let (mut pair, folder) = (pair(), tempfile::tempdir().unwrap());
        if stored {
            pair.client.set_outbox(folder.path().join("client.sqlite"));
            pair.server.set_outbox(folder.path().join("server.sqlite"));
        }
        let both = Both::start_with(pair).await;
        both.client.send("server", numbers(0..500)).await;
        let mut stream = both.server.stream("?max=1000").await;
        let mut had = Vec::new();
        for _ in 0..200 {
            had.push(next(&mut stream).await);
        }
        let done: Vec<_> = had.iter().step_by(2).cloned().collect();
        assert_eq!(both.server.acknowledge(&done).await.acknowledged, 100);
        drop(stream);

        let Both { pair, server, client } = both;
        let began = Instant::now();
        server.end().await;
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is waited for in vain");
        assert_eq!(client.peer().counts.unwrap().rejected, 0);

        let server = Side::start(&pair, pair.server.clone()).await;
        let mut stream = server.stream("?max=1000").await;
        let wanted: Vec<_> = (0..500).filter(|number| *number >= 200 || number % 2 == 1).collect();
        for number in wanted {
            let message = next(&mut stream).await;
            assert_eq!(text(&message), number.to_string());
            assert_eq!(server.acknowledge(&[message]).await.acknowledged, 1);
        }
        eventually(async || client.peer().outbox_messages == 0).await;
        assert_eq!(client.peer().counts.unwrap().rejected, 0);
        server.end().await;
        client.end().await;
    }
}

#[tokio::test]
async fn a_consumer_may_end_its_work_while_the_service_shuts_down() {
    let both = Both::start().await;
    let receipt = both.client.service.send(Message::new("server", "x")).await.unwrap();
    let mut stream = both.server.stream("").await;
    let message = next(&mut stream).await;
    let service = both.server.service.clone();
    let ending = tokio::spawn(async move { service.shutdown().await });
    both.server.service.exchange().stopping().await;
    assert_eq!(both.server.acknowledge(&[message]).await.acknowledged, 1);
    assert_eq!(receipt.await, Delivered::Handled);
    assert_eq!(stream.next().await.unwrap(), None, "the stream ends");
    assert!(ending.await.unwrap().unfinished.is_empty());
}
