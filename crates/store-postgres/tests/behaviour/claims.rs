//! Who becomes the owner of a link, and who may call its handler.

use std::time::Duration;

use paddington_exchange::store::{
    Backlog, Claimed, Cursors, Fence, LaneLeft, LinkStore, Owned, SharedStore, Signal,
};
use tokio::time::Instant;

use crate::support::{
    accept, at, claim, claim_after, claim_later, cursor, fill, heard, is_stale, mailbox, place,
};

#[tokio::test]
async fn a_link_is_held_while_its_owner_lives() {
    let place = place!();
    let (one, other, hub) = (place.open().await, place.open().await, mailbox("hub"));
    assert_ne!(one.replica(), other.replica());
    let first = claim(&one, &hub).await;
    for _ in 0..3 {
        assert_eq!(
            other.claim(&hub, Fence::default()).await.unwrap(),
            Claimed::Held(one.replica())
        );
    }
    let again = claim_after(&one, &hub, first.fence).await;
    assert!(again.fence > first.fence && again.stream != first.stream);
    assert!(!again.has_lane, "a handler of the earlier term may still run");
    let owned = Owned { link: hub.link, fence: again.fence, stream: again.stream, last: 0 };
    assert_eq!(one.owned(0).await.unwrap(), [owned]);
    assert_eq!(accept(&other, &hub, "x").await, at(again.stream, 1));
    assert_eq!(one.owned(0).await.unwrap(), [Owned { last: 1, ..owned }]);
    assert_eq!(other.owned(0).await.unwrap(), []);
}

#[tokio::test]
async fn the_owners_of_links_are_told_while_they_live() {
    let place = place!();
    let (one, other) = (place.open().await, place.open().await);
    let [first, second, third, free] = ["first", "second", "third", "free"].map(mailbox);
    for (store, mailbox) in [(&one, &first), (&other, &second), (&one, &third)] {
        claim(store, mailbox).await;
    }
    let fence = claim(&one, &free).await.fence;
    one.release(vec![(free.clone(), fence, LaneLeft::Free)]).await.unwrap();
    let unknown = mailbox("unknown");
    let all = || [&first, &second, &third, &free, &unknown].map(|it| it.link).to_vec();
    let told = async || {
        let mut owners = one.owners(all()).await.unwrap();
        owners.sort_unstable();
        owners
    };
    let of_one = [&first, &third].map(|it| (it.link, one.replica()));
    let mut expected = [of_one[0], of_one[1], (second.link, other.replica())];
    expected.sort_unstable();
    assert_eq!(told().await, expected);
    let only = other.owners(vec![third.link, free.link]).await.unwrap();
    assert_eq!(only, [(third.link, one.replica())], "no other link is told of");
    assert_eq!(one.owners(Vec::new()).await.unwrap(), []);
    other.close().await.unwrap();
    assert_eq!(place.sql("SELECT count(*) FROM link WHERE owner IS NOT NULL"), "3");
    assert_eq!(told().await, of_one, "the other one is dead");
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_holds_the_lane_for_nobody() {
    let place = place!();
    let (one, hub) = (place.open().await, mailbox("hub"));
    let known = claim(&one, &hub).await.fence;
    one.release(vec![(hub.clone(), known, LaneLeft::Free)]).await.unwrap();
    let lost = claim_after(&one, &hub, known).await;
    assert!(lost.has_lane);
    let again = claim_after(&one, &hub, known).await;
    assert!(again.has_lane, "nobody knows of the one before");
    assert!(is_stale(one.commit(&hub, cursor(1, 1), lost.fence).await));
    one.commit(&hub, cursor(1, 1), again.fence).await.unwrap();
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_leaves_the_lane_to_a_call_that_keeps_it() {
    let place = place!();
    let (one, hub) = (place.open().await, mailbox("hub"));
    let known = claim(&one, &hub).await.fence;
    one.release(vec![(hub.clone(), known, LaneLeft::Kept)]).await.unwrap();
    assert!(!claim_after(&one, &hub, known).await.has_lane);
    let again = claim_after(&one, &hub, known).await;
    assert!(!again.has_lane, "a call runs since the first one");
    one.commit(&hub, cursor(1, 1), known).await.unwrap();
    one.free_lane(&hub, known).await.unwrap();
    assert!(one.take_lane(&hub, again.fence).await.unwrap().is_some());
}

#[tokio::test]
async fn a_claim_that_comes_after_a_later_one_changes_nothing() {
    let place = place!();
    let (one, hub) = (place.open().await, mailbox("hub"));
    let first = claim(&one, &hub).await.fence;
    let second = claim_after(&one, &hub, first).await.fence;
    // As if the connection of the first one had broken, and the server had been late.
    let late = format!("SELECT claim((SELECT id FROM link), 'hub', {}, 1, 0, 1)", one.replica());
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| place.sql(&late)));
    assert!(refused.is_err());
    assert_eq!(one.owned(0).await.unwrap()[0].fence, second);
}

