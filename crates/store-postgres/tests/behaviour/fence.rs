//! Whoever was replaced as the owner of a link, or in its lane, changes nothing any more.

use std::time::SystemTime;

use paddington_exchange::store::{
    Backlog, Claimed, Cursors, DeadLetter, DeadLetters, Fate, Fence, LaneLeft, Mailbox, Mailboxes,
    SharedStore,
};
use paddington_store_postgres::PostgresStore;
use paddington_wire::link::Outcome;
use paddington_wire::{Instance, Payload, RejectCode, RejectText};

use crate::support::{
    Place, accept, at, claim, cursor, fill, id, instance, is_stale, mailbox, place,
};

/// Everything that is stored, as text.
fn contents(place: &Place) -> String {
    ["link", "stream", "outbox", "cursor", "attempt", "fate", "dead"]
        .map(|table| place.sql(&format!("SELECT * FROM {table} t ORDER BY t::text")))
        .join("\n")
}

fn letter(hub: &Mailbox) -> DeadLetter {
    DeadLetter {
        mailbox: hub.clone(),
        id: id(1, 11),
        code: RejectCode::FAILED,
        at: SystemTime::now(),
        payload: Payload::text("x"),
    }
}

/// Calls everything that needs a fence, and checks that all of it is refused.
async fn assert_refused(store: &PostgresStore, hub: &Mailbox, stream: Instance, fence: Fence) {
    let fate = Fate { id: at(stream, 1), outcome: Outcome::Expired, text: RejectText::NONE };
    assert!(is_stale(store.trim(hub, at(stream, 5), fence).await));
    assert!(is_stale(store.mark(hub, at(stream, 500), fence).await));
    assert!(is_stale(store.settle(hub, vec![fate], fence).await));
    assert!(is_stale(store.commit(hub, cursor(1, 5), fence).await));
    assert!(is_stale(store.forget(hub, instance(1), fence).await));
    assert!(is_stale(store.attempt(hub, id(1, 11), fence).await));
    assert!(is_stale(store.uncount(hub, id(1, 12), fence).await));
    assert!(is_stale(store.add_letter(letter(hub), fence).await));
    assert!(is_stale(store.take_lane(hub, fence).await));
    assert!(is_stale(store.free_lane(hub, fence).await));
    store.release(vec![(hub.clone(), fence, LaneLeft::Free)]).await.unwrap();
}

/// A link with something of everything.
async fn prepare(store: &PostgresStore, hub: &Mailbox) -> (Instance, Fence) {
    let stream = fill(store, hub, 1..=10).await[0].stream;
    let fence = claim(store, hub).await.fence;
    store.commit(hub, cursor(1, 10), fence).await.unwrap();
    assert_eq!(store.attempt(hub, id(1, 12), fence).await.unwrap(), 1);
    (stream, fence)
}

#[tokio::test]
async fn a_replaced_owner_changes_nothing() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    let (stream, old) = prepare(&one, &hub).await;
    assert_eq!(other.claim(&hub, Fence::default()).await.unwrap(), Claimed::Held(one.replica()));
    one.release(vec![(hub.clone(), old, LaneLeft::Free)]).await.unwrap();
    let before = contents(&place);
    assert_refused(&one, &hub, stream, old).await;
    assert_eq!(contents(&place), before, "nobody owns it");

    let new = claim(&other, &hub).await;
    assert!(new.fence > old && new.has_lane);
    let before = contents(&place);
    assert_refused(&one, &hub, stream, old).await;
    // Not even with the number of the other one.
    assert_refused(&one, &hub, stream, new.fence).await;
    assert_refused(&other, &hub, stream, old).await;
    assert_eq!(contents(&place), before);

    // One that claims again is replaced by itself.
    let newer = claim(&other, &hub).await;
    let before = contents(&place);
    assert!(is_stale(other.trim(&hub, at(stream, 5), new.fence).await));
    assert!(is_stale(other.mark(&hub, at(new.stream, 5), new.fence).await));
    assert!(is_stale(other.add_letter(letter(&hub), new.fence).await));
    assert_eq!(contents(&place), before);
    other.trim(&hub, at(stream, 5), newer.fence).await.unwrap();
    other.add_letter(letter(&hub), newer.fence).await.unwrap();
}

