//! A backlog that has filled its disk is removed while the disk stays full.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use paddington_exchange::store::{
    Backlog, Cursors, Fence, LinkStore, NewMessage, Outbox, StoredCursor,
};
use paddington_store::SqliteStore;
use paddington_wire::{MessageId, Payload};

use crate::facts::{payload, peer, stream};
use crate::faults::SmallDisk;

/// The result of the trial.
#[derive(Clone, Debug, Default)]
pub struct Drained {
    /// Messages that were accepted until the disk was full.
    pub accepted: u64,
    /// Messages that were found again after each restart on the full disk.
    pub found: u64,
    /// The reason why a message was refused while the disk was full.
    pub refused: String,
    /// Changes that were not durable in time on the full disk.
    pub stuck: u64,
    /// The time until a message was accepted, once all others were removed.
    pub again: Duration,
}

const STREAM: u8 = 1;
const PATIENCE: Duration = Duration::from_secs(10);

/// Fills a small disk with a backlog, and its last corners with other files; acknowledges, restarts
/// and removes on it. Returns `None` if a small disk cannot be mounted.
#[must_use]
pub fn run() -> Option<Drained> {
    let small = SmallDisk::mount()?;
    let path = small.path().join("store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Some(runtime.block_on(drain(&small, &path)))
}

async fn drain(small: &SmallDisk, path: &Path) -> Drained {
    let mut drained = Drained::default();
    let store = SqliteStore::open(path).unwrap();
    let hub = peer(0);
    let append = |store: &SqliteStore, number| {
        let id = MessageId { stream: stream(STREAM), number };
        let payload = [&payload(0, STREAM, number)[..], &[7; 4_000]].concat();
        let payload = Payload::bytes(payload);
        store.append(&hub, NewMessage { id, payload, ttl: None, mark: None })
    };
    loop {
        let first = drained.accepted + 1;
        let answers: Vec<_> = (first..first + 64).map(|number| append(&store, number)).collect();
        for answer in answers {
            drained.accepted += u64::from(answer.await.is_ok());
        }
        if drained.accepted + 1 < first + 64 {
            break;
        }
        assert!(drained.accepted < 50_000, "the disk is not full");
    }
    // The store has had its chance to give the reserve up; everything but that is taken by others.
    until(|| store.health().failure.is_some()).await;
    fill_but(small.path(), 12 * 1024 * 1024);
    let cursor = |completed| StoredCursor { instance: stream(9), completed, finished: vec![] };
    let third = drained.accepted / 3;
    drained.stuck += u64::from(!removes(&store, third).await);
    let commit = Cursors::commit(&store, &hub, cursor(7), Fence(0));
    drained.stuck += u64::from(!in_time(commit).await);
    let next = drained.accepted + 1;
    drained.refused = append(&store, next).await.unwrap_err().to_string();
    drained.stuck += u64::from(!in_time(store.close()).await);

    // What opens on the full disk goes on where it was.
    let store = SqliteStore::open(path).unwrap();
    let streams = store.streams(&hub).await.unwrap();
    drained.found = streams[0].messages.len() as u64 + third;
    drained.stuck += u64::from(store.cursors(&hub).await.unwrap() != [cursor(7)]);
    drained.stuck += u64::from(append(&store, next).await.is_ok());
    drained.stuck += u64::from(!removes(&store, drained.accepted).await);
    let since = Instant::now();
    while append(&store, next).await.is_err() && since.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drained.again = since.elapsed();
    drained.stuck += u64::from(!in_time(store.close()).await);
    drained
}

async fn removes(store: &SqliteStore, upto: u64) -> bool {
    let upto = MessageId { stream: stream(STREAM), number: upto };
    in_time(store.trim(&peer(0), upto, Fence(0))).await
}

async fn in_time<T, E>(answer: impl Future<Output = Result<T, E>>) -> bool {
    tokio::time::timeout(PATIENCE, answer).await.is_ok_and(|answer| answer.is_ok())
}

async fn until(is: impl Fn() -> bool) {
    while !is() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Writes a file that leaves `room` bytes of the disk.
fn fill_but(folder: &Path, room: usize) {
    let kept = folder.join("kept");
    // Without a reserve there is less.
    let _ = fs::write(&kept, vec![1; room]);
    let mut filler = fs::File::create(folder.join("filler")).unwrap();
    while filler.write_all(&[1; 4_096]).is_ok() {}
    fs::remove_file(kept).unwrap();
}
