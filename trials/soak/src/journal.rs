//! Journals of processes that may be killed at any moment, and the verdict on them: what was lost,
//! what came twice, what came out of order.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Error, ensure};

const SENT: &str = "sent.log";
const HANDLED: &str = "handled.log";
const KEYS: &str = "keys.log";
const SHARED: &str = "shared.log";

/// A file that grows by whole lines.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    text: String,
}

impl Journal {
    pub(crate) fn sent(folder: &Path) -> Result<Self, Error> {
        Self::open(&folder.join(SENT))
    }

    pub(crate) fn handled(folder: &Path) -> Result<Self, Error> {
        Self::open(&folder.join(HANDLED))
    }

    pub(crate) fn keys(folder: &Path) -> Result<Self, Error> {
        Self::open(&folder.join(KEYS))
    }

    /// The journal into which several processes write, whose lines are in the order of their events. What is
    /// there already is not read.
    pub(crate) fn shared(folder: &Path) -> Result<Self, Error> {
        Self::open_unread(&folder.join(SHARED))
    }

    fn open(path: &Path) -> Result<Self, Error> {
        let journal = Self::open_unread(path)?;
        Ok(Self { text: fs::read_to_string(path)?, ..journal })
    }

    fn open_unread(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { file, text: String::new() })
    }

    pub(crate) fn append(&self, line: &str) -> Result<(), Error> {
        Ok((&self.file).write_all(format!("{line}\n").as_bytes())?)
    }

    pub(crate) fn append_synced(&self, line: &str) -> Result<(), Error> {
        self.append(line)?;
        Ok(self.file.sync_data()?)
    }

    /// The first number that no earlier instance has begun to send.
    pub(crate) fn begun(&self) -> Result<u64, Error> {
        last_begun(&self.text)
    }
}

fn last_begun(text: &str) -> Result<u64, Error> {
    let last = text.lines().rev().find_map(|line| line.strip_prefix("begun "));
    last.map_or(Ok(0), |last| Ok(last.parse::<u64>()? + 1))
}

/// The first number that was not begun.
pub(crate) fn next_number(folder: &Path) -> Result<u64, Error> {
    last_begun(&read(folder, SENT)?)
}

/// One more than the last number that was handled.
pub(crate) fn next_handled(folder: &Path) -> Result<u64, Error> {
    let handled = read(folder, HANDLED)?;
    let last = handled.lines().last().and_then(|line| line.rsplit(' ').next());
    last.map_or(Ok(0), |last| Ok(last.parse::<u64>()? + 1))
}

/// What several processes have written.
pub(crate) fn shared_text(folder: &Path) -> Result<String, Error> {
    read(folder, SHARED)
}

/// The newest generation of keys that was seen, and the alarms about burned ones.
pub(crate) fn keys(folder: &Path) -> Result<(u64, usize), Error> {
    let text = read(folder, KEYS)?;
    let numbers = text.lines().filter_map(|line| line.strip_prefix("generation "));
    let newest = numbers.map(str::parse).collect::<Result<Vec<u64>, _>>()?.into_iter().max();
    let alarms = text.lines().filter(|line| line.starts_with("alarm ")).count();
    Ok((newest.unwrap_or_default(), alarms))
}

fn read(folder: &Path, name: &str) -> Result<String, Error> {
    let path = folder.join(name);
    if !path.exists() {
        return Ok(String::new());
    }
    Ok(fs::read_to_string(path)?)
}

/// The verdict on the journals of both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) accepted: usize,
    pub(crate) handled: usize,
    /// Accepted, and never handled.
    pub(crate) lost: usize,
    /// Handled twice in one instance of the receiver.
    pub(crate) repeats: usize,
    /// Handled again in another instance of the receiver, which is allowed.
    pub(crate) repeats_over_instances: usize,
    /// Handled again in another instance without being flagged as redelivered.
    pub(crate) unannounced: usize,
    /// Not the message that was due in its stream, or older than one of another stream.
    pub(crate) disorder: usize,
}

impl Verdict {
    pub(crate) fn of(folder: &Path) -> Result<Self, Error> {
        Self::judge(&read(folder, SENT)?, &read(folder, HANDLED)?)
    }

