//! Instruction counts of pieces of work, counted by callgrind and compared with a record. Unlike
//! times, they are the same on a busy machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use paddington_instructions::WORKS;
use serde::{Deserialize, Serialize};

/// The recorded counts.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The difference that is tolerated, in percent.
    tolerance: f64,
    /// The tools, and what decides which code runs: under valgrind all processors look the same
    /// except for AVX2, and each C library has its own code for copying.
    counted_by: String,
    /// Instructions for each piece of work.
    instructions: BTreeMap<String, u64>,
}

/// Each piece of work is repeated this often, and twice as often: the difference is free of
/// start-up costs.
const TIMES: u64 = 2_000;
/// The tolerance of a new record, in percent.
const TOLERANCE: f64 = 3.0;

/// Counts all pieces of work and compares the counts with the file, or writes it. If the record was
/// made with other tools, the counts are only shown.
pub(crate) fn check(file: &Path, write: bool) -> Result<()> {
    let Some(counted_by) = tools() else {
        crate::say("valgrind is not installed: instructions are not counted")?;
        return Ok(());
    };
    let recorded = match std::fs::read_to_string(file) {
        Ok(text) => Some(toml::from_str::<Record>(&text).context("the record is invalid")?),
        Err(_) => None,
    };
    let mut counted = BTreeMap::new();
    for (work, size) in WORKS {
        let more = count(work, size, 2 * TIMES)?;
        let less = count(work, size, TIMES)?;
        let each = more.saturating_sub(less) / TIMES;
        let name = format!("{work} {size} B");
        let before = recorded.as_ref().and_then(|record| record.instructions.get(&name));
        crate::say(&line(&name, each, before.copied()))?;
        counted.insert(name, each);
    }
    if write {
        let record = Record { tolerance: TOLERANCE, counted_by, instructions: counted };
        return Ok(std::fs::write(file, format!("{HEAD}{}", toml::to_string(&record)?))?);
    }
    let Some(record) = recorded else { bail!("nothing is recorded in {}", file.display()) };
    if record.counted_by != counted_by {
        let before = &record.counted_by;
        return crate::say(&format!("not compared: recorded by {before}, counted by {counted_by}"));
    }
    compare(&record, &counted)
}

/// The comment above the record.
const HEAD: &str = "# Instructions for each piece of work, as callgrind counts them. `make instructions` \
                    compares;\n# `make instructions-record` writes it again.\n";

/// The tools that count. `None` without valgrind.
fn tools() -> Option<String> {
    let valgrind = said_by("valgrind", &["--version"])?;
    let library = said_by("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_default();
    let compiler = said_by("rustc", &["--version"]).unwrap_or_default();
    let compiler = compiler.split(" (").next().unwrap_or_default();
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let vectors = if processor.contains(" avx2 ") { "avx2" } else { "no avx2" };
    Some(format!("{valgrind}, {library}, {compiler}, {vectors}"))
}

fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}

fn line(name: &str, each: u64, before: Option<u64>) -> String {
    let change = before.map_or_else(String::new, |before| {
        format!(", recorded {before}: {:+.2} %", percent(each, before))
    });
    format!("{name}: {each} instructions{change}")
}

fn percent(now: u64, before: u64) -> f64 {
    100.0 * (now as f64 / before as f64 - 1.0)
}

fn differs(now: u64, before: u64, tolerance: f64) -> bool {
    100.0 * now.abs_diff(before) as f64 > tolerance * before as f64
}

fn compare(record: &Record, counted: &BTreeMap<String, u64>) -> Result<()> {
    let mut wrong = Vec::new();
    for (name, now) in counted {
        match record.instructions.get(name) {
            None => wrong.push(format!("{name} was never recorded")),
            Some(before) if differs(*now, *before, record.tolerance) => {
                wrong.push(format!("{name} has changed by {:+.1} %", percent(*now, *before)));
            }
            Some(_) => {}
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let counted_by = &record.counted_by;
    bail!("{}; recorded by {counted_by}. If intended: make instructions-record", wrong.join(", "))
}

/// Counts the instructions of a process that does `work` `times` times.
fn count(work: &str, size: usize, times: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["count", work, &size.to_string(), &times.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let Some((_, count)) = collected.filter(|_| output.status.success()) else {
        bail!("{work} could not be counted: {text}");
    };
    Ok(count.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_by_more_than_the_tolerance_is_named() {
        let work = |count| BTreeMap::from([("a".to_owned(), count)]);
        let record =
            Record { tolerance: 3.0, counted_by: "test".to_owned(), instructions: work(1_000) };
        assert!(compare(&record, &work(1_029)).is_ok());
        assert!(compare(&record, &work(971)).is_ok());
        assert!(compare(&record, &work(969)).is_err());
        assert!(compare(&record, &work(1_031)).unwrap_err().to_string().contains("a has changed"));
        assert!(compare(&record, &BTreeMap::from([("b".to_owned(), 1)])).is_err());
    }
}
