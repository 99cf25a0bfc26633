//! A file that is deleted, moved or replaced while it is in use: nothing more is accepted.

use std::fs;
use std::path::PathBuf;

use crate::support::{Place, accepts_again, close, fill, mailbox, message, stored, text};
use paddington_exchange::store::{LinkStore, Outbox};
use paddington_store::SqliteStore;

fn log(place: &Place) -> PathBuf {
    format!("{}-wal", place.path().display()).into()
}

/// Appends a message, which has to fail because of what has become of the file.
async fn fails(store: &SqliteStore, number: u64) {
    let failure = store.append(&mailbox("hub"), message(1, number, "x")).await.unwrap_err();
    let failure = failure.to_string();
    assert!(failure.contains("moved, deleted or replaced"), "{failure}");
    assert!(store.health().failure.is_some());
}

#[tokio::test]
async fn a_deleted_file_accepts_nothing_more() {
    let place = Place::new();
    let store = place.open();
    fill(&store, &mailbox("hub"), 1, 1..=3).await;
    fs::remove_file(place.path()).unwrap();
    fails(&store, 4).await;
    fails(&store, 4).await;
    // A second process does not take the log of a file that is gone for its own.
    SqliteStore::open(place.path()).unwrap_err();
    assert!(!place.path().exists() && log(&place).exists());
    store.close().await.unwrap_err();
}

#[tokio::test]
async fn a_file_that_is_put_back_has_everything_that_was_accepted() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    fill(&store, &hub, 1, 1..=3).await;
    let aside = place.path().with_extension("aside");
    fs::rename(place.path(), &aside).unwrap();
    fails(&store, 4).await;
    fs::rename(&aside, place.path()).unwrap();
    accepts_again(&store).await;
    fill(&store, &hub, 1, 4..=4).await;
    let expected: Vec<_> = (1..=4).map(|number| (1, number)).collect();
    assert_eq!(stored(&store, &hub).await, expected);
    close(store).await;
    assert_eq!(stored(&place.open(), &hub).await, expected);
}

#[tokio::test]
async fn a_second_store_at_the_path_is_not_touched_by_the_first() {
    let place = Place::new();
    let hub = mailbox("hub");
    let first = place.open();
    fill(&first, &hub, 1, 1..=3).await;
    fs::remove_file(place.path()).unwrap();
    fs::remove_file(log(&place)).unwrap();
    let second = place.open();
    fill(&second, &hub, 2, 1..=100).await;
    fails(&first, 4).await;
    fails(&first, 4).await;
    first.close().await.unwrap_err();
    fill(&second, &hub, 2, 101..=200).await;
    close(second).await;
    assert_eq!(stored(&place.open(), &hub).await.len(), 200);
}

#[tokio::test]
async fn a_deleted_log_loses_nothing() {
    let place = Place::new();
    let hub = mailbox("hub");
    let store = place.open();
    fill(&store, &hub, 1, 1..=3).await;
    fs::remove_file(log(&place)).unwrap();
    fails(&store, 4).await;
    accepts_again(&store).await;
    store.append(&hub, message(1, 4, text(1, 4))).await.unwrap();
    close(store).await;
    assert_eq!(stored(&place.open(), &hub).await.len(), 4);
}
