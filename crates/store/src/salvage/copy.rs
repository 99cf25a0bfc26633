//! Copies every row that is found into a new store, whether it can be trusted or not.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, Statement, params_from_iter};

use super::pages::Pages;
use super::records::{Row, TreePage, tree_page};
use crate::error::Fault;
use crate::pieces::StreamRow;
use crate::streams::StreamId;

/// What could not be copied.
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

/// Reads the format of the store, as far as it can be read.
pub(super) fn format(pages: &mut Pages) -> Option<i64> {
    let is_meta = |row: &Row| row.values.get(1) == Some(&Value::Text("meta".to_owned()));
    let meta = root(&tree_page(pages, 1)?.rows.into_iter().find(is_meta)?)?;
    tree_page(pages, meta)?.rows.into_iter().find_map(|row| match &row.values[..] {
        [Value::Text(key), Value::Integer(format)] if key == "format" => Some(*format),
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
    let insert = |table: &str, places: &str| {
        new.prepare(&format!("INSERT OR IGNORE INTO {table} VALUES({places})"))
    };
    let mut inserts = Inserts {
        message: insert("message", "?1, ?2, ?3, ?4, ?5, ?6")?,
        stream: insert("stream", "?1, ?2, ?3, ?4, ?5")?,
        cursor: insert("cursor", "?1, ?2, ?3, ?4, ?5")?,
        attempt: insert("attempt", "?1, ?2, ?3, ?4, ?5")?,
        letter: insert("dead_letter", "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8")?,
    };
    let mut unread = Unread::default();
    for page in in_use(pages) {
        let Some(TreePage { rows, damaged, .. }) = tree_page(pages, page) else {
            unread.pages += 1;
            continue;
        };
        unread.rows += damaged;
        for row in rows {
            inserts.insert(row)?;
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
        waiting.extend(tree_page(pages, page).into_iter().flat_map(|page| page.children));
    }
    if tree_page(pages, 1).is_none() {
        found.insert(1); // it is counted
    }
    found
}

impl Inserts<'_> {
    /// Inserts a row into the table that it looks like a row of. Streams are stored twice, in their
    /// table and in its index.
    fn insert(&mut self, row: Row) -> Result<(), Fault> {
        use Value::{Blob, Integer, Null, Text};
        let Row { id, mut values } = row;
        let statement = match (id, &values[..]) {
            (
                Some(_),
                [
                    Null,
                    Integer(_),
                    Integer(_) | Null,
                    Integer(_) | Null,
                    Integer(_) | Null,
                    Blob(_),
                ],
            ) => &mut self.message,
            (Some(_), [Null, Text(_), Integer(_), Blob(_), Integer(_)])
            | (None, [Text(_), Integer(_), Blob(_), Integer(_), Integer(_)]) => &mut self.stream,
            (None, [Text(_), Blob(_), Integer(_), Blob(_), Integer(_)]) => &mut self.cursor,
            (None, [Text(_), Blob(_), Integer(_), Integer(_), Integer(_)]) => &mut self.attempt,
            (
                Some(_),
                [Null, Text(_), Blob(_), Integer(_), Integer(_), Integer(_), Integer(_), Blob(_)],
            ) => &mut self.letter,
            _ => return Ok(()),
        };
        match id {
            Some(id) => values[0] = Integer(id),
            // The index has the id of a stream at its end.
            None if matches!(values[..], [Text(_), Integer(_), ..]) => values.rotate_right(1),
            None => (),
        }
        // A damaged one must not take the place of its other copy.
        if matches!(values[..], [_, Text(_), Integer(_), Blob(_), Integer(_)])
            && !is_stream(&values)
        {
            return Ok(());
        }
        statement.execute(params_from_iter(values))?;
        Ok(())
    }
}

/// Returns whether a stream can have the id of a row, whose checksum holds.
fn is_stream(values: &[Value]) -> bool {
    match values {
        [
            Value::Integer(id),
            Value::Text(peer),
            Value::Integer(age),
            Value::Blob(instance),
            Value::Integer(checksum),
        ] => {
            let id = StreamId(*id);
            id.is_valid() && StreamRow::checksum(id, peer, *age, instance) == *checksum
        }
        _ => false,
    }
}
