//! The table of the messages that wait for acknowledgement.

use std::collections::HashMap;
use std::time::SystemTime;

use paddington_exchange::store::{NewMessage, StoredMessage, StoredStream};
use paddington_wire::{Instance, MessageId, Payload, PeerName};
use rusqlite::{Connection, OptionalExtension, Row, Rows, Statement, params};

use crate::error::Fault;
use crate::expiries::Expiries;
use crate::pieces::{self, COLUMNS, Messages, StreamRow};
use crate::row::{self, Expiry, blob, loaded, stored};
use crate::streams::{self, Known, Place, StreamId, Streams};

/// The most messages that one transaction removes: a peer that returns after a long time
/// acknowledges many at once, and other peers wait meanwhile.
const MAX_TRIM: i64 = 1_024;

/// The columns of a stream that [`stream_rows`] reads.
pub(crate) const STREAMS: &str =
    "SELECT id, peer, age, instance, checksum, mark, mark_checksum FROM stream";

/// The statements of the tables.
pub(crate) struct Table<'c> {
    begin: Statement<'c>,
    highest: Statement<'c>,
    free: Statement<'c>,
    streams: Statement<'c>,
    streams_of_peer: Statement<'c>,
    tidy: Statement<'c>,
    mark: Statement<'c>,
    insert: Statement<'c>,
    read: Statement<'c>,
    first: Statement<'c>,
    last: Statement<'c>,
    remove: Statement<'c>,
}

