//! A store that fails: no answered call is lost, and it accepts messages again when it works.

use std::time::{Duration, Instant};

use paddington_exchange::store::{
    Backlog, Cursors, DeadLetter, DeadLetters, LetterId, LinkStore, Outbox, StoreError,
};
use paddington_store::SqliteStore;
use paddington_wire::RejectCode;

use crate::support::{
    FENCE, Place, accepts_again, close, commit, cursor, fill, id, mailbox, message, payload,
    stored, text,
};

/// A payload that makes its transaction fail, in a store that [`fragile`] opened.
pub(crate) const POISON: &str = "poison";

/// Opens a store whose transactions fail as a whole, as on a broken disk. For the time `trouble`
/// after that, it cannot recover either.
pub(crate) async fn fragile(place: &Place, trouble: Duration) -> SqliteStore {
    close(place.open()).await;
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    let ends = trouble.as_secs_f64() / 86_400.0;
    raw.execute_batch(&format!(
        "CREATE TRIGGER poison BEFORE INSERT ON message WHEN NEW.payload = CAST('{POISON}' AS BLOB)
         BEGIN SELECT RAISE(ROLLBACK, 'the disk is broken'); END;
         CREATE TABLE trouble AS SELECT julianday('now') + {ends} AS ends;
         CREATE TRIGGER trouble BEFORE INSERT ON meta
         WHEN (SELECT ends FROM trouble) > julianday('now')
         BEGIN SELECT RAISE(ROLLBACK, 'the disk is still broken'); END;"
    ))
    .unwrap();
    drop(raw);
    place.open()
}

#[tokio::test]
async fn a_failed_commit_fails_everything_after_it() {
    let place = Place::new();
    let store = fragile(&place, Duration::ZERO).await;
    let (hub, other) = (mailbox("hub"), mailbox("other"));
    fill(&store, &hub, 1, 1..=5).await;
    let mut answers = vec![store.append(&hub, message(1, 6, POISON))];
    answers.extend((7..=500).map(|number| store.append(&hub, message(1, number, text(1, number)))));
    let attempt = store.attempt(&hub, id(9, 1), FENCE);
    let mut failures = Vec::new();
    for answer in answers {
        failures.push(answer.await.unwrap_err());
    }
    attempt.await.unwrap_err();
    let expected = StoreError::new("the disk is broken (SQLite 1811)");
    assert!(failures.iter().all(|failure| *failure == expected), "{:?}", failures[0]);

    let healed = accepts_again(&store).await;
    println!("accepts again after {healed:?}");
    assert!(healed < Duration::from_secs(5), "it waits for no longer retry: {healed:?}");
    // The numbers of what failed are free.
    fill(&store, &hub, 1, 6..=8).await;
    fill(&store, &other, 1, 1..=1).await;
    let expected: Vec<_> = (1..=8).map(|number| (1, number)).collect();
    assert_eq!(stored(&store, &hub).await, expected);
    close(store).await;
    let store = place.open();
    assert_eq!(stored(&store, &hub).await, expected);
    assert_eq!(store.attempt(&hub, id(9, 1), FENCE).await.unwrap(), 1);
}

