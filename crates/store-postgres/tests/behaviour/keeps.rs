//! Messages, cursors, attempts and dead letters are there again for another replica.

use std::time::{Duration, SystemTime};

use paddington_exchange::store::{
    Accepted, Backlog, Bounds, Cursors, DeadLetter, DeadLetters, Fence, LaneLeft, LetterId,
    LinkStore, MAX_LETTER_BYTES, MAX_LETTERS, SharedStore, StoredCursor, Submission,
};
use paddington_wire::{Payload, RejectCode};

use crate::support::{
    at, claim, claim_later, cursor, fill, id, instance, mailbox, payload, place, submission, texts,
};

#[tokio::test]
async fn messages_outlive_the_process() {
    let place = place!();
    let (hub, other) = (mailbox("hub"), mailbox("other"));
    let store = place.open().await;
    let first = fill(&store, &hub, 1..=3).await;
    assert_eq!(first.iter().map(|id| id.number).collect::<Vec<_>>(), [1, 2, 3]);
    let claimed = claim(&store, &hub).await;
    assert_eq!(claimed.streams.len(), 1);
    assert_eq!(claimed.streams[0].messages.iter().map(|it| it.len).collect::<Vec<_>>(), [1, 1, 1]);
    let second = fill(&store, &hub, 4..=5).await;
    assert_eq!((second[0].stream, second[0].number), (claimed.stream, 1));
    fill(&store, &other, 7..=7).await;
    store.mark(&hub, at(claimed.stream, 70), claimed.fence).await.unwrap();
    // Whatever was asked for before is done.
    drop(store.commit(&hub, cursor(3, 3), claimed.fence));
    drop(store.release(vec![(hub.clone(), claimed.fence, LaneLeft::Free)]));
    store.close().await.unwrap();
    assert_eq!(place.sql("SELECT count(*), count(owner), count(lane) FROM link"), "2|0|0");
    assert_eq!(place.sql("SELECT done FROM cursor"), "3");
    store.accept(&hub, submission(1, "late")).await.unwrap_err();
    store.cursors(&hub).await.unwrap_err();
    assert!(store.lease(0).is_zero());

    let store = place.open().await;
    let claimed = claim_later(&store, &hub).await;
    let found: Vec<_> = claimed.streams.iter().map(|it| (it.instance, it.base, it.mark)).collect();
    assert_eq!(found, [(first[0].stream, 1, 0), (second[0].stream, 1, 70)]);
    assert_eq!(texts(&store, &hub, first[0].stream, 1).await, ["1", "2", "3"]);
    assert_eq!(texts(&store, &hub, second[0].stream, 2).await, ["5"]);
    assert_eq!(claim(&store, &other).await.streams[0].messages.len(), 1);
}

#[tokio::test]
async fn a_trim_removes_a_prefix() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    let old = fill(&store, &hub, 1..=3_000).await[0].stream;
    let claimed = claim(&store, &hub).await;
    let (new, fence) = (claimed.stream, claimed.fence);
    fill(&store, &hub, 1..=3).await;
    // More than one transaction removes; the answer comes when all of it is gone.
    store.trim(&hub, at(old, 2_998), fence).await.unwrap();
    assert_eq!(texts(&store, &hub, old, 2_999).await, ["2999", "3000"]);
    assert_eq!(place.sql("SELECT waiting, acknowledged, bytes FROM link"), "5|2998|11");
    store.trim(&hub, at(old, 2_000), fence).await.unwrap();
    drop(store.trim(&hub, at(old, u64::MAX), fence));
    drop(store.trim(&hub, at(new, 2), fence));
    // What was asked for is seen before it is written.
    assert!(store.read(&hub, at(new, 2), 1).await.unwrap().is_empty());
    store.trim(&hub, id(9, 3), fence).await.unwrap();
    assert!(texts(&store, &hub, old, 1).await.is_empty());
    assert_eq!(texts(&store, &hub, new, 3).await, ["3"]);
    // The stream goes on where it was, and what is empty is forgotten.
    assert_eq!(fill(&store, &hub, 4..=4).await, [at(new, 4)]);
    let claimed = claim(&store, &hub).await;
    let found: Vec<_> = claimed.streams.iter().map(|it| (it.instance, it.base)).collect();
    assert_eq!(found, [(new, 3)]);
}

