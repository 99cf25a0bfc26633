//! The table of the messages that wait for acknowledgement.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::Bytes;
use paddington_exchange::store::{NewMessage, StoredMessage, StoredStream};
use paddington_wire::{Instance, MessageId, PeerName};
use rusqlite::{Connection, OptionalExtension, Row, Rows, Statement, params};
use tracing::warn;

use crate::error::Fault;
use crate::row::{self, Expiry, blob, checksum, loaded, stored};
use crate::streams::{self, Known, Streams};

/// The most messages that one transaction removes: a peer that returns after a long time
/// acknowledges many at once, and other peers wait meanwhile.
const MAX_TRIM: i64 = 1_024;

/// The statements of the table.
pub(crate) struct Table<'c> {
    insert: Statement<'c>,
    read: Statement<'c>,
    first: Statement<'c>,
    last: Statement<'c>,
    oldest_after: Statement<'c>,
    trim: Statement<'c>,
    withdraw: Statement<'c>,
    all: Statement<'c>,
    all_of_peer: Statement<'c>,
}

impl<'c> Table<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let of_stream = "FROM outbox WHERE peer = ?1 AND age = ?2";
        let row =
            "SELECT peer, age, instance, number, deadline, ttl, checksum, payload FROM outbox";
        let sorted = "ORDER BY peer, age, number";
        let prepare = |sql: String| connection.prepare(&sql);
        Ok(Self {
            insert: connection
                .prepare("INSERT INTO outbox VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?,
            read: prepare(format!(
                "{row} WHERE peer = ?1 AND age = ?2 AND number >= ?3 ORDER BY number"
            ))?,
            first: prepare(format!("SELECT number {of_stream} ORDER BY number LIMIT 1"))?,
            last: prepare(format!("SELECT number {of_stream} ORDER BY number DESC LIMIT 1"))?,
            oldest_after: prepare(
                "SELECT age, instance FROM outbox WHERE peer = ?1 AND age > ?2 \
                 ORDER BY age, number LIMIT 1"
                    .to_owned(),
            )?,
            trim: prepare(format!("DELETE {of_stream} AND number <= ?3"))?,
            withdraw: prepare(format!("DELETE {of_stream} AND number >= ?3"))?,
            all: prepare(format!("{row} {sorted}"))?,
            all_of_peer: prepare(format!("{row} WHERE peer = ?1 {sorted}"))?,
        })
    }

    /// Places a new message: returns the age of its stream, and its number.
    pub(crate) fn place(
        &mut self,
        known: &mut Streams,
        peer: &PeerName,
        id: MessageId,
    ) -> Result<(i64, i64), Fault> {
        streams::place(known.of(peer, || self.known(peer))?, id)
    }

    /// Adds a message where [`place`](Self::place) has put it.
    pub(crate) fn append(
        &mut self,
        peer: &PeerName,
        (age, number): (i64, i64),
        message: &NewMessage,
        now: SystemTime,
    ) -> Result<(), Fault> {
        let NewMessage { id, payload, ttl } = message;
        let expiry = ttl.map(|ttl| Expiry::new(now, ttl));
        let (peer, instance, payload): (_, _, &[u8]) =
            (peer.as_str(), id.stream.as_bytes(), payload);
        let checksum = sum(peer, age, instance, number, expiry, payload);
        let (deadline, ttl) = expiry.map(|expiry| (expiry.deadline, expiry.ttl)).unzip();
        self.insert
            .execute(params![peer, age, instance, number, deadline, ttl, checksum, payload])?;
        Ok(())
    }

    /// Reads messages from `first` on.
    pub(crate) fn read(
        &mut self,
        known: &mut Streams,
        peer: &PeerName,
        first: MessageId,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, Fault> {
        let Some(age) = self.age(known, peer, first.stream)? else { return Ok(Vec::new()) };
        let mut rows = self.read.query(params![peer.as_str(), age, stored(first.number)?])?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let message = Stored::of(row)?;
            let number = first.number + found.len() as u64;
            if message.number != number {
                if found.is_empty() {
                    break;
                }
                let stream = first.stream;
                return Err(Fault::refused(format!("message {stream}/{number} is missing")));
            }
            bytes += message.payload.len();
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(Bytes::copy_from_slice(message.payload));
        }
        Ok(found)
    }

    /// Removes messages up to `upto`, and returns whether none of them is left.
    pub(crate) fn trim(
        &mut self,
        known: &mut Streams,
        peer: &PeerName,
        stream: Instance,
        upto: u64,
    ) -> Result<bool, Fault> {
        let upto = stored(upto).unwrap_or(i64::MAX);
        let Some(age) = self.age(known, peer, stream)? else { return Ok(true) };
        let Some(first) = number(&mut self.first, peer, age)? else { return Ok(true) };
        let end = upto.min(first.saturating_add(MAX_TRIM - 1));
        if first <= end {
            self.trim.execute(params![peer.as_str(), age, end])?;
        }
        Ok(end == upto || number(&mut self.first, peer, age)?.is_none())
    }

    /// Removes messages of a failed transaction, which may have been stored all the same.
    pub(crate) fn withdraw(&mut self, peer: &PeerName, age: i64, from: i64) -> Result<(), Fault> {
        self.withdraw.execute(params![peer.as_str(), age, from])?;
        Ok(())
    }

    /// Reads all messages of all peers, and fails if anything is damaged.
    pub(crate) fn load_all(
        &mut self,
        now: SystemTime,
    ) -> Result<HashMap<PeerName, Vec<StoredStream>>, Fault> {
        load(self.all.query(())?, now)
    }

    /// Reads all messages of one peer, and fails if any is damaged.
    pub(crate) fn load(&mut self, peer: &PeerName) -> Result<Vec<StoredStream>, Fault> {
        let mut found = load(self.all_of_peer.query([peer.as_str()])?, SystemTime::now())?;
        Ok(found.remove(peer).unwrap_or_default())
    }

    fn age(
        &mut self,
        known: &mut Streams,
        peer: &PeerName,
        stream: Instance,
    ) -> Result<Option<i64>, Fault> {
        let streams = known.of(peer, || self.known(peer))?;
        Ok(streams.iter().find(|known| known.instance == stream).map(|known| known.age))
    }

    /// Finds the streams of a peer, with one look-up for each.
    fn known(&mut self, peer: &PeerName) -> Result<Vec<Known>, Fault> {
        let mut found: Vec<Known> = Vec::new();
        loop {
            let after = found.last().map_or(-1, |known| known.age);
            let next = self
                .oldest_after
                .query_row(params![peer.as_str(), after], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
                })
                .optional()?;
            let Some((age, instance)) = next else { return Ok(found) };
            let instance = row::instance(&instance)?;
            let last = number(&mut self.last, peer, age)?.unwrap_or_default();
            found.push(Known { age, instance, next: last + 1 });
        }
    }
}

