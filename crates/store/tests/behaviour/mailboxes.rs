//! What is stored belongs to a link: another link of the same name never gets it, and it can be listed
//! and purged.

use std::time::{Duration, SystemTime};

use paddington_exchange::store::{
    Backlog, Cursors, DeadLetter, DeadLetters, LinkStore, Mailbox, MailboxStatus, Mailboxes,
    Outbox, Purged,
};
use paddington_store::SqliteStore;
use paddington_wire::{LinkId, RejectCode};

use crate::failing::{POISON, fragile};
use crate::keeps::after_a_crash;
use crate::support::{
    FENCE, Place, accepts_again, close, commit, cursor, fill, id, message, stored, text,
};

/// The mailbox of one of the links that a peer called `name` has had.
fn of(name: &str, link: u8) -> Mailbox {
    Mailbox { peer: name.parse().unwrap(), link: [link; LinkId::LEN].into() }
}

fn letter(mailbox: &Mailbox, number: u64) -> DeadLetter {
    let (code, at) = (RejectCode::FAILED, SystemTime::UNIX_EPOCH);
    DeadLetter { mailbox: mailbox.clone(), id: id(9, number), code, at, payload: "letter".into() }
}

/// Fills a mailbox with so many messages, a cursor, an attempt and a dead letter.
async fn fill_all(store: &SqliteStore, mailbox: &Mailbox, messages: u64) {
    fill(store, mailbox, 1, 1..=messages).await;
    commit(store, mailbox, cursor(9, 5)).await;
    store.attempt(mailbox, id(9, 8), FENCE).await.unwrap();
    store.add_letter(letter(mailbox, 7), FENCE).await.unwrap();
}

/// Checks that a mailbox has what [`fill_all`] has put into it.
async fn assert_is_whole(store: &SqliteStore, mailbox: &Mailbox, messages: u64) {
    let expected: Vec<_> = (1..=messages).map(|number| (1, number)).collect();
    assert_eq!(stored(store, mailbox).await, expected);
    let mut finished = cursor(9, 5);
    finished.finished.push(7);
    assert_eq!(store.cursors(mailbox).await.unwrap(), [finished]);
    let letters = store.letters().await.unwrap();
    assert!(letters.iter().any(|(_, kept)| kept.mailbox == *mailbox && kept.id.number == 7));
}

/// Checks that nothing of an earlier link is in a mailbox.
async fn assert_is_empty(store: &SqliteStore, mailbox: &Mailbox) {
    assert_eq!(store.streams(mailbox).await.unwrap(), []);
    assert!(store.read(mailbox, id(1, 1), 1_000).await.unwrap().is_empty());
    assert_eq!(store.cursors(mailbox).await.unwrap(), []);
    assert_eq!(store.attempt(mailbox, id(9, 8), FENCE).await.unwrap(), 1, "the first attempt");
    store.uncount(mailbox, id(9, 8), FENCE).await.unwrap();
    let letters = store.letters().await.unwrap();
    assert!(letters.iter().all(|(_, letter)| letter.mailbox != *mailbox));
}

async fn listed(store: &SqliteStore) -> Vec<MailboxStatus> {
    store.mailboxes(Vec::new()).await.unwrap()
}

#[tokio::test]
async fn another_link_of_the_same_name_begins_with_nothing() {
    let place = Place::new();
    let store = place.open();
    let (old, new) = (of("sensor", 1), of("sensor", 2));
    fill_all(&store, &old, 3).await;
    assert_is_empty(&store, &new).await;
    // What the new one does leaves the old one's alone, with the same streams and numbers.
    fill(&store, &new, 1, 1..=5).await;
    store.trim(&new, id(1, 5), FENCE).await.unwrap();
    store.mark(&new, id(1, 5), FENCE).await.unwrap();
    Cursors::forget(&store, &new, id(9, 0).stream, FENCE).await.unwrap();
    close(store).await;
    let store = place.open();
    assert_is_empty(&store, &new).await;
    assert_is_whole(&store, &old, 3).await;
    assert_eq!(store.streams(&old).await.unwrap()[0].mark, 0);
    assert_eq!(store.attempt(&old, id(9, 8), FENCE).await.unwrap(), 2);
    // The same link under another name is the same mailbox.
    assert_is_whole(&store, &of("renamed", 1), 3).await;
    assert_eq!(store.attempt(&of("renamed", 1), id(9, 8), FENCE).await.unwrap(), 3);
    assert_eq!(store.attempt(&old, id(9, 8), FENCE).await.unwrap(), 4);
}