#[tokio::test]
async fn a_read_is_bounded_and_damage_is_noticed() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    let mut stream = instance(0);
    for number in 1..=5 {
        let accepted = store.accept(&hub, submission(number, vec![1; 600])).await.unwrap();
        let Accepted::Stored(id) = accepted else { panic!("{accepted:?}") };
        stream = id.stream;
    }
    let read = store.read(&hub, at(stream, 1), 10).await.unwrap();
    assert_eq!(read, [Payload::text(vec![1; 600])], "at least one");
    let read = store.read(&hub, at(stream, 2), 1_300).await.unwrap();
    assert_eq!(read, [Payload::bytes(vec![1; 600]), Payload::text(vec![1; 600])]);
    assert_eq!(store.read(&hub, at(stream, 4), 100_000).await.unwrap().len(), 2);
    for (mailbox, id) in [(&hub, at(stream, 6)), (&hub, id(8, 1)), (&mailbox("x"), at(stream, 1))] {
        assert!(store.read(mailbox, id, 100_000).await.unwrap().is_empty());
    }
    let long = vec![5; 3 << 20];
    store.accept(&hub, submission(6, long.clone())).await.unwrap();
    assert_eq!(store.read(&hub, at(stream, 6), 1).await.unwrap(), [payload(6, long)]);
    place.sql("UPDATE outbox SET is_bytes = NOT is_bytes WHERE seq = 2");
    let error = store.read(&hub, at(stream, 1), 100_000).await.unwrap_err().to_string();
    assert!(error.contains("a stored payload is damaged"), "{error}");
    place.sql("DELETE FROM outbox WHERE seq = 3");
    let error = store.claim(&hub, Fence::default()).await.unwrap_err().to_string();
    assert!(error.contains("is missing"), "{error}");
}

#[tokio::test]
async fn what_exceeds_its_bounds_is_not_stored_and_others_are() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    let submit = |len: usize, messages, bytes| {
        let bounds = Bounds { messages, bytes };
        store
            .accept(&hub, Submission { payload: Payload::text(vec![b'a'; len]), ttl: None, bounds })
    };
    // All of them are asked for at once.
    let answers = [
        submit(10, 4, 100),
        submit(91, 4, 100),
        submit(10, 4, 100),
        submit(90, 9, 100),
        submit(10, 4, 100),
        submit(10, 4, 100),
        submit(10, 4, 100),
        submit(10, 5, 100),
        submit(51, 9, 100),
    ];
    let mut found = Vec::new();
    for answer in answers {
        found.push(match answer.await.unwrap() {
            Accepted::Stored(id) => id.number,
            Accepted::Full { .. } => 0,
        });
    }
    assert_eq!(found, [1, 0, 2, 0, 3, 4, 0, 5, 0]);
    assert_eq!(submit(1, 5, 100).await.unwrap(), Accepted::Full { messages: 5, bytes: 50 });
    assert_eq!(place.sql("SELECT waiting, bytes, accepted, next FROM link"), "5|50|5|6");
    assert_eq!(store.health().appended, 5);
}

#[tokio::test]
async fn a_time_to_live_runs_on() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    for ttl in [None, Some(Duration::from_secs(60)), Some(Duration::ZERO), Some(Duration::MAX)] {
        store.accept(&hub, Submission { ttl, ..submission(1, "") }).await.unwrap();
    }
    let claimed = claim(&store, &hub).await;
    let ttls: Vec<_> = claimed.streams[0].messages.iter().map(|message| message.ttl).collect();
    assert_eq!((ttls[0], ttls[2]), (None, Some(Duration::ZERO)));
    let left = ttls[1].unwrap();
    assert!((50..=60).contains(&left.as_secs()), "{left:?}");
    assert!(ttls[3].unwrap() > Duration::from_secs(1 << 40));
}

#[tokio::test]
async fn cursors_are_replaced_and_forgotten() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    let fence = claim(&store, &hub).await.fence;
    let finished = StoredCursor { finished: vec![12, 15, u64::MAX], ..cursor(1, 10) };
    let early = store.commit(&hub, cursor(1, 3), fence);
    drop(store.commit(&hub, finished.clone(), fence));
    early.await.unwrap();
    drop(store.commit(&hub, cursor(2, 5), fence));
    // A change is visible to whoever asks later.
    assert_eq!(store.cursors(&hub).await.unwrap(), [finished.clone(), cursor(2, 5)]);
    let other = place.open().await;
    assert_eq!(other.cursors(&hub).await.unwrap(), [finished, cursor(2, 5)]);
    drop(store.forget(&hub, instance(1), fence));
    store.sync(&hub).await.unwrap();
    assert_eq!(other.cursors(&hub).await.unwrap(), [cursor(2, 5)]);
    drop(store.forget(&hub, instance(2), fence));
    store.commit(&hub, cursor(2, 1), fence).await.unwrap();
    assert_eq!(claim(&store, &hub).await.cursors, [cursor(2, 1)]);
}

