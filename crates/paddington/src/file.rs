//! Reads TOML files that hold secrets, and decides which files are replaced. `draft.rs` writes them.
//!
//! An error names the file and the line, and never shows a value of the file: it may be a key.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::mem;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use paddington_transport::{is_exposed, regular};
use serde::Serialize;
use thiserror::Error;
use tracing::warn;
use zeroize::Zeroizing;

use crate::at_rest::AtRestError;
use crate::draft::{Draft, Leftovers};
use crate::written::{HoldsKeys, to_toml};

/// The reason why a file could not be read or written. Nothing was changed, or, if the disk fails at the
/// last moment, it is not certain what is there after the next power failure.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is no such file.
    #[error("there is no file {path}{hint}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// Advice on what to do.
        hint: &'static str,
    },
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The path holds something else than a file: a folder, a device, a pipe or a socket.
    #[error("{path} cannot be read: it is not a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is too long.
    #[error("{path} is too long for a configuration file ({len} bytes)")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        len: u64,
    },
    /// The content of the file is not valid.
    #[error("{path}{}: {reason}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, if it is known, from 1.
        line: Option<usize>,
        /// The cause.
        reason: String,
    },
    /// The path holds something else, which is not overwritten.
    #[error("{path} {what}; it was left as it is: choose another path, or move it away")]
    Occupied {
        /// The path.
        path: PathBuf,
        /// A clause about what the path holds.
        what: &'static str,
    },
    /// The folder of links is in use by another process, such as the service itself.
    #[error(
        "the links in {path} are in use by another process: change them through the service that \
         runs, or stop it"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("{path} cannot be written")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The file is sealed, or is to be, and that does not work.
    #[error("{path} cannot be opened or sealed")]
    AtRest {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<AtRestError>,
    },
}

/// What is read from the text of a file.
pub(crate) trait FromText: Sized {
    /// Reads the text. The error names the place in it.
    fn from_text(text: &str) -> Result<Self, toml::de::Error>;
}

/// The longest file that is read or written, in bytes: enough for tens of thousands of links.
const MAX_LEN: u64 = 64 * 1024 * 1024;

/// Reads a file.
pub(crate) fn read<T: FromText>(path: &Path, hint: &'static str) -> Result<T, FileError> {
    Ok(read_with_metadata(path, hint)?.0)
}

/// Reads a file, and warns if others can read it too.
pub(crate) fn read_private<T: FromText>(path: &Path, hint: &'static str) -> Result<T, FileError> {
    let (value, metadata) = read_with_metadata(path, hint)?;
    warn_if_exposed(path, &metadata);
    Ok(value)
}

/// Reads a file, and its metadata.
fn read_with_metadata<T: FromText>(
    path: &Path,
    hint: &'static str,
) -> Result<(T, Metadata), FileError> {
    let (text, metadata) = read_text(path, hint)?;
    Ok((parse(path, &text)?, metadata))
}

/// Reads a file of your own that may hold keys, such as one that [`save_private`] has written. It has to
/// be a regular file of UTF-8 text, not too long for a configuration. Whether others can read it tells
/// [`is_exposed`](crate::is_exposed). The text is wiped when it is dropped; wipe its copies.
///
/// ```
/// use paddington::{load_private, save_private};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("mine.toml");
/// save_private(&path, "interval = 10")?;
/// assert_eq!(*load_private(&path)?, "interval = 10");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`FileError`] if there is no such file, or it cannot be read.
pub fn load_private(path: impl AsRef<Path>) -> Result<Zeroizing<String>, FileError> {
    Ok(read_text(path.as_ref(), "")?.0)
}

/// Reads the text of a regular file of bounded length.
fn read_text(path: &Path, hint: &'static str) -> Result<(Zeroizing<String>, Metadata), FileError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => FileError::Missing { path: path.to_owned(), hint },
        _ => FileError::Unreadable { path: path.to_owned(), source },
    };
    let Some((file, metadata)) = regular::open(path).map_err(unreadable)? else {
        return Err(FileError::NotAFile { path: path.to_owned() });
    };
    let too_long = |len| FileError::TooLong { path: path.to_owned(), len };
    let len = metadata.len();
    if len > MAX_LEN {
        return Err(too_long(len));
    }
    // The buffer has room for the whole file, so that it does not move and leave copies of keys.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(len).unwrap_or(0) + 1));
    file.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(too_long(bytes.len() as u64));
    }
    // The text is the buffer, which is not copied.
    match String::from_utf8(mem::take(&mut *bytes)) {
        Ok(text) => Ok((Zeroizing::new(text), metadata)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")))
        }
    }
}

