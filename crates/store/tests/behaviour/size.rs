//! The bytes that messages take on the disk, compared with what the bound on the outbox counts.

use std::path::Path;

use paddington_exchange::store::{Backlog, Outbox};

use crate::support::{FENCE, Place, close, id, mailbox, message};

/// Appends about three megabytes in messages of `len` bytes each, to some peers in turn, and
/// returns their number and the bytes that the closed store takes.
async fn disk(len: usize, peers: u64) -> (u64, u64) {
    let place = Place::new();
    let store = place.open();
    let names: Vec<_> = (0..peers).map(|number| mailbox(&format!("peer-{number}"))).collect();
    let each = (3_000_000 / (len as u64 + 24) / peers).clamp(5, 5_000);
    let mut answers = Vec::new();
    for number in 1..=each {
        answers.extend(names.iter().map(|to| store.append(to, message(1, number, vec![7; len]))));
    }
    for answer in answers {
        answer.await.unwrap();
    }
    close(store).await;
    (each * peers, bytes_on_disk(&place.path()))
}

fn bytes_on_disk(path: &Path) -> u64 {
    let log = format!("{}-wal", path.display());
    let len = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    len(path) + len(log.as_ref())
}

#[tokio::test]
async fn messages_take_little_more_room_than_their_payload() {
    for peers in [1, 8] {
        for len in [
            256, 480, 490, 700, 1_000, 1_024, 2_000, 3_000, 4_060, 4_070, 4_096, 4_560, 5_000,
            5_100, 6_000, 8_000, 8_650, 9_200, 12_000, 16_384, 16_400, 18_900, 20_000, 65_536,
        ] {
            let (messages, bytes) = disk(len, peers).await;
            let ratio = bytes as f64 / (messages * len as u64) as f64;
            println!("{peers} peers, {len} B: {ratio:.2} of the payload");
            assert!(ratio <= 1.25, "{peers} peers, {len} B: {ratio:.2}");
        }
    }
}

#[tokio::test]
async fn the_bound_counts_what_the_disk_holds() {
    for peers in [1, 8] {
        for len in [0, 1, 20, 100, 500, 700, 1_300, 3_000, 6_000, 30_000, 300_000] {
            let (messages, bytes) = disk(len, peers).await;
            let counted = messages * (24 + len as u64);
            let ratio = bytes as f64 / counted as f64;
            println!("{peers} peers, {len} B: {ratio:.2} of what is counted");
            let max = if len < 20 { 1.4 } else { 1.25 };
            assert!((0.95..=max).contains(&ratio), "{peers} peers, {len} B: {ratio:.2}");
        }
    }
}

#[tokio::test]
async fn what_one_peer_keeps_does_not_hold_the_room_of_others() {
    let place = Place::new();
    let store = place.open();
    let (dead, alive) = (mailbox("dead"), mailbox("alive"));
    let mut answers = Vec::new();
    for number in 1..=1_000 {
        answers.push(store.append(&dead, message(1, number, vec![7; 300])));
        for at in 0..9 {
            answers.push(store.append(&alive, message(1, number * 9 - 8 + at, vec![7; 300])));
        }
    }
    for answer in answers {
        answer.await.unwrap();
    }
    store.trim(&alive, id(1, 9_000), FENCE).await.unwrap();
    close(store).await;
    let pages = |sql: &str| {
        let raw = rusqlite::Connection::open(place.path()).unwrap();
        raw.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap()
    };
    let used = pages("PRAGMA page_count") - pages("PRAGMA freelist_count");
    let bytes = used * pages("PRAGMA page_size");
    assert!(bytes as f64 <= 1.5 * 324_000.0, "{bytes}");
}
