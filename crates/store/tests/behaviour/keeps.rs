//! Messages, cursors, attempts and dead letters are there again when the store is opened again.

use std::time::{Duration, SystemTime};

use crate::support::{
    FENCE, Place, close, commit, cursor, fill, id, instance, mailbox, message, payload, stored,
    text,
};
use paddington_exchange::store::{
    Backlog, Cursors, DeadLetter, DeadLetters, LetterId, LinkStore, MAX_LETTER_BYTES, MAX_LETTERS,
    NewMessage, Outbox, StoredCursor,
};
use paddington_store::SqliteStore;
use paddington_wire::{Payload, RejectCode};

#[tokio::test]
async fn messages_outlive_the_process() {
    let place = Place::new();
    let (hub, other) = (mailbox("hub"), mailbox("other"));
    let store = place.open();
    assert_eq!(store.streams(&hub).await.unwrap(), []);
    fill(&store, &hub, 1, 1..=3).await;
    fill(&store, &hub, 2, 1..=2).await;
    fill(&store, &other, 2, 7..=7).await;
    close(store).await;

    let store = place.open();
    assert_eq!(stored(&store, &hub).await, [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]);
    assert_eq!(stored(&store, &other).await, [(2, 7)]);
    // The next instance comes after both, whatever its bytes are.
    fill(&store, &hub, 0, 1..=1).await;
    close(store).await;
    let store = place.open();
    assert_eq!(stored(&store, &hub).await.last(), Some(&(0, 1)));
}

#[tokio::test]
async fn messages_survive_without_a_close() {
    let place = Place::new();
    let store = place.open();
    fill(&store, &mailbox("hub"), 1, 1..=100).await;
    // As after a kill: the file and its log are copied while the store has them open.
    let copy = Place::new();
    for end in ["", "-wal"] {
        let name = |place: &Place| format!("{}{end}", place.path().display());
        std::fs::copy(name(&place), name(&copy)).unwrap();
    }
    assert!(std::fs::metadata(format!("{}-wal", copy.path().display())).unwrap().len() > 0);
    let survivor = copy.open();
    assert_eq!(stored(&survivor, &mailbox("hub")).await.len(), 100);
}

#[tokio::test]
async fn a_trim_removes_a_prefix() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    fill(&store, &hub, 1, 1..=3_000).await;
    fill(&store, &hub, 2, 1..=3).await;
    // More than one transaction removes; the answer comes when all of it is gone.
    store.trim(&hub, id(1, 2_998), FENCE).await.unwrap();
    assert_eq!(stored(&store, &hub).await, [(1, 2_999), (1, 3_000), (2, 1), (2, 2), (2, 3)]);
    store.trim(&hub, id(1, 2_000), FENCE).await.unwrap();
    store.trim(&hub, id(1, u64::MAX), FENCE).await.unwrap();
    store.trim(&hub, id(2, 3), FENCE).await.unwrap();
    store.trim(&hub, id(9, 3), FENCE).await.unwrap();
    assert_eq!(stored(&store, &hub).await, []);
    // The stream goes on where it was.
    assert!(store.append(&hub, message(2, 1, "again")).await.is_err());
    fill(&store, &hub, 2, 4..=5).await;
    close(store).await;
    assert_eq!(stored(&place.open(), &hub).await, [(2, 4), (2, 5)]);
}

#[tokio::test]
async fn a_read_is_bounded_and_sees_earlier_calls() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    let waiting = [store.append(&hub, message(1, 1, vec![1; 600]))];
    let read = store.read(&hub, id(1, 1), 10).await.unwrap();
    assert_eq!(read, [Payload::text(vec![1; 600])], "at least one");
    for answer in waiting {
        answer.await.unwrap();
    }
    for number in 2..=5 {
        store.append(&hub, message(1, number, vec![1; 600])).await.unwrap();
    }
    let read = store.read(&hub, id(1, 2), 1_300).await.unwrap();
    assert_eq!(read, [Payload::bytes(vec![1; 600]), Payload::text(vec![1; 600])]);
    assert_eq!(store.read(&hub, id(1, 4), 100_000).await.unwrap().len(), 2);
    assert_eq!(store.read(&hub, id(1, 6), 100_000).await.unwrap(), Vec::<Payload>::new());
    assert_eq!(store.read(&hub, id(8, 1), 100_000).await.unwrap(), Vec::<Payload>::new());
    assert_eq!(store.read(&mailbox("x"), id(1, 1), 1).await.unwrap(), Vec::<Payload>::new());
    let trimmed = store.trim(&hub, id(1, 2), FENCE);
    assert_eq!(store.read(&hub, id(1, 1), 1).await.unwrap(), Vec::<Payload>::new(), "trimmed");
    trimmed.await.unwrap();
}

