//! Opening a store: its one owner, its permissions, and the files that are refused.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Place, close, fill, mailbox, message, stored};
use paddington_exchange::store::{Backlog, LinkStore, Outbox};
use paddington_store::{OpenStoreError, SqliteStore};

#[tokio::test]
async fn a_store_has_one_owner() {
    let place = Place::new();
    let store = place.open();
    let error = SqliteStore::open(place.path()).unwrap_err();
    assert!(matches!(error, OpenStoreError::InUse(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("is in use") && text.contains("already running"), "{text}");
    // The refused one has not released the lock.
    assert!(matches!(SqliteStore::open(place.path()), Err(OpenStoreError::InUse(_))));
    fill(&store, &mailbox("hub"), 1, 1..=1).await;
    close(store).await;
    assert_eq!(stored(&place.open(), &mailbox("hub")).await.len(), 1);
}

#[tokio::test]
async fn a_closed_store_answers_nothing() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    let before = store.append(&hub, message(1, 1, "before"));
    store.close().await.unwrap();
    before.await.unwrap();
    store.close().await.unwrap();
    let error = store.append(&hub, message(1, 2, "after")).await.unwrap_err();
    assert_eq!(error.to_string(), "the store failed: the store is closed");
    store.streams(&hub).await.unwrap_err();
    store.trim(&hub, crate::support::id(1, 1), crate::support::FENCE).await.unwrap_err();
}

#[test]
fn a_store_that_is_dropped_releases_its_file() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hub = mailbox("hub");
    let store = place.open();
    // Its future is dropped, and it is written all the same.
    drop(store.append(&hub, message(1, 1, crate::support::text(1, 1))));
    drop(store);
    runtime.block_on(async {
        let mut again = None;
        let mut open = || {
            again = SqliteStore::open(place.path()).ok();
            again.is_some()
        };
        paddington_test_support::eventually(|| std::future::ready(open())).await;
        assert_eq!(stored(&again.unwrap(), &hub).await, [(1, 1)]);
    });
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let place = Place::new();
    let log = format!("{}-wal", place.path().display());
    let reserve = format!("{}-reserve", place.path().display());
    let store = place.open();
    fill(&store, &mailbox("hub"), 1, 1..=1).await;
    assert_eq!((mode(place.path()), mode(&log), mode(&reserve)), (0o600, 0o600, 0o600));
    let entries = fs::read_dir(place.path().parent().unwrap()).unwrap().count();
    assert_eq!(entries, 3, "a file, its log and its reserve");
    close(store).await;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let store = place.open();
    fill(&store, &mailbox("hub"), 2, 1..=1).await;
    assert_eq!((mode(place.path()), mode(&log)), (0o600, 0o600));
}

#[tokio::test]
async fn opening_writes_nothing() {
    let place = Place::new();
    let log = format!("{}-wal", place.path().display());
    let store = place.open();
    fill(&store, &mailbox("hub"), 1, 1..=10).await;
    close(store).await;
    let before = fs::read(place.path()).unwrap();
    // A backlog that has filled its disk can be read and delivered.
    let store = place.open();
    assert_eq!(stored(&store, &mailbox("hub")).await.len(), 10);
    assert_eq!(fs::metadata(&log).unwrap().len(), 0);
    assert!(fs::read(place.path()).unwrap() == before);
}

#[test]
fn the_folder_has_to_exist() {
    let place = Place::new();
    let error = SqliteStore::open(place.path().join("below")).unwrap_err();
    assert!(matches!(error, OpenStoreError::NoFolder(_)), "{error:?}");
    let error = SqliteStore::open("/nowhere/at/all").unwrap_err();
    assert_eq!(error.to_string(), "the folder /nowhere/at does not exist");
}

#[test]
fn a_path_that_cannot_be_written_is_refused() {
    // Even the superuser cannot create a file there.
    let error = SqliteStore::open("/proc/self/store").unwrap_err();
    assert!(matches!(error, OpenStoreError::Unwritable { .. }), "{error:?}");
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    let error = SqliteStore::open(place.path()).unwrap_err();
    assert!(matches!(error, OpenStoreError::NotAFile(_)), "{error:?}");
}

#[tokio::test]
async fn a_read_only_file_is_refused() {
    let place = Place::new();
    close(place.open()).await;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o400)).unwrap();
    if fs::OpenOptions::new().append(true).open(place.path()).is_ok() {
        eprintln!("skipped: this user can write read-only files");
        return;
    }
    let error = SqliteStore::open(place.path()).unwrap_err();
    assert!(matches!(error, OpenStoreError::Unwritable { .. }), "{error:?}");
}

#[test]
fn a_file_that_is_not_a_store_is_left_alone() {
    let place = Place::new();
    let text =
        "these are my notes, and they are longer than the header of a database. ".repeat(100);
    fs::write(place.path(), &text).unwrap();
    let error = SqliteStore::open(place.path()).unwrap_err();
    assert!(matches!(error, OpenStoreError::NotAStore(_)), "{error:?}");
    assert_eq!(fs::read_to_string(place.path()).unwrap(), text);

    fs::remove_file(place.path()).unwrap();
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other.execute_batch("CREATE TABLE mine(x)").unwrap();
    drop(other);
    let error = SqliteStore::open(place.path()).unwrap_err();
    assert!(matches!(error, OpenStoreError::NotAStore(_)), "{error:?}");
}

#[tokio::test]
async fn another_format_is_refused() {
    let place = Place::new();
    close(place.open()).await;
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    raw.execute("UPDATE meta SET value = 1 WHERE key = 'format'", ()).unwrap();
    drop(raw);
    let error = SqliteStore::open(place.path()).unwrap_err();
    assert!(matches!(error, OpenStoreError::Format { found: 1, known: 4, .. }), "{error:?}");
    assert!(error.to_string().ends_with("has format 1, and this version knows format 4 only"));
    assert!(error.source().is_none());
}
