//! Dead letters of replicas: who may add one, and who borrows one. The store in memory that other tests use has to
//! do the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use paddington_exchange::store::{
    Borrowed, BorrowedLetter, Claimed, DeadLetter, DeadLetters, Fence, LaneLeft, LetterId, Mailbox,
    SharedStore,
};
use paddington_test_support::SharedDisk;
use paddington_wire::{Payload, RejectCode};

use crate::support::{LEASE, id, instance, is_stale, mailbox, place};

/// Three replicas.
type Replicas = [Arc<dyn SharedStore>; 3];

fn in_memory() -> Replicas {
    let disk = SharedDisk::new(LEASE);
    [(); 3].map(|()| disk.open().1)
}

/// Runs a test with the store in memory, and with PostgreSQL where there is one.
macro_rules! at_both {
    ($test:expr) => {
        $test(in_memory()).await;
        let place = place!();
        $test([place.open().await, place.open().await, place.open().await]).await;
    };
}

async fn own(store: &dyn SharedStore, hub: &Mailbox, last: Fence) -> Fence {
    match store.claim(hub, last).await.unwrap() {
        Claimed::Owned(claim) => claim.fence,
        held @ Claimed::Held(_) => panic!("{held:?}"),
    }
}

fn letter(number: u64) -> DeadLetter {
    DeadLetter {
        mailbox: mailbox("hub"),
        id: id(1, number),
        code: RejectCode::FAILED,
        at: SystemTime::UNIX_EPOCH,
        payload: Payload::text(number.to_string()),
    }
}

/// Adds a letter as the owner of its link, and returns its number.
async fn add(store: &dyn SharedStore) -> LetterId {
    let fence = own(store, &mailbox("hub"), Fence::default()).await;
    store.add_letter(letter(1), fence).await.unwrap();
    store.letters().await.unwrap()[0].0
}

async fn borrow(store: &dyn SharedStore, id: LetterId) -> Borrowed {
    store.borrow_letter(id).await.unwrap()
}

/// Borrows a letter that nobody else has borrowed.
async fn borrow_here(store: &dyn SharedStore, id: LetterId) -> BorrowedLetter {
    match borrow(store, id).await {
        Borrowed::Here(borrowed) => borrowed,
        other => panic!("{other:?}"),
    }
}

/// What another replica is told of a letter that this one has borrowed.
fn held(by: &Arc<dyn SharedStore>) -> Borrowed {
    Borrowed::Held(by.replica())
}

#[tokio::test]
async fn a_letter_is_added_by_whoever_is_in_the_lane_with_its_fence() {
    at_both!(letters_need_the_lane);
}

