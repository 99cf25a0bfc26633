//! Reads plain TOML: one field in a line, texts in quotes without escapes, tables under their headers. That
//! is how this program writes links, of which a service may have 100 000. Nothing is copied, keys least of
//! all, and it takes a fraction of the time. Any other text, and whatever is wrong, is left to `toml`, which
//! also finds the words for it.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, IntoDeserializer, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

/// The most fields of a table: they are looked up one by one.
const FIELDS: usize = 32;

/// A table, in the order in which it is written.
#[derive(Default)]
pub(crate) struct Table<'t>(Vec<(&'t str, Value<'t>)>);

enum Value<'t> {
    Text(&'t str),
    Number(u64),
    Flag(bool),
    Table(Table<'t>),
    Tables(Vec<Table<'t>>),
}

/// Reads a value from plain TOML; nothing if the text is not plain, or is not such a value.
pub(crate) fn read<'t, T: Deserialize<'t>>(text: &'t str) -> Option<T> {
    Table::read(text)?.into_value()
}

impl<'t> Table<'t> {
    /// Reads a text; nothing if it is not plain.
    pub(crate) fn read(text: &'t str) -> Option<Self> {
        let mut whole = Self::default();
        let mut header: Vec<&str> = Vec::new();
        for line in text.lines() {
            let line = line.trim_matches([' ', '\t']);
            if line.is_empty() {
                continue;
            }
            if let Some(inner) = line.strip_prefix("[[") {
                header = names(inner.strip_suffix("]]")?)?;
                whole.add_to_list(&header)?;
            } else if let Some(inner) = line.strip_prefix('[') {
                header = names(inner.strip_suffix(']')?)?;
                whole.add_table(&header)?;
            } else {
                let (name, value) = line.split_once('=')?;
                let name = bare(name.trim_end_matches([' ', '\t']))?;
                let value = Value::read(value.trim_start_matches([' ', '\t']))?;
                whole.at(&header)?.put(name, value)?;
            }
        }
        Some(whole)
    }

    /// Returns whether it has a field.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    /// Makes a value of it; nothing if it is none.
    pub(crate) fn into_value<T: Deserialize<'t>>(self) -> Option<T> {
        T::deserialize(Value::Table(self)).ok()
    }

    fn get(&mut self, name: &str) -> Option<&mut Value<'t>> {
        self.0.iter_mut().find_map(|(known, value)| (*known == name).then_some(value))
    }

    /// Adds a field that is not there.
    fn put(&mut self, name: &'t str, value: Value<'t>) -> Option<()> {
        if self.has(name) || self.0.len() == FIELDS {
            return None;
        }
        self.0.push((name, value));
        Some(())
    }

    /// Returns the table that was added last under these names.
    fn at(&mut self, names: &[&str]) -> Option<&mut Self> {
        names.iter().try_fold(self, |table, name| match table.get(name)? {
            Value::Table(table) => Some(table),
            Value::Tables(tables) => tables.last_mut(),
            Value::Text(_) | Value::Number(_) | Value::Flag(_) => None,
        })
    }

    fn add_table(&mut self, names: &[&'t str]) -> Option<()> {
        let (name, above) = names.split_last()?;
        self.at(above)?.put(name, Value::Table(Self::default()))
    }

    fn add_to_list(&mut self, names: &[&'t str]) -> Option<()> {
        let (name, above) = names.split_last()?;
        let above = self.at(above)?;
        if !above.has(name) {
            return above.put(name, Value::Tables(vec![Self::default()]));
        }
        match above.get(name)? {
            Value::Tables(tables) => {
                tables.push(Self::default());
                Some(())
            }
            _ => None,
        }
    }
}

impl<'t> Value<'t> {
    fn read(text: &'t str) -> Option<Self> {
        match text {
            "true" => Some(Self::Flag(true)),
            "false" => Some(Self::Flag(false)),
            _ => match text.strip_prefix('"') {
                Some(text) => text.strip_suffix('"').and_then(unescaped).map(Self::Text),
                None => number(text).map(Self::Number),
            },
        }
    }
}

/// The names in a header.
fn names(text: &str) -> Option<Vec<&str>> {
    text.split('.').map(bare).collect()
}

/// A name that needs no quotes.
fn bare(text: &str) -> Option<&str> {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (!text.is_empty() && text.bytes().all(is_bare)).then_some(text)
}

fn unescaped(text: &str) -> Option<&str> {
    let is_plain = |byte: u8| !byte.is_ascii_control() && !matches!(byte, b'"' | b'\\');
    text.bytes().all(is_plain).then_some(text)
}

fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    // What is longer may be too high for an integer of TOML.
    (is_plain && text.len() <= 18 && (text == "0" || !text.starts_with('0')))
        .then(|| text.parse().ok())?
}

/// Whatever is wrong, `toml` says it.
#[derive(Debug)]
struct NotPlain;

impl de::Error for NotPlain {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl std::error::Error for NotPlain {}

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not plain TOML")
    }
}

