//! The table of the messages that wait.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::Bytes;
use paddington_exchange::store::{NewMessage, StoredMessage, StoredStream};
use paddington_wire::{Instance, MessageId, PeerName};
use rusqlite::{Connection, OptionalExtension, Row, Rows, Statement, params};

use crate::error::Fault;
use crate::row::{self, blob, checksum, loaded, stored};
use crate::streams::{self, Known, Streams};

/// How many messages are removed in one transaction: a peer that comes back after a long time
/// acknowledges many at once, and others wait meanwhile.
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
        let of_stream = "FROM outbox WHERE peer = ?1 AND ord = ?2";
        let row = "SELECT peer, ord, inc, seq, deadline, crc, body FROM outbox";
        let sorted = "ORDER BY peer, ord, seq";
        let prepare = |sql: String| connection.prepare(&sql);
        Ok(Self {
            insert: connection.prepare("INSERT INTO outbox VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")?,
            read: prepare(format!("{row} WHERE peer = ?1 AND ord = ?2 AND seq >= ?3 ORDER BY seq"))?,
            first: prepare(format!("SELECT seq {of_stream} ORDER BY seq LIMIT 1"))?,
            last: prepare(format!("SELECT seq {of_stream} ORDER BY seq DESC LIMIT 1"))?,
            oldest_after: prepare(
                "SELECT ord, inc FROM outbox WHERE peer = ?1 AND ord > ?2 ORDER BY ord, seq LIMIT 1"
                    .to_owned(),
            )?,
            trim: prepare(format!("DELETE {of_stream} AND seq <= ?3"))?,
            withdraw: prepare(format!("DELETE {of_stream} AND seq >= ?3"))?,
            all: prepare(format!("{row} {sorted}"))?,
            all_of_peer: prepare(format!("{row} WHERE peer = ?1 {sorted}"))?,
        })
    }

    /// Where a new message goes: its stream's age and its number.
    pub(crate) fn place(
        &mut self,
        known: &mut Streams,
        peer: &PeerName,
        id: MessageId,
    ) -> Result<(i64, i64), Fault> {
        streams::place(known.of(peer, || self.known(peer))?, id)
    }

    /// Adds a message in its [`place`](Self::place).
    pub(crate) fn append(
        &mut self,
        peer: &PeerName,
        (ord, number): (i64, i64),
        message: &NewMessage,
    ) -> Result<(), Fault> {
        let NewMessage { id, payload, ttl } = message;
        let deadline = row::deadline(SystemTime::now(), *ttl);
        let (inc, body): (_, &[u8]) = (id.stream.as_bytes(), payload);
        let crc = sum(peer.as_str(), ord, inc, number, deadline, body);
        self.insert.execute(params![peer.as_str(), ord, inc, number, deadline, crc, body])?;
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
        let Some(ord) = self.age(known, peer, first.stream)? else { return Ok(Vec::new()) };
        let mut rows = self.read.query(params![peer.as_str(), ord, stored(first.number)?])?;
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
            bytes += message.body.len();
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(Bytes::copy_from_slice(message.body));
        }
        Ok(found)
    }

    /// Removes messages up to `upto`, and says whether that was all.
    pub(crate) fn trim(
        &mut self,
        known: &mut Streams,
        peer: &PeerName,
        stream: Instance,
        upto: u64,
    ) -> Result<bool, Fault> {
        let upto = stored(upto).unwrap_or(i64::MAX);
        let Some(ord) = self.age(known, peer, stream)? else { return Ok(true) };
        let Some(first) = number(&mut self.first, peer, ord)? else { return Ok(true) };
        let end = upto.min(first.saturating_add(MAX_TRIM - 1));
        if first <= end {
            self.trim.execute(params![peer.as_str(), ord, end])?;
        }
        Ok(end == upto || number(&mut self.first, peer, ord)?.is_none())
    }

    /// Removes what turned out to be stored although it failed.
    pub(crate) fn withdraw(&mut self, peer: &PeerName, ord: i64, from: i64) -> Result<(), Fault> {
        self.withdraw.execute(params![peer.as_str(), ord, from])?;
        Ok(())
    }

    /// Reads everything of every peer, and fails if anything is not as it was written.
    pub(crate) fn load_all(&mut self) -> Result<HashMap<PeerName, Vec<StoredStream>>, Fault> {
        load(self.all.query(())?)
    }

    /// The same for one peer.
    pub(crate) fn load(&mut self, peer: &PeerName) -> Result<Vec<StoredStream>, Fault> {
        let mut found = load(self.all_of_peer.query([peer.as_str()])?)?;
        Ok(found.remove(peer).unwrap_or_default())
    }

    fn age(
        &mut self,
        known: &mut Streams,
        peer: &PeerName,
        stream: Instance,
    ) -> Result<Option<i64>, Fault> {
        let streams = known.of(peer, || self.known(peer))?;
        Ok(streams.iter().find(|known| known.instance == stream).map(|known| known.ord))
    }

    /// The streams of a peer, found by jumping from one to the next.
    fn known(&mut self, peer: &PeerName) -> Result<Vec<Known>, Fault> {
        let mut found: Vec<Known> = Vec::new();
        loop {
            let after = found.last().map_or(-1, |known| known.ord);
            let next = self
                .oldest_after
                .query_row(params![peer.as_str(), after], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
                })
                .optional()?;
            let Some((ord, instance)) = next else { return Ok(found) };
            let instance = row::instance(&instance)?;
            let last = number(&mut self.last, peer, ord)?.unwrap_or_default();
            found.push(Known { ord, instance, next: last + 1 });
        }
    }
}