impl<'c> Table<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let prepare = |sql: &str| connection.prepare(sql);
        let within = "FROM message WHERE position BETWEEN ?1 AND ?2";
        Ok(Self {
            begin: prepare("INSERT INTO stream VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")?,
            highest: prepare("SELECT coalesce(max(id), 0) FROM stream")?,
            free: prepare(
                "SELECT coalesce(min(id), 0) FROM (SELECT 0 AS id UNION ALL SELECT id FROM stream) \
                 WHERE id + 1 NOT IN (SELECT id FROM stream)",
            )?,
            streams: prepare(STREAMS)?,
            streams_of_peer: prepare(&format!("{STREAMS} WHERE peer = ?1 ORDER BY age"))?,
            tidy: prepare("DELETE FROM stream WHERE id = ?1")?,
            mark: prepare(
                "UPDATE stream SET mark = ?2, mark_checksum = ?3 WHERE id = ?1 AND mark < ?2",
            )?,
            insert: prepare("INSERT INTO message VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")?,
            read: prepare(&format!("SELECT {COLUMNS} {within} ORDER BY position"))?,
            first: prepare(&format!("SELECT position, number {within} ORDER BY position LIMIT 1"))?,
            last: prepare(&format!(
                "SELECT position, number {within} ORDER BY position DESC LIMIT 1"
            ))?,
            remove: prepare(&format!("DELETE {within}"))?,
        })
    }

    /// Places a new message, and begins its stream if that is new.
    pub(crate) fn place(
        &mut self,
        known: &mut Streams,
        peer: &PeerName,
        message: &NewMessage,
    ) -> Result<Place, Fault> {
        let of_peer = known.of(peer, || self.known(peer))?;
        let index = match streams::continued(of_peer, message.id)? {
            Some(index) => index,
            None => {
                let begun = self.begin(of_peer, peer, message.id)?;
                of_peer.push(begun);
                of_peer.len() - 1
            }
        };
        of_peer[index].place(pieces::rows(message.payload.len()))
    }

    /// Adds a message where [`place`](Self::place) has put it.
    pub(crate) fn append(
        &mut self,
        peer: &PeerName,
        place: Place,
        message: &NewMessage,
        now: SystemTime,
    ) -> Result<(), Fault> {
        let NewMessage { id, payload, ttl, mark } = message;
        let Place { age, number, position, .. } = place;
        let expiry = ttl.map(|ttl| Expiry::new(now, ttl));
        let is_bytes = payload.is_bytes();
        let sum = pieces::sum(
            peer.as_str(),
            age,
            id.stream.as_bytes(),
            number,
            expiry,
            is_bytes,
            payload,
        );
        let (deadline, ttl) = expiry.map(|expiry| (expiry.deadline, expiry.ttl)).unzip();
        let (first, rest) = pieces::cut(payload);
        self.insert.execute(params![position, number, deadline, ttl, sum, is_bytes, first])?;
        let none = None::<i64>;
        for (position, piece) in (position + 1..).zip(rest) {
            self.insert.execute(params![position, number, none, none, none, none, piece])?;
        }
        mark.map_or(Ok(()), |mark| self.raise_mark(place.stream, id.stream, mark))
    }

    /// Raises the transmission mark of a stream, whose messages may all be removed meanwhile.
    pub(crate) fn mark(
        &mut self,
        peer: &PeerName,
        stream: Instance,
        mark: u64,
    ) -> Result<(), Fault> {
        let rows = stream_rows(self.streams_of_peer.query([peer.as_str()])?)?;
        let row = rows.into_iter().find(|row| row.instance == stream);
        row.map_or(Ok(()), |row| self.raise_mark(row.id, stream, mark))
    }

    fn raise_mark(&mut self, id: StreamId, stream: Instance, mark: u64) -> Result<(), Fault> {
        let mark = stored(mark)?;
        let sum = StreamRow::mark_checksum(id, stream.as_bytes(), mark);
        self.mark.execute([id.0, mark, sum])?;
        Ok(())
    }

    /// Reads messages from `first` on.
    pub(crate) fn read(
        &mut self,
        known: &mut Streams,
        peer: &PeerName,
        first: MessageId,
        max_bytes: usize,
    ) -> Result<Vec<Payload>, Fault> {
        let Some(stream) = self.stream(known, peer, first.stream)? else { return Ok(Vec::new()) };
        let start = self.find(stream.id, stored(first.number)?)?;
        let row = StreamRow {
            id: stream.id,
            peer: peer.as_str().to_owned(),
            age: stream.age,
            instance: stream.instance,
            mark: StreamRow::ALL, // payloads are read whatever it is
        };
        let rows = self.read.query([start, stream.id.rows().end])?;
        let (mut messages, mut found, mut bytes) = (Messages::new(rows), Vec::new(), 0);
        while let Some(message) = messages.next()? {
            message.check(&row)?;
            let number = first.number + found.len() as u64;
            if loaded(message.number)? != number {
                if found.is_empty() {
                    break;
                }
                let stream = first.stream;
                return Err(Fault::refused(format!("message {stream}/{number} is missing")));
            }
            bytes += message.bytes.len();
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(message.payload());
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
        let Some(stream) = self.stream(known, peer, stream)? else { return Ok(true) };
        let Some((start, first)) = at(&mut self.first, stream.id)? else { return Ok(true) };
        let end = upto.min(first.saturating_add(MAX_TRIM - 1));
        if first <= end {
            let kept = self.find(stream.id, end.saturating_add(1))?;
            self.remove.execute([start, kept - 1])?;
        }
        Ok(end == upto || at(&mut self.first, stream.id)?.is_none())
    }

    /// Removes messages of a failed transaction, which may have been stored all the same.
    pub(crate) fn withdraw(&mut self, stream: StreamId, from: i64) -> Result<(), Fault> {
        self.remove.execute([from, stream.rows().end])?;
        Ok(())
    }

    /// Reads all messages of all peers, and fails if anything is damaged.
    pub(crate) fn load_all(
        &mut self,
        now: SystemTime,
    ) -> Result<HashMap<PeerName, Vec<StoredStream>>, Fault> {
        let rows = stream_rows(self.streams.query(())?)?;
        self.check_owners(&rows)?;
        let mut found: HashMap<PeerName, Vec<StoredStream>> = HashMap::new();
        let (now, mut expiries) = (row::millis(now), Expiries::default());
        for row in &rows {
            let Some(stream) = self.load_stream(row, now, &mut expiries)? else { continue };
            let peer = row.peer.parse();
            let peer: PeerName = peer.map_err(|_| Fault::refused("a stored name is not valid"))?;
            let streams = found.entry(peer).or_default();
            if streams.iter().any(|known| known.instance == row.instance) {
                let StreamRow { peer, instance, .. } = row;
                return Err(Fault::refused(format!(
                    "stream {instance} is stored twice, for {peer}"
                )));
            }
            streams.push(stream);
        }
        expiries.log();
        Ok(found)
    }

    /// Reads all messages of one peer, and fails if any is damaged.
    pub(crate) fn load(&mut self, peer: &PeerName) -> Result<Vec<StoredStream>, Fault> {
        let rows = stream_rows(self.streams_of_peer.query([peer.as_str()])?)?;
        let (now, mut expiries) = (row::millis(SystemTime::now()), Expiries::default());
        let mut found = Vec::new();
        for row in &rows {
            found.extend(self.load_stream(row, now, &mut expiries)?);
        }
        Ok(found)
    }

    /// Reads one stream; `None` if it is empty.
    fn load_stream(
        &mut self,
        row: &StreamRow,
        now: i64,
        expiries: &mut Expiries,
    ) -> Result<Option<StoredStream>, Fault> {
        let rows = row.id.rows();
        let mut messages = Messages::new(self.read.query([rows.start, rows.end])?);
        let mut stream: Option<StoredStream> = None;
        while let Some(joined) = messages.next()? {
            let expiry = joined.check(row)?;
            expiries.count(expiry, now);
            let message = row::message(joined.bytes.len(), expiry, now)?;
            add(&mut stream, row, loaded(joined.number)?, message)?;
        }
        Ok(stream)
    }

    /// Fails if a message belongs to no stream.
    fn check_owners(&mut self, rows: &[StreamRow]) -> Result<(), Fault> {
        let mut ids: Vec<_> = rows.iter().map(|row| row.id.rows()).collect();
        ids.sort_unstable_by_key(|rows| rows.start);
        let mut start = i64::MIN;
        for rows in ids.into_iter().chain(std::iter::once(i64::MAX..i64::MAX)) {
            let between = self.first.query_row([start, rows.start - 1], position_and_number);
            if between.optional()?.is_some() {
                return Err(Fault::refused("the stream of a stored message is missing"));
            }
            start = rows.end.saturating_add(1);
        }
        Ok(())
    }

    fn stream(
        &mut self,
        known: &mut Streams,
        peer: &PeerName,
        instance: Instance,
    ) -> Result<Option<Known>, Fault> {
        let streams = known.of(peer, || self.known(peer))?;
        Ok(streams.iter().find(|known| known.instance == instance).copied())
    }

    /// Finds the streams of a peer that have messages, with two look-ups for each.
    fn known(&mut self, peer: &PeerName) -> Result<Vec<Known>, Fault> {
        let mut found = Vec::new();
        for row in stream_rows(self.streams_of_peer.query([peer.as_str()])?)? {
            let StreamRow { id, age, instance, .. } = row;
            let Some((position, number)) = at(&mut self.last, id)? else { continue };
            found.push(Known { id, age, instance, next: number + 1, end: position + 1 });
        }
        Ok(found)
    }

    /// Begins a stream after those of a peer that are `known`. Empty ones are removed: a stream is
    /// begun once in the life of a service. If it was itself empty, its mark is kept.
    fn begin(
        &mut self,
        known: &mut Vec<Known>,
        peer: &PeerName,
        id: MessageId,
    ) -> Result<Known, Fault> {
        let mut mark = 0;
        for row in stream_rows(self.streams_of_peer.query([peer.as_str()])?)? {
            if at(&mut self.first, row.id)?.is_none() {
                self.tidy.execute([row.id.0])?;
                known.retain(|known| known.id != row.id);
                mark = if row.instance == id.stream { row.mark } else { mark };
            }
        }
        let highest = self.highest.query_row((), |row| row.get(0))?;
        let id_of = match StreamId::after(highest) {
            Some(id) => Some(id),
            None => StreamId::after(self.free.query_row((), |row| row.get(0))?),
        };
        let stream = id_of.ok_or_else(|| Fault::refused("there are too many streams"))?;
        let age = known.last().map_or(0, |known| known.age + 1);
        let (peer, instance) = (peer.as_str(), id.stream.as_bytes());
        let sum = StreamRow::checksum(stream, peer, age, instance);
        let mark_sum = StreamRow::mark_checksum(stream, instance, mark);
        self.begin.execute(params![stream.0, peer, age, instance, sum, mark, mark_sum])?;
        let (next, end) = (stored(id.number)?, stream.rows().start);
        Ok(Known { id: stream, age, instance: id.stream, next, end })
    }

    /// Finds the position of the first message of a stream whose number is `number` or higher; if
    /// there is none, a position after all of them. The numbers grow with the positions.
    fn find(&mut self, stream: StreamId, number: i64) -> Result<i64, Fault> {
        let (Some(first), Some(last)) = (at(&mut self.first, stream)?, at(&mut self.last, stream)?)
        else {
            return Ok(stream.rows().end);
        };
        let (mut low, mut high) = (first.0, last.0 + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self.first.query_row([middle, last.0], position_and_number)?;
            if row.1 < number { low = row.0 + 1 } else { high = middle }
        }
        Ok(low)
    }
}

