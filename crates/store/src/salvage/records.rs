//! Rows in the pages of SQLite's trees (<https://sqlite.org/fileformat2.html>). Nothing here trusts
//! a length or a position that is read.

use rusqlite::types::Value;

use super::pages::{PAGE, Page, Pages, number};

/// The kinds of pages of a tree.
const INDEX_INTERIOR: u8 = 2;
const TABLE_INTERIOR: u8 = 5;
const INDEX_LEAF: u8 = 10;
const TABLE_LEAF: u8 = 13;
/// The length of a row that is in the page as a whole: of tables, and of indexes.
const LOCAL_TABLE: usize = PAGE - 35;
const LOCAL_INDEX: usize = (PAGE - 12) * 64 / 255 - 23;
/// The shortest part of a longer row that is in the page.
const LOCAL_LEAST: usize = (PAGE - 12) * 32 / 255 - 23;
/// The longest row that is believed, and as much as the rows of one page may take together.
const LONGEST: u64 = 1 << 28;

/// The rows of a page of a tree.
#[derive(Debug, Default)]
pub(super) struct TreePage {
    pub(super) rows: Vec<Row>,
    /// Rows that cannot be read.
    pub(super) damaged: u64,
}

/// A row; those of an index have no id.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: Option<i64>,
    pub(super) values: Vec<Value>,
}

/// A page of a tree, and where its rows are.
struct Cells {
    page: Page,
    kind: u8,
    /// The positions of its cells.
    at: Vec<usize>,
    /// The last child, of a page that has children.
    last_child: Option<u32>,
}

impl Cells {
    /// Reads a page of a tree; `None` if it is not one.
    fn read(pages: &mut Pages, number_of: u32) -> Option<Self> {
        let page = pages.read(number_of)?;
        let header = if number_of == 1 { 100 } else { 0 };
        let kind = page[header];
        let first = header
            + match kind {
                INDEX_INTERIOR | TABLE_INTERIOR => 12,
                INDEX_LEAF | TABLE_LEAF => 8,
                _ => return None,
            };
        let cells = usize::from(u16::from_be_bytes([page[header + 3], page[header + 4]]));
        let pointers = page.get(first..first + 2 * cells)?.chunks_exact(2);
        let at = pointers.map(|at| usize::from(u16::from_be_bytes([at[0], at[1]]))).collect();
        let mut read = Self { page, kind, at, last_child: None };
        if read.has_children() {
            read.last_child = number(&read.page[..], header + 8);
        }
        Some(read)
    }

    fn has_children(&self) -> bool {
        [INDEX_INTERIOR, TABLE_INTERIOR].contains(&self.kind)
    }
}

/// Returns the pages that are below a page of a tree.
pub(super) fn children(pages: &mut Pages, page: u32) -> Vec<u32> {
    let Some(cells) = Cells::read(pages, page).filter(Cells::has_children) else {
        return Vec::new();
    };
    let children = cells.at.iter().filter_map(|at| number(&cells.page[..], *at));
    children.chain(cells.last_child).collect()
}

/// Reads a page of a tree; `None` if it is not one.
pub(super) fn tree_page(pages: &mut Pages, page: u32) -> Option<TreePage> {
    let cells = Cells::read(pages, page)?;
    let mut found = TreePage::default();
    if cells.kind == TABLE_INTERIOR {
        return Some(found);
    }
    // A row of an index is behind the number of a child, if there are any.
    let before = if cells.has_children() { 4 } else { 0 };
    // Rows that claim the same pages, or theirs again and again, could take any amount of memory.
    let mut room = LONGEST.min(u64::from(pages.count()) * PAGE as u64);
    for at in cells.at {
        match cell(pages, &cells.page[..], at + before, cells.kind == TABLE_LEAF, &mut room) {
            Some(row) => found.rows.push(row),
            None => found.damaged += 1,
        }
    }
    Some(found)
}

