//! Copies every row that is found into a new store, whether it can be trusted or not.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, Statement, params_from_iter};

use super::pages::Pages;
use super::records::{Row, TreePage, children, tree_page};
use crate::error::Fault;
use crate::row::Owner;
use crate::stream_row::StreamRow;
use crate::streams::StreamId;
use crate::{cursors, letters};

/// Numbers of pages and rows that could not be copied.
#[derive(Debug, Default)]
pub(super) struct Unread {
    pub(super) pages: u64,
    pub(super) rows: u64,
}

struct Inserts<'c> {
    message: Statement<'c>,
    stream: Statement<'c>,
    cursor: Statement<'c>,
    attempt: Statement<'c>,
    letter: Statement<'c>,
}

/// Reads a number that the store says of itself, as far as it can be read.
pub(super) fn meta(pages: &mut Pages, name: &str) -> Option<i64> {
    let is_meta = |row: &Row| row.values.get(1) == Some(&Value::Text("meta".to_owned()));
    let meta = root(&tree_page(pages, 1)?.rows.into_iter().find(is_meta)?)?;
    tree_page(pages, meta)?.rows.into_iter().find_map(|row| match &row.values[..] {
        [Value::Text(key), Value::Integer(number)] if key == name => Some(*number),
        _ => None,
    })
}

/// Returns the page with which the tree begins that a row of the schema describes.
fn root(row: &Row) -> Option<u32> {
    match row.values.get(3) {
        Some(Value::Integer(root)) => u32::try_from(*root).ok(),
        _ => None,
    }
}

/// Copies the rows of all pages that are in use.
pub(super) fn copy(pages: &mut Pages, new: &Connection) -> Result<Unread, Fault> {
    let mut inserts = Inserts::prepare(new)?;
    let mut unread = Unread::default();
    for page in in_use(pages) {
        let Some(TreePage { rows, damaged }) = tree_page(pages, page) else {
            unread.pages += 1;
            continue;
        };
        unread.rows += damaged;
        for row in rows {
            unread.rows += u64::from(!inserts.insert(row)?);
        }
    }
    Ok(unread)
}

/// The pages of trees: those that the pointer map knows, and, where that is damaged, those that are
/// reached from the root of a tree. The others may hold rows that were removed.
fn in_use(pages: &mut Pages) -> BTreeSet<u32> {
    let (mut found, unknown) = pages.mapped();
    let roots = tree_page(pages, 1).into_iter().flat_map(|page| page.rows);
    let mut waiting: Vec<u32> = roots.filter_map(|row| root(&row)).collect();
    waiting.extend(&found);
    let mut seen = BTreeSet::new();
    while let Some(page) = waiting.pop() {
        let is_used = found.contains(&page) || unknown.contains(&page);
        if page == 1 || !is_used || !seen.insert(page) {
            continue;
        }
        found.insert(page);
        waiting.extend(children(pages, page));
    }
    if tree_page(pages, 1).is_none() {
        found.insert(1); // it is counted
    }
    found
}

impl<'c> Inserts<'c> {
    /// Pages of different ages may hold the same row: of those of which nothing else tells which one
    /// is newer, the one that counts more is.
    fn prepare(new: &'c Connection) -> Result<Self, Fault> {
        let insert = |table: &str, places: &str| {
            new.prepare(&format!("INSERT OR IGNORE INTO {table} VALUES({places})"))
        };
        Ok(Self {
            message: insert("message", "?1, ?2, ?3, ?4, ?5, ?6, ?7")?,
            stream: insert("stream", "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9")?,
            cursor: new.prepare(
                "INSERT INTO cursor VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE
                 SET peer = excluded.peer, completed = excluded.completed,
                     finished = excluded.finished, checksum = excluded.checksum
                 WHERE (excluded.completed, length(excluded.finished))
                     > (completed, length(finished))",
            )?,
            attempt: new.prepare(
                "INSERT INTO attempt VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE
                 SET peer = excluded.peer, attempts = excluded.attempts,
                     checksum = excluded.checksum
                 WHERE excluded.attempts > attempts",
            )?,
            letter: insert("dead_letter", "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10")?,
        })
    }

