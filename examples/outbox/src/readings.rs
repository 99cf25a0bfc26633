//! The stored readings: one line each, in a file that survives a kill.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Error};

/// A file of readings, and their numbers.
pub(crate) struct Readings {
    file: File,
    known: HashSet<u64>,
}

impl Readings {
    /// Opens the file, or creates it. An incomplete last line is removed: its writer was killed
    /// before it had acknowledged the reading.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text).context("the readings are not text")?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        let known = text[..whole].lines().map(number).collect::<Result<_, _>>()?;
        Ok(Self { file, known })
    }

    /// Stores a reading durably, unless it is known. Returns whether it was new.
    pub(crate) fn store(&mut self, reading: &str) -> Result<bool, Error> {
        if !self.known.insert(number(reading)?) {
            return Ok(false);
        }
        self.file.write_all(format!("{reading}\n").as_bytes())?;
        self.file.sync_data()?;
        Ok(true)
    }

    pub(crate) fn count(&self) -> u64 {
        self.known.len() as u64
    }
}

/// Returns the number of a reading: the first word of its line.
fn number(reading: &str) -> Result<u64, Error> {
    let number = reading.split(' ').next().and_then(|number| number.parse().ok());
    number.with_context(|| format!("{reading:?} is not a reading"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reading_is_stored_once_and_a_torn_line_is_stored_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("readings");
        let mut readings = Readings::open(&path).unwrap();
        assert!(readings.store("1 20.0").unwrap() && readings.store("2 20.1").unwrap());
        assert!(!readings.store("1 20.0").unwrap());
        assert!(readings.store("no number").is_err());
        std::fs::write(&path, "1 20.0\n2 20.1\n3 2").unwrap();
        let mut readings = Readings::open(&path).unwrap();
        assert_eq!(readings.count(), 2);
        assert!(readings.store("3 20.2").unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1 20.0\n2 20.1\n3 20.2\n");
    }
}