/// Reads the row at a position of a page, if there is `room` for it.
fn cell(
    pages: &mut Pages,
    page: &[u8],
    mut at: usize,
    is_table: bool,
    room: &mut u64,
) -> Option<Row> {
    let len = varint(page, &mut at)?;
    *room = room.checked_sub(len)?;
    let len = usize::try_from(len).ok()?;
    let id = if is_table { Some(varint(page, &mut at)?.cast_signed()) } else { None };
    let most = if is_table { LOCAL_TABLE } else { LOCAL_INDEX };
    if len <= most {
        return Some(Row { id, values: record(page.get(at..at + len)?)? });
    }
    let longer = LOCAL_LEAST + (len - LOCAL_LEAST) % (PAGE - 4);
    let local = if longer <= most { longer } else { LOCAL_LEAST };
    let mut row = page.get(at..at + local)?.to_vec();
    let mut next = number(page, at + local)?;
    while row.len() < len {
        let more = pages.read(next)?;
        next = number(&more[..], 0)?;
        row.extend_from_slice(&more[4..][..(len - row.len()).min(PAGE - 4)]);
    }
    Some(Row { id, values: record(&row)? })
}

/// Reads the values of a row.
fn record(bytes: &[u8]) -> Option<Vec<Value>> {
    let mut at = 0;
    let header = usize::try_from(varint(bytes, &mut at)?).ok()?;
    let mut rest = bytes.get(header..)?;
    let mut values = Vec::new();
    while at < header {
        let kind = varint(bytes, &mut at)?;
        let len = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 => 8,
            12.. => (kind - 12) / 2,
            _ => return None,
        };
        let (value, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        rest = after;
        values.push(match kind {
            0 => Value::Null,
            8 | 9 => Value::Integer(kind.cast_signed() - 8),
            1..=6 => Value::Integer(integer(value)),
            _ if kind % 2 == 0 => Value::Blob(value.to_vec()),
            _ => Value::Text(String::from_utf8(value.to_vec()).ok()?),
        });
    }
    (at == header && rest.is_empty()).then_some(values)
}

fn integer(bytes: &[u8]) -> i64 {
    let sign = if bytes.first().is_some_and(|byte| *byte >= 0x80) { -1 } else { 0 };
    bytes.iter().fold(sign, |number, byte| number << 8 | i64::from(*byte))
}

/// Reads a number of variable length.
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0;
    for position in 0..9 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if position == 8 {
            return Some(number << 8 | u64::from(byte));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_rows_of_a_page_take_no_more_memory_than_the_file_is_long() {
        const PAGES: usize = 100;
        let len = (PAGES - 10) * PAGE;
        let (cells, at) = (1_000_u16, 2_100_u16);
        let mut leaf = vec![0; PAGE];
        leaf[0] = TABLE_LEAF;
        leaf[3..5].copy_from_slice(&cells.to_be_bytes());
        leaf[8..8 + 2 * usize::from(cells)].copy_from_slice(&at.to_be_bytes().repeat(cells.into()));
        let varint = |number: usize| {
            [(number >> 14) as u8 | 0x80, (number >> 7) as u8 | 0x80, number as u8 & 0x7f]
        };
        // A row of one value, whose rest is in a page that is followed by itself.
        let header = [&[4], &varint(12 + 2 * (len - 4))[..]].concat();
        let cell = [&varint(len)[..], &[1], &header].concat();
        leaf[at.into()..][..cell.len()].copy_from_slice(&cell);
        let longer = LOCAL_LEAST + (len - LOCAL_LEAST) % (PAGE - 4);
        let local = if longer <= LOCAL_TABLE { longer } else { LOCAL_LEAST };
        let next = usize::from(at) + 4 + local;
        leaf[next..next + 4].copy_from_slice(&3_u32.to_be_bytes());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![0; PAGE]).unwrap();
        file.write_all(&leaf).unwrap();
        file.write_all(&[&3_u32.to_be_bytes()[..], &vec![0; (PAGES - 2) * PAGE - 4]].concat())
            .unwrap();
        let mut pages = Pages::new(file, None).unwrap();
        let found = tree_page(&mut pages, 2).unwrap();
        assert_eq!((found.rows.len(), found.damaged), (1, 999));
    }
}