#[tokio::test]
async fn attempts_are_counted_until_the_message_is_handled() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    let fence = claim(&store, &hub).await.fence;
    let attempt = |number| store.attempt(&hub, id(1, number), fence);
    let counts = [attempt(7), attempt(7), attempt(8)];
    let mut found = Vec::new();
    for count in counts {
        found.push(count.await.unwrap());
    }
    assert_eq!(found, [1, 2, 1]);
    for _ in 0..2 {
        store.uncount(&hub, id(1, 7), fence).await.unwrap();
    }
    assert_eq!(attempt(7).await.unwrap(), 1, "both are taken back");
    for _ in 0..3 {
        drop(store.uncount(&hub, id(1, 7), fence));
    }
    assert_eq!(attempt(7).await.unwrap(), 1, "none is less than none");
    drop(store.commit(&hub, cursor(1, 7), fence));
    assert_eq!(attempt(7).await.unwrap(), 1, "the cursor has passed it");
    assert_eq!(store.cursors(&hub).await.unwrap(), [cursor(1, 7)], "and is durable with it");
    assert_eq!(attempt(8).await.unwrap(), 2);
    drop(store.forget(&hub, instance(1), fence));
    assert_eq!(attempt(8).await.unwrap(), 1, "the instance is forgotten");
}

fn letter(of: &str, number: u64, len: usize) -> DeadLetter {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let payload = payload(number, vec![7; len]);
    DeadLetter { mailbox: mailbox(of), id: id(1, number), code: RejectCode::POISON, at, payload }
}

#[tokio::test]
async fn letters_are_kept_until_they_are_taken_and_their_messages_are_handled() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    let fence = claim(&store, &hub).await.fence;
    drop(store.attempt(&hub, id(1, 2), fence));
    drop(store.commit(&hub, StoredCursor { finished: vec![9], ..cursor(1, 1) }, fence));
    for number in [3, 2] {
        store.add_letter(letter("hub", number, 10), fence).await.unwrap();
    }
    let other = place.open().await;
    let letters = other.letters().await.unwrap();
    assert_eq!(letters, [(LetterId(1), letter("hub", 3, 10)), (LetterId(2), letter("hub", 2, 10))]);
    let handled = StoredCursor { finished: vec![2, 3, 9], ..cursor(1, 1) };
    assert_eq!(other.cursors(&hub).await.unwrap(), [handled]);
    store.commit(&hub, cursor(1, 1), fence).await.unwrap();
    let claimed = claim(&store, &hub).await;
    assert_eq!(claimed.cursors, [StoredCursor { finished: vec![2, 3], ..cursor(1, 1) }]);
    assert_eq!(claimed.letters, [(id(1, 3), RejectCode::POISON), (id(1, 2), RejectCode::POISON)]);
    assert_eq!(other.take_letter(LetterId(1)).await.unwrap(), Some(letter("hub", 3, 10)));
    assert_eq!(store.take_letter(LetterId(1)).await.unwrap(), None);
    assert_eq!(store.take_letter(LetterId(u64::MAX)).await.unwrap(), None);
    store.add_letter(letter("hub", 4, 10), claimed.fence).await.unwrap();
    let ids: Vec<_> = store.letters().await.unwrap().into_iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, [2, 3], "an id is never used again");
    let error = other.add_letter(letter("hub", 5, 10), claimed.fence).await.unwrap_err();
    assert!(error.is_stale(), "another replica holds the lane: {error}");
}

#[tokio::test]
async fn whoever_has_the_most_letters_loses_its_oldest() {
    let place = place!();
    let store = place.open().await;
    let loud = claim(&store, &mailbox("loud")).await.fence;
    let calm = claim(&store, &mailbox("calm")).await.fence;
    let long = claim(&store, &mailbox("long")).await.fence;
    store.add_letter(letter("calm", 1, 1), calm).await.unwrap();
    place.sql(&format!(
        "INSERT INTO dead(peer, inc, seq, code, at, crc, is_bytes, body)
         SELECT peer, '\\x01010101010101010101010101010101', n, 1, 1, 0, true, '\\x01'
         FROM link, generate_series(1, {}) n WHERE name = 'loud'",
        MAX_LETTERS - 1
    ));
    for number in 1..=3 {
        store.add_letter(letter("loud", 5_000 + number, 1), loud).await.unwrap();
    }
    let kept =
        "SELECT name, count(*), min(seq) FROM dead JOIN link USING (peer) GROUP BY 1 ORDER BY 1";
    assert_eq!(place.sql(kept), "calm|1|1\nloud|999|4");
    place.sql("DELETE FROM dead WHERE seq > 500 AND seq < 5000");
    for number in 1..=5 {
        store.add_letter(letter("long", number, MAX_LETTER_BYTES / 4), long).await.unwrap();
    }
    assert_eq!(place.sql(kept), "calm|1|1\nlong|3|3\nloud|500|4");
}