impl<'t> IntoDeserializer<'t, NotPlain> for Value<'t> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'t> Deserializer<'t> for Value<'t> {
    type Error = NotPlain;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        match self {
            Self::Text(text) => visitor.visit_borrowed_str(text),
            Self::Number(number) => visitor.visit_u64(number),
            Self::Flag(flag) => visitor.visit_bool(flag),
            Self::Table(Table(fields)) => {
                visitor.visit_map(MapDeserializer::new(fields.into_iter()))
            }
            Self::Tables(tables) => {
                visitor.visit_seq(SeqDeserializer::new(tables.into_iter().map(Value::Table)))
            }
        }
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, NotPlain> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotPlain> {
        match self {
            Self::Text(text) => visitor.visit_enum(de::value::BorrowedStrDeserializer::new(text)),
            _ => Err(NotPlain),
        }
    }

    forward_to_deserialize_any! {
        <V: Visitor<'t>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        number: Option<u64>,
        #[serde(default)]
        flag: bool,
        #[serde(default)]
        kind: Option<Kind>,
        #[serde(default)]
        table: BTreeMap<String, u64>,
        #[serde(default)]
        list: Vec<Part>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        First,
        Second,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Part {
        a: u8,
        inner: Inner,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        data: String,
    }

    #[test]
    fn what_is_plain_is_read_as_toml_reads_it() {
        let part = |a: u8| format!("\n[[list]]\na = {a}\n\n[list.inner]\ndata = \"{a} é='[x]\"\n");
        for text in [
            "name = \"a\"".to_owned(),
            "name = \"\"\nnumber = 0\nflag = true\nkind = \"second\"\n".to_owned(),
            "  name=\"a\"\r\n\r\n\tnumber\t=\t170\r\n".to_owned(),
            format!("name = \"a\"\nflag = false\n{}{}", part(1), part(255)),
            "name = \"# no comment\"\n[table]\na = 1\nb-c_2 = 999999999999999999\n".to_owned(),
        ] {
            let plain = read::<Sample>(&text);
            assert!(plain.is_some(), "{text}");
            assert_eq!(plain, toml::from_str(&text).ok(), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_or_not_valid_is_left_to_toml() {
        let long = (0..=FIELDS).map(|i| format!("a{i} = 1\n")).collect::<String>();
        for text in [
            "",
            "name = \"a\"\nname = \"b\"",
            "name = \"a\" # comment",
            "# comment\nname = \"a\"",
            "name = 'a'",
            "name = \"\"\"a\"\"\"",
            "name = \"a\\n\"",
            "name = \"a\tb\"",
            "\"name\" = \"a\"",
            "name = \"a\"\nnumber = 007",
            "name = \"a\"\nnumber = 1_0",
            "name = \"a\"\nnumber = -1",
            "name = \"a\"\nnumber = 9999999999999999999",
            "name = \"a\"\nnumber = ",
            "name = \"a\"\nkind = \"third\"",
            "name = \"a\"\nmore = 1",
            "name = \"a\"\ntable = { a = 1 }",
            "name = \"a\"\ntable.a = 1",
            "name = \"a\"\n[table]\na = 1\n[table]\nb = 1",
            "name = \"a\"\n[list]\n[[list]]\na = 1",
            "name = \"a\"\n[[list]]\na = 256\n[list.inner]\ndata = \"\"",
            "name = \"a\"\n[[list]]\na = 1\n[list.other.inner]\ndata = \"\"",
            "name = \"a\"\n[ table ]\na = 1",
            "name = \"a\"\n[table] # comment\na = 1",
            "name = \"a\"\n[]\na = 1",
            &format!("name = \"a\"\n[table]\n{long}"),
        ] {
            assert_eq!(read::<Sample>(text), None, "{text}");
        }
    }

    #[test]
    fn a_field_is_found() {
        let table = Table::read("a = 1\n[b]\nc = 1").unwrap();
        assert!(table.has("a") && table.has("b") && !table.has("c"));
    }
}