/// Reads the text of a file.
pub(crate) fn parse<T: FromText>(path: &Path, text: &str) -> Result<T, FileError> {
    T::from_text(text).map_err(|error| malformed(path, text, &error))
}

fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> FileError {
    let message = without_values(error.message());
    FileError::Malformed {
        path: path.to_owned(),
        line: error.span().map(|span| line_of(text, span.start)),
        reason: match error.span().and_then(|span| field_at(text, span.start)) {
            Some(field) => without_keys(&format!("{message} (field `{field}`)")),
            None => without_keys(&message),
        },
    }
}

/// Writes a file. An existing file is replaced only if `is_ours` accepts it.
pub(crate) fn write<T: Serialize + HoldsKeys>(
    path: &Path,
    value: &T,
    is_ours: impl FnOnce(&Path) -> Result<(), &'static str>,
) -> Result<(), FileError> {
    write_among(path, value, Leftovers::Go, is_ours)
}

/// As [`write`], in a folder with many files.
pub(crate) fn write_among<T: Serialize + HoldsKeys>(
    path: &Path,
    value: &T,
    leftovers: Leftovers,
    is_ours: impl FnOnce(&Path) -> Result<(), &'static str>,
) -> Result<(), FileError> {
    let text = || to_toml(value).map_err(|source| unwritable(path, source));
    publish(path, leftovers, is_ours, text)
}

/// Returns what is written to a file; errors call it `path`.
pub(crate) fn text<T: Serialize + HoldsKeys>(
    path: &Path,
    value: &T,
) -> Result<Zeroizing<String>, FileError> {
    to_toml(value).map_err(|source| unwritable(path, source))
}

/// Writes a file of your own that holds keys, such as a configuration with an [`Invite`] in it, so
/// that only its owner can read it. An older file is replaced as a whole, or not at all; a symbolic
/// link, and what is not a file, is left as it is.
///
/// ```
/// use paddington::{Invite, ServiceConfig, save_private};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Mine {
///     interval: u32,
///     hub: Invite,
/// }
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("mine.toml");
/// # let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
/// let mine = Mine { interval: 10, hub: hub.add_client("sensor", "192.0.2.0/24")? };
/// save_private(&path, &toml::to_string(&mine)?)?;
/// let same: Mine = toml::from_str(&std::fs::read_to_string(&path)?)?;
/// assert_eq!(same.hub.client(), Some("sensor"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`FileError`] if the path holds something else than a file, or the file cannot be written.
///
/// [`Invite`]: crate::Invite
pub fn save_private(path: impl AsRef<Path>, text: &str) -> Result<(), FileError> {
    publish(path.as_ref(), Leftovers::Go, |_| Ok(()), || Ok(text))
}

fn unwritable(path: &Path, source: io::Error) -> FileError {
    FileError::Unwritable { path: path.to_owned(), source }
}

/// Writes `text` to a file. An existing file is replaced only if `is_ours` accepts it.
fn publish<T: Deref<Target: AsRef<[u8]>>>(
    path: &Path,
    leftovers: Leftovers,
    is_ours: impl FnOnce(&Path) -> Result<(), &'static str>,
    text: impl FnOnce() -> Result<T, FileError>,
) -> Result<(), FileError> {
    let occupied = |what| FileError::Occupied { path: path.to_owned(), what };
    let unwritable = |source| unwritable(path, source);
    let replaces = match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => return Err(occupied("is a link")),
        Ok(found) if !found.is_file() => return Err(occupied("is not a file")),
        Ok(_) => {
            is_ours(path).map_err(occupied)?;
            true
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(unwritable(error)),
    };
    let text = text()?;
    let text: &[u8] = (*text).as_ref();
    if text.len() as u64 > MAX_LEN {
        return Err(FileError::TooLong { path: path.to_owned(), len: text.len() as u64 });
    }
    let draft = Draft::write(path, text, leftovers).map_err(unwritable)?;
    let published = if replaces { draft.replace() } else { draft.create() };
    published.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => occupied("was created by another process just now"),
        _ => unwritable(error),
    })
}

/// Returns the line, from 1, of the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.bytes().filter(|byte| *byte == b'\n').count() + 1
}

/// Returns the field whose value begins at `offset`, if a field is written on the same line.
fn field_at(text: &str, offset: usize) -> Option<&str> {
    let line = text.get(..offset)?.rsplit('\n').next()?;
    let before = line.trim_end().strip_suffix('=')?.trim_end();
    let field = before.rsplit(['{', ',', ' ', '\t']).next()?;
    // What is longer may be a key of cryptography in the wrong place.
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_field = !field.is_empty() && field.len() <= 40 && field.chars().all(is_name);
    // After another `=`, it is part of a value.
    let start = before.strip_suffix(field)?.trim_end();
    (is_field && (start.is_empty() || start.ends_with(['{', ',']))).then_some(field)
}