/// Reads the rows of streams, oldest first, and fails if one is damaged.
pub(crate) fn stream_rows(mut rows: Rows<'_>) -> Result<Vec<StreamRow>, Fault> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let checked = || -> Result<StreamRow, Fault> {
            let (id, age) = (StreamId(row.get(0)?), row.get(2)?);
            let peer = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            let instance = blob(row, 3)?;
            if StreamRow::checksum(id, peer, age, instance) != row.get::<_, i64>(4)? {
                return Err(Fault::refused("its checksum is wrong"));
            }
            if !id.is_valid() {
                return Err(Fault::refused("there is no such id"));
            }
            let mark = row.get(5)?;
            if mark < 0 || StreamRow::mark_checksum(id, instance, mark) != row.get::<_, i64>(6)? {
                return Err(Fault::refused("the checksum of its mark is wrong"));
            }
            let instance = row::instance(instance)?;
            Ok(StreamRow { id, peer: peer.to_owned(), age, instance, mark })
        };
        let damaged = |fault| Fault::refused(format!("a stored stream is damaged: {fault}"));
        found.push(checked().map_err(damaged)?);
    }
    found.sort_by_key(|row| row.age);
    Ok(found)
}

/// Returns the position and number that a statement finds in a stream.
fn at(statement: &mut Statement<'_>, stream: StreamId) -> Result<Option<(i64, i64)>, Fault> {
    let rows = stream.rows();
    Ok(statement.query_row([rows.start, rows.end], position_and_number).optional()?)
}

