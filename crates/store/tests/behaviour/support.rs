//! Helpers of the store's tests.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use paddington_exchange::store::{
    Backlog, Cursors, Fence, LinkStore, Mailbox, NewMessage, Outbox, StoredCursor,
};
use paddington_store::SqliteStore;
use paddington_wire::{Instance, LinkId, MessageId, Payload};
use tempfile::TempDir;

/// A folder for one store, removed when the test ends.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A folder in memory, if there is one: for tests of many stores, whose syncs do not matter.
    pub(crate) fn in_memory() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { folder: folder.unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path()).unwrap()
    }
}

/// The mailbox of a link that belongs to this name.
pub(crate) fn mailbox(name: &str) -> Mailbox {
    let mut link = [0; LinkId::LEN];
    link.iter_mut().zip(name.bytes()).for_each(|(at, byte)| *at = byte);
    Mailbox { peer: name.parse().unwrap(), link: link.into() }
}

pub(crate) fn instance(byte: u8) -> Instance {
    [byte; Instance::LEN].into()
}

pub(crate) fn id(stream: u8, number: u64) -> MessageId {
    MessageId { stream: instance(stream), number }
}

pub(crate) fn message(stream: u8, number: u64, bytes: impl Into<Bytes>) -> NewMessage {
    NewMessage { id: id(stream, number), payload: payload(number, bytes), ttl: None, mark: None }
}

/// The payload of a message: text if its number is odd, otherwise bytes.
pub(crate) fn payload(number: u64, bytes: impl Into<Bytes>) -> Payload {
    if number % 2 == 1 { Payload::text(bytes) } else { Payload::bytes(bytes) }
}

pub(crate) fn cursor(stream: u8, completed: u64) -> StoredCursor {
    StoredCursor { instance: instance(stream), completed, finished: vec![] }
}

/// Appends messages `numbers` of a stream, each with its own text, and waits for all.
pub(crate) async fn fill(
    store: &SqliteStore,
    to: &Mailbox,
    stream: u8,
    numbers: impl Iterator<Item = u64>,
) {
    let answers: Vec<_> = numbers
        .map(|number| store.append(to, message(stream, number, text(stream, number))))
        .collect();
    for answer in answers {
        answer.await.unwrap();
    }
}

/// The text of a message that [`fill`] appended.
pub(crate) fn text(stream: u8, number: u64) -> String {
    format!("message {number} of stream {stream}")
}

/// Reads all messages of a peer, checks their texts, and returns their streams and numbers.
pub(crate) async fn stored(store: &SqliteStore, to: &Mailbox) -> Vec<(u8, u64)> {
    let mut found = Vec::new();
    for stream in store.streams(to).await.unwrap() {
        let byte = stream.instance.as_bytes()[0];
        let mut numbers = stream.base..stream.base + stream.messages.len() as u64;
        while let Some(first) = numbers.next() {
            let read = store.read(to, id(byte, first), 200).await.unwrap();
            assert!(!read.is_empty(), "message {first} is listed and cannot be read");
            for (number, read) in (first..).zip(read) {
                assert_eq!(read, payload(number, text(byte, number)));
                found.push((byte, number));
                if number != first {
                    numbers.next();
                }
            }
        }
    }
    found
}

/// Waits until the store accepts messages again, and returns how long that took.
pub(crate) async fn accepts_again(store: &SqliteStore) -> Duration {
    let started = std::time::Instant::now();
    paddington_test_support::eventually(|| async { store.health().failure.is_none() }).await;
    started.elapsed()
}

pub(crate) const FENCE: Fence = Fence(0);

/// Commits a cursor and waits for it.
pub(crate) async fn commit(store: &SqliteStore, from: &Mailbox, cursor: StoredCursor) {
    Cursors::commit(store, from, cursor, FENCE).await.unwrap();
}

/// Closes a store and waits for it.
pub(crate) async fn close(store: SqliteStore) {
    LinkStore::close(&store).await.unwrap();
}

/// Opens a store that was dropped a moment ago, once its thread has ended.
pub(crate) async fn open_again(place: &Place, keys: &[u64]) -> SqliteStore {
    let mut opened = SqliteStore::open_sealed(place.path(), keys);
    paddington_test_support::eventually(|| {
        if opened.is_err() {
            opened = SqliteStore::open_sealed(place.path(), keys);
        }
        let is_open = opened.is_ok();
        async move { is_open }
    })
    .await;
    opened.unwrap()
}
