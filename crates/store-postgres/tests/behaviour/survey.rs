//! What a replica knows of the database as a whole.

use paddington_exchange::store::{LinkStore, SharedStore};
use paddington_test_support::eventually;

use crate::support::{accept, mailbox, place};

#[tokio::test]
async fn what_waits_for_all_is_known_to_every_replica() {
    let place = place!();
    let (one, two) = (place.open().await, place.open().await);
    let (loud, quiet) = (mailbox("loud"), mailbox("quiet"));
    assert_eq!((one.waiting_beyond(0), two.waiting_beyond(0)), (0, 0));
    for _ in 0..10 {
        accept(&one, &loud, "12345").await;
        accept(&one, &quiet, "1").await;
    }
    assert!(one.waiting_beyond(0) >= 60, "it counts its own messages at once");
    eventually(async || one.waiting_beyond(0) == 60 && two.waiting_beyond(0) == 60).await;
    let three = place.open().await;
    assert_eq!(three.waiting_beyond(20), 0, "it begins with what it was told to count");
    eventually(async || two.waiting_beyond(20) == 30).await;
}

#[tokio::test]
async fn rows_that_are_removed_and_still_take_room_are_told() {
    let place = place!();
    let store = place.open().await;
    assert_eq!(store.health().bloat, 0);
    // The server itself cleans up no earlier than it was looked at.
    place.sql("ALTER TABLE attempt SET (autovacuum_enabled = false)");
    let rows = "INSERT INTO attempt SELECT 1, 'x', n, 1 FROM generate_series(1, 100) n";
    let wasted = format!("BEGIN; {rows}; {} COMMIT", "UPDATE attempt SET n = n + 1; ".repeat(150));
    place.sql(&wasted);
    eventually(async || store.health().bloat > 100).await;
    place.sql("ALTER TABLE attempt RESET (autovacuum_enabled)");
    place.server.sql(&format!("VACUUM {}.attempt", place.schema));
    eventually(async || store.health().bloat == 0).await;
}