    /// Inserts a row into the table that it looks like a row of; returns whether it is no damaged
    /// one. Streams are stored twice, in their table and in its index: they are not counted.
    fn insert(&mut self, row: Row) -> Result<bool, Fault> {
        let Row { id, mut values } = row;
        let Some(statement) = self.statement(id, &values) else { return Ok(true) };
        match id {
            Some(id) => values[0] = id.into(),
            None => order(&mut values),
        }
        if is_stream(&values) {
            give_mark(&mut values);
        }
        // A damaged one must not take the place of another copy.
        if !holds(&values) {
            return Ok(is_stream(&values));
        }
        statement.execute(params_from_iter(values))?;
        Ok(true)
    }

    /// Returns the statement for the table that a row looks like a row of.
    fn statement(&mut self, id: Option<i64>, values: &[Value]) -> Option<&mut Statement<'c>> {
        use Value::{Blob, Integer, Null, Text};
        match (id, values) {
            (
                Some(_),
                [
                    Null,
                    Integer(_),
                    Integer(_) | Null,
                    Integer(_) | Null,
                    Integer(_) | Null,
                    Integer(_) | Null,
                    Blob(_),
                ],
            ) => Some(&mut self.message),
            (
                Some(_),
                [
                    Null,
                    Blob(_),
                    Text(_),
                    Integer(_),
                    Blob(_),
                    Integer(_),
                    Integer(_),
                    Integer(_),
                    Integer(_),
                ],
            )
            | (None, [Blob(_), Integer(_), Blob(_), Integer(_), Text(_), Integer(_), Integer(_)]) => {
                Some(&mut self.stream)
            }
            (None, [Blob(_), Blob(_), Text(_), Integer(_), Blob(_), Integer(_)]) => {
                Some(&mut self.cursor)
            }
            (None, [Blob(_), Blob(_), Integer(_), Text(_), Integer(_), Integer(_)]) => {
                Some(&mut self.attempt)
            }
            (
                Some(_),
                [
                    Null,
                    Blob(_),
                    Text(_),
                    Blob(_),
                    Integer(_),
                    Integer(_),
                    Integer(_),
                    Integer(_),
                    Integer(_),
                    Blob(_),
                ],
            ) => Some(&mut self.letter),
            _ => None,
        }
    }
}

/// Puts the columns of a stream that comes from its index into the order of the table. The index has
/// none of its mark.
fn order(values: &mut [Value]) {
    use Value::{Blob, Integer};
    if let [Blob(_), Integer(_), ..] = values {
        values.rotate_right(1); // the id is at its end
        values[2..6].rotate_right(1); // the name is behind the moment when it was begun
    }
}

/// Returns whether a row has the columns of a stream, those of its mark or none of them.
fn is_stream(values: &[Value]) -> bool {
    use Value::{Blob, Integer, Text};
    matches!(
        values,
        [Integer(_), Blob(_), Text(_), Integer(_), Blob(_), Integer(_), Integer(_)]
            | [
                Integer(_),
                Blob(_),
                Text(_),
                Integer(_),
                Blob(_),
                Integer(_),
                Integer(_),
                Integer(_),
                Integer(_),
            ]
    )
}

/// Marks all messages of a stream as transmitted, because pages may be of different ages: which of
/// them were not is only known for sure in a file that is whole.
fn give_mark(values: &mut Vec<Value>) {
    if let [Value::Integer(id), _, _, _, Value::Blob(instance), ..] = &values[..] {
        let sum = StreamRow::mark_checksum(StreamId(*id), instance, StreamRow::ALL);
        values.truncate(7);
        values.extend([StreamRow::ALL.into(), sum.into()]);
    }
}