#[tokio::test]
async fn what_a_mailbox_holds_is_counted() {
    let place = Place::in_memory();
    let store = place.open();
    assert_eq!(listed(&store).await, []);
    let before = SystemTime::now() - Duration::from_millis(1);
    let [b, a, other] = [of("b", 1), of("a", 2), of("a", 3)];
    // More than one step of the count reads.
    fill_all(&store, &b, 5_000).await;
    // Of several rows each.
    for number in 1..=3 {
        store.append(&a, message(1, number, vec![b'x'; 2_000])).await.unwrap();
    }
    commit(&store, &other, cursor(9, 5)).await;
    let bytes: usize = (1..=5_000).map(|number| text(1, number).len()).sum();
    let expected =
        [(a.clone(), 3, 6_000, 0), (other.clone(), 0, 0, 0), (b.clone(), 5_000, bytes as u64, 1)];
    let (_copy, copy) = after_a_crash(&place);
    for store in [store, copy] {
        let found = listed(&store).await;
        let counts: Vec<_> = found
            .iter()
            .map(|it| (it.mailbox.clone(), it.messages, it.bytes, it.letters))
            .collect();
        assert_eq!(counts, expected);
        let since: Vec<_> = found.iter().map(|found| found.since).collect();
        let is_now = |since: Option<SystemTime>| {
            since.is_some_and(|since| before <= since && since <= SystemTime::now())
        };
        assert!(is_now(since[0]) && is_now(since[2]) && since[1].is_none(), "{since:?}");
        let others = store.mailboxes(vec![b.link, a.link]).await.unwrap();
        assert_eq!(others, [MailboxStatus::new(other.clone())]);
    }
}

#[tokio::test]
async fn a_purge_removes_all_of_a_mailbox_and_nothing_of_others() {
    let place = Place::in_memory();
    let store = place.open();
    let (old, new, other) = (of("sensor", 1), of("sensor", 2), of("other", 3));
    // More than three steps remove, and two streams.
    fill_all(&store, &old, 3_000).await;
    fill(&store, &old, 2, 1..=500).await;
    for number in 10..2_500 {
        drop(store.attempt(&old, id(9, number), FENCE));
    }
    for stream in 10..=250 {
        drop(Cursors::commit(&store, &old, cursor(stream, 1), FENCE));
    }
    fill_all(&store, &new, 10).await;
    fill_all(&store, &other, 10).await;
    let one = (1..=3_000).map(|number| text(1, number).len());
    let bytes: usize = one.chain((1..=500).map(|number| text(2, number).len())).sum();
    let purged = Purged { messages: 3_500, bytes: bytes as u64, letters: 1 };
    let commits = store.health().commits;
    assert_eq!(store.purge(&old).await.unwrap(), purged);
    assert!(store.health().commits >= commits + 6, "others wait for one step at most");
    // It is durable once it is answered.
    let (_copy, copy) = after_a_crash(&place);
    for store in [store, copy] {
        let left: Vec<_> = listed(&store).await.into_iter().map(|left| left.mailbox).collect();
        assert_eq!(left, [other.clone(), new.clone()]);
        assert_is_empty(&store, &old).await;
        assert_is_whole(&store, &new, 10).await;
        assert_is_whole(&store, &other, 10).await;
        assert_eq!(store.purge(&old).await.unwrap(), Purged::default(), "nothing is left");
    }
}

#[tokio::test]
async fn a_purge_keeps_the_order_of_the_calls() {
    let place = Place::in_memory();
    let store = place.open();
    let hub = of("hub", 1);
    fill_all(&store, &hub, 2_500).await;
    // All of it is asked for before anything is answered.
    let committed = Cursors::commit(&store, &hub, cursor(9, 6), FENCE);
    let before = store.append(&hub, message(1, 2_501, text(1, 2_501)));
    let purged = store.purge(&hub);
    let streams = store.streams(&hub);
    let read = store.read(&hub, id(1, 2_400), 1_000);
    let append = store.append(&hub, message(1, 2_502, text(1, 2_502)));
    let cursors = store.cursors(&hub);
    committed.await.unwrap();
    before.await.unwrap();
    assert_eq!(purged.await.unwrap().messages, 2_501);
    assert_eq!(streams.await.unwrap(), []);
    assert!(read.await.unwrap().is_empty());
    append.await.unwrap();
    assert_eq!(cursors.await.unwrap(), []);
    assert_eq!(stored(&store, &hub).await, [(1, 2_502)], "it is as in a new mailbox");
}

