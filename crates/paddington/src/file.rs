//! TOML files that hold secrets: in, and out again with mode 0600, written whole or not at all.
//!
//! An error names the file and the line, and never shows what is written there: it may be a key.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;
use thiserror::Error;
use tracing::warn;
use zeroize::Zeroizing;

/// Why a file could not be read or written. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is no such file.
    #[error("there is no file {path}{hint}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// The operating system does not give the file.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The file is longer than any such file.
    #[error("{path} is too long for a configuration file ({len} bytes)")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        len: u64,
    },
    /// The file does not say what it has to.
    #[error("{path}{}: {reason}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, if that is known; lines count from 1.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// Something else is there, which is not overwritten.
    #[error("{path} {what}; it was left as it is: choose another path, or move it away")]
    Occupied {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The file cannot be written.
    #[error("{path} cannot be written")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// The longest file that is read or written, in bytes: tens of thousands of links take less.
const MAX_LEN: u64 = 16 * 1024 * 1024;

/// Reads a file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, hint: &'static str) -> Result<T, FileError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => FileError::Missing { path: path.to_owned(), hint },
        _ => FileError::Unreadable { path: path.to_owned(), source },
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.len() > MAX_LEN {
        return Err(FileError::TooLong { path: path.to_owned(), len: metadata.len() });
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(unreadable)?);
    parse(path, &text)
}

/// Reads the text of a file.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, FileError> {
    toml::from_str(text).map_err(|error| FileError::Malformed {
        path: path.to_owned(),
        line: error.span().map(|span| line_of(text, span.start)),
        reason: without_values(error.message()),
    })
}

/// Writes a file that may replace one of which `is_ours` holds, and nothing else.
pub(crate) fn write<T: Serialize>(
    path: &Path,
    value: &T,
    is_ours: impl FnOnce(&Path) -> Result<(), &'static str>,
) -> Result<(), FileError> {
    let occupied = |what| FileError::Occupied { path: path.to_owned(), what };
    let unwritable = |source| FileError::Unwritable { path: path.to_owned(), source };
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
    let text = toml::to_string(value).map_err(io::Error::other).map_err(unwritable)?;
    let text = Zeroizing::new(text);
    if text.len() as u64 > MAX_LEN {
        return Err(FileError::TooLong { path: path.to_owned(), len: text.len() as u64 });
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    // A temporary file is made with mode 0600 and a name that nobody can guess.
    let mut file = NamedTempFile::new_in(folder).map_err(unwritable)?;
    file.write_all(text.as_bytes()).map_err(unwritable)?;
    file.as_file().sync_all().map_err(unwritable)?;
    let persisted = if replaces { file.persist(path) } else { file.persist_noclobber(path) };
    persisted.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => occupied("was made by somebody else just now"),
        _ => unwritable(error.error),
    })?;
    // The name is durable once its folder is; where a folder cannot be opened, it is not.
    if let Ok(folder) = fs::File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Which line of `text` the byte at `offset` is on, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.bytes().filter(|byte| *byte == b'\n').count() + 1
}

/// What serde says is wrong, without the value that is: "invalid type: string \"..\", expected x"
/// becomes "invalid type: string, expected x".
fn without_values(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let quotes_value = ["invalid type:", "invalid value:", "invalid length:", "unknown variant"]
        .iter()
        .any(|start| first.starts_with(start));
    if !quotes_value {
        return first.to_owned();
    }
    let kind = first.split(['"', '`']).next().unwrap_or_default().trim_end();
    match message.rsplit_once(", expected") {
        Some((_, expected)) => format!("{kind}, expected{expected}"),
        None => kind.to_owned(),
    }
}

#[cfg(unix)]
pub(crate) fn warn_if_exposed(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        warn!(%path, mode = format!("{mode:o}"), "others can read this file, and it holds keys: run chmod 600 on it");
    }
}

#[cfg(not(unix))]
pub(crate) fn warn_if_exposed(_path: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_get_into_messages() {
        let cases = [
            (
                r#"invalid type: string "sec\"ret", expected u16"#,
                "invalid type: string, expected u16",
            ),
            (
                "invalid type: integer `123`, expected a string",
                "invalid type: integer, expected a string",
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
    fn lines_count_from_one() {
        assert_eq!([line_of("a\nb\n", 0), line_of("a\nb\n", 2), line_of("a\nb\n", 99)], [1, 2, 3]);
    }

    #[test]
    fn nothing_is_written_that_could_not_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.toml");
        let long = std::collections::BTreeMap::from([("key", "x".repeat(MAX_LEN as usize))]);
        let written = write(&path, &long, |_| Ok(()));
        assert!(matches!(written, Err(FileError::TooLong { .. })), "{written:?}");
        assert!(!path.exists());
    }
}