/// Returns whether the checksum of a row holds, and a stream can have its id. A message is checked
/// later, once its rows are together.
fn holds(values: &[Value]) -> bool {
    use Value::{Blob, Integer, Text};
    match values {
        [
            Integer(id),
            Blob(link),
            Text(peer),
            Integer(age),
            Blob(instance),
            Integer(begun),
            Integer(sum),
            _,
            _,
        ] => {
            let (id, owner) = (StreamId(*id), Owner { link, peer });
            let is_possible = id.is_valid() && owner.mailbox().is_ok();
            is_possible && StreamRow::checksum(id, owner, *age, instance, *begun) == *sum
        }
        [
            Blob(link),
            Blob(instance),
            Text(peer),
            Integer(completed),
            Blob(finished),
            Integer(sum),
        ] => cursors::cursor_sum(Owner { link, peer }, instance, *completed, finished) == *sum,
        [Blob(link), Blob(instance), Integer(number), Text(peer), Integer(count), Integer(sum)] => {
            cursors::attempts_sum(Owner { link, peer }, instance, *number, *count) == *sum
        }
        [
            Integer(_),
            Blob(link),
            Text(peer),
            Blob(instance),
            Integer(number),
            Integer(code),
            Integer(at),
            Integer(sum),
            Integer(is_bytes),
            Blob(payload),
        ] => u16::try_from(*code).is_ok_and(|code| {
            let is_bytes = *is_bytes != 0;
            letters::sum(Owner { link, peer }, instance, *number, code, *at, is_bytes, payload)
                == *sum
        }),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    const INSTANCE: [u8; 16] = [1; 16];
    const LINK: [u8; 16] = [7; 16];
    const HUB: Owner<'static> = Owner { link: &LINK, peer: "hub" };

    fn cursor(completed: i64, finished: &[u8], damage: i64) -> Row {
        let sum = cursors::cursor_sum(HUB, &INSTANCE, completed, finished) ^ damage;
        let finished = finished.to_vec();
        let (peer, [link, instance]) = ("hub".to_owned(), [LINK, INSTANCE].map(Vec::from));
        let values = vec![link.into(), instance.into(), peer.into(), completed.into()];
        Row { id: None, values: [values, vec![finished.into(), sum.into()]].concat() }
    }

    fn attempt(count: i64, damage: i64) -> Row {
        let sum = cursors::attempts_sum(HUB, &INSTANCE, 7, count) ^ damage;
        let (peer, [link, instance]) = ("hub".to_owned(), [LINK, INSTANCE].map(Vec::from));
        let values = vec![link.into(), instance.into(), 7.into(), peer.into()];
        Row { id: None, values: [values, vec![count.into(), sum.into()]].concat() }
    }

    fn letter(payload: &str, damage: i64) -> Row {
        let payload = payload.as_bytes().to_vec();
        let sum = letters::sum(HUB, &INSTANCE, 7, 3, 1_000, true, &payload) ^ damage;
        let (peer, [link, instance]) = ("hub".to_owned(), [LINK, INSTANCE].map(Vec::from));
        let values = vec![Value::Null, link.into(), peer.into(), instance.into(), 7.into()];
        let rest = vec![3.into(), 1_000.into(), sum.into(), 1.into(), payload.into()];
        Row { id: Some(1), values: [values, rest].concat() }
    }

    /// Inserts rows and returns how many were damaged, and a column of what there is then.
    fn kept(rows: impl IntoIterator<Item = Row>, select: &str) -> (usize, Vec<Value>) {
        let new = Connection::open_in_memory().unwrap();
        schema::create(&new, None).unwrap();
        let mut inserts = Inserts::prepare(&new).unwrap();
        let is_whole: Vec<_> = rows.into_iter().map(|row| inserts.insert(row).unwrap()).collect();
        let damaged = is_whole.iter().filter(|is_whole| !**is_whole).count();
        let mut select = new.prepare(select).unwrap();
        let found = select.query_map((), |row| row.get(0)).unwrap();
        (damaged, found.map(Result::unwrap).collect())
    }

    #[test]
    fn of_several_copies_the_one_that_is_whole_and_newer_is_kept() {
        let cursors = [(5, &[][..], 0), (9, &[], 1), (7, &[], 0), (7, &[1; 8], 0), (6, &[], 0)];
        for turn in 0..cursors.len() {
            let mut order = cursors;
            order.rotate_left(turn);
            let rows =
                order.map(|(completed, finished, damage)| cursor(completed, finished, damage));
            let select = "SELECT completed * 100 + length(finished) FROM cursor";
            assert_eq!(kept(rows, select), (1, vec![708.into()]), "{turn}");
        }
        for order in [[(3, 0), (4, 1)], [(4, 1), (3, 0)]] {
            let rows = order.map(|(count, damage)| attempt(count, damage));
            assert_eq!(kept(rows, "SELECT attempts FROM attempt"), (1, vec![3.into()]));
        }
        let rows = [attempt(4, 0), attempt(3, 0)];
        assert_eq!(kept(rows, "SELECT attempts FROM attempt"), (0, vec![4.into()]));
        let rows = [letter("damaged", 1), letter("whole", 0)];
        let whole = Value::Text("whole".to_owned());
        let select = "SELECT CAST(payload AS TEXT) FROM dead_letter";
        assert_eq!(kept(rows, select), (1, vec![whole]));
    }
}
