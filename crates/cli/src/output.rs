//! The output of commands: data as JSON lines or as a table, and words for a person.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::{Exit, Failure};

/// How a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints data as one line of JSON, or else as the text that `text` makes of it.
    pub(crate) fn print<T: Serialize>(
        self,
        data: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if !self.json {
            return say(&text(data));
        }
        let line = serde_json::to_string(data)
            .map_err(|error| Failure::new(Exit::Files, format!("this is no JSON: {error}")))?;
        say(&line)
    }
}

/// Prints lines. Colours are left out where nobody sees them.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    written(writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()))
}

/// Prints bytes as they are.
pub(crate) fn write_raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

/// A reader that has gone, such as `head`, ends the command without a complaint.
fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::unread()),
        Err(error) => Err(Failure::new(Exit::Files, format!("nothing can be printed: {error}"))),
    }
}

/// Tells a person something beside the data.
pub(crate) fn note(text: &str) {
    let mut out = anstream::stderr().lock();
    // There is nobody left to tell.
    _ = writeln!(out, "{text}");
}

/// A table with columns as wide as their widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(crate) fn add(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }

    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &'_ Vec<String>, column: usize| row.get(column).map_or(0, |it| width(it));
        let widths: Vec<_> = (0..columns)
            .map(|column| self.rows.iter().map(|row| cell(row, column)).max().unwrap_or(0))
            .collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width_of_column)| {
                format!("{cell}{}", " ".repeat(width_of_column.saturating_sub(width(cell))))
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Returns the number of characters that are seen.
fn width(cell: &str) -> usize {
    anstream::adapter::strip_str(cell).to_string().chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["PEER", "STATE"]);
        table.add(["a".to_owned(), "\u{1b}[32mup\u{1b}[0m".to_owned()]);
        table.add(["sensor".to_owned(), "away".to_owned()]);
        assert_eq!(table.text(), "PEER    STATE\na       \u{1b}[32mup\u{1b}[0m\nsensor  away");
    }
}
