//! The record of what was sent and handled, and of what has failed meanwhile, judged by the promises of
//! `docs/cluster.md`.

use std::collections::hash_map::DefaultHasher;
use std::fmt::{Display, Write as _};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paddington::{Delivered, MessageId};
use tokio::time::Instant;

use super::calls::Calls;

/// The most failures that are kept.
const FAILURES: usize = 10;

/// The ledger of a run. Copies are the same ledger.
#[derive(Clone)]
pub(crate) struct Ledger {
    entries: Arc<Mutex<Entries>>,
    begun: Instant,
}

pub(crate) struct Entries {
    /// The messages to each peer.
    out: Vec<Vec<Sent>>,
    /// The messages of each peer.
    pub(super) calls: Calls,
    /// When the database has forgotten messages last.
    lost: Option<Duration>,
    /// Whether a replica has had trouble so far, after which an outcome may be told wrongly.
    troubled: bool,
    /// The trace of each flow, and of the faults.
    traces: Vec<DefaultHasher>,
    told: Option<Vec<String>>,
    failures: Vec<String>,
}

/// A message to a peer.
struct Sent {
    /// The replica.
    by: usize,
    offered: Duration,
    answer: Answer,
    id: Option<MessageId>,
    /// Whether the peer's handler has succeeded, once it was called.
    handled: Option<bool>,
    is_settled: bool,
}

/// What `send` has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing, or nothing that says whether the message will be delivered.
    Unsure,
    Accepted,
    Refused,
}

/// The figures of a run.
pub(crate) struct Summary {
    pub(crate) hash: u64,
    pub(crate) told: Vec<String>,
    pub(crate) failures: Vec<String>,
    pub(crate) handled: usize,
    pub(crate) repeats: usize,
}