fn position_and_number(row: &Row<'_>) -> rusqlite::Result<(i64, i64)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// Adds the next message to a stream, or begins it.
fn add(
    stream: &mut Option<StoredStream>,
    row: &StreamRow,
    number: u64,
    message: StoredMessage,
) -> Result<(), Fault> {
    let (instance, mark) = (row.instance, loaded(row.mark)?);
    let stream = stream.get_or_insert_with(|| StoredStream {
        instance,
        base: number,
        mark,
        messages: Vec::new(),
    });
    let next = stream.base + stream.messages.len() as u64;
    if number != next {
        let why = format!("message {instance}/{next} is missing, for {}", row.peer);
        return Err(Fault::refused(why));
    }
    stream.messages.push(message);
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
        let message = NewMessage { id, payload: "".into(), ttl: Some(HOUR), mark: None };
        let stored_at = SystemTime::UNIX_EPOCH + 500_000 * HOUR;
        let place = table.place(&mut Streams::default(), &peer, &message).unwrap();
        table.append(&peer, place, &message, stored_at).unwrap();
        let found = table.load_all(jump(stored_at)).unwrap();
        found[&peer][0].messages[0].ttl.unwrap()
    }

    #[test]
    fn a_stream_with_an_id_that_none_can_have_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        schema::create(&connection).unwrap();
        let mut table = Table::prepare(&connection).unwrap();
        for id in [i64::MIN, -1, 0, 1 << 19, 1 << 20, i64::MAX] {
            let sum = StreamRow::checksum(StreamId(id), "hub", 0, &[1; 16]);
            let mark_sum = StreamRow::mark_checksum(StreamId(id), &[1; 16], 0);
            let row = params![id, "hub", 0, [1_u8; 16], sum, 0, mark_sum];
            table.begin.execute(row).unwrap();
            assert!(table.load_all(SystemTime::now()).is_err(), "{id}");
            table.tidy.execute([id]).unwrap();
        }
    }

    /// Loads a message that a salvage has put in the place of a lost one.
    fn left_of_lost() -> Duration {
        let connection = Connection::open_in_memory().unwrap();
        schema::create(&connection).unwrap();
        let mut table = Table::prepare(&connection).unwrap();
        let peer: PeerName = "hub".parse().unwrap();
        let id = MessageId { stream: [1; 16].into(), number: 1 };
        let message = NewMessage { id, payload: "".into(), ttl: None, mark: None };
        let place = table.place(&mut Streams::default(), &peer, &message).unwrap();
        let Place { age, number, position, .. } = place;
        let lost = Expiry::LOST;
        let sum = pieces::sum("hub", age, id.stream.as_bytes(), number, Some(lost), false, &[]);
        let row = params![position, number, lost.deadline, lost.ttl, sum, false, b""];
        table.insert.execute(row).unwrap();
        let found = table.load_all(SystemTime::now()).unwrap();
        found[&peer][0].messages[0].ttl.unwrap()
    }

    #[test]
    fn a_clock_that_is_set_gives_no_more_than_the_time_to_live_and_is_logged() {
        let logs = paddington_test_support::capture_logs();
        assert_eq!(left_of_lost(), Duration::ZERO);
        assert_eq!(logs.lines(), Vec::<String>::new(), "a salvage has reported it");
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
