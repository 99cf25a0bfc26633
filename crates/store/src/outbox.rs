//! The table of the messages that wait for acknowledgement.

use std::collections::HashMap;
use std::time::SystemTime;

use paddington_exchange::store::parts::unix_millis;
use paddington_exchange::store::{Mailbox, NewMessage, StoredMessage, StoredStream};
use paddington_wire::{Instance, LinkId, MessageId, Payload};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use crate::error::Fault;
use crate::expiries::Expiries;
use crate::pieces::{self, COLUMNS, Messages};
use crate::row::{self, Expiry, Owner, loaded, stored};
use crate::stream_row::{STREAMS, StreamRow, stream_rows};
use crate::streams::{self, Known, Place, StreamId, Streams};

/// The most messages that one transaction removes: a peer that returns after a long time
/// acknowledges many at once, and other peers wait meanwhile.
const MAX_TRIM: i64 = 1_024;

/// The statements of the tables.
pub(crate) struct Table<'c> {
    begin: Statement<'c>,
    highest: Statement<'c>,
    free: Statement<'c>,
    streams: Statement<'c>,
    streams_of_link: Statement<'c>,
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
            begin: prepare("INSERT INTO stream VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?,
            highest: prepare("SELECT coalesce(max(id), 0) FROM stream")?,
            free: prepare(
                "SELECT coalesce(min(id), 0) FROM (SELECT 0 AS id UNION ALL SELECT id FROM stream) \
                 WHERE id + 1 NOT IN (SELECT id FROM stream)",
            )?,
            streams: prepare(STREAMS)?,
            streams_of_link: prepare(&format!("{STREAMS} WHERE link = ?1 ORDER BY age"))?,
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
        mailbox: &Mailbox,
        message: &NewMessage,
    ) -> Result<Place, Fault> {
        let of_link = known.of(mailbox.link, || self.known(mailbox.link))?;
        let index = match streams::continued(of_link, message.id)? {
            Some(index) => index,
            None => {
                let begun = self.begin(of_link, mailbox, message.id)?;
                of_link.push(begun);
                of_link.len() - 1
            }
        };
        of_link[index].place(pieces::rows(message.payload.len()))
    }

    /// Adds a message where [`place`](Self::place) has put it.
    pub(crate) fn append(
        &mut self,
        mailbox: &Mailbox,
        place: Place,
        message: &NewMessage,
        now: SystemTime,
    ) -> Result<(), Fault> {
        let NewMessage { id, payload, ttl, mark } = message;
        let expiry = ttl.map(|ttl| Expiry::new(now, ttl));
        self.put(mailbox.link, id.stream, place, expiry, payload)?;
        mark.map_or(Ok(()), |mark| self.raise_mark(place.stream, id.stream, mark))
    }

    /// Writes the rows of a message.
    pub(crate) fn put(
        &mut self,
        link: LinkId,
        stream: Instance,
        place: Place,
        expiry: Option<Expiry>,
        payload: &Payload,
    ) -> Result<(), Fault> {
        let Place { age, number, position, .. } = place;
        let is_bytes = payload.is_bytes();
        let sum = pieces::sum(link, age, stream.as_bytes(), number, expiry, is_bytes, payload);
        let (deadline, ttl) = expiry.map(|expiry| (expiry.deadline, expiry.ttl)).unzip();
        let (first, rest) = pieces::cut(payload);
        self.insert.execute(params![position, number, deadline, ttl, sum, is_bytes, first])?;
        let none = None::<i64>;
        for (position, piece) in (position + 1..).zip(rest) {
            self.insert.execute(params![position, number, none, none, none, none, piece])?;
        }
        Ok(())
    }

    /// Raises the transmission mark of a stream, whose messages may all be removed meanwhile.
    pub(crate) fn mark(
        &mut self,
        mailbox: &Mailbox,
        stream: Instance,
        mark: u64,
    ) -> Result<(), Fault> {
        let rows = self.rows_of(mailbox.link)?;
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
        mailbox: &Mailbox,
        first: MessageId,
        max_bytes: usize,
    ) -> Result<Vec<Payload>, Fault> {
        let Some(stream) = self.stream(known, mailbox.link, first.stream)? else {
            return Ok(Vec::new());
        };
        let start = self.find(stream.id, stored(first.number)?)?;
        let row = StreamRow {
            id: stream.id,
            mailbox: mailbox.clone(),
            age: stream.age,
            instance: stream.instance,
            begun: 0,             // as for the mark
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
        mailbox: &Mailbox,
        stream: Instance,
        upto: u64,
    ) -> Result<bool, Fault> {
        let upto = stored(upto).unwrap_or(i64::MAX);
        let Some(stream) = self.stream(known, mailbox.link, stream)? else { return Ok(true) };
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

    /// Reads all messages of all mailboxes, and fails if anything is damaged.
    pub(crate) fn load_all(
        &mut self,
        now: SystemTime,
    ) -> Result<HashMap<Mailbox, Vec<StoredStream>>, Fault> {
        let rows = stream_rows(self.streams.query(())?)?;
        self.check_owners(&rows)?;
        let mut found: HashMap<Mailbox, Vec<StoredStream>> = HashMap::new();
        let (now, mut expiries) = (unix_millis(now), Expiries::default());
        for row in &rows {
            let Some(stream) = self.load_stream(row, now, &mut expiries)? else { continue };
            let streams = found.entry(row.mailbox.clone()).or_default();
            if streams.iter().any(|known| known.instance == row.instance) {
                let StreamRow { mailbox: Mailbox { peer, .. }, instance, .. } = row;
                return Err(Fault::refused(format!(
                    "stream {instance} is stored twice, for {peer}"
                )));
            }
            streams.push(stream);
        }
        expiries.log();
        Ok(found)
    }

    /// Reads all messages of one mailbox, and fails if any is damaged.
    pub(crate) fn load(&mut self, mailbox: &Mailbox) -> Result<Vec<StoredStream>, Fault> {
        let rows = self.rows_of(mailbox.link)?;
        let (now, mut expiries) = (unix_millis(SystemTime::now()), Expiries::default());
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
        link: LinkId,
        instance: Instance,
    ) -> Result<Option<Known>, Fault> {
        let streams = known.of(link, || self.known(link))?;
        Ok(streams.iter().find(|known| known.instance == instance).copied())
    }

    fn rows_of(&mut self, link: LinkId) -> Result<Vec<StreamRow>, Fault> {
        stream_rows(self.streams_of_link.query([link.as_bytes()])?)
    }

    /// Finds the streams of a mailbox that have messages, with two look-ups for each.
    fn known(&mut self, link: LinkId) -> Result<Vec<Known>, Fault> {
        let mut found = Vec::new();
        for row in self.rows_of(link)? {
            let StreamRow { id, age, instance, .. } = row;
            let Some((position, number)) = at(&mut self.last, id)? else { continue };
            found.push(Known { id, age, instance, next: number + 1, end: position + 1 });
        }
        Ok(found)
    }

    /// Begins a stream after those of a mailbox that are `known`. Empty ones are removed: a stream is
    /// begun once in the life of a service. If it was itself empty, its mark is kept.
    fn begin(
        &mut self,
        known: &mut Vec<Known>,
        mailbox: &Mailbox,
        id: MessageId,
    ) -> Result<Known, Fault> {
        let mut mark = 0;
        for row in self.rows_of(mailbox.link)? {
            if at(&mut self.first, row.id)?.is_none() {
                self.tidy.execute([row.id.0])?;
                known.retain(|known| known.id != row.id);
                mark = if row.instance == id.stream { row.mark } else { mark };
            }
        }
        let row = StreamRow {
            id: self.unused_id()?,
            mailbox: mailbox.clone(),
            age: known.last().map_or(0, |known| known.age + 1),
            instance: id.stream,
            begun: unix_millis(SystemTime::now()),
            mark,
        };
        self.add_stream(&row)?;
        Ok(row.known(stored(id.number)?))
    }

    /// Writes the row of a stream.
    pub(crate) fn add_stream(&mut self, row: &StreamRow) -> Result<(), Fault> {
        let StreamRow { id, mailbox, age, instance, begun, mark } = row;
        let (owner, instance) = (Owner::from(mailbox), instance.as_bytes());
        let sum = StreamRow::checksum(*id, owner, *age, instance, *begun);
        let mark_sum = StreamRow::mark_checksum(*id, instance, *mark);
        let Owner { link, peer } = owner;
        self.begin.execute(params![id.0, link, peer, age, instance, begun, sum, mark, mark_sum])?;
        Ok(())
    }

    /// Returns an id that no stream has.
    pub(crate) fn unused_id(&mut self) -> Result<StreamId, Fault> {
        let highest = self.highest.query_row((), |row| row.get(0))?;
        let id = match StreamId::after(highest) {
            Some(id) => Some(id),
            None => StreamId::after(self.free.query_row((), |row| row.get(0))?),
        };
        id.ok_or_else(|| Fault::refused("there are too many streams"))
    }

    /// Removes a stream with all its messages.
    pub(crate) fn remove_stream(&mut self, id: StreamId) -> Result<(), Fault> {
        self.withdraw(id, id.rows().start)?;
        self.tidy.execute([id.0])?;
        Ok(())
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
        let why = format!("message {instance}/{next} is missing, for {}", row.mailbox.peer);
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

    fn hub() -> Mailbox {
        Mailbox { peer: "hub".parse().unwrap(), link: [7; LinkId::LEN].into() }
    }

    /// Stores a message for an hour by a clock that is set by `jump` before it is loaded.
    fn left_after(jump: impl FnOnce(SystemTime) -> SystemTime) -> Duration {
        let connection = Connection::open_in_memory().unwrap();
        schema::create(&connection, None).unwrap();
        let mut table = Table::prepare(&connection).unwrap();
        let hub = hub();
        let id = MessageId { stream: [1; 16].into(), number: 1 };
        let message = NewMessage { id, payload: "".into(), ttl: Some(HOUR), mark: None };
        let stored_at = SystemTime::UNIX_EPOCH + 500_000 * HOUR;
        let place = table.place(&mut Streams::default(), &hub, &message).unwrap();
        table.append(&hub, place, &message, stored_at).unwrap();
        let found = table.load_all(jump(stored_at)).unwrap();
        found[&hub][0].messages[0].ttl.unwrap()
    }

    #[test]
    fn a_stream_with_an_id_that_none_can_have_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        schema::create(&connection, None).unwrap();
        let mut table = Table::prepare(&connection).unwrap();
        for id in [i64::MIN, -1, 0, 1 << 19, 1 << 20, i64::MAX] {
            let (hub, instance) = (hub(), [1_u8; 16]);
            let sum = StreamRow::checksum(StreamId(id), Owner::from(&hub), 0, &instance, 0);
            let mark_sum = StreamRow::mark_checksum(StreamId(id), &instance, 0);
            let link = hub.link.as_bytes();
            let row = params![id, link, "hub", 0, instance, 0, sum, 0, mark_sum];
            table.begin.execute(row).unwrap();
            assert!(table.load_all(SystemTime::now()).is_err(), "{id}");
            table.tidy.execute([id]).unwrap();
        }
    }

    /// Loads a message that a salvage has put in the place of a lost one.
    fn left_of_lost() -> Duration {
        let connection = Connection::open_in_memory().unwrap();
        schema::create(&connection, None).unwrap();
        let mut table = Table::prepare(&connection).unwrap();
        let hub = hub();
        let id = MessageId { stream: [1; 16].into(), number: 1 };
        let message = NewMessage { id, payload: "".into(), ttl: None, mark: None };
        let place = table.place(&mut Streams::default(), &hub, &message).unwrap();
        let Place { age, number, position, .. } = place;
        let lost = Expiry::LOST;
        let sum = pieces::sum(hub.link, age, id.stream.as_bytes(), number, Some(lost), false, &[]);
        let row = params![position, number, lost.deadline, lost.ttl, sum, false, b""];
        table.insert.execute(row).unwrap();
        let found = table.load_all(SystemTime::now()).unwrap();
        found[&hub][0].messages[0].ttl.unwrap()
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