#[tokio::test]
async fn a_release_that_comes_after_the_next_claim_leaves_the_lane() {
    let place = place!();
    let (one, hub) = (place.open().await, mailbox("hub"));
    let first = claim(&one, &hub).await.fence;
    let second = claim_after(&one, &hub, first).await;
    assert!(!second.has_lane);
    one.release(vec![(hub.clone(), first, LaneLeft::Free)]).await.unwrap();
    assert_eq!(one.owned(0).await.unwrap()[0].fence, second.fence, "it is owned all the same");
    assert!(one.take_lane(&hub, second.fence).await.unwrap().is_some());
}

#[tokio::test]
async fn links_of_a_replica_that_ends_are_free_at_once() {
    let place = place!();
    let lease = Duration::from_secs(60);
    let (one, other, hub) = (place.open_with(lease).await, place.open().await, mailbox("hub"));
    let stream = fill(&one, &hub, 1..=3).await[0].stream;
    let old = claim(&one, &hub).await;
    one.commit(&hub, cursor(5, 5), old.fence).await.unwrap();
    one.trim(&hub, at(stream, 1), old.fence).await.unwrap();
    let started = Instant::now();
    // Its connections end with it, and with them its session lock.
    drop(one);
    let new = claim_later(&other, &hub).await;
    assert!(started.elapsed() < lease / 2, "{:?}", started.elapsed());
    assert!(new.has_lane && new.fence > old.fence);
    assert_eq!((new.streams[0].base, new.streams[0].messages.len()), (2, 2));
    assert_eq!(new.cursors, [cursor(5, 5)]);
}