/// Removes the value from an error of serde, and writes the type for people: "invalid type: string
/// \"..\", expected usize" becomes "invalid type: string, expected a whole number, 0 or more". A value in the
/// wrong place may be a secret.
#[must_use]
pub fn without_values(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let quotes_value = ["invalid type:", "invalid value:", "invalid length:", "unknown variant"]
        .iter()
        .any(|start| first.starts_with(start));
    if !quotes_value {
        return first.to_owned();
    }
    let kind = first.split(['"', '`']).next().unwrap_or_default();
    let kind = kind.split(", expected ").next().unwrap_or_default().trim_end();
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("{kind}, expected {}", for_people(expected)),
        None => kind.to_owned(),
    }
}

/// Replaces what may be a key, or a part of one, wherever somebody has put it: many hexadecimal digits.
pub(crate) fn without_keys(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, digits) = rest.split_at(start);
        let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        shown.push_str(before);
        shown.push_str(if end < DIGITS { &digits[..end] } else { "…" });
        rest = &digits[end..];
    }
    shown.push_str(rest);
    shown
}

/// Number of hexadecimal digits in a row that no message shows.
const DIGITS: usize = 16;

/// Returns how people call a type of serde.
fn for_people(expected: &str) -> &str {
    match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "a string" | "path string" => "text in quotes",
        "a sequence" => "a list",
        table if table.starts_with("struct ") || table.starts_with("internally tagged") => {
            "a table"
        }
        other => other,
    }
}

fn warn_if_exposed(path: &Path, metadata: &Metadata) {
    if is_exposed(metadata) {
        let path = path.display();
        warn!(%path, "others can read this file, which holds keys: run chmod 600 on it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_get_into_messages() {
        let cases = [
            (
                r#"invalid type: string "sec\"ret", expected u16"#,
                "invalid type: string, expected a whole number from 0 to 65535",
            ),
            (
                "invalid type: integer `123`, expected a string",
                "invalid type: integer, expected text in quotes",
            ),
            (
                "invalid type: sequence, expected usize",
                "invalid type: sequence, expected a whole number, 0 or more",
            ),
            (
                "unknown variant `secret`, expected `a` or `b`",
                "unknown variant, expected `a` or `b`",
            ),
            ("invalid value: secret", "invalid value: secret"),
            ("missing field `name`", "missing field `name`"),
            ("unknown field `nam`, expected `name`", "unknown field `nam`, expected `name`"),
        ];
        for (message, shown) in cases {
            assert_eq!(without_values(message), shown);
        }
    }

    #[test]
    fn fields_are_found_and_keys_are_not_shown_as_fields() {
        let field = |line: &str| field_at(line, line.len()).map(str::to_owned);
        assert_eq!(field("a = 1\nport = "), Some("port".to_owned()));
        assert_eq!(field("x = { a.b = 1, c-d="), Some("c-d".to_owned()));
        let key = "0".repeat(64);
        for line in
            ["port", "[table]", "= ", "a = [", "a = b = ", "\"a b\" = ", &format!("{key} = ")]
        {
            assert_eq!(field(line), None, "{line}");
        }
    }

    #[test]
    fn long_rows_of_digits_are_not_shown() {
        let key = "00f0".repeat(16);
        assert_eq!(without_keys(&format!("no `{key}`, nor {key}")), "no `…`, nor …");
        assert_eq!(without_keys("a badge for 192.0.2.7 ü"), "a badge for 192.0.2.7 ü");
        let [shorter, longer] = [&key[..15], &key[..16]];
        assert_eq!(without_keys(&format!("{shorter}, {longer}")), format!("{shorter}, …"));
    }

    #[test]
    fn lines_count_from_one() {
        assert_eq!([line_of("a\nb\n", 0), line_of("a\nb\n", 2), line_of("a\nb\n", 99)], [1, 2, 3]);
    }

    #[derive(Serialize)]
    struct Long {
        name: String,
    }

    impl HoldsKeys for Long {
        fn keys(&self) -> Vec<&paddington_crypto::SecretKey> {
            Vec::new()
        }
    }

    #[test]
    fn a_file_that_is_too_long_to_be_read_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.toml");
        let written = write(&path, &Long { name: "x".repeat(MAX_LEN as usize) }, |_| Ok(()));
        assert!(matches!(written, Err(FileError::TooLong { .. })), "{written:?}");
        assert!(!path.exists());
    }
}
