//! The configuration as its layers make it together: one text, of which each line has its origin.
//!
//! `service.toml` alone is that text as it is. If there are other layers, each setting becomes a line of a
//! new text, written as it was in its layer.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::Origin;
use super::given::{Given, PEERS};
use super::source::{Source, Written, write_path};
use crate::check::Problem;

/// The configuration as its layers make it together. It may hold keys.
pub(crate) struct Merged {
    text: Zeroizing<String>,
    /// The origin of each line, unless the text is that of the one file.
    lines: Vec<Origin>,
    /// The first file.
    file: String,
    /// The origin of each setting.
    origins: BTreeMap<Vec<String>, Origin>,
}

/// The value of a setting: no table, but an empty one.
enum Value<'t> {
    InFile(&'t Source, Written<'t>),
    Given(Given),
}

type Settings<'t> = BTreeMap<Vec<String>, Value<'t>>;

impl Merged {
    /// Merges layers: files, the first of which may hold peers, and what was given outside of files. Each
    /// setting overrides those before it.
    pub(super) fn of(files: &[Source], given: Vec<Given>) -> Result<Self, Vec<Problem>> {
        let tables = parse(files)?;
        let mut settings = Settings::new();
        let sources = || files.iter().zip(&tables);
        for (source, table) in sources() {
            for written in source.settings(table.get_ref()) {
                put(&mut settings, written.path.clone(), Value::InFile(source, written));
            }
        }
        let is_alone = files.len() < 2 && given.is_empty();
        for given in given {
            put(&mut settings, given.path.clone(), Value::Given(given));
        }
        let origins = settings.iter().filter(|(_, value)| !value.is_empty_table());
        let origins = origins.map(|(path, value)| (path.clone(), value.origin())).collect();
        let file = files.first().map(|source| source.file.clone()).unwrap_or_default();
        let merged = |text, lines| Self { text, lines, file, origins };
        match files.first() {
            Some(only) if is_alone => Ok(merged(only.text.clone(), Vec::new())),
            _ => {
                let (text, lines) = write_all(&settings).map_err(|_| Vec::new())?;
                Ok(merged(text, lines))
            }
        }
    }

    /// Returns the text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the origin of what is on a line of the text, from 1.
    pub(crate) fn origin_of_line(&self, line: usize) -> Origin {
        let origin = self.lines.get(line.saturating_sub(1));
        origin.cloned().unwrap_or_else(|| Origin::File(self.file.clone(), line))
    }

    /// Returns the settings that are not left at their defaults, and where they are written.
    pub(crate) fn origins(&self) -> &BTreeMap<Vec<String>, Origin> {
        &self.origins
    }
}

impl Value<'_> {
    fn is_empty_table(&self) -> bool {
        match self {
            Self::InFile(_, written) => written.value.get_ref().as_table().is_some(),
            Self::Given(given) => given.value.as_table().is_some(),
        }
    }

    fn origin(&self) -> Origin {
        match self {
            Self::InFile(source, written) => source.at(written.line),
            Self::Given(given) => given.origin.clone(),
        }
    }
}

/// Parses the files, of which only the first one may hold peers.
fn parse(files: &[Source]) -> Result<Vec<Spanned<DeTable<'_>>>, Vec<Problem>> {
    let (mut tables, mut problems) = (Vec::new(), Vec::new());
    for (place, source) in files.iter().enumerate() {
        match source.parse() {
            Ok(table) => {
                if place > 0 {
                    problems.extend(peers_in(source, table.get_ref()));
                }
                tables.push(table);
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(tables) } else { Err(problems) }
}

fn peers_in(source: &Source, table: &DeTable<'_>) -> Vec<Problem> {
    let peers = table.iter().filter(|(key, _)| PEERS.contains(&&**key.get_ref()));
    let problem = |(key, _): (&Spanned<_>, _)| {
        let line = source.line_of(key.span().start);
        let what = "peers are written in service.toml, or kept in the folder of links";
        let remedy = "Move them there: docs/links.md shows how.";
        Problem::from(&source.at(line), what, remedy)
    };
    peers.map(problem).collect()
}

/// Puts a setting into the place of the one that it overrides. A value takes the place of a table, and a
/// table that of a value.
fn put<'t>(settings: &mut Settings<'t>, path: Vec<String>, value: Value<'t>) {
    // Those within a table follow its own path.
    let below = settings.range(path.clone()..).map(|(other, _)| other);
    let below: Vec<_> = below.take_while(|other| other.starts_with(&path)).cloned().collect();
    if value.is_empty_table() && below.iter().any(|other| *other != path) {
        return; // it changes nothing in the table
    }
    for other in &below {
        settings.remove(other);
    }
    for len in 0..path.len() {
        settings.remove(&path[..len]);
    }
    settings.insert(path, value);
}