async fn letters_need_the_lane([one, two, _]: Replicas) {
    let hub = mailbox("hub");
    let add = async |store: &Arc<dyn SharedStore>, number, fence| {
        store.add_letter(letter(number), fence).await
    };
    let old = own(&*one, &hub, Fence::default()).await;
    add(&one, 1, old).await.unwrap();
    assert!(is_stale(add(&two, 11, old).await), "it is not in the lane");
    assert!(is_stale(add(&one, 12, Fence(old.0 + 1)).await));

    // A call that runs keeps the lane.
    one.release(vec![(hub.clone(), old, LaneLeft::Kept)]).await.unwrap();
    let new = own(&*two, &hub, Fence::default()).await;
    add(&one, 2, old).await.unwrap();
    assert!(is_stale(add(&one, 13, new).await), "the fence is another one's");
    assert!(is_stale(add(&two, 14, new).await), "the owner has not entered the lane");
    one.free_lane(&hub, old).await.unwrap();
    assert!(is_stale(add(&one, 15, old).await), "nobody is in the lane");
    assert_ne!(two.take_lane(&hub, new).await.unwrap(), None);
    add(&two, 3, new).await.unwrap();
    assert!(is_stale(add(&one, 16, old).await));
    assert!(is_stale(add(&two, 17, old).await), "the fence is that of an earlier owner");

    // A replica that is in the lane again is so with another fence.
    two.release(vec![(hub.clone(), new, LaneLeft::Free)]).await.unwrap();
    let newer = own(&*one, &hub, old).await;
    assert!(is_stale(add(&one, 18, old).await), "it is what is left of its earlier term");
    add(&one, 4, newer).await.unwrap();

    let letters = two.letters().await.unwrap();
    let numbers: Vec<_> = letters.iter().map(|(_, letter)| letter.id.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let cursors = two.cursors(&hub).await.unwrap();
    assert_eq!((cursors.len(), cursors[0].instance), (1, instance(1)));
    assert_eq!(cursors[0].finished, [1, 2, 3, 4], "what is refused is not handled");
}

#[tokio::test]
async fn one_replica_at_a_time_borrows_a_letter() {
    at_both!(letters_are_borrowed_once);
}

async fn letters_are_borrowed_once([one, two, three]: Replicas) {
    let id = add(&*one).await;
    assert_eq!(borrow(&*one, LetterId(id.0 + 1)).await, Borrowed::Unknown);
    assert_eq!(borrow(&*one, LetterId(u64::MAX)).await, Borrowed::Unknown);
    let mut turns = BTreeSet::new();
    for _ in 0..50 {
        // All of them at once.
        let (first, second, third) =
            tokio::join!(borrow(&*one, id), borrow(&*two, id), borrow(&*three, id));
        let all = [(&one, first), (&two, second), (&three, third)];
        let got = all.iter().filter_map(|(by, it)| match it {
            Borrowed::Here(borrowed) => Some((by, borrowed)),
            Borrowed::Held(_) | Borrowed::Unknown => None,
        });
        let got: Vec<_> = got.collect();
        assert_eq!(got.len(), 1, "{all:?}");
        let (by, BorrowedLetter { letter: borrowed, turn }) = got[0];
        assert_eq!(all.iter().filter(|(_, it)| *it == held(by)).count(), 2, "{all:?}");
        assert_eq!(*borrowed, letter(1));
        assert!(turns.insert(*turn), "{turn} was given twice");
        assert_eq!(two.letters().await.unwrap(), [(id, letter(1))], "it is still there");
        by.return_letter(id, *turn).await.unwrap();
    }
}

#[tokio::test]
async fn a_letter_is_returned_by_whoever_has_borrowed_it_last() {
    at_both!(letters_are_returned);
}

async fn letters_are_returned([one, two, three]: Replicas) {
    let id = add(&*one).await;
    let first = borrow_here(&*one, id).await;
    two.return_letter(id, first.turn).await.unwrap();
    assert_eq!(borrow(&*three, id).await, held(&one), "it is not the second one's");
    // As after an answer that was lost.
    let again = borrow_here(&*one, id).await;
    one.return_letter(id, first.turn).await.unwrap();
    assert_eq!(borrow(&*three, id).await, held(&one), "it was borrowed once more since");
    one.return_letter(id, again.turn).await.unwrap();
    let other = borrow_here(&*three, id).await;
    assert_eq!(borrow(&*one, id).await, held(&three));

    // Whoever has handled it takes it, whoever has it by then.
    assert_eq!(one.take_letter(id).await.unwrap(), Some(letter(1)));
    three.return_letter(id, other.turn).await.unwrap();
    assert_eq!(borrow(&*three, id).await, Borrowed::Unknown);
    assert_eq!(one.letters().await.unwrap(), []);
}

#[tokio::test]
async fn what_a_replica_has_borrowed_goes_to_others_once_it_has_ended() {
    at_both!(letters_outlive_replicas);
}

async fn letters_outlive_replicas([one, two, three]: Replicas) {
    let id = add(&*one).await;
    let first = borrow_here(&*one, id).await;
    assert_eq!(borrow(&*two, id).await, held(&one));
    one.close().await.unwrap();
    let second = borrow_here(&*two, id).await;
    assert_eq!(second.letter, letter(1));
    assert_ne!(second.turn, first.turn);
    assert_eq!(borrow(&*three, id).await, held(&two));
}

#[tokio::test]
async fn a_replica_that_is_taken_for_dead_borrows_nothing() {
    let place = place!();
    let [one, two] = [place.open().await, place.open().await];
    let id = add(&*one).await;
    let first = borrow_here(&*one, id).await;
    // Its beats go on, and say nothing.
    place.sql(&format!("UPDATE replica SET lease = 0 WHERE n = {}", one.replica()));
    let error = one.borrow_letter(id).await.unwrap_err().to_string();
    assert!(error.contains("this replica is taken for dead"), "{error}");
    let second = borrow_here(&*two, id).await;
    // What it had borrowed is not its own any more.
    one.return_letter(id, first.turn).await.unwrap();
    one.return_letter(id, second.turn).await.unwrap();
    assert_eq!(place.sql("SELECT borrower, turn FROM dead"), format!("{}|2", two.replica()));
}

/// Borrows a letter once its connection is a new one.
async fn borrow_at_last(store: &dyn SharedStore, id: LetterId) -> DeadLetter {
    loop {
        match store.borrow_letter(id).await {
            Ok(Borrowed::Here(borrowed)) => return borrowed.letter,
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(error.may_be_stored(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_letter_outlives_connections_that_break_while_it_is_borrowed_or_taken() {
    let place = place!();
    let [one, two] = [place.open().await, place.open().await];
    let id = add(&*one).await;
    let url = place.server.url();
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let lock = format!("BEGIN; LOCK TABLE {}.dead IN EXCLUSIVE MODE", place.schema);
    let waiting = format!(
        "SELECT pid FROM pg_locks WHERE relation = '{}.dead'::regclass AND NOT granted",
        place.schema
    );
    for takes in [false, true] {
        client.batch_execute(&lock).await.unwrap();
        let change = async {
            if takes {
                one.take_letter(id).await.map(drop)
            } else {
                one.borrow_letter(id).await.map(drop)
            }
        };
        let cut = async {
            while place.sql(&format!("SELECT count(*) FROM ({waiting}) w")) == "0" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            place.terminate(&format!("pid IN ({waiting})"));
        };
        let (changed, ()) = tokio::join!(change, cut);
        assert!(changed.unwrap_err().may_be_stored(), "nobody knows");
        client.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(two.letters().await.unwrap(), [(id, letter(1))]);
        assert_eq!(borrow_at_last(&*one, id).await, letter(1));
        assert_eq!(borrow(&*two, id).await, Borrowed::Held(one.replica()));
    }
}