    fn judge(sent: &str, handled: &str) -> Result<Self, Error> {
        let mut verdict = Self::default();
        let mut seen = HashSet::new();
        let mut seen_in_instance = HashSet::new();
        let mut last: HashMap<(&str, &str), u64> = HashMap::new();
        let mut most: HashMap<&str, u64> = HashMap::new();
        let mut newest = None;
        for line in handled.lines() {
            let Entry { instance, stream, id, again, number } = Entry::parse(line)?;
            verdict.handled += 1;
            verdict.repeats += usize::from(!seen_in_instance.insert((instance, stream, id)));
            let most = most.entry(stream).or_insert(id - 1);
            let due = match last.insert((instance, stream), id) {
                Some(last) => id == last + 1,
                None => id <= *most + 1,
            };
            *most = id.max(*most);
            verdict.disorder += usize::from(!due);
            if seen.insert((stream, id, number)) {
                verdict.disorder += usize::from(newest.is_some_and(|newest| number <= newest));
                newest = newest.max(Some(number));
            } else {
                verdict.repeats_over_instances += 1;
                verdict.unannounced += usize::from(!again);
            }
        }
        for line in sent.lines().filter_map(|line| line.strip_prefix("accepted ")) {
            let parts: Vec<_> = line.split(' ').collect();
            let [number, stream, id] = parts[..] else { anyhow::bail!("not a line: {line}") };
            verdict.accepted += 1;
            verdict.lost += usize::from(!seen.contains(&(stream, id.parse()?, number.parse()?)));
        }
        Ok(verdict)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        ensure!(self.accepted > 0, "nothing was accepted");
        ensure!(self.lost == 0, "{} messages were lost", self.lost);
        ensure!(self.repeats == 0, "{} messages came twice in one instance", self.repeats);
        ensure!(self.unannounced == 0, "{} repeats were not flagged", self.unannounced);
        ensure!(self.disorder == 0, "{} messages came out of order", self.disorder);
        Ok(())
    }
}

struct Entry<'a> {
    instance: &'a str,
    stream: &'a str,
    id: u64,
    again: bool,
    number: u64,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Result<Self, Error> {
        let parts: Vec<_> = line.split(' ').collect();
        let [instance, stream, id, again, number] = parts[..] else {
            anyhow::bail!("not a line: {line}")
        };
        let id = id.parse().with_context(|| format!("not a line: {line}"))?;
        ensure!(id > 0, "numbers begin at 1");
        Ok(Self { instance, stream, id, again: again.parse()?, number: number.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "begun 0\naccepted 0 a 1\nbegun 1\naccepted 1 a 2\nbegun 2\nbegun 3\n\
                        accepted 3 b 1\n";

    fn judge(handled: &str) -> Verdict {
        Verdict::judge(SENT, handled).unwrap()
    }

    #[test]
    fn the_next_number_was_never_begun() {
        assert_eq!(last_begun(SENT).unwrap(), 4);
        assert_eq!(last_begun("").unwrap(), 0);
    }

    #[test]
    fn messages_once_and_in_order_are_fine() {
        let verdict = judge("1 a 1 false 0\n1 a 2 false 1\n1 a 3 false 2\n1 b 1 false 3\n");
        verdict.check().unwrap();
        assert_eq!((verdict.accepted, verdict.handled), (3, 4));
    }

    #[test]
    fn a_repeat_in_another_instance_has_to_be_flagged() {
        let announced = judge("1 a 1 false 0\n2 a 1 true 0\n2 a 2 false 1\n2 b 1 false 3\n");
        announced.check().unwrap();
        assert_eq!(announced.repeats_over_instances, 1);
        let silent = judge("1 a 1 false 0\n2 a 1 false 0\n2 a 2 false 1\n2 b 1 false 3\n");
        assert_eq!(silent.unannounced, 1);
    }

    #[test]
    fn a_lost_doubled_or_late_message_is_noticed() {
        for (handled, lost, repeats, disorder) in [
            ("1 a 1 false 0\n1 a 2 false 1\n", 1, 0, 0),
            ("1 a 1 false 0\n1 a 1 true 0\n1 a 2 false 1\n1 b 1 false 3\n", 0, 1, 1),
            ("1 a 1 false 0\n2 a 3 false 2\n2 b 1 false 3\n", 1, 0, 1),
            ("1 b 1 false 3\n1 a 1 false 0\n1 a 2 false 1\n", 0, 0, 2),
        ] {
            let verdict = judge(handled);
            let found = (verdict.lost, verdict.repeats, verdict.disorder);
            assert_eq!(found, (lost, repeats, disorder), "{handled}");
            assert!(verdict.check().is_err());
        }
    }
}