/// Writes all settings. The text is measured first: it does not move while it grows, and leaves no copies
/// of keys.
fn write_all(settings: &Settings<'_>) -> Result<(Zeroizing<String>, Vec<Origin>), fmt::Error> {
    let mut length = Length(0);
    write_to(settings, &mut length, &mut |_, _| {})?;
    let mut text = Zeroizing::new(String::with_capacity(length.0));
    let (mut lines, mut told) = (Vec::new(), 0);
    write_to(settings, &mut *text, &mut |text: &mut String, origin: &Origin| {
        let new = text.bytes().skip(told).filter(|&byte| byte == b'\n').count();
        lines.extend((0..new).map(|below| origin.below(below)));
        told = text.len();
    })?;
    Ok((text, lines))
}

/// Writes a line for each setting, and then the tables of peers. `done` is told after each line.
fn write_to<W: Write>(
    settings: &Settings<'_>,
    out: &mut W,
    done: &mut impl FnMut(&mut W, &Origin),
) -> fmt::Result {
    let is_peers = |path: &[String], value: &Value<'_>| match value {
        Value::InFile(_, written) => {
            let items = written.value.get_ref().as_array();
            let are_tables =
                items.is_some_and(|items| items.iter().all(|it| it.get_ref().is_table()));
            matches!(path, [table] if PEERS.contains(&table.as_str())) && are_tables
        }
        Value::Given(_) => false,
    };
    for (path, value) in settings.iter().filter(|(path, value)| !is_peers(path, value)) {
        write_path(path, out)?;
        out.write_str(" = ")?;
        match value {
            Value::InFile(source, written) => source.write(written.value, out)?,
            Value::Given(given) => write!(out, "{}", given.value)?,
        }
        out.write_char('\n')?;
        done(out, &value.origin());
    }
    for (path, value) in settings.iter().filter(|(path, value)| is_peers(path, value)) {
        if let (Value::InFile(source, written), [table]) = (value, path.as_slice()) {
            let items = written.value.get_ref().as_array().into_iter().flatten();
            for peer in items {
                writeln!(out, "[[{table}]]")?;
                done(out, &source.at(source.line_of(peer.span().start)));
                write_peer(source, peer, out, done)?;
            }
        }
    }
    Ok(())
}

fn write_peer<W: Write>(
    source: &Source,
    peer: &Spanned<DeValue<'_>>,
    out: &mut W,
    done: &mut impl FnMut(&mut W, &Origin),
) -> fmt::Result {
    let Some(table) = peer.get_ref().as_table() else { return Ok(()) };
    for written in source.settings(table) {
        write_path(&written.path, out)?;
        out.write_str(" = ")?;
        source.write(written.value, out)?;
        out.write_char('\n')?;
        done(out, &source.at(written.line));
    }
    Ok(())
}