#[tokio::test]
async fn a_replica_that_beats_no_more_is_dead_after_its_lease() {
    let place = place!();
    // So long that no beat comes between a change of the last one and a claim.
    let lease = Duration::from_secs(3_600);
    let (one, other) = (place.open_with(lease).await, place.open_with(lease).await);
    let hub = mailbox("hub");
    claim(&one, &hub).await;
    // As if it was stopped: the lock is held, and the last beat is from a while ago.
    let late = |seconds: u32| {
        format!(
            "UPDATE replica SET beat = clock_timestamp() - interval '{seconds} s' WHERE n = {}",
            one.replica()
        )
    };
    place.sql(&late(3_000));
    assert_eq!(other.claim(&hub, Fence::default()).await.unwrap(), Claimed::Held(one.replica()));
    place.sql(&late(3_601));
    assert!(matches!(other.claim(&hub, Fence::default()).await.unwrap(), Claimed::Owned(_)));
    // A replica that may be taken for dead itself claims nothing.
    place.sql("UPDATE replica SET beat = clock_timestamp() - interval '9000 s'");
    let error = one.claim(&mailbox("x"), Fence::default()).await.unwrap_err().to_string();
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
    let answers: Vec<_> =
        replicas.iter().map(|store| store.claim(&hub, Fence::default())).collect();
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

#[tokio::test]
async fn links_that_are_claimed_at_once_get_what_is_kept_of_each() {
    let place = place!();
    let (before, store) = (place.open().await, place.open().await);
    let links: Vec<_> = (0..50_u8).map(|number| mailbox(&format!("peer{number:02}"))).collect();
    for (number, link) in (0..).zip(&links) {
        let first = claim(&before, link).await;
        fill(&before, link, 0..u64::from(number) % 5).await;
        before.commit(link, cursor(number, 7), first.fence).await.unwrap();
        if number != 20 {
            before.release(vec![(link.clone(), first.fence, LaneLeft::Free)]).await.unwrap();
        }
    }
    // one that the database refuses, and one that it does not know
    place.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.name = 'peer30' THEN RAISE EXCEPTION 'not this one' USING ERRCODE = '22000'; END IF; \
         RETURN NEW; END $$; \
         CREATE TRIGGER refuse BEFORE UPDATE ON link FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let all: Vec<_> = links.iter().rev().chain([&mailbox("new")]).cloned().collect();
    let asked: Vec<_> = all.iter().map(|link| store.claim(link, Fence::default())).collect();
    let mut fences = Vec::new();
    for (link, answer) in all.iter().zip(asked) {
        let number = link.peer.as_str().strip_prefix("peer").map(|it| it.parse::<u8>().unwrap());
        match (number, answer.await) {
            (Some(20), answer) => assert_eq!(answer.unwrap(), Claimed::Held(before.replica())),
            (Some(30), answer) => {
                let refused = answer.unwrap_err();
                assert!(refused.to_string().contains("not this one") && !refused.may_be_stored());
            }
            (number, answer) => {
                let Claimed::Owned(claim) = answer.unwrap() else { panic!("{link:?} is free") };
                let waiting =
                    claim.streams.iter().map(|stream| stream.messages.len()).sum::<usize>();
                assert_eq!(waiting, usize::from(number.unwrap_or_default() % 5), "{link:?}");
                let cursors: Vec<_> = number.map(|it| cursor(it, 7)).into_iter().collect();
                assert_eq!(claim.cursors, cursors);
                assert!(claim.has_lane && claim.letters.is_empty());
                fences.push((link.link, claim.fence, claim.stream));
            }
        }
    }
    let owned = store.owned(0).await.unwrap().into_iter();
    let mut owned: Vec<_> = owned.map(|it| (it.link, it.fence, it.stream)).collect();
    owned.sort_unstable_by_key(|(link, ..)| *link);
    fences.sort_unstable_by_key(|(link, ..)| *link);
    assert_eq!(owned, fences);
}

#[tokio::test]
async fn a_link_that_somebody_has_locked_holds_no_other_claim_up() {
    let place = place!();
    let store = place.open().await;
    let [locked, other] = ["locked", "other"].map(mailbox);
    for link in [&locked, &other] {
        let fence = claim(&store, link).await.fence;
        store.release(vec![(link.clone(), fence, LaneLeft::Free)]).await.unwrap();
    }
    let (client, connection) =
        tokio_postgres::connect(&place.server.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let lock =
        format!("BEGIN; SELECT FROM {}.link WHERE name = 'locked' FOR KEY SHARE", place.schema);
    client.batch_execute(&lock).await.unwrap();
    let waits = store.claim(&locked, Fence::default());
    let free: Vec<_> =
        (0..20).map(|_| &other).map(|it| store.claim(it, Fence::default())).collect();
    for answer in free {
        assert!(matches!(answer.await.unwrap(), Claimed::Owned(_)));
    }
    client.batch_execute("COMMIT").await.unwrap();
    assert!(matches!(waits.await.unwrap(), Claimed::Owned(_)));
    // Whoever locks it for long is waited for no longer than a peer waits.
    client.batch_execute(&lock).await.unwrap();
    let refused = store.claim(&locked, Fence::default()).await.unwrap_err();
    assert!(refused.to_string().contains("lock timeout") && !refused.may_be_stored(), "{refused}");
    client.batch_execute("COMMIT").await.unwrap();
    assert!(matches!(store.claim(&locked, Fence::default()).await.unwrap(), Claimed::Owned(_)));
}
