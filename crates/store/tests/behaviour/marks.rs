//! Transmission marks: as durable as the messages that they go with, and never lowered.

use std::time::Duration;

use paddington_exchange::store::{Backlog, Cursors, Mailbox, NewMessage, Outbox};
use paddington_store::SqliteStore;

use crate::failing::{POISON, fragile};
use crate::keeps::after_a_crash;
use crate::support::{FENCE, Place, accepts_again, close, fill, id, mailbox, message, text};

fn marked(stream: u8, number: u64, mark: u64) -> NewMessage {
    NewMessage { mark: Some(mark), ..message(stream, number, text(stream, number)) }
}

/// The marks of the streams of a peer, oldest first.
async fn marks(store: &SqliteStore, of: &Mailbox) -> Vec<u64> {
    store.streams(of).await.unwrap().iter().map(|stream| stream.mark).collect()
}

#[tokio::test]
async fn a_mark_is_durable_with_its_message_or_a_sync_and_never_lowered() {
    let place = Place::new();
    let (hub, other) = (mailbox("hub"), mailbox("other"));
    let store = place.open();
    fill(&store, &hub, 1, 1..=2).await;
    fill(&store, &other, 1, 1..=2).await;
    store.append(&hub, marked(2, 1, 20)).await.unwrap();
    let (_copy, survivor) = after_a_crash(&place);
    assert_eq!(
        (marks(&survivor, &hub).await, marks(&survivor, &other).await),
        (vec![0, 20], vec![0])
    );
    drop(store.mark(&hub, id(1, 2), FENCE));
    drop(store.mark(&hub, id(9, 5), FENCE)); // nothing of this stream is stored
    store.sync(&hub).await.unwrap();
    let (_copy, survivor) = after_a_crash(&place);
    assert_eq!(marks(&survivor, &hub).await, [2, 20]);
    store.append(&hub, marked(2, 2, 7)).await.unwrap();
    let lower = store.mark(&hub, id(2, 9), FENCE);
    store.mark(&hub, id(1, 1_000), FENCE).await.unwrap();
    lower.await.unwrap();
    close(store).await;
    assert_eq!(marks(&place.open(), &hub).await, [1_000, 20]);
}

#[tokio::test]
async fn a_mark_outlives_the_messages_that_it_covers() {
    let place = Place::new();
    let hub = mailbox("hub");
    let store = fragile(&place, Duration::ZERO).await;
    store.append(&hub, marked(1, 1, 5)).await.unwrap();
    store.trim(&hub, id(1, 1), FENCE).await.unwrap();
    store.mark(&hub, id(1, 8), FENCE).await.unwrap();
    // After a failure, only what is in the file is known.
    store.append(&hub, message(1, 2, POISON)).await.unwrap_err();
    accepts_again(&store).await;
    store.mark(&hub, id(1, 9), FENCE).await.unwrap();
    fill(&store, &hub, 1, 2..=3).await;
    close(store).await;
    assert_eq!(marks(&place.open(), &hub).await, [9]);
}

#[tokio::test]
async fn a_mark_whose_message_could_not_be_stored_is_not_kept_and_a_lazy_one_is() {
    let place = Place::new();
    let hub = mailbox("hub");
    let store = fragile(&place, Duration::ZERO).await;
    fill(&store, &hub, 1, 1..=1).await;
    let lazy = store.mark(&hub, id(1, 3), FENCE);
    let failed = NewMessage { mark: Some(70), ..message(1, 2, POISON) };
    store.append(&hub, failed).await.unwrap_err();
    lazy.await.unwrap();
    assert_eq!(marks(&store, &hub).await, [3]);
}
