//! The statement that stores messages, and what it answers.

use paddington_exchange::store::{Accepted, Mailbox, ReplicaId, Signal};
use paddington_wire::{Instance, MessageId};
use tokio_postgres::Row;

use crate::connect::Connection;
use crate::error::Fault;
use crate::round::{Part, Waiting};
use crate::row::{self, column, loaded};

const APPEND: &str = "SELECT streams, firsts, stored, owners, waiting, bytes FROM \
                      append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
const CREATE: &str = "SELECT create_links($1, $2, $3)";

/// What has become of the messages of one link.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) stream: Instance,
    pub(crate) first: u64,
    /// How many of them are stored: the first ones.
    pub(crate) count: usize,
    /// What else is known, unless the answer was read later.
    pub(crate) before: Option<Before>,
}

impl Stored {
    /// Returns how many bytes waited for the link before, if that is known.
    pub(crate) fn waited(&self) -> Option<u64> {
        self.before.as_ref().map(|before| before.bytes)
    }
}

/// The state of a link before its messages were stored.
#[derive(Debug)]
pub(crate) struct Before {
    owner: Option<ReplicaId>,
    messages: u64,
    bytes: u64,
}

/// Who writes, and the number of its batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) writer: Instance,
    pub(crate) number: i64,
    pub(crate) by: i32,
}

/// Stores a round. Rows of new links are created first.
pub(crate) async fn append(
    connection: &Connection,
    batch: Batch,
    round: &[Part],
) -> Result<Vec<Stored>, Fault> {
    if let Some(stored) = try_append(connection, batch, round).await? {
        return Ok(stored);
    }
    create(connection, round.iter().map(|part| &part.mailbox)).await?;
    let gone = || Fault::refused("the mailbox was removed a moment ago");
    try_append(connection, batch, round).await?.ok_or_else(gone)
}

/// Creates the rows of links that have none.
pub(crate) async fn create(
    connection: &Connection,
    mailboxes: impl Iterator<Item = &Mailbox>,
) -> Result<(), Fault> {
    let (ids, names): (Vec<&[u8]>, Vec<&str>) =
        mailboxes.map(|mailbox| (&mailbox.link.as_bytes()[..], mailbox.peer.as_str())).unzip();
    connection.rows(CREATE, &[&ids, &names, &connection.timeline]).await?;
    Ok(())
}

async fn try_append(
    connection: &Connection,
    batch: Batch,
    round: &[Part],
) -> Result<Option<Vec<Stored>>, Fault> {
    let mut columns = Columns::default();
    for (link, part) in (1..).zip(round) {
        columns.add(link, part);
    }
    let Batch { writer, number, by } = batch;
    let answer = connection
        .row(
            APPEND,
            &[
                &&writer.as_bytes()[..],
                &number,
                &by,
                &connection.timeline,
                &columns.links,
                &columns.counts,
                &columns.bytes,
                &columns.link,
                &columns.at,
                &columns.sum,
                &columns.max_messages,
                &columns.max_bytes,
                &columns.ttl,
                &columns.checksum,
                &columns.is_bytes,
                &columns.body,
            ],
        )
        .await?;
    if column::<Option<Vec<&[u8]>>>(&answer, 0)?.is_none() {
        return Ok(None);
    }
    let mut stored = numbers(&answer)?;
    let owners: Vec<Option<i32>> = column(&answer, 3)?;
    let (messages, bytes): (Vec<i64>, Vec<i64>) = (column(&answer, 4)?, column(&answer, 5)?);
    for (stored, (owner, (messages, bytes))) in
        stored.iter_mut().zip(owners.into_iter().zip(messages.into_iter().zip(bytes)))
    {
        let owner = owner.map(row::replica);
        let (messages, bytes) = (loaded(messages)?, loaded(bytes)?);
        stored.before = Some(Before { owner, messages, bytes });
    }
    Ok(Some(stored))
}

/// Reads streams, first numbers and counts.
pub(crate) fn numbers(answer: &Row) -> Result<Vec<Stored>, Fault> {
    let (streams, firsts): (Vec<&[u8]>, Vec<i64>) = (column(answer, 0)?, column(answer, 1)?);
    let counts: Vec<i64> = column(answer, 2)?;
    let of_link = |((stream, first), count): ((&[u8], i64), i64)| {
        Ok(Stored {
            stream: row::instance(stream)?,
            first: loaded(first)?,
            count: usize::try_from(count).map_err(|_| Fault::refused("a count is negative"))?,
            before: None,
        })
    };
    streams.into_iter().zip(firsts).zip(counts).map(of_link).collect()
}

/// The arguments of the statement: links, and the columns of messages.
#[derive(Debug, Default)]
struct Columns<'r> {
    links: Vec<&'r [u8]>,
    counts: Vec<i64>,
    bytes: Vec<i64>,
    link: Vec<i32>,
    at: Vec<i64>,
    sum: Vec<i64>,
    max_messages: Vec<i64>,
    max_bytes: Vec<i64>,
    ttl: Vec<Option<i64>>,
    checksum: Vec<i64>,
    is_bytes: Vec<bool>,
    body: Vec<&'r [u8]>,
}

impl<'r> Columns<'r> {
    fn add(&mut self, link: i32, part: &'r Part) {
        let mut sum = 0;
        for (at, waiting) in (1..).zip(&part.messages) {
            let submission = &waiting.submission;
            sum += row::at_most(waiting.len() as u64);
            self.link.push(link);
            self.at.push(at);
            self.sum.push(sum);
            self.max_messages.push(row::at_most(submission.bounds.messages));
            self.max_bytes.push(row::at_most(submission.bounds.bytes));
            self.ttl.push(submission.ttl.map(row::ttl));
            self.checksum.push(waiting.checksum);
            self.is_bytes.push(submission.payload.is_bytes());
            self.body.push(&submission.payload);
        }
        self.links.push(part.mailbox.link.as_bytes());
        self.counts.push(row::at_most(part.messages.len() as u64));
        self.bytes.push(sum);
    }
}

/// Answers the messages of one link that are stored, and those that would exceed their bounds. Leaves
/// the rest: behind the first one that did not fit there may be others that do. Returns how many bytes are stored.
pub(crate) fn answer(part: &mut Part, stored: &Stored) -> u64 {
    let mut bytes = 0;
    for number in (stored.first..).take(stored.count) {
        let Some(waiting) = part.messages.pop_front() else { return bytes };
        bytes += waiting.len() as u64;
        let id = MessageId { stream: stored.stream, number };
        let _ = waiting.waiter.send(Ok(Accepted::Stored(id)));
    }
    let Some(before) = &stored.before else { return bytes };
    let (messages, there) = (before.messages + stored.count as u64, before.bytes + bytes);
    let is_full = |waiting: &Waiting| {
        let bounds = waiting.submission.bounds;
        messages + 1 > bounds.messages || there + waiting.len() as u64 > bounds.bytes
    };
    for waiting in std::mem::take(&mut part.messages) {
        if is_full(&waiting) {
            let _ = waiting.waiter.send(Ok(Accepted::Full { messages, bytes: there }));
        } else {
            part.messages.push_back(waiting);
        }
    }
    bytes
}

/// Whom to tell that messages of a link are stored.
pub(crate) fn told(part: &Part, stored: &Stored) -> Option<(ReplicaId, Signal)> {
    let owner = stored.before.as_ref()?.owner?;
    let count = u64::try_from(stored.count).ok().filter(|count| *count > 0)?;
    let number = stored.first + count - 1;
    Some((owner, Signal::Appended { link: part.mailbox.link, stream: stored.stream, number }))
}
