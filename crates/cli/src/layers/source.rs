//! A file of the configuration: what is written in it, and on which lines.

use std::fmt::{self, Write};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::Origin;
use crate::check::Problem;

/// A file and its text, which may hold keys.
pub(super) struct Source {
    pub(super) file: String,
    pub(super) text: Zeroizing<String>,
    /// Where each line after the first begins.
    lines: Vec<usize>,
}

/// A setting as a file has it.
pub(super) struct Written<'t> {
    pub(super) path: Vec<String>,
    pub(super) value: &'t Spanned<DeValue<'t>>,
    pub(super) line: usize,
}

impl Source {
    pub(super) fn new(file: String, text: Zeroizing<String>) -> Self {
        let lines = text.match_indices('\n').map(|(place, _)| place + 1).collect();
        Self { file, text, lines }
    }

    /// Parses the text, or returns everything that makes it no TOML.
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'_>>, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        if errors.is_empty() {
            return Ok(table);
        }
        let problem = |error: &toml::de::Error| {
            let line = error.span().map(|span| self.line_of(span.start));
            Problem::of(&*self.file, line, error.message(), "Write it as TOML: name = \"value\".")
        };
        Err(errors.iter().map(problem).collect())
    }

    /// Returns the line, from 1, of a place in the text.
    pub(super) fn line_of(&self, place: usize) -> usize {
        1 + self.lines.partition_point(|begin| *begin <= place)
    }

    /// Returns the origin of what is on a line.
    pub(super) fn at(&self, line: usize) -> Origin {
        Origin::File(self.file.clone(), line)
    }

    /// Returns the settings in a table of this file, those in tables within it one by one.
    pub(super) fn settings<'t>(&self, table: &'t DeTable<'t>) -> Vec<Written<'t>> {
        let mut settings = Vec::new();
        self.add(&mut Vec::new(), table, &mut settings);
        settings
    }

    fn add<'t>(
        &self,
        path: &mut Vec<String>,
        table: &'t DeTable<'t>,
        settings: &mut Vec<Written<'t>>,
    ) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            match value.get_ref().as_table() {
                Some(inner) if !inner.is_empty() => self.add(path, inner, settings),
                _ => {
                    let line = self.line_of(key.span().start);
                    settings.push(Written { path: path.clone(), value, line });
                }
            }
            path.pop();
        }
    }

    /// Writes a value as it is in this file; tables become inline ones.
    pub(super) fn write(&self, value: &Spanned<DeValue<'_>>, out: &mut impl Write) -> fmt::Result {
        match value.get_ref() {
            DeValue::Array(items) => {
                out.write_char('[')?;
                for item in items {
                    self.write(item, out)?;
                    out.write_str(", ")?;
                }
                out.write_char(']')
            }
            DeValue::Table(table) => {
                out.write_str("{ ")?;
                for (place, (key, value)) in table.iter().enumerate() {
                    out.write_str(if place > 0 { ", " } else { "" })?;
                    write_key(key.get_ref(), out)?;
                    out.write_str(" = ")?;
                    self.write(value, out)?;
                }
                out.write_str(" }")
            }
            _ => out.write_str(self.text.get(value.span()).unwrap_or_default()),
        }
    }
}

/// Writes a path as a dotted key.
pub(super) fn write_path(path: &[String], out: &mut impl Write) -> fmt::Result {
    for (place, key) in path.iter().enumerate() {
        out.write_str(if place > 0 { "." } else { "" })?;
        write_key(key, out)?;
    }
    Ok(())
}

fn write_key(key: &str, out: &mut impl Write) -> fmt::Result {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match !key.is_empty() && key.chars().all(is_bare) {
        true => out.write_str(key),
        false => write!(out, "{}", serde_json::Value::from(key)),
    }
}
