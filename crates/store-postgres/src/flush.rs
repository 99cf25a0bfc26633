//! The statements that write lazy changes and attempts, in one transaction.

use std::collections::BTreeMap;

use paddington_exchange::store::{Fate, Fence, StoredCursor};
use paddington_wire::link::Outcome;
use paddington_wire::{Instance, LinkId, MessageId};

use crate::connect::Connection;
use crate::error::Fault;
use crate::lazies::Lazies;
use crate::row::{at_most, column, stored};

/// A link, and the fence of whoever changes it.
pub(crate) type Key = (LinkId, Fence);

const BEGIN: &str = "BEGIN";
const COMMIT: &str = "COMMIT";
const ADVANCE: &str = "SELECT stale, unfinished, told_link, told_by FROM \
                       advance($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
const HANDLED: &str = "SELECT handled($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
const ATTEMPTS: &str = "SELECT count_attempts($1, $2, $3, $4, $5, $6, $7)";

/// An attempt that begins, or is taken back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) key: Key,
    pub(crate) id: MessageId,
    pub(crate) step: i32,
}

/// What a transaction has done.
#[derive(Debug, Default)]
pub(crate) struct Flushed {
    /// Those whose fence is not that of the owner.
    pub(crate) not_owners: Vec<Key>,
    /// Those whose fence is not that of the lane.
    pub(crate) not_in_lane: Vec<Key>,
    /// Trims that have more to remove.
    pub(crate) unfinished: Vec<(Key, Instance, u64)>,
    /// Messages of these links are removed that these replicas had accepted.
    pub(crate) told: Vec<(LinkId, i32)>,
    /// The count of each attempt; `None` if it is stale.
    pub(crate) counts: Vec<Option<i32>>,
}

/// Writes everything, or nothing.
pub(crate) async fn flush(
    connection: &Connection,
    replica: i32,
    lazies: &BTreeMap<Key, Lazies>,
    attempts: &[Attempt],
) -> Result<Flushed, Fault> {
    let advance = Advance::new(lazies)?;
    let handled = Handled::new(lazies)?;
    let counted = Counted::new(attempts)?;
    let mut flushed = Flushed::default();
    for sql in [BEGIN, COMMIT, ADVANCE, HANDLED, ATTEMPTS] {
        connection.prepare(sql).await?;
    }
    let parts = [advance.keys.is_empty(), handled.keys.is_empty(), attempts.is_empty()];
    let is_one = parts.iter().filter(|is_empty| !**is_empty).count() < 2;
    let ends = |sql| async move { if is_one { Ok(0) } else { connection.execute(sql, &[]).await } };
    // All of it is sent at once: the futures are polled in this order.
    let (began, advanced, handled_now, counts, committed) = tokio::join!(biased; ends(BEGIN),
        advance.run(connection, replica),
        handled.run(connection, replica),
        counted.run(connection, replica),
        ends(COMMIT),
    );
    began?;
    advance.note(advanced?, &mut flushed);
    flushed.not_in_lane = pick(&handled.keys, &handled_now?);
    flushed.counts = counts?;
    committed?;
    Ok(flushed)
}

/// Columns of fates: link, stream, number, kind, code and text.
type Fates<'l> = (Vec<i32>, Vec<&'l [u8]>, Vec<i64>, Vec<i32>, Vec<i32>, Vec<&'l str>);

/// What an owner writes: fates, marks and trims.
#[derive(Default)]
struct Advance<'l> {
    keys: Vec<Key>,
    fates: Fates<'l>,
    marks: (Vec<i32>, Vec<&'l [u8]>, Vec<i64>),
    trims: (Vec<i32>, Vec<&'l [u8]>, Vec<i64>),
    upto: Vec<(Key, Instance, u64)>,
}

/// Lists of indices from 1, any of which may be missing.
type Answered = (Vec<i32>, Vec<i32>, Vec<i32>, Vec<i32>);

impl<'l> Advance<'l> {
    fn new(lazies: &'l BTreeMap<Key, Lazies>) -> Result<Self, Fault> {
        let mut all = Self::default();
        let owners = lazies.iter().filter(|(_, lazies)| lazies.has_owners());
        for (link, (key, lazies)) in (1..).zip(owners) {
            all.keys.push(*key);
            lazies.fates.iter().try_for_each(|fate| all.fate(link, fate))?;
            for (stream, mark) in &lazies.marks {
                all.marks.0.push(link);
                all.marks.1.push(stream.as_bytes());
                all.marks.2.push(stored(*mark)?);
            }
            for (stream, upto) in &lazies.trims {
                all.trims.0.push(link);
                all.trims.1.push(stream.as_bytes());
                all.trims.2.push(at_most(*upto));
                all.upto.push((*key, *stream, *upto));
            }
        }
        Ok(all)
    }

    fn fate(&mut self, link: i32, fate: &'l Fate) -> Result<(), Fault> {
        let (kind, code) = match fate.outcome {
            Outcome::Rejected(code) => (1, i32::from(code.0)),
            Outcome::Expired => (2, 0),
            Outcome::TooLong => (3, 0),
            _ => return Ok(()),
        };
        let (links, streams, numbers, kinds, codes, said) = &mut self.fates;
        links.push(link);
        streams.push(fate.id.stream.as_bytes());
        numbers.push(stored(fate.id.number)?);
        kinds.push(kind);
        codes.push(code);
        said.push(fate.text.as_str());
        Ok(())
    }

    async fn run(&self, connection: &Connection, replica: i32) -> Result<Answered, Fault> {
        if self.keys.is_empty() {
            return Ok(Answered::default());
        }
        let (links, fences) = columns(&self.keys)?;
        let (fates, marks, trims) = (&self.fates, &self.marks, &self.trims);
        let row = connection
            .row(
                ADVANCE,
                &[
                    &replica, &links, &fences, &fates.0, &fates.1, &fates.2, &fates.3, &fates.4,
                    &fates.5, &marks.0, &marks.1, &marks.2, &trims.0, &trims.1, &trims.2,
                ],
            )
            .await?;
        let list = |at| Ok::<_, Fault>(column::<Option<Vec<i32>>>(&row, at)?.unwrap_or_default());
        Ok((list(0)?, list(1)?, list(2)?, list(3)?))
    }

    fn note(&self, answered: Answered, flushed: &mut Flushed) {
        let (stale, unfinished, links, by) = answered;
        flushed.not_owners = pick(&self.keys, &stale);
        flushed.unfinished = pick(&self.upto, &unfinished);
        let links = pick(&self.keys, &links).into_iter().map(|(link, _)| link);
        flushed.told = links.zip(by).collect();
    }
}

/// What whoever is in the lane writes: cursors.
#[derive(Default)]
struct Handled<'l> {
    keys: Vec<Key>,
    link: Vec<i32>,
    stream: Vec<&'l [u8]>,
    forget: Vec<bool>,
    replace: Vec<bool>,
    done: Vec<i64>,
    from: Vec<i32>,
    to: Vec<i32>,
    held: Vec<i64>,
}

