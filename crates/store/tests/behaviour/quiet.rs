//! Damaged data is refused, and no error or log line shows a payload.

use std::fmt::Write;

use paddington_exchange::store::{
    Backlog, Cursors, DeadLetter, DeadLetters, LetterId, LinkStore, Outbox, StoreError,
};
use paddington_store::SqliteStore;
use paddington_wire::RejectCode;

use crate::support::{FENCE, Place, close, commit, cursor, fill, id, mailbox, message};

const SECRET: &str = "the-codes-are-0000";

/// Opens a store with rows in every table, of which `sql` has changed some while it was closed.
async fn damaged(place: &Place, sql: &str) -> SqliteStore {
    let store = place.open();
    let hub = mailbox("hub");
    for number in 1..=5 {
        store.append(&hub, message(1, number, SECRET)).await.unwrap();
    }
    fill(&store, &mailbox("other"), 1, 1..=3).await;
    commit(&store, &hub, cursor(2, 7)).await;
    store.attempt(&hub, id(2, 8), FENCE).await.unwrap();
    store.add_letter(letter(), FENCE).await.unwrap();
    close(store).await;
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    assert!(raw.execute(sql, ()).unwrap() > 0, "{sql} changed nothing");
    drop(raw);
    place.open()
}

fn letter() -> DeadLetter {
    let at = std::time::SystemTime::now();
    let (payload, code) = (SECRET.into(), RejectCode::FAILED);
    DeadLetter { mailbox: mailbox("hub"), id: id(2, 6), code, at, payload }
}

#[tokio::test]
async fn a_damaged_outbox_is_refused_for_every_peer() {
    for (sql, said) in [
        ("UPDATE message SET payload = CAST('other' AS BLOB) WHERE number = 4", "checksum"),
        ("UPDATE message SET is_bytes = 0 WHERE number = 4", "checksum"),
        ("UPDATE stream SET peer = 'hud' WHERE peer = 'hub'", "checksum"),
        ("UPDATE message SET deadline = 5 WHERE number = 2", "checksum"),
        ("UPDATE message SET number = 9 WHERE number = 5", "checksum"),
        ("UPDATE stream SET age = 9 WHERE peer = 'hub'", "checksum"),
        ("UPDATE stream SET id = 9 WHERE peer = 'hub'", "checksum"),
        ("UPDATE stream SET instance = zeroblob(16)", "checksum"),
        ("UPDATE stream SET instance = 'text'", "damaged"),
        ("UPDATE stream SET mark = 3 WHERE peer = 'hub'", "the checksum of its mark"),
        ("UPDATE stream SET mark = 'text' WHERE peer = 'hub'", "damaged"),
        ("DELETE FROM stream WHERE peer = 'hub'", "the stream of a stored message is missing"),
        ("DELETE FROM message WHERE number = 3", "is missing"),
        ("UPDATE message SET position = position + (1 << 44) WHERE number = 5", "checksum"),
        ("UPDATE message SET position = position + (3 << 44) WHERE number = 5", "is missing"),
    ] {
        let place = Place::new();
        let store = damaged(&place, sql).await;
        let failure = store.streams(&mailbox("other")).await.unwrap_err().to_string();
        assert!(failure.contains(said), "{sql}: {failure}");
        assert!(!failure.contains(SECRET), "{failure}");
    }
}

#[tokio::test]
async fn a_damaged_message_is_not_passed_on() {
    let place = Place::new();
    let sql = "UPDATE message SET payload = CAST('other' AS BLOB) WHERE number = 4";
    let store = damaged(&place, sql).await;
    let hub = mailbox("hub");
    assert_eq!(store.read(&hub, id(1, 1), 1).await.unwrap(), [SECRET]);
    store.read(&hub, id(1, 1), 1_000).await.unwrap_err();
    store.read(&hub, id(1, 4), 1_000).await.unwrap_err();
    assert_eq!(store.health().failure, None, "the rest of the store still works");
}

#[tokio::test]
async fn damaged_cursors_attempts_and_letters_are_refused() {
    let refused = |result: Result<(), StoreError>, said: &str| {
        let failure = result.unwrap_err().to_string();
        assert!(failure.contains(said) && !failure.contains(SECRET), "{failure}");
    };
    let place = Place::new();
    let store = damaged(&place, "UPDATE cursor SET completed = completed + 1").await;
    refused(store.cursors(&mailbox("hub")).await.map(drop), "a cursor for hub is damaged");
    let place = Place::new();
    let store = damaged(&place, "UPDATE attempt SET attempts = 0").await;
    refused(store.attempt(&mailbox("hub"), id(2, 8), FENCE).await.map(drop), "are damaged");
    for sql in ["UPDATE dead_letter SET number = 5", "UPDATE dead_letter SET is_bytes = 1"] {
        let place = Place::new();
        let store = damaged(&place, sql).await;
        refused(store.letters().await.map(drop), "dead letter 1 is damaged");
        refused(store.take_letter(LetterId(1)).await.map(drop), "dead letter 1 is damaged");
    }
}

#[tokio::test]
async fn no_payload_is_shown_or_logged() {
    let logs = paddington_test_support::capture_logs();
    let place = Place::new();
    let store = damaged(&place, "UPDATE meta SET value = value").await;
    let hub = mailbox("hub");
    let mut shown = format!("{store:?} {:?} {:?}", letter(), message(1, 6, SECRET));
    let append = store.append(&hub, message(1, 9, SECRET)).await.unwrap_err();
    write!(shown, "{append:?} {append} {:?}", store.health()).unwrap();
    let outbox: &dyn Outbox = &store;
    write!(shown, "{outbox:?} {:?}", SqliteStore::open(place.path())).unwrap();
    store.close().await.unwrap();
    let lines = logs.lines().join("\n");
    assert!(!shown.contains(SECRET) && !lines.contains(SECRET), "{shown} {lines}");
    assert!(shown.contains("SqliteStore"));
}
