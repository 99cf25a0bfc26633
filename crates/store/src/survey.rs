//! Counts what is in the mailboxes, step by step, so that messages need not wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use paddington_exchange::store::parts::from_unix_millis;
use paddington_exchange::store::{Mailbox, MailboxStatus};
use paddington_wire::LinkId;
use rusqlite::{Connection, Row, params};

use crate::cursors::{self, CURSORS};
use crate::error::Fault;
use crate::row::{Owner, loaded};
use crate::stream_row::{STREAMS, stream_rows};
use crate::streams::StreamId;

/// The most rows of messages that one step reads.
const MAX_STEP: i64 = 4_096;

/// A survey of all mailboxes, except those of some links.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Sorted.
    except: Vec<LinkId>,
    /// The mailboxes, once they are listed.
    found: Option<HashMap<LinkId, MailboxStatus>>,
    /// Streams whose messages are not counted yet.
    streams: Vec<Uncounted>,
}

/// A stream whose messages are not counted yet.
#[derive(Debug)]
struct Uncounted {
    id: StreamId,
    link: LinkId,
    begun: i64,
    /// The position from which on they are not.
    from: i64,
}

impl Survey {
    pub(crate) fn new(mut except: Vec<LinkId>) -> Self {
        except.sort_unstable();
        Self { except, found: None, streams: Vec::new() }
    }

    /// Goes on. Returns the mailboxes, sorted by name, if that was the last step.
    pub(crate) fn step(
        &mut self,
        connection: &Connection,
    ) -> Result<Option<Vec<MailboxStatus>>, Fault> {
        let found = match &mut self.found {
            Some(found) => found,
            None => self.found.insert(list(connection, &self.except, &mut self.streams)?),
        };
        let mut left = MAX_STEP;
        while let Some(stream) = self.streams.last_mut() {
            if let Some(status) = found.get_mut(&stream.link) {
                left -= stream.count(connection, status, left)?;
            }
            if left == 0 {
                return Ok(None);
            }
            self.streams.pop();
        }
        let mut found: Vec<_> = found.drain().map(|(_, status)| status).collect();
        found.sort_by(|one, other| {
            let (one, other) = (&one.mailbox, &other.mailbox);
            one.peer.cmp(&other.peer).then_with(|| one.cmp(other))
        });
        Ok(Some(found))
    }
}

impl Uncounted {
    /// Counts messages in `most` rows, and returns how many rows there were.
    fn count(
        &mut self,
        connection: &Connection,
        status: &mut MailboxStatus,
        most: i64,
    ) -> Result<i64, Fault> {
        let mut select = connection.prepare(
            "SELECT position, checksum IS NOT NULL, length(payload) FROM message \
             WHERE position BETWEEN ?1 AND ?2 ORDER BY position LIMIT ?3",
        )?;
        let mut rows = select.query(params![self.from, self.id.rows().end, most])?;
        let mut read = 0;
        while let Some(row) = rows.next()? {
            self.from = row.get::<_, i64>(0)?.saturating_add(1);
            status.messages += u64::from(row.get::<_, bool>(1)?);
            status.bytes += loaded(row.get(2)?)?;
            read += 1;
        }
        if read > 0 {
            let begun = from_unix_millis(self.begun);
            status.since = Some(status.since.map_or(begun, |since| since.min(begun)));
        }
        Ok(read)
    }
}

/// Lists the mailboxes in which there is anything, and their streams.
fn list(
    connection: &Connection,
    except: &[LinkId],
    streams: &mut Vec<Uncounted>,
) -> Result<HashMap<LinkId, MailboxStatus>, Fault> {
    let mut found = HashMap::new();
    let is_excepted = |link: &LinkId| except.binary_search(link).is_ok();
    for stream in stream_rows(connection.prepare(STREAMS)?.query(())?)? {
        let (id, begun, link) = (stream.id, stream.begun, stream.mailbox.link);
        if !is_excepted(&link) {
            status(&mut found, stream.mailbox);
            streams.push(Uncounted { id, link, begun, from: id.rows().start });
        }
    }
    let mut owners = |select: &str, check: fn(&Row<'_>) -> Result<(), Fault>, letters: u64| {
        let mut select = connection.prepare(select)?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            let mailbox = Owner::read(row, 0, 1)?.mailbox()?;
            if !is_excepted(&mailbox.link) {
                check(row)?;
                status(&mut found, mailbox).letters += letters;
            }
        }
        Ok::<_, Fault>(())
    };
    owners(CURSORS, |row| cursors::cursor(row).map(drop), 0)?;
    owners(cursors::ATTEMPTS, cursors::check_attempts, 0)?;
    // Whoever asks for the letters has them checked.
    owners("SELECT link, peer FROM dead_letter", |_| Ok(()), 1)?;
    Ok(found)
}

fn status(found: &mut HashMap<LinkId, MailboxStatus>, mailbox: Mailbox) -> &mut MailboxStatus {
    match found.entry(mailbox.link) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(MailboxStatus::new(mailbox)),
    }
}
