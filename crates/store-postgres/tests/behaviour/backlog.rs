//! What waits for a peer is read piece by piece, however much it is.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use paddington_exchange::store::{Accepted, Backlog, SharedStore};
use paddington_test_support::eventually;

use crate::support::{at, fill, instance, mailbox, place, submission};

#[tokio::test]
async fn a_read_looks_at_few_more_messages_than_it_returns() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    let first = fill(&store, &hub, 1..=5_000).await[0];
    place.sql("ANALYZE outbox");
    let (reads, rows) = (AtomicU64::new(0), AtomicU64::new(0));
    // The server counts what a session has looked at when that has done something a second later.
    eventually(|| async {
        assert_eq!(store.read(&hub, first, 1).await.unwrap().len(), 1);
        reads.fetch_add(1, Ordering::Relaxed);
        let counted = place.sql(&format!(
            "SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'outbox' AND schemaname = '{}'",
            place.schema
        ));
        rows.store(counted.parse().unwrap(), Ordering::Relaxed);
        rows.load(Ordering::Relaxed) > 0
    })
    .await;
    let (reads, rows) = (reads.into_inner(), rows.into_inner());
    assert!(rows <= 100 * reads, "{rows} rows in {reads} reads");
}

#[tokio::test]
async fn streams_that_are_read_at_once_get_their_own_messages_however_long_they_are() {
    const LEN: usize = 200_000;
    let place = place!();
    let store = place.open().await;
    let peers: Vec<_> = (0..40).map(|number| mailbox(&format!("peer{number}"))).collect();
    let text = |peer: usize, number: usize| {
        format!("{peer} {number} {}", "x".repeat(if peer.is_multiple_of(2) { LEN } else { 0 }))
    };
    let mut firsts = Vec::new();
    for (number, peer) in peers.iter().enumerate() {
        let all: Vec<_> =
            (0..3).map(|n| store.accept(peer, submission(1, text(number, n)))).collect();
        for (n, answer) in all.into_iter().enumerate() {
            let Accepted::Stored(id) = answer.await.unwrap() else { panic!("there is room") };
            if n == 0 {
                firsts.push(id);
            }
        }
    }
    place.sql("UPDATE outbox SET crc = crc + 1 WHERE seq = 2 AND peer = (SELECT peer FROM link WHERE name = 'peer7')");
    // The server fails on this one.
    place.sql("UPDATE outbox SET ttl = 1, deadline = -9223372036854775807 WHERE peer = (SELECT peer FROM link WHERE name = 'peer9')");
    let max_bytes = LEN * 2;
    let mut asked: Vec<_> = peers
        .iter()
        .zip(&firsts)
        .map(|(peer, first)| store.follow(peer, *first, max_bytes))
        .collect();
    asked.push(store.follow(&peers[0], at(instance(9), 1), max_bytes));
    asked.push(store.follow(&mailbox("unknown"), firsts[0], max_bytes));
    asked.push(store.follow(&peers[1], at(firsts[1].stream, 3), max_bytes));
    let mut read = join_all(asked).await;
    assert_eq!(read.pop().unwrap().unwrap()[0].payload[..], *text(1, 2).as_bytes());
    assert!(read.pop().unwrap().unwrap().is_empty(), "there is no such link");
    assert!(read.pop().unwrap().unwrap().is_empty(), "there is no such stream");
    for (number, read) in read.into_iter().enumerate() {
        if number == 7 {
            assert!(read.unwrap_err().to_string().contains("damaged"));
            continue;
        }
        if number == 9 {
            assert!(read.unwrap_err().to_string().contains("out of range"));
            continue;
        }
        let read = read.unwrap();
        assert_eq!(read.len(), if number.is_multiple_of(2) { 1 } else { 3 }, "of peer {number}");
        for (n, followed) in read.iter().enumerate() {
            assert_eq!(followed.payload[..], *text(number, n).as_bytes());
        }
    }
}