#[tokio::test]
async fn a_message_whose_commit_failed_may_be_stored_and_those_behind_it_are_not() {
    let place = Place::new();
    close(place.open()).await;
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    // The transaction fails at its very end, as when its sync does.
    raw.execute_batch(&format!(
        "CREATE TABLE one(id INTEGER PRIMARY KEY);
         CREATE TABLE other(id REFERENCES one DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER last BEFORE INSERT ON message WHEN NEW.payload = CAST('{POISON}' AS BLOB)
         BEGIN INSERT INTO other VALUES(1); END;"
    ))
    .unwrap();
    drop(raw);
    let store = place.open();
    let hub = mailbox("hub");
    let first = store.append(&hub, message(1, 1, POISON));
    // More than fit into the transaction of the first one.
    let behind = (2..=500).map(|number| store.append(&hub, message(1, number, "behind")));
    let behind: Vec<_> = behind.collect();
    let first = first.await.unwrap_err();
    assert!(first.may_be_stored(), "{first}");
    for (index, behind) in behind.into_iter().enumerate() {
        let behind = behind.await.unwrap_err();
        assert!(index < 100 || !behind.may_be_stored(), "{behind}");
    }
    accepts_again(&store).await;
    assert_eq!(stored(&store, &hub).await, [], "it is undone");
}

#[tokio::test]
async fn a_failing_store_still_reads_and_keeps_lazy_changes() {
    // It has to fail for as long as it is asked, which takes longer on a busy machine.
    let mut is_done = false;
    for trouble in [1_500, 6_000, 30_000].map(Duration::from_millis) {
        is_done = is_done || reads_and_keeps(trouble).await;
    }
    assert!(is_done, "calls are answered only when the store works again");
}

/// Returns whether calls were answered while a store was failing for this time.
async fn reads_and_keeps(trouble: Duration) -> bool {
    let (place, begun) = (Place::new(), Instant::now());
    let store = fragile(&place, trouble).await;
    let hub = mailbox("hub");
    fill(&store, &hub, 1, 1..=5).await;
    commit(&store, &hub, cursor(2, 1)).await;
    let cursor_answer = Cursors::commit(&store, &hub, cursor(2, 2), FENCE);
    store.append(&hub, message(1, 6, POISON)).await.unwrap_err();
    let failed_at = Instant::now();
    let trim = store.trim(&hub, id(1, 3), FENCE);
    let newest = Cursors::commit(&store, &hub, cursor(2, 9), FENCE);
    for _ in 0..10_000 {
        drop(Cursors::commit(&store, &hub, cursor(2, 9), FENCE));
    }
    // Stored messages can be read; new ones are refused at once, with the reason.
    let read = store.read(&hub, id(1, 4), 1).await;
    let refused = store.append(&hub, message(1, 6, "new")).await;
    let failure = store.health().failure;
    if begun.elapsed() >= trouble {
        return false;
    }
    assert_eq!(read.unwrap(), [payload(4, text(1, 4))]);
    let refused = refused.unwrap_err();
    assert!(refused.to_string().contains("the disk is"), "{refused}");
    let failure = failure.unwrap().to_string();
    assert!(failure.contains("the disk is"), "{failure}");

    for lazy in [cursor_answer, trim, newest] {
        lazy.await.unwrap();
    }
    let limit = trouble + Duration::from_secs(10);
    assert!(failed_at.elapsed() < limit, "{:?}", failed_at.elapsed());
    assert_eq!(store.health().failure, None);
    assert_eq!(stored(&store, &hub).await, [(1, 4), (1, 5)]);
    assert_eq!(store.cursors(&hub).await.unwrap(), [cursor(2, 9)]);
    true
}

#[tokio::test]
async fn letters_are_as_they_were_after_a_failure() {
    let place = Place::new();
    let store = fragile(&place, Duration::ZERO).await;
    let hub = mailbox("hub");
    let at = std::time::SystemTime::UNIX_EPOCH;
    let letter = |number| {
        let (payload, code) = ("letter".into(), RejectCode::FAILED);
        DeadLetter { mailbox: mailbox("hub"), id: id(1, number), code, at, payload }
    };
    for number in 1..=3 {
        store.add_letter(letter(number), FENCE).await.unwrap();
    }
    // All of it is in one transaction, most likely; if not, the last two fail anyway.
    let poison = store.append(&hub, message(1, 1, POISON));
    let added = store.add_letter(letter(4), FENCE);
    poison.await.unwrap_err();
    added.await.unwrap_err();
    accepts_again(&store).await;
    let ids: Vec<_> = store.letters().await.unwrap().iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(store.take_letter(LetterId(2)).await.unwrap(), Some(letter(2)));
}

#[tokio::test]
async fn closing_a_failing_store_ends_and_reports_the_failure() {
    let place = Place::new();
    let store = fragile(&place, Duration::from_secs(3_600)).await;
    let hub = mailbox("hub");
    store.append(&hub, message(1, 1, POISON)).await.unwrap_err();
    let lazy = Cursors::commit(&store, &hub, cursor(2, 9), FENCE);
    let failure = store.close().await.unwrap_err();
    assert!(failure.to_string().contains("the disk is still broken"), "{failure}");
    lazy.await.unwrap_err();
    let started = Instant::now();
    assert!(store.append(&hub, message(1, 1, "")).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_store_whose_file_is_gone_still_answers() {
    let place = Place::new();
    let store = fragile(&place, Duration::ZERO).await;
    let hub = mailbox("hub");
    fill(&store, &hub, 1, 1..=1).await;
    std::fs::remove_file(place.path()).unwrap();
    store.append(&hub, message(1, 2, POISON)).await.unwrap_err();
    let started = Instant::now();
    // This one may still wait for the file; later ones are refused while it is missing.
    drop(store.read(&hub, id(1, 1), 1).await);
    let failure = store.read(&hub, id(1, 1), 1).await.unwrap_err().to_string();
    assert!(failure.contains("moved, deleted or replaced"), "{failure}");
    store.cursors(&hub).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let failure = store.close().await.unwrap_err().to_string();
    assert!(failure.contains("moved, deleted or replaced"), "{failure}");
}