/// A row whose checksum is right.
struct Stored<'r> {
    peer: &'r str,
    age: i64,
    instance: Instance,
    number: u64,
    expiry: Option<Expiry>,
    payload: &'r [u8],
}

impl<'r> Stored<'r> {
    /// Checks a row. Errors quote none of its values, because a damaged row may hold a payload in
    /// any column.
    fn of(row: &'r Row<'_>) -> Result<Self, Fault> {
        let checked = || -> Result<Self, Fault> {
            let peer = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            let (instance, payload) = (blob(row, 2)?, blob(row, 7)?);
            let (age, number) = (row.get(1)?, row.get(3)?);
            let (deadline, ttl) = (row.get::<_, Option<i64>>(4)?, row.get::<_, Option<i64>>(5)?);
            let expiry = deadline.zip(ttl).map(|(deadline, ttl)| Expiry { deadline, ttl });
            let is_whole = deadline.is_some() == ttl.is_some();
            let checksum = sum(peer, age, instance, number, expiry, payload);
            if !is_whole || checksum != row.get::<_, i64>(6)? {
                return Err(Fault::refused("its checksum is wrong"));
            }
            let instance = row::instance(instance)?;
            Ok(Self { peer, age, instance, number: loaded(number)?, expiry, payload })
        };
        checked().map_err(|fault| Fault::refused(format!("a stored message is damaged: {fault}")))
    }
}

fn sum(
    peer: &str,
    age: i64,
    instance: &[u8],
    number: i64,
    expiry: Option<Expiry>,
    payload: &[u8],
) -> i64 {
    let expiry = expiry.map(|expiry| [expiry.deadline.to_le_bytes(), expiry.ttl.to_le_bytes()]);
    let expiry = expiry.as_ref().map_or(&[][..], |expiry| expiry.as_flattened());
    let (age, number) = (age.to_le_bytes(), number.to_le_bytes());
    checksum(&[peer.as_bytes(), &age, instance, &number, expiry, payload])
}

fn number(
    statement: &mut Statement<'_>,
    peer: &PeerName,
    age: i64,
) -> rusqlite::Result<Option<i64>> {
    statement.query_row(params![peer.as_str(), age], |row| row.get(0)).optional()
}