/// A row whose checksum is right.
struct Stored<'r> {
    peer: &'r str,
    ord: i64,
    instance: Instance,
    number: u64,
    deadline: Option<i64>,
    body: &'r [u8],
}

impl<'r> Stored<'r> {
    /// A row that is damaged may have anything anywhere: nothing of it is repeated.
    fn of(row: &'r Row<'_>) -> Result<Self, Fault> {
        let checked = || -> Result<Self, Fault> {
            let peer = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            let (inc, body) = (blob(row, 2)?, blob(row, 6)?);
            let (ord, number, deadline) = (row.get(1)?, row.get(3)?, row.get(4)?);
            if sum(peer, ord, inc, number, deadline, body) != row.get::<_, i64>(5)? {
                return Err(Fault::refused("its checksum is wrong"));
            }
            let instance = row::instance(inc)?;
            Ok(Self { peer, ord, instance, number: loaded(number)?, deadline, body })
        };
        checked().map_err(|fault| Fault::refused(format!("a stored message is damaged: {fault}")))
    }
}

fn sum(peer: &str, ord: i64, inc: &[u8], number: i64, deadline: Option<i64>, body: &[u8]) -> i64 {
    let deadline = deadline.map(i64::to_le_bytes);
    let deadline = deadline.as_ref().map_or(&[][..], |deadline| &deadline[..]);
    checksum(&[peer.as_bytes(), &ord.to_le_bytes(), inc, &number.to_le_bytes(), deadline, body])
}

fn number(
    statement: &mut Statement<'_>,
    peer: &PeerName,
    ord: i64,
) -> rusqlite::Result<Option<i64>> {
    statement.query_row(params![peer.as_str(), ord], |row| row.get(0)).optional()
}

/// Puts rows together again that come sorted by peer, age and number.
fn load(mut rows: Rows<'_>) -> Result<HashMap<PeerName, Vec<StoredStream>>, Fault> {
    let now = row::millis(SystemTime::now());
    let mut peers: HashMap<PeerName, Vec<StoredStream>> = HashMap::new();
    let mut at: Option<(PeerName, i64)> = None;
    while let Some(row) = rows.next()? {
        let Stored { peer, ord, instance, number, deadline, body } = Stored::of(row)?;
        let message = row::message(body.len(), deadline, now)?;
        let goes_on = at.as_ref().is_some_and(|(at, age)| at.as_str() == peer && *age == ord);
        if !goes_on {
            let peer = peer.parse().map_err(|_| Fault::refused("a stored name is not a name"))?;
            at = Some((peer, ord));
        }
        let Some((peer, _)) = &at else { continue };
        let streams = peers.entry(peer.clone()).or_default();
        let added = if goes_on {
            add(streams, instance, number, message)
        } else {
            begin(streams, instance, number, message)
        };
        added.map_err(|why| Fault::refused(format!("{why}, for {peer}")))?;
    }
    Ok(peers)
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
        return Err(format!("stream {instance} is there twice"));
    }
    streams.push(StoredStream { instance, base, messages: vec![message] });
    Ok(())
}
