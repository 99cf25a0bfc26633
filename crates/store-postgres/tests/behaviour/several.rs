//! Links spread over several databases.

use std::collections::BTreeSet;
use std::time::SystemTime;

use paddington_exchange::store::{
    Borrowed, BorrowedLetter, DeadLetter, DeadLetters, Ending, LaneLeft, LetterId, LinkStore,
    Mailbox, Mailboxes, Owned, Relay, Relayed, SharedStore, Signal, TakeOf,
};
use paddington_store_postgres::PostgresStore;
use paddington_test_support::eventually;
use paddington_wire::{LinkId, Payload, RejectCode};
use tokio::time::timeout;

use crate::support::{
    LEASE, Place, accept, at, claim, claim_later, heard, id, place, submission, two_databases,
};

/// A link whose database is number `bytes[7] % databases`.
fn of(byte: u8) -> Mailbox {
    let mut link = [0; LinkId::LEN];
    link[7] = byte;
    Mailbox { peer: format!("peer-{byte}").parse().unwrap(), link: link.into() }
}

/// Lets nobody into the second database any more, or everybody again.
fn open_second(place: &Place, open: bool) {
    let second = &place.schema;
    place.server.sql(&format!("ALTER DATABASE {second} ALLOW_CONNECTIONS {open}"));
    place.terminate(&format!("datname = '{second}'"));
}

/// Asks for all links, which the first store owns.
async fn requests_go_through_the_database_of_their_link(
    place: &Place,
    one: &PostgresStore,
    other: &PostgresStore,
) {
    let request = Relayed { payload: "?".into(), depth: 0, left: None };
    for byte in 0..6 {
        other.ask(&of(byte), u64::from(byte), request.clone()).await.unwrap();
    }
    assert_eq!(place.sql("SELECT count(*) FROM request"), "3");
    let some = one.take(TakeOf::Links(vec![of(0).link, of(1).link])).await.unwrap();
    assert_eq!(some.len(), 2);
    let mut rest = Vec::new();
    for shard in 0..2 {
        let there = one.take(TakeOf::All(shard)).await.unwrap();
        assert_eq!(there.len(), 2);
        assert!(there.iter().all(|(id, _)| one.shard_of(id.link) == shard), "{there:?}");
        let taken: Vec<_> = some.iter().chain(&there).map(|(id, _)| *id).collect();
        assert_eq!(one.over(shard, taken).await.unwrap(), []);
        rest.extend(there);
    }
    for (id, _) in some.into_iter().chain(rest) {
        one.end(id, Ending::Full { requests: usize::from(id.link.as_bytes()[7]) }).await.unwrap();
    }
    let endings = other.endings((0..6).map(|byte| of(byte).link).collect()).await.unwrap();
    let mut of_links: Vec<_> = endings.into_iter().collect();
    of_links.sort_by_key(|(number, _)| *number);
    let expected = (0..6).map(|at| (at, Ending::Full { requests: at as usize }));
    assert_eq!(of_links, expected.collect::<Vec<_>>());
    let awaited = (0..7).map(|byte| (of(byte).link, u64::from(byte)));
    assert_eq!(other.look_after(awaited.collect()).await.unwrap().len(), 7);
    for byte in 0..6 {
        other.withdraw(of(byte).link, u64::from(byte)).await.unwrap();
    }
    assert_eq!(place.sql("SELECT count(*) FROM request"), "0");
}

/// Asks for all links, which the first store owns.
async fn owners_are_told_by_the_database_of_their_link(one: &PostgresStore, other: &PostgresStore) {
    let links: Vec<_> = (0..7).map(|byte| of(byte).link).collect();
    let mut owners = other.owners(links.clone()).await.unwrap();
    owners.sort_unstable();
    let expected = links[..6].iter().map(|link| (*link, one.replica()));
    assert_eq!(owners, expected.collect::<Vec<_>>());
}