#[tokio::test]
async fn a_time_to_live_runs_on_between_two_processes() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    for (number, ttl) in [(1, None), (2, Some(Duration::from_secs(60))), (3, Some(Duration::ZERO))]
    {
        let message = NewMessage { ttl, ..message(1, number, "") };
        store.append(&hub, message).await.unwrap();
    }
    close(store).await;
    let streams = place.open().streams(&hub).await.unwrap();
    let ttls: Vec<_> = streams[0].messages.iter().map(|message| message.ttl).collect();
    assert_eq!((ttls[0], ttls[2]), (None, Some(Duration::ZERO)));
    let left = ttls[1].unwrap();
    assert!((50..=60).contains(&left.as_secs()), "{left:?}");
}

#[tokio::test]
async fn only_numbers_out_of_order_are_refused() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    let answers = [1, 2, 4, 3, 3, 0, u64::MAX, 4]
        .map(|number| store.append(&hub, message(1, number, text(1, number))));
    let mut stored_numbers = Vec::new();
    for answer in answers {
        stored_numbers.push(answer.await.is_ok());
    }
    assert_eq!(stored_numbers, [true, true, false, true, false, false, false, true]);
    assert_eq!(store.health().failure, None);
    fill(&store, &hub, 2, 1..=1).await;
    assert!(store.append(&hub, message(1, 5, "late")).await.is_err(), "an older stream has ended");
    assert_eq!(stored(&store, &hub).await, [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1)]);
}

#[tokio::test]
async fn cursors_are_replaced_and_forgotten() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    let finished = StoredCursor { finished: vec![12, 15, u64::MAX], ..cursor(1, 10) };
    let early = Cursors::commit(&store, &hub, cursor(1, 3), FENCE);
    commit(&store, &hub, finished.clone()).await;
    early.await.unwrap();
    commit(&store, &hub, cursor(2, 5)).await;
    commit(&store, &mailbox("other"), cursor(1, 99)).await;
    assert_eq!(store.cursors(&hub).await.unwrap(), [finished.clone(), cursor(2, 5)]);
    close(store).await;

    let store = place.open();
    assert_eq!(store.cursors(&hub).await.unwrap(), [finished, cursor(2, 5)]);
    // A change is visible before it is durable.
    let forgotten = store.forget(&hub, instance(1), FENCE);
    assert_eq!(store.cursors(&hub).await.unwrap(), [cursor(2, 5)]);
    forgotten.await.unwrap();
    assert_eq!(store.cursors(&mailbox("other")).await.unwrap(), [cursor(1, 99)]);
}

#[tokio::test]
async fn attempts_are_counted_until_the_message_is_handled() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    assert_eq!(store.attempt(&hub, id(1, 7), FENCE).await.unwrap(), 1);
    assert_eq!(store.attempt(&hub, id(1, 7), FENCE).await.unwrap(), 2);
    assert_eq!(store.attempt(&hub, id(1, 8), FENCE).await.unwrap(), 1);
    close(store).await;
    let store = place.open();
    assert_eq!(store.attempt(&hub, id(1, 7), FENCE).await.unwrap(), 3);
    for _ in 0..2 {
        store.uncount(&hub, id(1, 7), FENCE).await.unwrap();
    }
    assert_eq!(
        store.attempt(&hub, id(1, 7), FENCE).await.unwrap(),
        2,
        "the last two are taken back"
    );
    for _ in 0..3 {
        drop(store.uncount(&hub, id(1, 7), FENCE));
    }
    assert_eq!(store.attempt(&hub, id(1, 7), FENCE).await.unwrap(), 1, "none is less than none");
    drop(Cursors::commit(&store, &hub, cursor(1, 7), FENCE));
    assert_eq!(store.attempt(&hub, id(1, 7), FENCE).await.unwrap(), 1, "the cursor has passed it");
    assert_eq!(store.attempt(&hub, id(1, 8), FENCE).await.unwrap(), 2);
    drop(store.forget(&hub, instance(1), FENCE));
    assert_eq!(store.attempt(&hub, id(1, 8), FENCE).await.unwrap(), 1, "the instance is forgotten");
}

fn letter(number: u64, len: usize) -> DeadLetter {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let payload = payload(number, vec![7; len]);
    DeadLetter { mailbox: mailbox("hub"), id: id(1, number), code: RejectCode::POISON, at, payload }
}

#[tokio::test]
async fn letters_are_kept_and_listed_until_they_are_taken() {
    let place = Place::new();
    let store = place.open();
    for number in 1..=3 {
        store.add_letter(letter(number, 10), FENCE).await.unwrap();
    }
    let letters = store.letters().await.unwrap();
    let expected: Vec<_> = (1..=3).map(|n| (LetterId(n), letter(n, 10))).collect();
    assert_eq!(letters, expected);
    assert_eq!(store.take_letter(LetterId(3)).await.unwrap(), Some(letter(3, 10)));
    assert_eq!(store.take_letter(LetterId(3)).await.unwrap(), None);
    assert_eq!(store.take_letter(LetterId(u64::MAX)).await.ok().flatten(), None);
    close(store).await;
    let store = place.open();
    store.add_letter(letter(4, 10), FENCE).await.unwrap();
    let ids: Vec<_> = store.letters().await.unwrap().into_iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, [1, 2, 4], "an id is never used again");
}