/// Builds the streams of all peers from rows that are sorted by peer, age and number.
fn load(
    mut rows: Rows<'_>,
    now: SystemTime,
) -> Result<HashMap<PeerName, Vec<StoredStream>>, Fault> {
    let now = row::millis(now);
    let mut expiries = Expiries::default();
    let mut peers: HashMap<PeerName, Vec<StoredStream>> = HashMap::new();
    let mut current: Option<(PeerName, i64)> = None;
    while let Some(row) = rows.next()? {
        let Stored { peer, age, instance, number, expiry, payload } = Stored::of(row)?;
        let message = row::message(payload.len(), expiry, now)?;
        expiries.count(expiry, now);
        let same_stream =
            |(name, its_age): &(PeerName, i64)| name.as_str() == peer && *its_age == age;
        let goes_on = current.as_ref().is_some_and(same_stream);
        if !goes_on {
            let peer = peer.parse().map_err(|_| Fault::refused("a stored name is not valid"))?;
            current = Some((peer, age));
        }
        let Some((peer, _)) = &current else { continue };
        let streams = peers.entry(peer.clone()).or_default();
        let added = if goes_on {
            add(streams, instance, number, message)
        } else {
            begin(streams, instance, number, message)
        };
        added.map_err(|why| Fault::refused(format!("{why}, for {peer}")))?;
    }
    expiries.log();
    Ok(peers)
}

/// Numbers of messages whose remaining time shows that the clock was set, or may do so.
#[derive(Debug, Default)]
struct Expiries {
    capped: u64,
    over: u64,
}

impl Expiries {
    fn count(&mut self, expiry: Option<Expiry>, now: i64) {
        self.capped += u64::from(expiry.is_some_and(|expiry| expiry.is_clock_back(now)));
        self.over += u64::from(expiry.is_some_and(|expiry| expiry.deadline <= now));
    }

    fn log(&self) {
        if self.capped > 0 {
            warn!(
                messages = self.capped,
                "the clock was set back while messages were stored: their time to live begins again"
            );
        }
        if self.over > 0 {
            warn!(
                messages = self.over,
                "the time to live of stored messages is over, by the clock of this machine"
            );
        }
    }
}

/// Adds the next message of a stream.
fn add(
    streams: &mut [StoredStream],
    instance: Instance,
    number: u64,
    message: StoredMessage,
) -> Result<(), String> {
    let Some(stream) = streams.last_mut() else { return Err("a stream is missing".to_owned()) };
    let next = stream.base + stream.messages.len() as u64;
    if stream.instance != instance || number != next {
        return Err(format!("message {}/{next} is missing", stream.instance));
    }
    stream.messages.push(message);
    Ok(())
}

/// Adds the first message of a stream.
fn begin(
    streams: &mut Vec<StoredStream>,
    instance: Instance,
    base: u64,
    message: StoredMessage,
) -> Result<(), String> {
    if streams.iter().any(|stream| stream.instance == instance) {
        return Err(format!("stream {instance} is stored twice"));
    }
    streams.push(StoredStream { instance, base, messages: vec![message] });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::schema;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// Stores a message for an hour by a clock that is set by `jump` before it is loaded.
    fn left_after(jump: impl FnOnce(SystemTime) -> SystemTime) -> Duration {
        let connection = Connection::open_in_memory().unwrap();
        schema::create(&connection).unwrap();
        let mut table = Table::prepare(&connection).unwrap();
        let peer: PeerName = "hub".parse().unwrap();
        let id = MessageId { stream: [1; 16].into(), number: 1 };
        let message = NewMessage { id, payload: Bytes::new(), ttl: Some(HOUR) };
        let stored_at = SystemTime::UNIX_EPOCH + 500_000 * HOUR;
        table.append(&peer, (0, 1), &message, stored_at).unwrap();
        let found = table.load_all(jump(stored_at)).unwrap();
        found[&peer][0].messages[0].ttl.unwrap()
    }

    #[test]
    fn a_clock_that_is_set_gives_no_more_than_the_time_to_live_and_is_logged() {
        let logs = paddington_test_support::capture_logs();
        assert_eq!(left_after(|at| at + HOUR / 4), HOUR * 3 / 4);
        assert_eq!(logs.lines(), Vec::<String>::new());
        assert_eq!(left_after(|at| at - 100_000 * HOUR), HOUR);
        let lines = logs.lines();
        assert!(lines.len() == 1 && lines[0].contains("the clock was set back"), "{lines:?}");
        assert_eq!(left_after(|at| at + 100_000 * HOUR), Duration::ZERO);
        let lines = logs.lines();
        assert!(lines.len() == 2 && lines[1].contains("by the clock of this"), "{lines:?}");
    }
}