impl<'l> Handled<'l> {
    fn new(lazies: &'l BTreeMap<Key, Lazies>) -> Result<Self, Fault> {
        let mut all = Self::default();
        let in_lane = lazies.iter().filter(|(_, lazies)| !lazies.cursors.is_empty());
        for (link, (key, lazies)) in (1..).zip(in_lane) {
            all.keys.push(*key);
            for (stream, change) in &lazies.cursors {
                all.link.push(link);
                all.stream.push(stream.as_bytes());
                all.forget.push(change.forgets());
                all.replace.push(change.cursor().is_some());
                all.cursor(change.cursor())?;
            }
        }
        Ok(all)
    }

    fn cursor(&mut self, cursor: Option<&StoredCursor>) -> Result<(), Fault> {
        let len = |held: &Vec<i64>| {
            i32::try_from(held.len()).map_err(|_| Fault::refused("too many numbers"))
        };
        self.from.push(len(&self.held)?.saturating_add(1));
        if let Some(cursor) = cursor {
            self.held.extend(cursor.finished.iter().map(|number| number.cast_signed()));
        }
        self.to.push(len(&self.held)?);
        self.done.push(cursor.map_or(Ok(0), |cursor| stored(cursor.completed))?);
        Ok(())
    }

    async fn run(&self, connection: &Connection, replica: i32) -> Result<Vec<i32>, Fault> {
        if self.keys.is_empty() {
            return Ok(Vec::new());
        }
        let (links, lanes) = columns(&self.keys)?;
        let row = connection
            .row(
                HANDLED,
                &[
                    &replica,
                    &links,
                    &lanes,
                    &self.link,
                    &self.stream,
                    &self.forget,
                    &self.replace,
                    &self.done,
                    &self.from,
                    &self.to,
                    &self.held,
                ],
            )
            .await?;
        Ok(column::<Option<Vec<i32>>>(&row, 0)?.unwrap_or_default())
    }
}

/// The arguments for attempts.
#[derive(Default)]
struct Counted<'a> {
    keys: Vec<Key>,
    link: Vec<i32>,
    stream: Vec<&'a [u8]>,
    number: Vec<i64>,
    step: Vec<i32>,
}

impl<'a> Counted<'a> {
    fn new(attempts: &'a [Attempt]) -> Result<Self, Fault> {
        let mut keys: Vec<Key> = attempts.iter().map(|attempt| attempt.key).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut all = Self { keys, ..Self::default() };
        for attempt in attempts {
            let at = all.keys.partition_point(|key| *key <= attempt.key);
            all.link.push(i32::try_from(at).map_err(|_| Fault::refused("too many attempts"))?);
            all.stream.push(attempt.id.stream.as_bytes());
            all.number.push(stored(attempt.id.number)?);
            all.step.push(attempt.step);
        }
        Ok(all)
    }

    async fn run(&self, connection: &Connection, replica: i32) -> Result<Vec<Option<i32>>, Fault> {
        if self.keys.is_empty() {
            return Ok(Vec::new());
        }
        let (links, lanes) = columns(&self.keys)?;
        let arguments = &[
            &replica as &(dyn tokio_postgres::types::ToSql + Sync),
            &links,
            &lanes,
            &self.link,
            &self.stream,
            &self.number,
            &self.step,
        ];
        let row = connection.row(ATTEMPTS, arguments).await?;
        Ok(column::<Option<_>>(&row, 0)?.unwrap_or_default())
    }
}

fn columns(keys: &[Key]) -> Result<(Vec<&[u8]>, Vec<i64>), Fault> {
    let links = keys.iter().map(|(link, _)| &link.as_bytes()[..]).collect();
    let fences = keys.iter().map(|(_, fence)| stored(fence.0)).collect::<Result<_, _>>()?;
    Ok((links, fences))
}

/// Returns those of a list that are at these indices, from 1.
fn pick<T: Copy>(list: &[T], at: &[i32]) -> Vec<T> {
    let index = |at: &i32| usize::try_from(*at).ok()?.checked_sub(1);
    at.iter().filter_map(|at| list.get(index(at)?).copied()).collect()
}
