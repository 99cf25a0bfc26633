//! Stores on disks that are full, slow, or fail.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use paddington_exchange::store::{LinkStore, NewMessage, Outbox};
use paddington_store::SqliteStore;
use paddington_wire::MessageId;

use crate::facts::{Facts, Findings, PEERS, payload, peer, stream};
use crate::power_cuts::memory_folder;
use crate::rate::report;
use crate::recording;

/// The longest time until messages are accepted again, once the disk works.
pub const BAR: Duration = Duration::from_secs(10);
/// Number of messages to each peer.
const MESSAGES: u64 = 1_500;
/// The stream of all of them.
const STREAM: u8 = 1;

/// The result of a trial.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Number of messages that were accepted.
    pub accepted: u64,
    /// Number of times that a message was refused.
    pub refused: u64,
    /// Number of failures of the store.
    pub failures: u64,
    /// The longest time until a message was accepted again.
    pub longest: Duration,
    /// Differences between what is in the store afterwards and what it answered.
    pub findings: Findings,
}

impl Report {
    /// Returns whether nothing is lost and everything is accepted in time.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.is_good()
            && self.accepted == u64::from(PEERS) * MESSAGES
            && self.longest <= BAR
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, refused, failures, longest, findings } = self;
        let Findings { lost, wrong, refused: damage, .. } = findings;
        write!(
            f,
            "{accepted} accepted, {failures} failures, {refused} refused, {lost} lost (bar 0), {wrong} \
             wrong; accepts again after {longest:.1?} (bar {BAR:?})"
        )?;
        damage.as_ref().map_or(Ok(()), |damage| write!(f, "; {damage}"))
    }
}

/// Runs all faults, prints the results, and returns whether all bars are met. Those that need
/// `strace` or the superuser are skipped without.
#[must_use]
pub fn all(program: &Path) -> bool {
    let mut good = true;
    match full_disk() {
        None => report("full disk: skipped, a small disk cannot be mounted"),
        Some(full) => {
            report(&format!("full disk: {full}"));
            good &= full.is_good() && full.failures > 0;
        }
    }
    if !recording::is_possible() {
        report("failing and slow disks: skipped, strace is missing or may not trace");
        return good;
    }
    for (name, injection) in INJECTIONS {
        let injected = injected(program, injection);
        report(&format!("{name}: {injected}"));
        good &= injected.is_good() && (injected.failures > 0) == injection.contains("error");
    }
    good
}

/// Faults by name, in the syntax of `strace`.
pub const INJECTIONS: [(&str, &str); 4] = [
    ("a sync fails (EIO)", "fsync:error=EIO:when=100..103"),
    ("a write fails (EIO)", "pwrite64:error=EIO:when=500..504"),
    ("a write finds no space (ENOSPC)", "pwrite64:error=ENOSPC:when=900..906"),
    ("a sync takes a second", "fsync:delay_enter=1000000:when=40+100"),
];

/// Runs `store-trials stubborn` with a fault.
#[must_use]
pub fn injected(program: &Path, injection: &str) -> Report {
    let folder = memory_folder();
    let path = folder.path().join("store");
    let output = Command::new("strace")
        .env("RUST_BACKTRACE", "0")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,pwrite64", "-e"])
        .arg(format!("inject={injection}"))
        .arg(program)
        .arg("stubborn")
        .arg(&path)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the process with the fault failed");
    let said = String::from_utf8(output.stdout).unwrap();
    check(&path, said.lines())
}

/// Fills a small disk and makes room again. Returns `None` if a small disk cannot be mounted.
#[must_use]
pub fn full_disk() -> Option<Report> {
    let small = SmallDisk::mount()?;
    let filler = small.path().join("filler");
    // There is room for the reserve and some messages.
    fs::write(&filler, vec![1; 42 * 1024 * 1024]).unwrap();
    let path = small.path().join("store");
    let (lines, said) = mpsc::channel::<String>();
    let (failed, fails) = mpsc::channel::<()>();
    let room = Arc::new(OnceLock::new());
    let made = Arc::clone(&room);
    let cleaner = std::thread::spawn(move || {
        fails.recv().unwrap();
        // The disk stays full for a while.
        let _ = fails.recv_timeout(Duration::from_secs(2));
        fs::remove_file(filler).unwrap();
        made.get_or_init(Instant::now);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (mut has_failed, mut again) = (false, None);
    runtime.block_on(stubborn(&path, |line| {
        if ["refused", "failing"].contains(&line) && !has_failed {
            has_failed = true;
            failed.send(()).unwrap();
        } else if let Some(room) = room.get().filter(|_| line.starts_with("accepted")) {
            again.get_or_insert_with(|| room.elapsed());
        }
        lines.send(line.to_owned()).unwrap();
    }));
    // Dropped only here, or the cleaner would not have waited.
    drop((failed, lines));
    cleaner.join().unwrap();
    let said: Vec<String> = said.iter().collect();
    let mut report = check(&path, said.iter().map(String::as_str));
    report.longest = again.unwrap_or(Duration::MAX);
    Some(report)
}

/// Appends messages for every peer, each until it is accepted, and reports every attempt.
pub async fn stubborn(path: &Path, mut say: impl FnMut(&str)) {
    let store = SqliteStore::open(path).unwrap();
    let mut next = [1; PEERS as usize];
    let mut failed_at = None;
    let mut poll = tokio::time::interval(Duration::from_millis(5));
    while next.iter().any(|next| *next <= MESSAGES) {
        let mut answers = Vec::new();
        for (number, next) in (0..PEERS).zip(&next) {
            for at in *next..(*next + 8).min(MESSAGES + 1) {
                let id = MessageId { stream: stream(STREAM), number: at };
                let payload = payload(number, STREAM, at);
                let answer =
                    store.append(&peer(number), NewMessage { id, payload, ttl: None, mark: None });
                answers.push((number, at, answer));
            }
        }
        for (number, at, answer) in answers {
            if answer.await.is_ok() {
                assert_eq!(at, next[usize::from(number)], "one is accepted after one that was not");
                next[usize::from(number)] += 1;
                say(&format!("accepted {number} {STREAM} {at}"));
                if let Some(failed_at) = failed_at.take() {
                    say(&format!("again {}", Instant::elapsed(&failed_at).as_millis()));
                }
            } else {
                say("refused");
                failed_at.get_or_insert_with(Instant::now);
            }
        }
        // It may also fail when it writes back messages that were accepted long ago.
        if store.health().failure.is_some() {
            say("failing");
            failed_at.get_or_insert_with(Instant::now);
        }
        while store.health().failure.is_some() {
            poll.tick().await;
        }
    }
    store.close().await.unwrap();
}

fn check<'a>(path: &Path, lines: impl Iterator<Item = &'a str>) -> Report {
    let (mut facts, mut report) = (Facts::default(), Report::default());
    for line in lines {
        if line == "refused" {
            report.refused += 1;
        } else if line == "failing" {
            report.failures += 1;
        } else if let Some(millis) = line.strip_prefix("again ") {
            report.longest = report.longest.max(Duration::from_millis(millis.parse().unwrap()));
        } else {
            facts.note(line);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    report.findings = runtime.block_on(facts.check(path));
    report.accepted = facts.accepted();
    report
}

/// A disk in memory that is soon full.
pub(crate) struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts it, which only the superuser may.
    pub(crate) fn mount() -> Option<Self> {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
            .arg(disk.folder.path())
            .output();
        mounted.is_ok_and(|output| output.status.success()).then_some(disk)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).output();
    }
}
