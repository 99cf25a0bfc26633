//! Who becomes the owner of a link, and who may call its handler.

use std::time::Duration;

use paddington_exchange::store::{
    Backlog, Claimed, Cursors, LaneLeft, LinkStore, Owned, SharedStore, Signal,
};
use tokio::time::Instant;

use crate::support::{
    LEASE, accept, at, claim, claim_later, cursor, fill, heard, is_stale, mailbox, place,
};

#[tokio::test]
async fn a_link_is_held_while_its_owner_lives() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    assert_ne!(one.replica(), other.replica());
    let first = claim(&one, &hub).await;
    for _ in 0..3 {
        assert_eq!(other.claim(&hub).await.unwrap(), Claimed::Held(one.replica()));
    }
    let again = claim(&one, &hub).await;
    assert!(again.fence > first.fence && again.stream != first.stream);
    assert!(!again.has_lane, "a handler of the earlier term may still run");
    let owned = Owned { link: hub.link, fence: again.fence, stream: again.stream, last: 0 };
    assert_eq!(one.owned().await.unwrap(), [owned]);
    assert_eq!(accept(&other, &hub, "x").await, at(again.stream, 1));
    assert_eq!(one.owned().await.unwrap(), [Owned { last: 1, ..owned }]);
    assert_eq!(other.owned().await.unwrap(), []);
}

#[tokio::test]
async fn links_of_a_replica_that_ends_are_free_at_once() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    let stream = fill(&one, &hub, 1..=3).await[0].stream;
    let old = claim(&one, &hub).await;
    one.commit(&hub, cursor(5, 5), old.fence).await.unwrap();
    one.trim(&hub, at(stream, 1), old.fence).await.unwrap();
    let started = Instant::now();
    // Its connections end with it, and with them its session lock.
    drop(one);
    let new = claim_later(&other, &hub).await;
    assert!(started.elapsed() < LEASE / 2, "{:?}", started.elapsed());
    assert!(new.has_lane && new.fence > old.fence);
    assert_eq!((new.streams[0].base, new.streams[0].messages.len()), (2, 2));
    assert_eq!(new.cursors, [cursor(5, 5)]);
}

#[tokio::test]
async fn a_replica_that_beats_no_more_is_dead_after_its_lease() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    claim(&one, &hub).await;
    // As if it was stopped: the lock is held, and the last beat is from a while ago.
    let late = |millis: u32| {
        format!(
            "UPDATE replica SET beat = clock_timestamp() - interval '{millis} ms' WHERE n = {}",
            one.replica()
        )
    };
    place.sql(&late(3_000));
    assert_eq!(other.claim(&hub).await.unwrap(), Claimed::Held(one.replica()));
    place.sql(&late(4_001));
    assert!(matches!(other.claim(&hub).await.unwrap(), Claimed::Owned(_)));
    // A replica that may be taken for dead itself claims nothing.
    place.sql("UPDATE replica SET beat = clock_timestamp() - interval '9 s'");
    let error = one.claim(&mailbox("x")).await.unwrap_err().to_string();
    assert!(error.contains("this replica is taken for dead"), "{error}");
}

#[tokio::test]
async fn the_lane_is_kept_freed_and_taken() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    let mut signals = other.signals();
    let old = claim(&one, &hub).await.fence;
    drop(one.commit(&hub, cursor(1, 1), old));
    one.release(vec![(hub.clone(), old, LaneLeft::Kept)]).await.unwrap();
    let new = claim(&other, &hub).await;
    assert!(!new.has_lane);
    assert_eq!(new.cursors, [cursor(1, 1)], "what was asked for before the release is written");
    assert_eq!(other.take_lane(&hub, new.fence).await.unwrap(), None);
    assert!(is_stale(other.commit(&hub, cursor(1, 9), new.fence).await), "it is not in the lane");
    assert!(is_stale(other.attempt(&hub, at(new.stream, 1), new.fence).await));
    // The handler that runs commits with the old fence, though the link has another owner.
    drop(one.commit(&hub, cursor(1, 2), old));
    one.free_lane(&hub, old).await.unwrap();
    heard(&mut signals, |signal| *signal == Signal::LaneFree { link: hub.link }).await;
    assert_eq!(other.take_lane(&hub, new.fence).await.unwrap(), Some(vec![cursor(1, 2)]));
    assert!(is_stale(one.commit(&hub, cursor(1, 3), old).await));
    assert!(is_stale(one.free_lane(&hub, old).await));
    other.commit(&hub, cursor(1, 4), new.fence).await.unwrap();
    assert_eq!(other.take_lane(&hub, new.fence).await.unwrap(), Some(vec![cursor(1, 4)]));
}

#[tokio::test]
async fn the_lane_of_a_replica_that_is_dead_is_free() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    let old = claim(&one, &hub).await.fence;
    one.release(vec![(hub.clone(), old, LaneLeft::Kept)]).await.unwrap();
    let new = claim(&other, &hub).await;
    assert!(!new.has_lane);
    one.close().await.unwrap();
    assert_eq!(other.take_lane(&hub, new.fence).await.unwrap(), Some(vec![]));
}

#[tokio::test]
async fn a_release_leaves_the_lane_of_others_and_what_is_not_its_own() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    let old = claim(&one, &hub).await.fence;
    one.release(vec![(hub.clone(), old, LaneLeft::Kept)]).await.unwrap();
    let new = claim(&other, &hub).await.fence;
    other.release(vec![(hub.clone(), new, LaneLeft::Free)]).await.unwrap();
    assert_eq!(
        place.sql("SELECT owner IS NULL, lane_owner FROM link"),
        format!("t|{}", one.replica())
    );
    let links: Vec<_> = (0..50).map(|at| mailbox(&format!("peer-{at}"))).collect();
    let mut held = vec![(hub, new, LaneLeft::Free)];
    for link in &links {
        held.push((link.clone(), claim(&one, link).await.fence, LaneLeft::Free));
    }
    held.reverse();
    one.release(held).await.unwrap();
    assert_eq!(place.sql("SELECT count(*) FROM link WHERE owner IS NOT NULL"), "0");
    assert_eq!(place.sql("SELECT count(*) FROM link WHERE lane IS NOT NULL"), "1");
}

#[tokio::test]
async fn claims_of_many_replicas_at_once_make_one_owner() {
    let place = place!();
    let hub = mailbox("hub");
    let mut replicas = Vec::new();
    for _ in 0..4 {
        replicas.push(place.open().await);
    }
    let answers: Vec<_> = replicas.iter().map(|store| store.claim(&hub)).collect();
    let (mut owners, mut held) = (0, 0);
    for answer in answers {
        match answer.await.unwrap() {
            Claimed::Owned(_) => owners += 1,
            Claimed::Held(_) => held += 1,
        }
    }
    assert_eq!((owners, held), (1, 3));
    tokio::time::timeout(Duration::from_secs(5), replicas[0].close()).await.unwrap().unwrap();
}
