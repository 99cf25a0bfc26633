//! A database that has forgotten something: nothing that is accepted afterwards is lost.

use paddington_exchange::store::{LinkStore, SharedStore};
use paddington_store_postgres::restored;

use crate::support::{accept, at, claim, claim_later, fill, mailbox, place, texts};

/// Puts the rows of a snapshot in the place of the present ones.
fn forget(place: &crate::support::Place) {
    for table in ["link", "stream", "outbox"] {
        place.sql(&format!("DELETE FROM {table}; INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM old_{table}"));
    }
}

fn snapshot(place: &crate::support::Place) {
    for table in ["link", "stream", "outbox"] {
        place.sql(&format!("CREATE TABLE old_{table} AS SELECT * FROM {table}"));
    }
}

#[tokio::test]
async fn what_is_accepted_after_a_restore_has_a_stream_of_its_own() {
    let place = place!();
    let hub = mailbox("hub");
    let store = place.open().await;
    let old = claim(&store, &hub).await;
    fill(&store, &hub, 1..=3).await;
    snapshot(&place);
    // These are known to the peer, perhaps, and forgotten by the database.
    fill(&store, &hub, 4..=9).await;
    let fence = claim(&store, &hub).await.fence;
    store.close().await.unwrap();
    forget(&place);
    restored(&place.config()).await.unwrap();

    let store = place.open().await;
    let id = accept(&store, &hub, "new").await;
    assert_ne!(id.stream, old.stream);
    assert_eq!(id.number, 1);
    assert_eq!(
        place.sql("SELECT string_agg(seq::text, ',' ORDER BY ord, seq) FROM outbox"),
        "1,2,3,1"
    );
    let claimed = claim_later(&store, &hub).await;
    assert!(claimed.fence > fence, "{} was given before", claimed.fence.0);
    assert_eq!(
        claimed.streams.iter().map(|it| it.instance).collect::<Vec<_>>(),
        [old.stream, id.stream]
    );
    assert_eq!(texts(&store, &hub, id.stream, 1).await, ["new"]);
}

/// The control: without the epoch, numbers are given twice, and the peer takes the new messages for
/// those that it has.
#[tokio::test]
async fn without_the_epoch_numbers_are_given_twice() {
    let place = place!();
    let hub = mailbox("hub");
    let store = place.open().await;
    let old = claim(&store, &hub).await;
    fill(&store, &hub, 1..=3).await;
    snapshot(&place);
    fill(&store, &hub, 4..=9).await;
    store.close().await.unwrap();
    forget(&place);
    let store = place.open().await;
    assert_eq!(accept(&store, &hub, "new").await, at(old.stream, 4));
}

#[tokio::test]
async fn an_owner_sees_that_its_stream_is_not_the_present_one() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    let claimed = claim(&store, &hub).await;
    fill(&store, &hub, 1..=3).await;
    restored(&place.config()).await.unwrap();
    let id = accept(&store, &hub, "new").await;
    let owned = store.owned(0).await.unwrap();
    assert_eq!((owned[0].fence, owned[0].stream, owned[0].last), (claimed.fence, id.stream, 1));
    assert_ne!(owned[0].stream, claimed.stream);
    let again = claim(&store, &hub).await;
    let streams: Vec<_> = again.streams.iter().map(|it| (it.instance, it.messages.len())).collect();
    assert_eq!(streams, [(claimed.stream, 3), (id.stream, 1)]);
}
