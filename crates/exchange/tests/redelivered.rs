//! `redelivered` after a restart of the sender: what may have been transmitted before, and nothing
//! else.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use paddington::{Message, Service, ServiceConfig};
use paddington_test_support::{Inbox, Lag, MemoryDisk, Pair, Random, eventually, pair};
use tokio::time::Instant;

/// More messages than two marks cover.
const BACKLOG: usize = 2_500;

/// Opens a disk that takes time for each sync, as long as all trims and cursors wait at most.
async fn start(pair: &Pair, disk: &MemoryDisk, config: &ServiceConfig) -> (Service, Inbox) {
    let (inbox, handler) = Inbox::new();
    let lag = Lag {
        sync: Duration::from_millis(5),
        lazy: Duration::from_secs(10),
        clock: || Duration::ZERO,
    };
    let store = disk.open_lagging(lag, Random::new(1));
    let network = pair.network.network();
    let service = Service::start_with(network, Some(store), config, handler).await.unwrap();
    (service, inbox)
}

/// Takes so many messages, and returns whether each is said to be a repeat. They come in order.
async fn heard(inbox: &Inbox, messages: usize) -> Vec<bool> {
    let mut repeats = Vec::new();
    while repeats.len() < messages {
        let message = inbox.next().await;
        if !message.is_control() {
            assert_eq!(message.payload(), repeats.len().to_string());
            repeats.push(message.redelivered());
        }
    }
    repeats
}

async fn send(client: &Service, numbers: std::ops::Range<usize>) {
    let numbers: Vec<_> = numbers.collect();
    for together in numbers.chunks(50) {
        let send = |number: &usize| client.send(Message::new("server", number.to_string()));
        for sent in futures_util::future::join_all(together.iter().map(send)).await {
            drop(sent.unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_that_was_never_transmitted_is_not_redelivered_after_a_kill() {
    let (pair, disk) = (pair(), MemoryDisk::default());
    let (killed, _) = start(&pair, &disk, &pair.client).await;
    send(&killed, 0..BACKLOG).await;
    let (client, _) = start(&pair, &disk, &pair.client).await;
    let (_server, inbox) = pair.start_server().await;
    let begun = Instant::now();
    assert!(heard(&inbox, BACKLOG).await.iter().all(|repeat| !repeat));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "a mark is not written lazily: {took:?}");
    eventually(async || client.peers()[0].outbox_messages == 0).await;
    assert!(client.peers()[0].is_conserved());
}

#[tokio::test(start_paused = true)]
async fn what_was_transmitted_and_not_acknowledged_is_redelivered_after_a_kill() {
    let (pair, disk) = (pair(), MemoryDisk::default());
    let (killed, _) = start(&pair, &disk, &pair.client).await;
    let (first, reached) = deaf_server(&pair).await;
    send(&killed, 0..20).await;
    eventually(async || killed.peers()[0].in_flight == 20).await;
    first.shutdown().await;
    assert_eq!(*reached.borrow(), 1, "the first of them reached the handler");
    // These wait for the server when the client is killed.
    send(&killed, 20..BACKLOG).await;
    let (_client, _) = start(&pair, &disk, &pair.client).await;
    let (_server, inbox) = pair.start_server().await;
    let repeats = heard(&inbox, BACKLOG).await;
    assert!(repeats[..20].iter().all(|repeat| *repeat), "what was transmitted");
    let (ahead, rest) = repeats[20..].split_at(64);
    assert!(ahead.is_sorted_by(|one, next| one >= next), "the mark is one number");
    assert!(rest.iter().all(|repeat| !repeat), "at most 64 more than were transmitted");
}

/// A server whose handler never ends.
async fn deaf_server(pair: &Pair) -> (Service, tokio::sync::watch::Receiver<u32>) {
    let (reached, seen) = tokio::sync::watch::channel(0);
    let handler = move |message: Message| {
        if !message.is_control() {
            reached.send_modify(|reached| *reached += 1);
        }
        async move {
            if !message.is_control() {
                std::future::pending::<()>().await;
            }
            Ok::<(), paddington::Error>(())
        }
    };
    let mut config = pair.server.clone();
    config.settings_mut().drain = Duration::from_millis(10);
    let network = pair.network.network();
    (Service::start_on(network, &config, handler).await.unwrap(), seen)
}
