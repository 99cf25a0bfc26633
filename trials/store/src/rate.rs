//! The number of messages that a store accepts in a second, compared with the disk and SQLite
//! alone.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use paddington_exchange::store::{LinkStore, NewMessage, Outbox};
use paddington_store::SqliteStore;
use paddington_wire::{MessageId, Payload};
use rusqlite::{Connection, params};

use crate::facts::{peer, stream};

/// The length of a message.
const LEN: usize = 256;

/// The rate of some senders.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Accepted messages per second.
    pub accepted: f64,
    /// Messages in a transaction, on average.
    pub group: f64,
}

/// Measures everything and prints it, in `rounds` of a second each: store and SQLite in turns,
/// because a disk is not as fast in one second as in the next. Returns whether all bars are met.
#[must_use]
pub fn all(rounds: u64) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut good = true;
    for (senders, peers) in [(1, 1), (64, 1), (64, 64)] {
        let (mut syncs, mut rates, mut groups, mut raws, mut shares) =
            (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..rounds {
            syncs.push(1.0 / fsync_p50(&folder.path().join("probe")).as_secs_f64());
            let second = Duration::from_secs(1);
            let rate = senders_rate(&folder.path().join("store"), senders, peers, second);
            let raw = raw_rate(&folder.path().join("raw"), rate.group, peers, second);
            rates.push(rate.accepted);
            groups.push(rate.group);
            raws.push(raw);
            shares.push(rate.accepted / raw);
        }
        let [syncs, rate, group, raw, share] = [syncs, rates, groups, raws, shares].map(median);
        let bar = if senders == 1 { 0.5 * syncs } else { 20_000.0 };
        report(&format!(
            "{senders} senders, {peers} peers: {rate:.0} accepted/s (bar {bar:.0}) in groups of \
             {group:.1}; fsync p50: {syncs:.0} per second; SQLite alone, in the same groups: \
             {raw:.0}/s, so {share:.2} of it (bar 0.8)"
        ));
        // One sender waits for each answer, and SQLite alone does not.
        good &= rate >= bar && (senders == 1 || share >= 0.8);
    }
    good
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Measures the median time of a sync of a small write, in the folder of `path`.
#[must_use]
pub fn fsync_p50(path: &Path) -> Duration {
    let mut file = File::create(path).unwrap();
    let one = |_| {
        file.write_all(&[7; 4096]).unwrap();
        let started = Instant::now();
        file.sync_all().unwrap();
        started.elapsed()
    };
    let mut times: Vec<_> = (0..500).map(one).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Measures `senders` tasks that each append and wait, again and again.
#[must_use]
pub fn senders_rate(path: &Path, senders: usize, peers: usize, time: Duration) -> Rate {
    let _ = std::fs::remove_file(path);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let store = Arc::new(SqliteStore::open(path).unwrap());
    let numbers: Vec<_> = (0..peers).map(|_| Arc::new(tokio::sync::Mutex::new(0))).collect();
    let accepted = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..senders)
        .map(|sender| {
            let name = peer((sender % peers) as u8);
            let number = Arc::clone(&numbers[sender % peers]);
            let (store, accepted) = (Arc::clone(&store), Arc::clone(&accepted));
            let payload = Payload::bytes(vec![sender as u8; LEN]);
            runtime.spawn(async move {
                while started.elapsed() < time {
                    let mut number = number.lock().await;
                    *number += 1;
                    let id = MessageId { stream: stream(1), number: *number };
                    let message =
                        NewMessage { id, payload: payload.clone(), ttl: None, mark: None };
                    let answer = store.append(&name, message);
                    drop(number);
                    answer.await.unwrap();
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    runtime.block_on(futures_util::future::join_all(tasks));
    let rate = accepted.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    let health = store.health();
    runtime.block_on(store.close()).unwrap();
    Rate { accepted: rate, group: health.appended as f64 / health.commits as f64 }
}

/// Measures SQLite alone with the same settings and the same rows, in groups of the same size.
#[must_use]
pub fn raw_rate(path: &Path, group: f64, peers: usize, time: Duration) -> f64 {
    let _ = std::fs::remove_file(path);
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA auto_vacuum = INCREMENTAL;
             PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;
             CREATE TABLE message(position INTEGER PRIMARY KEY, number INTEGER NOT NULL,
                 deadline INTEGER, ttl INTEGER, checksum INTEGER, is_bytes INTEGER, payload BLOB NOT NULL);",
        )
        .unwrap();
    let mut insert =
        connection.prepare("INSERT INTO message VALUES(?1, ?2, NULL, NULL, ?3, 1, ?4)").unwrap();
    let body = [7_u8; LEN];
    let started = Instant::now();
    let (mut done, mut owed) = (0_usize, 0.0);
    while started.elapsed() < time {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        owed += group;
        while owed >= 1.0 {
            let number = (done / peers) as i64;
            let position = ((done % peers) as i64 + 1) << 44 | number;
            insert.execute(params![position, number, 12_345, body]).unwrap();
            done += 1;
            owed -= 1.0;
        }
        connection.execute_batch("COMMIT").unwrap();
    }
    done as f64 / started.elapsed().as_secs_f64()
}

#[expect(clippy::print_stdout, reason = "a trial prints what it measures")]
pub(crate) fn report(line: &str) {
    println!("{line}");
}