#[tokio::test]
async fn the_oldest_letters_make_room_for_new_ones() {
    let place = Place::new();
    let store = place.open();
    let many = MAX_LETTERS as u64 + 50;
    let added = |number| store.add_letter(letter(number, 1), FENCE);
    let answers: Vec<_> = (1..=many).map(added).collect();
    for answer in answers {
        answer.await.unwrap();
    }
    let letters = store.letters().await.unwrap();
    assert_eq!((letters.len(), letters[0].1.id.number), (MAX_LETTERS, 51));
    close(store).await;
    // The bytes are counted across a restart, too.
    let store = place.open();
    let large = MAX_LETTER_BYTES / 4;
    for number in 1..=5 {
        store.add_letter(letter(number, large), FENCE).await.unwrap();
    }
    let letters = store.letters().await.unwrap();
    assert_eq!(letters.len(), 4, "four large ones fill it");
    assert_eq!(letters[0].1.id.number, 2);
}

/// Opens what a crash leaves of a store: its file and its log, as they are now.
pub(crate) fn after_a_crash(place: &Place) -> (Place, SqliteStore) {
    let copy = Place::new();
    for end in ["", "-wal"] {
        let name = |place: &Place| format!("{}{end}", place.path().display());
        std::fs::copy(name(place), name(&copy)).unwrap();
    }
    let store = copy.open();
    (copy, store)
}

#[tokio::test]
async fn with_its_letter_a_message_is_handled() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    for _ in 0..2 {
        store.attempt(&hub, id(1, 7), FENCE).await.unwrap();
    }
    // Nothing else of its stream is stored yet.
    store.add_letter(letter(7, 10), FENCE).await.unwrap();
    let (_copy, survivor) = after_a_crash(&place);
    let expected = [StoredCursor { finished: vec![7], ..cursor(1, 0) }];
    assert_eq!(survivor.cursors(&hub).await.unwrap(), expected);
    assert_eq!(survivor.attempt(&hub, id(1, 7), FENCE).await.unwrap(), 1, "forgotten");
    // A state of the cursor that is older than the letter does not undo it.
    let older = StoredCursor { finished: vec![9], ..cursor(1, 5) };
    commit(&store, &hub, older).await;
    let (_copy, survivor) = after_a_crash(&place);
    let expected = [StoredCursor { finished: vec![7, 9], ..cursor(1, 5) }];
    assert_eq!(survivor.cursors(&hub).await.unwrap(), expected);
    commit(&store, &hub, cursor(1, 9)).await;
    assert_eq!(store.cursors(&hub).await.unwrap(), [cursor(1, 9)]);
    store.forget(&hub, instance(1), FENCE).await.unwrap();
    assert_eq!(store.cursors(&hub).await.unwrap(), []);
}

#[tokio::test]
async fn an_attempt_and_a_sync_make_the_cursor_before_them_durable() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    drop(Cursors::commit(&store, &hub, cursor(1, 6), FENCE));
    store.attempt(&hub, id(1, 7), FENCE).await.unwrap();
    let (_copy, survivor) = after_a_crash(&place);
    assert_eq!(survivor.cursors(&hub).await.unwrap(), [cursor(1, 6)]);
    drop(Cursors::commit(&store, &hub, cursor(1, 7), FENCE));
    store.sync(&hub).await.unwrap();
    let (_copy, survivor) = after_a_crash(&place);
    assert_eq!(survivor.cursors(&hub).await.unwrap(), [cursor(1, 7)]);
}

#[tokio::test]
async fn the_letters_of_one_peer_do_not_erase_those_of_others() {
    let place = Place::new();
    let store = place.open();
    let from =
        |name: &str, number, len| DeadLetter { mailbox: mailbox(name), ..letter(number, len) };
    for (number, name) in [(1, "a"), (2, "b"), (3, "a")] {
        store.add_letter(from(name, number, 10), FENCE).await.unwrap();
    }
    let added: Vec<_> = (1..=2 * MAX_LETTERS as u64)
        .map(|number| store.add_letter(from("loud", number, 10), FENCE))
        .collect();
    for answer in added {
        answer.await.unwrap();
    }
    store.add_letter(from("b", 4, 10), FENCE).await.unwrap();
    close(store).await;
    let store = place.open();
    store.add_letter(from("c", 5, 2_000_000), FENCE).await.unwrap();
    store.add_letter(from("loud", 5_000, MAX_LETTER_BYTES - 1_000_000), FENCE).await.unwrap();
    let letters = store.letters().await.unwrap();
    let quiet: Vec<_> = letters
        .iter()
        .filter(|(_, letter)| letter.mailbox != mailbox("loud"))
        .map(|(_, letter)| (letter.peer().to_string(), letter.id.number))
        .collect();
    let expected = [("a", 1), ("b", 2), ("a", 3), ("b", 4), ("c", 5)];
    assert_eq!(quiet, expected.map(|(name, number)| (name.to_owned(), number)));
}
