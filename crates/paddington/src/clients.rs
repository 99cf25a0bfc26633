//! Reads a configuration one client at a time.
//!
//! A parsed document takes several times the memory of what is made from it, and what is made while it
//! exists lies scattered over the memory that it leaves. A service may have 100 000 clients, so only
//! one of their tables is a document at a time.

use toml::de::Error;
use zeroize::Zeroizing;

use crate::file::FromText;
use crate::format::{Clients, ServiceFile};

/// The line with which the table of a client begins.
const CLIENT: &str = "[[clients]]";
/// How the headers of the tables in it begin.
const PART: &str = "[clients.";

impl FromText for ServiceFile {
    /// Returns what reading the whole text at once returns, the error too.
    fn from_text(text: &str) -> Result<Self, Error> {
        match read_apart(text) {
            Some(file) => Ok(file),
            None => toml::from_str(text),
        }
    }
}

/// Reads the first client with everything else, and each of the others alone. Returns nothing if the
/// text is not valid, or is not written so that its tables can be told apart.
fn read_apart(text: &str) -> Option<ServiceFile> {
    let (rest, tables) = split(text)?;
    let mut file: ServiceFile = toml::from_str(&rest).ok()?;
    if file.clients.len() > 1 {
        return None;
    }
    file.clients.reserve_exact(tables.len());
    for table in tables {
        file.clients.extend(toml::from_str::<Clients>(table).ok()?.clients);
    }
    Some(file)
}

/// Cuts the tables of all clients but the first out of a text. Returns what remains, and the tables.
fn split(text: &str) -> Option<(Zeroizing<String>, Vec<&str>)> {
    // They span lines, which then say nothing.
    if text.contains("\"\"\"") || text.contains("'''") {
        return None;
    }
    let (mut rest, mut tables) = (Zeroizing::new(String::with_capacity(text.len())), Vec::new());
    let (mut place, mut start, mut at) = (Place::Before, 0, 0);
    for line in text.split_inclusive('\n') {
        let next = place.after(line.trim())?;
        if next != place || next == Place::Other && line.trim() == CLIENT {
            place.put(&text[start..at], &mut rest, &mut tables);
            start = at;
        }
        place = next;
        at += line.len();
    }
    place.put(&text[start..], &mut rest, &mut tables);
    Some((rest, tables))
}

/// Where a line is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before all clients.
    Before,
    /// In the first client's table.
    First,
    /// In another client's table.
    Other,
    /// In another table, after the first client.
    Between,
}

impl Place {
    /// Returns where the next line is, or nothing if it cannot be told.
    fn after(self, line: &str) -> Option<Self> {
        let in_client = matches!(self, Self::First | Self::Other);
        match line {
            CLIENT if self == Self::Before => Some(Self::First),
            CLIENT => Some(Self::Other),
            _ if !line.starts_with('[') => Some(self),
            _ if line.starts_with(PART) => in_client.then_some(self),
            _ if line.contains(['"', '\'']) || line.contains("clients") => None,
            _ if self == Self::Before => Some(self),
            _ => Some(Self::Between),
        }
    }