/// The length of a text, in bytes.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::given;
    use super::*;

    fn file(name: &str, text: &str) -> Source {
        Source::new(name.to_owned(), Zeroizing::new(text.to_owned()))
    }

    fn flag(key: &str, value: &str) -> Vec<Given> {
        let path = key.split('.').map(str::to_owned).collect();
        given::read(path, value, &Origin::Flag(key.to_owned())).unwrap()
    }

    /// Returns each setting as it is read from the text, with its origin.
    fn merged(files: &[Source], given: Vec<Given>) -> (toml::Table, Vec<String>) {
        let merged = Merged::of(files, given).ok().unwrap();
        let lines = 1..=merged.text().lines().count();
        let origins = lines.map(|line| merged.origin_of_line(line).to_string()).collect();
        (toml::from_str(merged.text()).unwrap(), origins)
    }

    #[test]
    fn one_file_is_the_text_as_it_is() {
        let text = "# mine\n[settings]\nhandlers = 7 # few\n";
        let merged = Merged::of(&[file("service.toml", text)], Vec::new()).ok().unwrap();
        assert_eq!(merged.text(), text);
        assert_eq!(merged.origin_of_line(3).to_string(), "service.toml:3");
    }

    #[test]
    fn tables_are_merged_key_by_key_and_arrays_replaced() {
        let first = "name = \"hub\"\n[health]\nrequired = [\"a\", \"b\"]\ngrace = \"5m\"\n[settings]\n\
                     handlers = 7\n";
        let files = [
            file("service.toml", first),
            file("conf.d/10.toml", "[health]\nrequired = [\n  \"c\",\n]\n"),
            file(
                "conf.d/20.toml",
                "settings.transport.limits.pending = 9\nsettings.handlers = 8\n",
            ),
        ];
        let given = flag("settings", "{ handlers = 9, crashes = 2 }");
        let (table, origins) = merged(&files, given);
        let expected = "name = \"hub\"\n[health]\nrequired = [\"c\"]\ngrace = \"5m\"\n[settings]\n\
                        handlers = 9\ncrashes = 2\ntransport.limits.pending = 9\n";
        assert_eq!(table, toml::from_str(expected).unwrap());
        assert_eq!(
            origins,
            [
                "service.toml:4",
                "conf.d/10.toml:2",
                "service.toml:1",
                "flag --set settings",
                "flag --set settings",
                "conf.d/20.toml:1",
            ]
        );
    }

    #[test]
    fn a_value_takes_the_place_of_a_table_and_a_table_that_of_a_value() {
        let files =
            [file("service.toml", "a.b = 1\na.c = 2\nd = 3\n[empty]\n[tls]\nkey = \"k\"\n")];
        let given = ["a=4", "d.e=5", "empty.f=6", "tls={}"].map(|it| it.split_once('=').unwrap());
        let given = given.iter().flat_map(|(key, value)| flag(key, value)).collect();
        let (table, _) = merged(&files, given);
        let expected = "a = 4\nd.e = 5\nempty.f = 6\ntls.key = \"k\"\n";
        assert_eq!(table, toml::from_str(expected).unwrap());
    }

    #[test]
    fn values_keep_their_meaning_and_their_lines() {
        let first = "text = '''\nC:\\n\n'''\n\"a key\".\"b\\n\" = 1e3\nlist = [ { x = 1, \"y z\" = [2] }, 3 ]\n\
                     last = 2026-11-27\n";
        let (table, origins) =
            merged(&[file("service.toml", first)], flag("more", "a \"quoted\" \u{7f} text"));
        let mut expected: toml::Table = toml::from_str(first).unwrap();
        expected.insert("more".to_owned(), "a \"quoted\" \u{7f} text".into());
        assert_eq!(table, expected);
        let text: Vec<_> = origins.iter().skip(origins.len() - 3).collect();
        assert_eq!(text, ["service.toml:1", "service.toml:2", "service.toml:3"]);
    }

    #[test]
    fn peers_stay_tables_with_the_lines_of_their_fields() {
        let client = "[[clients]]\nname = \"a\"\nrange = \"127.0.0.1\"\n[clients.inner_key]\ndata = \"1\"\n\
                      [[clients.older]]\ngeneration = 1\n[[clients.older]]\ngeneration = 2\n";
        let first = format!("{client}\n{client}\n[settings]\nhandlers = 7\n");
        let (table, origins) = merged(&[file("service.toml", &first)], flag("port", "1"));
        let mut expected: toml::Table = toml::from_str(&first).unwrap();
        expected.insert("port".to_owned(), 1.into());
        assert_eq!(table, expected);
        let lines = ["flag --set port", "service.toml:22", "service.toml:1", "service.toml:5"];
        assert_eq!(origins[..4], lines);
        assert_eq!(origins[7], "service.toml:11"); // the second client
    }

    #[test]
    fn peers_belong_to_the_first_file() {
        let files = [
            file("service.toml", "name = \"hub\"\n"),
            file("conf.d/10.toml", "\n[[servers]]\nname = \"x\"\n"),
        ];
        let problems = Merged::of(&files, Vec::new()).err().unwrap();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().starts_with("conf.d/10.toml:2: peers"), "{}", problems[0]);
    }

    #[test]
    fn every_file_that_is_no_toml_is_told() {
        let files = [file("service.toml", "name = \n"), file("conf.d/10.toml", "\nport 1\n")];
        let problems = Merged::of(&files, Vec::new()).err().unwrap();
        let places: Vec<_> = problems.iter().map(|it| (it.file.as_str(), it.line)).collect();
        assert!(places.contains(&("service.toml", Some(1))), "{places:?}");
        assert!(places.contains(&("conf.d/10.toml", Some(2))), "{places:?}");
    }
}
