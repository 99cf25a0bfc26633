//! How long a replica certainly lives.

use std::time::Duration;

use paddington_exchange::store::{Claimed, Fence, SharedStore, Signal};
use paddington_test_support::eventually;

use crate::support::{LEASE, claim, claim_later, heard, mailbox, place};

#[tokio::test]
async fn a_lease_is_renewed_and_lapses_with_the_session_lock() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    claim(&one, &hub).await;
    let left = one.lease(0);
    assert!(left > LEASE / 2 && left <= LEASE, "{left:?}");
    let mut lapsed = one.lapsed(0);
    let wait = tokio::time::timeout(LEASE + LEASE / 4, &mut lapsed).await;
    assert!(wait.is_err(), "it lapsed though it beats");
    let mut signals = one.signals();
    place.terminate_lock(&one);
    tokio::time::timeout(Duration::from_secs(2), lapsed).await.unwrap();
    assert!(one.lease(0).is_zero());
    one.lapsed(0).await;
    // It connects again, and what it owns may be another's by now: it has to ask first.
    heard(&mut signals, |signal| *signal == Signal::Lost).await;
    let taken = claim_later(&other, &hub);
    tokio::time::timeout(Duration::from_millis(300), taken).await.ok();
    assert!(one.lease(0).is_zero(), "nobody has asked yet");
    let owned = one.owned(0).await.unwrap();
    assert!(one.lease(0) > LEASE / 2);
    let held = other.claim(&hub, Fence::default()).await.unwrap();
    assert_eq!(owned.is_empty(), matches!(held, Claimed::Owned(_)), "{owned:?} and {held:?}");
}

#[tokio::test]
async fn a_beat_that_cannot_be_written_ends_the_lease() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    claim(&one, &hub).await;
    let (client, connection) = {
        let url = place.server.url();
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap()
    };
    tokio::spawn(connection);
    // The row is locked, as if the server did not answer.
    let lock = format!(
        "BEGIN; SELECT FROM {}.replica WHERE n = {} FOR UPDATE",
        place.schema,
        one.replica()
    );
    client.batch_execute(&lock).await.unwrap();
    tokio::time::timeout(2 * LEASE, one.lapsed(0)).await.unwrap();
    // By the database's clock it is dead no earlier than by its own.
    claim_later(&other, &hub).await;
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(one.owned(0).await.unwrap(), []);
    eventually(|| async { !one.lease(0).is_zero() }).await;
}

#[tokio::test]
async fn a_replica_that_the_database_has_forgotten_enters_again() {
    let place = place!();
    let store = place.open().await;
    place.sql("DELETE FROM replica");
    eventually(|| async { place.sql("SELECT count(*) FROM replica") == "1" }).await;
    claim(&store, &mailbox("hub")).await;
}