    /// Puts a text from here where it is read.
    fn put<'t>(self, text: &'t str, rest: &mut String, tables: &mut Vec<&'t str>) {
        match self {
            Self::Other => tables.push(text),
            Self::Before | Self::First | Self::Between => rest.push_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;
    use std::path::Path;

    const START: &str =
        "name = \"hub\"\nurl = \"ws://hub.example:6501\"\nip = \"0.0.0.0\"\nport = 1\n";

    fn client(name: &str) -> String {
        let key = |digit: &str| digit.repeat(64);
        format!(
            "\n[[clients]]\nname = \"{name}\"\nip = \"192.0.2.0/24\"\n\n[clients.inner_key]\n\
             data = \"{}\"\n[clients.outer_key]\ndata = \"{}\"\n",
            key("1"),
            key("2")
        )
    }

    /// Returns what both ways of reading return, each as the configuration would be written.
    fn both(text: &str) -> [Result<String, String>; 2] {
        [ServiceFile::from_text(text), toml::from_str(text)].map(|read| {
            let file = read.map_err(|error| error.to_string())?;
            let text = file::text(Path::new("file"), &file).map_err(|error| error.to_string())?;
            Ok(text.to_string())
        })
    }

    #[test]
    fn clients_are_read_alone() {
        let settings = "[settings]\nhandlers = 7\n[settings.transport.limits]\npending = 9\n";
        let servers = client("s").replace("clients", "servers").replace("ip =", "url =");
        let servers = servers.replace("192.0.2.0/24", "ws://s.example:1");
        let (a, b, c) = (client("a"), client("b"), client("c"));
        for (text, alone) in [
            (START.to_owned(), 0),
            (format!("{START}{a}"), 0),
            (format!("{START}{settings}{a}{b}{c}"), 2),
            (format!("{START}{a}{settings}{b}{servers}{c}"), 2),
            (format!("{START}{a}{b}{c}{servers}{settings}").replace('\n', "\r\n"), 2),
            (format!("{START}{a}{b}").replace("[[clients]]", "  [[clients]]"), 1),
            (format!("{START}{a}{b}").replace("[clients.inner_key]\n", "inner_key."), 1),
        ] {
            assert_eq!(split(&text).unwrap().1.len(), alone, "{text}");
            let [apart, whole] = both(&text);
            assert!(whole.is_ok(), "{text}: {whole:?}");
            assert!(read_apart(&text).is_some(), "{text}");
            assert_eq!(apart, whole, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_apart_is_read_at_once() {
        let (a, b) = (client("a"), client("b"));
        let late = a.split_once("[clients.inner_key]").unwrap();
        for text in [
            format!("{START}clients = []\n{a}{b}"),
            format!("{START}clients = [{{}}]\n{a}{b}"),
            format!("{START}{a}{b}").replace("[[clients]]", "[[ clients ]]"),
            format!("{START}{a}{}", b.replace("[[clients]]", "[[\"clients\"]]")),
            format!("{START}{a}{}", b.replace("[[clients]]", "[[\"\\u0063lients\"]]")),
            format!("{START}{a}{}", b.replace("[[clients]]", "[[clients]] # the second")),
            format!("{START}{a}{}", b.replace("[clients.inner_key]", "[clients . inner_key]")),
            format!("{START}{a}{}", b.replace("[clients.inner_key]", "[ clients.inner_key]")),
            format!("{START}{}[settings]\n[clients.inner_key]{}{b}", late.0, late.1),
            format!("{START}{}{b}[settings]\n[clients.inner_key]{}", late.0, late.1),
            format!("{START}{a}{b}outbox = \"\"\"\n[[clients]]\n\"\"\"\n"),
            format!("{START}outbox = '''\n[[clients]]\n'''\n{a}{b}"),
            format!("{START}{a}{b}[clients.inner_key]\ndata = 1\n"),
            format!("{START}{a}{b}x = [\n[[clients]]\n]\n"),
            format!("{START}x = [\n[[clients]]\n]\n{a}{b}"),
            format!("{START}{a}x = [\n[1]\n]\n{b}"),
            format!("{START}{a}{b}nmae = 1\n"),
            format!("{START}{a}[nmae]\nx = 1\n{b}"),
            format!("{START}{a}{b}[[clients]]"),
            format!("{START}{a}{b}").replace("name = \"b\"", "name = \"b\"\nname = \"c\""),
            format!("{START}{a}{b}").replace(&"2".repeat(64), "2"),
            format!("[clients.inner_key]\n{START}{a}{b}"),
        ] {
            let [apart, whole] = both(&text);
            assert_eq!(apart, whole, "{text}");
        }
    }
}