impl Ledger {
    pub(crate) fn new(peers: usize, concurrency: usize, tells: bool) -> Self {
        let entries = Entries {
            out: (0..peers).map(|_| Vec::new()).collect(),
            calls: Calls::new(peers, concurrency),
            lost: None,
            troubled: false,
            traces: vec![DefaultHasher::new(); 2 * peers + 1],
            told: tells.then(Vec::new),
            failures: Vec::new(),
        };
        Self { entries: Arc::new(Mutex::new(entries)), begun: Instant::now() }
    }

    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.begun)
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a fault.
    pub(crate) fn note(&self, what: impl Display) {
        let mut entries = self.entries();
        let last = entries.traces.len() - 1;
        entries.tell(self.now(), last, what);
    }

    pub(crate) fn failed(&self, failure: impl Display) {
        let now = self.now();
        self.entries().fail(now, failure);
    }

    /// Notes that a replica has trouble.
    pub(crate) fn trouble(&self) {
        self.entries().troubled = true;
    }

    /// Notes that the database has forgotten messages.
    pub(crate) fn lose(&self) {
        self.entries().lost = Some(self.now());
    }

    /// Takes the number of the next message to a peer, which a replica is about to send.
    pub(crate) fn offer(&self, peer: usize, by: usize) -> usize {
        let mut entries = self.entries();
        let number = entries.out[peer].len();
        entries.out[peer].push(Sent {
            by,
            offered: self.now(),
            answer: Answer::Unsure,
            id: None,
            handled: None,
            is_settled: false,
        });
        entries.tell(self.now(), 2 * peer, format_args!("to {peer}: {number} offered at {by}"));
        number
    }

    pub(crate) fn answered(&self, peer: usize, number: usize, answer: Answer) {
        let mut entries = self.entries();
        let now = self.now();
        entries.tell(now, 2 * peer, format_args!("to {peer}: {number} {answer:?}"));
        let sent = &mut entries.out[peer][number];
        sent.answer = answer;
        if answer == Answer::Refused && sent.handled.is_some() {
            entries.fail(now, format_args!("to {peer}: {number} came and was refused"));
        }
    }

    /// Notes that the handler of a peer has a message of a replica, and what comes of it.
    pub(crate) fn arrived(&self, peer: usize, number: usize, id: Option<MessageId>, good: bool) {
        let mut entries = self.entries();
        let now = self.now();
        entries.tell(now, 2 * peer, format_args!("to {peer}: {number} arrived"));
        let book = &mut entries.out[peer];
        let last = book.iter().rposition(|sent| sent.handled.is_some());
        let wrong = match book.get_mut(number) {
            None => Some("was never sent"),
            Some(sent) if sent.handled.is_some() => Some("came again"),
            Some(sent) => {
                sent.handled = Some(good);
                sent.id = id;
                match last {
                    Some(last) if last > number => Some("came too late"),
                    _ if sent.answer == Answer::Refused => Some("came and was refused"),
                    _ => None,
                }
            }
        };
        if let Some(wrong) = wrong {
            entries.fail(now, format_args!("to {peer}: {number} {wrong}"));
        }
    }

    /// Notes what the receipt of a replica says. `ending` is whether that replica shuts down.
    pub(crate) fn settled(&self, peer: usize, number: usize, delivered: Delivered, ending: bool) {
        let mut entries = self.entries();
        let now = self.now();
        entries.tell_outcome(now, format_args!("to {peer}: {number} is {delivered:?}"));
        let (lost, troubled) = (entries.lost, entries.troubled);
        let sent = &mut entries.out[peer][number];
        sent.is_settled = true;
        let is_true = match delivered {
            Delivered::Handled => match sent.handled {
                Some(good) => good || troubled, // the fate of a rejected message may be lost
                None => lost.is_some_and(|lost| sent.offered <= lost),
            },
            Delivered::Rejected(_) => sent.handled == Some(false),
            Delivered::LeftInStore => ending,
            _ => false,
        };
        if !is_true {
            let what = format!("is said to be {delivered:?} and is {:?}", sent.handled);
            entries.fail(now, format_args!("to {peer}: {number} {what}"));
        }
    }

    /// Returns a message that is still expected, in words.
    pub(crate) fn missing(&self) -> Option<String> {
        let entries = self.entries();
        let lost = entries.lost;
        let missing = |sent: &Sent| {
            let may_be_lost = lost.is_some_and(|lost| sent.offered <= lost);
            sent.answer == Answer::Accepted && sent.handled.is_none() && !may_be_lost
        };
        let find = |(peer, book): (usize, &Vec<Sent>)| {
            let number = book.iter().position(missing)?;
            Some(format!("to {peer}: {number}, offered {:?}, is missing", book[number].offered))
        };
        let out = entries.out.iter().enumerate().find_map(find);
        out.or_else(|| entries.calls.missing())
    }

    /// Checks at the end that everything has come, and that all receipts were told of the replicas for
    /// which `lives` is true.
    pub(crate) fn close(&self, lives: impl Fn(usize) -> bool) {
        if let Some(missing) = self.missing() {
            self.failed(missing);
        }
        let mut entries = self.entries();
        let now = self.now();
        let untold = |(peer, book): (usize, &Vec<Sent>)| {
            let waits = |sent: &Sent| sent.answer == Answer::Accepted && !sent.is_settled;
            let number = book.iter().position(|sent| waits(sent) && lives(sent.by))?;
            Some(format!("to {peer}: the receipt of {number} was never told"))
        };
        let untold = entries.out.iter().enumerate().find_map(untold);
        if let Some(untold) = untold.or_else(|| entries.calls.untold()) {
            entries.fail(now, untold);
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.entries().failures.is_empty()
    }

    pub(crate) fn summary(&self) -> Summary {
        let mut entries = self.entries();
        let mut hash = DefaultHasher::new();
        entries.traces.iter().for_each(|trace| trace.finish().hash(&mut hash));
        let out = entries.out.iter().flatten().filter(|sent| sent.handled.is_some()).count();
        let (handled, repeats) = entries.calls.figures();
        Summary {
            hash: hash.finish(),
            handled: out + handled,
            repeats,
            told: entries.told.take().unwrap_or_default(),
            failures: std::mem::take(&mut entries.failures),
        }
    }
}

impl Entries {
    /// Adds a line to a trace.
    pub(super) fn tell(&mut self, at: Duration, trace: usize, what: impl Display) {
        let mut line = String::new();
        let _ = write!(line, "{:10.4} {what}", at.as_secs_f64()); // writing to a string cannot fail
        line.hash(&mut self.traces[trace]);
        if let Some(told) = &mut self.told {
            told.push(line);
        }
    }

    /// Notes what a receipt tells, outside the traces: those that are told together have no order.
    pub(super) fn tell_outcome(&mut self, at: Duration, what: impl Display) {
        if let Some(told) = &mut self.told {
            told.push(format!("{:10.4} {what}", at.as_secs_f64()));
        }
    }

    pub(super) fn fail(&mut self, at: Duration, failure: impl Display) {
        let failure = format!("{:.4} {failure}", at.as_secs_f64());
        if let Some(told) = &mut self.told {
            told.push(format!("FAILED {failure}"));
        }
        if self.failures.len() < FAILURES {
            self.failures.push(failure);
        }
    }
}
