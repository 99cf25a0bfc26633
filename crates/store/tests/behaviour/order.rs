//! Calls take effect in their order, however many callers there are at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use paddington_exchange::store::{Backlog, Cursors, LinkStore, Outbox};
use tokio::sync::Mutex;

use crate::support::{
    FENCE, Place, close, cursor, fill, id, mailbox, message, payload, stored, text,
};

/// How often it is tried what a store does first: on a busy machine, it may go on meanwhile.
const ROUNDS: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_calls_of_64_senders_keep_their_order() {
    const SENDERS: u64 = 64;
    const EACH: u64 = 50;
    let place = Place::new();
    let store = Arc::new(place.open());
    // As in an exchange: the lock of the peer is held while the number is drawn and the store is
    // called, and not while the answer is awaited.
    let peers: Vec<_> =
        (0..4).map(|at| (mailbox(&format!("peer-{at}")), Arc::new(Mutex::new(0)))).collect();
    let senders = (0..SENDERS).map(|sender| {
        let (store, (peer, next)) = (Arc::clone(&store), peers[sender as usize % 4].clone());
        tokio::spawn(async move {
            for _ in 0..EACH {
                let mut number = next.lock().await;
                *number += 1;
                let answer = store.append(&peer, message(1, *number, text(1, *number)));
                drop(number);
                answer.await.unwrap();
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let health = store.health();
    assert_eq!(health.appended, SENDERS * EACH);
    println!("{} messages in {} commits", health.appended, health.commits);
    assert!(health.commits < health.appended / 2, "they are committed in groups");
    for (peer, _) in &peers {
        let expected: Vec<_> = (1..=SENDERS / 4 * EACH).map(|number| (1, number)).collect();
        assert_eq!(stored(&store, peer).await, expected);
    }
}

#[tokio::test]
async fn a_call_takes_effect_even_if_its_future_is_dropped() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    for number in 1..=200 {
        drop(store.append(&hub, message(1, number, text(1, number))));
    }
    drop(store.trim(&hub, id(1, 100), FENCE));
    drop(Cursors::commit(&store, &hub, cursor(3, 4), FENCE));
    assert_eq!(stored(&store, &hub).await.len(), 100);
    close(store).await;
    let store = place.open();
    assert_eq!(stored(&store, &hub).await.len(), 100);
    assert_eq!(store.cursors(&hub).await.unwrap(), [cursor(3, 4)]);
}

#[tokio::test]
async fn trims_and_cursors_wait_for_other_changes_but_not_for_ever() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    fill(&store, &hub, 1, 1..=10).await;
    // On a busy machine, asking for all may take longer than they wait: then it is done again.
    let in_time = Duration::from_millis(50);
    loop {
        let before = store.health().commits;
        let started = Instant::now();
        let answers: Vec<_> = (1..=10)
            .flat_map(|number| {
                let cursor = Cursors::commit(&store, &hub, cursor(2, number), FENCE);
                [cursor, store.trim(&hub, id(1, number), FENCE)]
            })
            .collect();
        let asked = started.elapsed();
        for answer in answers {
            answer.await.unwrap();
        }
        let waited = started.elapsed();
        assert!(waited >= Duration::from_millis(90), "they wait for other changes: {waited:?}");
        if asked < in_time {
            assert_eq!(store.health().commits, before + 1, "one commit for all of them");
            break;
        }
    }
    // With another change they do not wait.
    let other = mailbox("other");
    for number in 1.. {
        let before = store.health().commits;
        let started = Instant::now();
        let trim = store.trim(&hub, id(1, 10), FENCE);
        let change = store.append(&other, message(1, number, text(1, number)));
        let asked = started.elapsed();
        change.await.unwrap();
        trim.await.unwrap();
        if asked < in_time {
            assert_eq!(store.health().commits, before + 1, "one commit for both");
            break;
        }
    }
}

#[tokio::test]
async fn a_read_does_not_wait_for_a_long_queue() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    fill(&store, &hub, 1, 1..=10).await;
    let mut passed = u64::MAX;
    for queue in 0..ROUNDS {
        let before = store.health().commits;
        let first = 11 + queue * 5_990;
        let mut queued: Vec<_> = (first..first + 5_990)
            .map(|number| store.append(&hub, message(1, number, text(1, number))))
            .collect();
        let read = store.read(&hub, id(1, 1), 1).await.unwrap();
        assert_eq!(read, [payload(1, text(1, 1))]);
        passed = passed.min(store.health().commits - before);
        let last = queued.pop().unwrap();
        last.await.unwrap();
        assert!(store.health().commits - before >= 5_990 / 64, "64 messages of a peer at most");
        if passed < 60 {
            break;
        }
    }
    assert!(passed < 60, "{passed} of 94 commits were before the read");
}

#[tokio::test]
async fn peers_take_turns() {
    let place = Place::new();
    let store = place.open();
    let (busy, calm) = (mailbox("busy"), mailbox("calm"));
    let mut passed = u64::MAX;
    for round in 0..ROUNDS {
        for number in 1..=6_400 {
            drop(store.append(&busy, message(1, round * 6_400 + number, "")));
        }
        let before = store.health().commits;
        fill(&store, &calm, 1, round + 1..=round + 1).await;
        passed = passed.min(store.health().commits - before);
        if passed <= 60 {
            break;
        }
        store.sync(&busy).await.unwrap();
    }
    assert!(passed <= 60, "{passed} commits were before it");
}

#[tokio::test]
async fn a_drained_backlog_gives_its_space_back() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    let answers: Vec<_> =
        (1..=2_000).map(|number| store.append(&hub, message(1, number, vec![5; 8_000]))).collect();
    for answer in answers {
        answer.await.unwrap();
    }
    store.trim(&hub, id(1, 2_000), FENCE).await.unwrap();
    let size = || {
        let len = |end| std::fs::metadata(format!("{}{end}", place.path().display()));
        len("").unwrap().len() + len("-wal").map_or(0, |log| log.len())
    };
    let full = size();
    assert!(full > 16_000_000, "{full}");
    paddington_test_support::eventually(|| std::future::ready(size() < 2_000_000)).await;
    println!("{full} bytes became {}", size());
    fill(&store, &hub, 1, 2_001..=2_010).await;
    assert_eq!(stored(&store, &hub).await.len(), 10);
}