async fn borrow(store: &PostgresStore, id: LetterId) -> BorrowedLetter {
    match store.borrow_letter(id).await.unwrap() {
        Borrowed::Here(borrowed) => borrowed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_link_has_its_database_and_a_replica_one_number() {
    let place = place!();
    let urls = two_databases(&place);
    let config = place.config().with_databases(urls.clone());
    let one = PostgresStore::open(&config).await.unwrap();
    let other = PostgresStore::open(&config).await.unwrap();
    let mut signals = one.signals();
    let mut held = Vec::new();
    for byte in 0..6 {
        let claimed = claim(&one, &of(byte)).await;
        assert_eq!(accept(&other, &of(byte), "x").await, at(claimed.stream, 1));
        let wanted = Signal::Appended { link: of(byte).link, stream: claimed.stream, number: 1 };
        heard(&mut signals, |signal| *signal == wanted).await;
        let letter = DeadLetter {
            mailbox: of(byte),
            id: id(1, 1),
            code: RejectCode::FAILED,
            at: SystemTime::now(),
            payload: Payload::text("x"),
        };
        one.add_letter(letter, claimed.fence).await.unwrap();
        held.push((of(byte), claimed.fence, LaneLeft::Free));
    }
    assert_eq!(place.sql("SELECT count(*) FROM link"), "3");
    requests_go_through_the_database_of_their_link(&place, &one, &other).await;
    owners_are_told_by_the_database_of_their_link(&one, &other).await;
    assert_eq!(other.mailboxes(vec![of(0).link]).await.unwrap().len(), 5);
    let letters = other.letters().await.unwrap();
    let ids: BTreeSet<_> = letters.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), 6);
    for (id, letter) in letters {
        let borrowed = borrow(&other, id).await;
        assert_eq!(borrowed.letter, letter);
        let held = Borrowed::Held(other.replica());
        assert_eq!(one.borrow_letter(id).await.unwrap(), held);
        other.return_letter(id, borrowed.turn).await.unwrap();
        assert_eq!(borrow(&one, id).await.letter, letter);
        assert_eq!(other.take_letter(id).await.unwrap(), Some(letter));
    }
    for shard in 0..2 {
        let mut links: Vec<_> =
            one.owned(shard).await.unwrap().into_iter().map(|it| it.link).collect();
        links.sort_unstable();
        let expected = (0..6).map(|byte| of(byte).link).filter(|link| one.shard_of(*link) == shard);
        assert_eq!(links, expected.collect::<Vec<_>>());
        assert!(!one.lease(shard).is_zero());
    }
    one.release(held).await.unwrap();
    for shard in 0..2 {
        assert_eq!(one.owned(shard).await.unwrap(), []);
    }
    other.tell(one.replica(), Signal::LaneFree { link: of(1).link });
    heard(&mut signals, |signal| *signal == Signal::LaneFree { link: of(1).link }).await;
    one.close().await.unwrap();
    one.accept(&of(1), submission(1, "x")).await.unwrap_err();
    claim_later(&other, &of(1)).await;

    let turned = config.with_databases(urls.into_iter().rev().collect());
    let error = PostgresStore::open(&turned).await.unwrap_err().to_string();
    assert!(error.contains("keep the list as it was"), "{error}");
}

#[tokio::test]
async fn a_database_that_is_out_of_reach_stops_only_the_links_that_live_there() {
    let place = place!();
    let config = place.config().with_databases(two_databases(&place));
    let one = PostgresStore::open(&config).await.unwrap();
    let other = PostgresStore::open(&config).await.unwrap();
    let (here, there) = (of(0), of(1));
    let [first, second] = [claim(&one, &here).await, claim(&one, &there).await];
    open_second(&place, false);
    timeout(2 * LEASE, one.lapsed(1)).await.unwrap();
    timeout(2 * LEASE, other.lapsed(1)).await.unwrap();
    one.accept(&there, submission(1, "x")).await.unwrap_err();
    one.owned(1).await.unwrap_err();
    one.take(TakeOf::All(1)).await.unwrap_err();
    assert!(one.lease(1).is_zero());

    // In the other one everything goes on, and for longer than a lease.
    timeout(LEASE + LEASE / 4, one.lapsed(0)).await.unwrap_err();
    assert!(!one.lease(0).is_zero());
    assert_eq!(accept(&other, &here, "x").await, at(first.stream, 1));
    let owned = Owned { link: here.link, fence: first.fence, stream: first.stream, last: 1 };
    assert_eq!(one.owned(0).await.unwrap(), [owned]);
    assert_eq!(one.take(TakeOf::All(0)).await.unwrap(), []);
    assert_eq!(one.health().failure, None, "it accepts something");
    let held = [(&there, second.fence), (&here, first.fence)];
    let held = held.map(|(link, fence)| (link.clone(), fence, LaneLeft::Free));
    one.release(held.into()).await.unwrap_err();
    claim(&other, &here).await;

    open_second(&place, true);
    eventually(|| async { one.owned(1).await.is_ok() && !one.lease(1).is_zero() }).await;
    eventually(|| async { one.accept(&there, submission(1, "x")).await.is_ok() }).await;
}
