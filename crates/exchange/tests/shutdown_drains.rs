//! A service that shuts down delivers the messages that it has accepted, as far as its time allows,
//! and reports the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paddington::{Delivered, Encoding, Message, SendError, Service, send};
use paddington_test_support::{pair, pair_with};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn all_accepted_messages_are_delivered() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (_server, inbox) = pair.start_server().await;
        let (client, _) = pair.start_client().await;
        for number in 0..5_000 {
            client.send(Message::new("server", number.to_string())).await.unwrap();
        }
        let report = client.shutdown().await;
        assert!(report.is_clean(), "{encoding}: {report:?}");
        for number in 0..5_000 {
            assert_eq!(inbox.text().await, number.to_string());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_running_handlers_may_send_during_a_shutdown() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (server, inbox) = pair.start_server().await;
        let client = Service::start_on(
            pair.network.network(),
            &pair.client,
            async |message: Message| -> Result<(), paddington::Error> {
                if message.payload() == "stop" {
                    paddington::shutdown().await?;
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    send(Message::new("server", "last words")).await?;
                }
                Ok(())
            },
        );
        let client = client.await.unwrap();
        server.send(Message::new("client", "stop")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let refused = client.send(Message::new("server", "too late")).await.unwrap_err();
        assert_eq!(refused, SendError::ShuttingDown);
        assert_eq!(inbox.text().await, "last words");
        assert!(client.finished().await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_cannot_be_delivered_in_time_are_reported() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (client, _) = pair.start_client().await;
        let receipt = client.send(Message::new("server", "to nobody")).await.unwrap();
        let begun = Instant::now();
        let report = client.shutdown().await;
        assert_eq!(report.unsent, [("server".parse().unwrap(), 1)]);
        assert!((30..=31).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        assert_eq!(receipt.await, Delivered::Abandoned);
    }
}

/// A handler hangs, and a message waits for a client that does not answer.
#[tokio::test(start_paused = true)]
async fn a_shutdown_that_is_hurried_reports_at_once_what_is_left() {
    // In the second case, the handler has been given up already.
    for patience in [0, 45] {
        let pair = pair();
        let hang = async |_| std::future::pending::<Result<(), SendError>>().await;
        let server = Service::start_on(pair.network.network(), &pair.server, hang).await.unwrap();
        let (client, _inbox) = pair.start_client().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        pair.network.freeze();
        let receipt = server.send(Message::new("client", "not acknowledged")).await.unwrap();
        server.exchange().ask_to_shut_down();
        tokio::time::sleep(Duration::from_secs(patience)).await;
        let hurried = Instant::now();
        server.exchange().ask_to_shut_down_now();
        let report = server.finished().await;
        assert!(hurried.elapsed() <= Duration::from_millis(300), "{:?}", hurried.elapsed());
        assert_eq!(report.unfinished, ["client".parse().unwrap()]);
        assert_eq!(report.unsent, [("client".parse().unwrap(), 1)]);
        assert_eq!(receipt.await, Delivered::Abandoned);
        client.exchange().ask_to_shut_down_now();
        client.finished().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_client_that_is_not_connected() {
    let pair = pair();
    let (server, _) = pair.start_server().await;
    server.send(Message::new("client", "to nobody")).await.unwrap();
    let begun = Instant::now();
    assert_eq!(server.shutdown().await.unsent.len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(1), "the client cannot connect any more");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_end_is_given_up_in_time() {
    let pair = pair();
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let stuck = move |_: Message| {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<Result<(), std::io::Error>>()
    };
    let server = Service::start_on(pair.network.network(), &pair.server, stuck).await.unwrap();
    let (_client, inbox) = pair.start_client().await;
    inbox.next().await;
    while handled.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let begun = Instant::now();
    let report = server.shutdown().await;
    assert_eq!(report.unfinished, ["client".parse().unwrap()]);
    assert!((30..=33).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn both_sides_may_shut_down_at_once() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (server, _) = pair.start_server().await;
        let (client, inbox) = pair.start_client().await;
        inbox.next().await;
        let begun = Instant::now();
        let (server, client) = tokio::join!(server.shutdown(), client.shutdown());
        assert!(server.is_clean() && client.is_clean());
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn the_listener_is_closed_and_the_address_is_free_again() {
    let pair = pair();
    let (server, _) = pair.start_server().await;
    server.shutdown().await;
    assert!(pair.network.dial("127.0.0.1:6501".parse().unwrap()).await.is_err());
    let (_again, _) = pair.start_server().await;
}