#[tokio::test]
async fn a_stale_change_does_not_hold_back_others_in_the_same_transaction() {
    let place = place!();
    let (store, hub, other) = (place.open().await, mailbox("hub"), mailbox("other"));
    let (stream, old) = prepare(&store, &hub).await;
    let (other_stream, fence) = prepare(&store, &other).await;
    store.release(vec![(hub.clone(), old, LaneLeft::Free)]).await.unwrap();
    let answers = (
        store.trim(&hub, at(stream, 3), old),
        store.trim(&other, at(other_stream, 3), fence),
        store.commit(&hub, cursor(1, 20), old),
        store.commit(&other, cursor(1, 20), fence),
        store.attempt(&hub, id(1, 30), old),
        store.attempt(&other, id(1, 30), fence),
    );
    assert!(is_stale(answers.0.await) && is_stale(answers.2.await) && is_stale(answers.4.await));
    answers.1.await.unwrap();
    answers.3.await.unwrap();
    assert_eq!(answers.5.await.unwrap(), 1);
    let kept = "SELECT name, waiting, done FROM link JOIN cursor USING (peer) ORDER BY name";
    assert_eq!(place.sql(kept), "hub|10|10\nother|7|20");
}

#[tokio::test]
async fn a_handler_sees_in_its_own_transaction_that_the_lane_is_its_own_and_keeps_it_until_the_end()
{
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    let fence = claim(&one, &hub).await.fence;
    // A connection of the application, which knows nothing of the schema's search path.
    let (client, connection) =
        tokio_postgres::connect(&place.server.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let holds_lane = async |peer: &str, fence: u64| {
        let sql = format!("SELECT {}.holds_lane($1, $2)", place.schema);
        let fence = i64::try_from(fence).unwrap();
        client
            .execute(&sql, &[&peer, &fence])
            .await
            .map_err(|error| error.as_db_error().unwrap().clone())
    };
    client.batch_execute("BEGIN").await.unwrap();
    holds_lane("hub", fence.0).await.unwrap();
    let claimed = one.claim(&hub, fence);
    let blocked = claimed.await.unwrap_err();
    assert!(blocked.to_string().contains("lock timeout"), "{blocked}");
    accept(&other, &hub, "appends do not wait").await;
    client.batch_execute("COMMIT").await.unwrap();
    one.release(vec![(hub.clone(), fence, LaneLeft::Free)]).await.unwrap();
    let newer = claim(&other, &hub).await.fence;
    assert!(newer > fence);
    for (peer, fence) in [("hub", fence), ("hub", Fence::default()), ("hub2", newer)] {
        let refused = holds_lane(peer, fence.0).await.unwrap_err();
        assert_eq!(refused.code().code(), "PD005", "{refused}");
    }
    holds_lane("hub", newer.0).await.unwrap();

    // A handler that holds its lane keeps nobody waiting but whoever wants that lane.
    client.batch_execute("BEGIN").await.unwrap();
    holds_lane("hub", newer.0).await.unwrap();
    other.release(vec![(hub.clone(), newer, LaneLeft::Kept)]).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    let third = claim(&one, &hub).await;
    assert!(!third.has_lane);
    client.batch_execute("BEGIN").await.unwrap();
    holds_lane("hub", newer.0).await.unwrap();
    assert_eq!(one.take_lane(&hub, third.fence).await.unwrap(), None);
    client.batch_execute("COMMIT").await.unwrap();

    // A link that is made anew has greater numbers.
    other.free_lane(&hub, newer).await.unwrap();
    one.release(vec![(hub.clone(), third.fence, LaneLeft::Free)]).await.unwrap();
    one.purge(&hub).await.unwrap();
    let anew = claim(&other, &hub).await.fence;
    assert!(anew > third.fence, "{anew:?} {third:?}");
    for fence in [fence, newer, third.fence] {
        assert!(holds_lane("hub", fence.0).await.is_err());
    }
}