#[tokio::test]
async fn a_purge_of_a_store_that_fails_is_refused_and_can_be_tried_again() {
    let place = Place::new();
    let store = fragile(&place, Duration::ZERO).await;
    let (old, hub) = (of("sensor", 1), of("hub", 2));
    fill_all(&store, &old, 2_500).await;
    // The purge is in the transaction that fails, or comes after it, or has a step left.
    let poison = store.append(&hub, message(1, 1, POISON));
    let purge = store.purge(&old);
    poison.await.unwrap_err();
    purge.await.unwrap_err();
    accepts_again(&store).await;
    let left = stored(&store, &old).await;
    assert_eq!(left.last(), Some(&(1, 2_500)), "what is left is a whole end");
    fill(&store, &hub, 1, 1..=3).await;
    assert_eq!(store.purge(&old).await.unwrap().messages, left.len() as u64);
    close(store).await;
    let store = place.open();
    assert_is_empty(&store, &old).await;
    assert_eq!(stored(&store, &hub).await.len(), 3);
}

#[tokio::test]
async fn a_closing_store_ends_a_purge_that_was_asked_for() {
    let place = Place::in_memory();
    let store = place.open();
    let hub = of("hub", 1);
    fill_all(&store, &hub, 2_500).await;
    let purge = store.purge(&hub);
    let listed_late = store.mailboxes(Vec::new());
    store.close().await.unwrap();
    assert_eq!(purge.await.unwrap().messages, 2_500);
    listed_late.await.unwrap();
    store.mailboxes(Vec::new()).await.unwrap_err();
    store.purge(&hub).await.unwrap_err();
    drop(store);
    let store = place.open();
    assert_eq!(listed(&store).await, []);
}

#[tokio::test]
async fn damage_is_noticed_before_a_mailbox_is_taken_for_an_orphan() {
    for sql in [
        "UPDATE cursor SET link = zeroblob(16)",
        "UPDATE attempt SET link = zeroblob(16)",
        "UPDATE cursor SET peer = 'other'",
        "UPDATE cursor SET link = x'01'",
        "UPDATE stream SET link = zeroblob(16)",
    ] {
        let place = Place::in_memory();
        let store = place.open();
        let hub = of("hub", 1);
        fill_all(&store, &hub, 3).await;
        close(store).await;
        let raw = rusqlite::Connection::open(place.path()).unwrap();
        assert!(raw.execute(sql, ()).unwrap() > 0, "{sql}");
        drop(raw);
        let failure = place.open().mailboxes(Vec::new()).await.unwrap_err().to_string();
        assert!(failure.contains("paddington::salvage"), "{sql}: {failure}");
    }
}

#[tokio::test]
async fn a_salvage_keeps_links_of_the_same_name_apart() {
    let place = Place::in_memory();
    let store = place.open();
    let (old, new) = (of("sensor", 1), of("sensor", 2));
    fill_all(&store, &old, 3).await;
    fill_all(&store, &new, 5).await;
    close(store).await;
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    let sql = "UPDATE message SET payload = x'00' WHERE number = 2 AND position >> 44 = \
               (SELECT id FROM stream WHERE link = ?1)";
    assert_eq!(raw.execute(sql, [old.link.as_bytes()]).unwrap(), 1);
    drop(raw);
    let report = paddington_store::salvage(place.path()).unwrap();
    let counts = |mailbox| {
        let (found, counts) = report.mailboxes.get_key_value(mailbox).unwrap();
        assert_eq!(found.peer.as_str(), "sensor");
        (counts.kept, counts.lost_between)
    };
    assert_eq!((counts(&old), counts(&new), report.mailboxes.len()), ((2, 1), (5, 0), 2));
    let store = place.open();
    assert_is_whole(&store, &new, 5).await;
    assert_eq!(store.streams(&old).await.unwrap()[0].messages.len(), 3);
    assert_eq!(store.attempt(&old, id(9, 8), FENCE).await.unwrap(), 2);
    assert_eq!(store.purge(&old).await.unwrap().letters, 1);
    assert_is_whole(&store, &new, 5).await;
}
