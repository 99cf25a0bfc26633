//! The configuration as it is written: each value with its path and its line.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;
use crate::folder::Operation;

/// A configuration's text and what it holds.
#[derive(Debug)]
pub(super) struct Document<'a> {
    text: &'a str,
    /// Tables and values, each with its path from the root, in the order of their names.
    pub(super) entries: Vec<Entry>,
    /// The settings of the command itself, if they are valid.
    pub(super) operation: Option<Operation>,
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    value: Range<usize>,
    pub(super) is_table: bool,
}

impl<'a> Document<'a> {
    /// Parses the text, or returns everything that makes it no TOML.
    pub(super) fn parse(text: &'a str) -> Result<Self, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let problem = |error: &toml::de::Error| {
                let line = error.span().map(|span| line_of(text, span.start));
                Problem::at(line, error.message(), "Write it as TOML: name = \"value\".")
            };
            return Err(errors.iter().map(problem).collect());
        }
        let mut document = Self { text, entries: Vec::new(), operation: toml::from_str(text).ok() };
        document.add(&mut Vec::new(), table.get_ref());
        Ok(document)
    }

    fn add(&mut self, path: &mut Vec<String>, table: &DeTable<'_>) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            self.add_one(path, key.span().start, value);
            path.pop();
        }
    }

    fn add_one(&mut self, path: &mut Vec<String>, key: usize, value: &Spanned<DeValue<'_>>) {
        let inner = value.get_ref().as_table();
        self.entries.push(Entry {
            path: path.clone(),
            line: line_of(self.text, key),
            value: value.span(),
            is_table: inner.is_some(),
        });
        if let Some(inner) = inner {
            self.add(path, inner);
        }
    }

    /// Returns an entry.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.path == path)
    }

    /// Returns the text of a value as it is written.
    pub(super) fn written(&self, entry: &Entry) -> &'a str {
        self.text.get(entry.value.clone()).unwrap_or_default()
    }

    /// Returns the text of a value that is a string.
    pub(super) fn string(&self, path: &[&str]) -> Option<String> {
        let written = self.written(self.get(path)?);
        let value: toml::Table = toml::from_str(&format!("it = {written}")).ok()?;
        value.get("it")?.as_str().map(str::to_owned)
    }

    /// Reads what is at a path, a value or a table, if there is anything.
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        path: &[&str],
    ) -> Option<Result<T, toml::de::Error>> {
        let mut found = toml::Value::Table(toml::from_str(self.text).ok()?);
        for key in path {
            found = found.as_table_mut()?.remove(*key)?;
        }
        Some(found.try_into())
    }

    /// Returns the line of an entry.
    pub(super) fn line(&self, path: &[&str]) -> Option<usize> {
        self.get(path).map(|entry| entry.line)
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }
}

fn line_of(text: &str, place: usize) -> usize {
    1 + text.as_bytes().iter().take(place).filter(|&&byte| byte == b'\n').count()
}
