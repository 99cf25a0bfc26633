//! Helpers of the store's tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use paddington_exchange::store::{
    Accepted, Bounds, Claim, Claimed, Fence, LinkStore, Mailbox, SharedStore, Signal, Signals,
    StoredCursor, Submission,
};
use paddington_store_postgres::{PostgresConfig, PostgresStore};
use paddington_test_support::PostgresServer;
use paddington_wire::{Instance, LinkId, MessageId, Payload};

/// A schema for one test.
pub(crate) struct Place {
    pub(crate) server: &'static PostgresServer,
    pub(crate) schema: String,
}

/// Returns a schema that nobody else uses; ends the test where there is no PostgreSQL.
macro_rules! place {
    () => {
        match crate::support::Place::new() {
            Some(place) => place,
            None => return,
        }
    };
}
pub(crate) use place;

impl Place {
    pub(crate) fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let schema = format!("test_{now:x}_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Some(Self { server: PostgresServer::shared()?, schema })
    }

    pub(crate) fn config(&self) -> PostgresConfig {
        config(&self.server.url(), &self.schema)
    }

    /// A new replica.
    pub(crate) async fn open(&self) -> Arc<PostgresStore> {
        self.open_with(LEASE).await
    }

    /// A new replica with a lease of its own. With a long one, it beats rarely.
    pub(crate) async fn open_with(&self, lease: Duration) -> Arc<PostgresStore> {
        PostgresStore::open(&self.config().with_lease(lease)).await.unwrap()
    }

    /// Runs SQL in the schema.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.server.sql(&format!("SET search_path = {}; {sql}", self.schema))
    }

    /// Ends the sessions of a replica of which the schema and this condition are true.
    pub(crate) fn terminate(&self, condition: &str) {
        self.sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {condition}"
        ));
    }

    /// Ends the session that holds the lock of a replica.
    pub(crate) fn terminate_lock(&self, store: &PostgresStore) {
        let lock = "SELECT value FROM meta WHERE key = 'lock'";
        let holds = format!(
            "SELECT l.pid FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = ({lock})::oid \
             AND l.objid = {}::oid",
            store.replica()
        );
        self.terminate(&format!("pid IN ({holds})"));
    }
}

pub(crate) fn config(url: &str, schema: &str) -> PostgresConfig {
    PostgresConfig::new("hub".parse().unwrap(), url).with_schema(schema).with_lease(LEASE)
}

/// Makes a second database, which is named like the schema, and returns the URLs of both.
pub(crate) fn two_databases(place: &Place) -> Vec<String> {
    place.server.sql(&format!("CREATE DATABASE {}", place.schema));
    let second = place.server.url().replace("/postgres?", &format!("/{}?", place.schema));
    vec![place.server.url(), second]
}

pub(crate) const LEASE: Duration = Duration::from_secs(4);

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
    at(instance(stream), number)
}

pub(crate) fn at(stream: Instance, number: u64) -> MessageId {
    MessageId { stream, number }
}

pub(crate) const NO_BOUNDS: Bounds = Bounds { messages: u64::MAX, bytes: u64::MAX };

pub(crate) fn submission(number: u64, bytes: impl Into<Bytes>) -> Submission {
    Submission { payload: payload(number, bytes), ttl: None, bounds: NO_BOUNDS }
}

/// The payload of a message: text if its number is odd, otherwise bytes.
pub(crate) fn payload(number: u64, bytes: impl Into<Bytes>) -> Payload {
    if number % 2 == 1 { Payload::text(bytes) } else { Payload::bytes(bytes) }
}

pub(crate) fn cursor(stream: u8, completed: u64) -> StoredCursor {
    StoredCursor { instance: instance(stream), completed, finished: vec![] }
}

/// Accepts a message, and returns its id.
pub(crate) async fn accept(store: &PostgresStore, to: &Mailbox, text: &str) -> MessageId {
    match store.accept(to, submission(1, text.to_owned())).await.unwrap() {
        Accepted::Stored(id) => id,
        full @ Accepted::Full { .. } => panic!("{full:?}"),
    }
}

/// Accepts messages with the texts `numbers`, all at once, and returns their ids.
pub(crate) async fn fill(
    store: &PostgresStore,
    to: &Mailbox,
    numbers: impl Iterator<Item = u64>,
) -> Vec<MessageId> {
    let message = |number: u64| store.accept(to, submission(number, number.to_string()));
    let answers: Vec<_> = numbers.map(message).collect();
    let mut ids = Vec::new();
    for answer in answers {
        match answer.await.unwrap() {
            Accepted::Stored(id) => ids.push(id),
            full @ Accepted::Full { .. } => panic!("{full:?}"),
        }
    }
    ids
}

/// Reads the texts of all messages from `first` on.
pub(crate) async fn texts(
    store: &PostgresStore,
    of: &Mailbox,
    stream: Instance,
    first: u64,
) -> Vec<String> {
    use paddington_exchange::store::Backlog;
    let (mut found, mut next) = (Vec::new(), first);
    loop {
        let read = store.read(of, at(stream, next), 10_000).await.unwrap();
        if read.is_empty() {
            return found;
        }
        next += read.len() as u64;
        let text = |payload: &Payload| String::from_utf8(payload.to_vec()).unwrap();
        found.extend(read.iter().map(text));
    }
}

/// Claims a link that nobody else owns.
pub(crate) async fn claim(store: &PostgresStore, link: &Mailbox) -> Claim {
    claim_after(store, link, Fence::default()).await
}

/// Claims a link of which this replica knows a term.
pub(crate) async fn claim_after(store: &PostgresStore, link: &Mailbox, last: Fence) -> Claim {
    match store.claim(link, last).await.unwrap() {
        Claimed::Owned(claim) => *claim,
        held @ Claimed::Held(_) => panic!("{held:?}"),
    }
}

/// Claims a link once its owner is dead.
pub(crate) async fn claim_later(store: &PostgresStore, link: &Mailbox) -> Claim {
    loop {
        match store.claim(link, Fence::default()).await.unwrap() {
            Claimed::Owned(claim) => return *claim,
            Claimed::Held(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Waits for a signal that fits.
pub(crate) async fn heard(signals: &mut Signals, wanted: impl Fn(&Signal) -> bool) -> Signal {
    let hear = async {
        loop {
            let signal = signals.recv().await.unwrap();
            if wanted(&signal) {
                return signal;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), hear).await.unwrap()
}

/// Waits until a store accepts messages again.
pub(crate) async fn accepts_again(store: &PostgresStore) {
    paddington_test_support::eventually(|| async { store.health().failure.is_none() }).await;
}

pub(crate) fn is_stale<T: std::fmt::Debug>(
    result: Result<T, paddington_exchange::store::StoreError>,
) -> bool {
    result.unwrap_err().is_stale()
}
