//! The record of what was sent and handled, judged by the promises of `docs/delivery.md` §1.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paddington::{Delivered, Message, MessageId, RejectCode};

use crate::plan::{Flow, Plan};

/// The time for which cursors gather before they are written: what a receiver with a disk handled
/// within it, and within the disk's lag, may be handled again after a crash.
const GATHERED: Duration = Duration::from_millis(100);

/// The ledger of a run. Copies are the same ledger.
#[derive(Clone)]
pub(crate) struct Ledger {
    entries: Arc<Mutex<Entries>>,
}

struct Entries {
    flows: Vec<Book>,
    /// The ends of each service's instances.
    ends: Vec<BTreeMap<u32, End>>,
    trace: DefaultHasher,
    told: Option<Vec<String>>,
    failures: Vec<String>,
    repeats: u64,
    handled: u64,
    reached: BTreeSet<Bound>,
    /// Number of crashes that a message survives.
    crashes: u32,
}

/// A bound of `docs/limits.md` that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Bound {
    /// An outbox was full.
    Outbox,
    /// A message was given up because of its time to live.
    TimeToLive,
    /// A message was given up because its handler had failed too often.
    Attempts,
    /// A message was given up because the process had ended too often while it was handled.
    Crashes,
    /// A window was full.
    Window,
    /// The keys of a link were renewed.
    Renewal,
}

impl Bound {
    /// Those that a few seeds reach. Few of them kill a process often enough in the same message.
    pub(crate) const COMMON: [Self; 5] =
        [Self::Outbox, Self::TimeToLive, Self::Attempts, Self::Window, Self::Renewal];
}

/// The end of an instance.
struct End {
    at: Duration,
    /// The peers whose messages were abandoned, and how many; only after an orderly shutdown.
    unsent: Option<Vec<(String, usize)>>,
}

/// One flow.
struct Book {
    flow: Flow,
    name: String,
    recipient: String,
    /// Whether the sender has a disk, and the receiver.
    is_stored: bool,
    is_receiver_stored: bool,
    /// The longest time until the receiver's disk has what was handled, if the receiver has one.
    written_after: Option<Duration>,
    sent: BTreeMap<u64, Sent>,
    /// The receiver's instance, the last message that it was given, and which attempt that was.
    last: (u32, u64, u32),
    /// The message that the receiver is handling, also between two attempts.
    in_hand: Option<u64>,
    /// The receiver's instances that ended without order.
    disorder: Vec<Disorder>,
}

/// An instance of a receiver that ended without order.
struct Disorder {
    instance: u32,
    at: Duration,
    /// The message that it was handling.
    in_hand: Option<u64>,
    /// If it was handling none: the first one that it may have been about to handle, or may have
    /// handled without its disk's knowledge; and which of them that was.
    first: u64,
    counted: Option<u64>,
}

/// One message.
#[derive(Default)]
struct Sent {
    /// The sender's instance.
    instance: u32,
    offered: Duration,
    is_mortal: bool,
    is_accepted: bool,
    id: Option<MessageId>,
    delivered: Option<Delivered>,
    begun: u32,
    /// The instance of the receiver in which it was begun last.
    begun_in: u32,
    /// The instances of the receiver that have counted an attempt before they have begun it.
    counted_in: BTreeSet<u32>,
    /// The instance of the receiver in which the handler was done with it, and when.
    done: Option<(u32, Duration)>,
    is_handled: bool,
    /// Whether the handler has failed on it for the last time.
    is_given_up: bool,
}

/// A message as a handler gets it.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) flow: usize,
    pub(crate) number: u64,
    /// The receiver's instance.
    pub(crate) instance: u32,
}

/// The end of a handler's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Handled,
    /// It failed, and may get the message again.
    Failed,
    /// It failed, and does not get the message again.
    GivenUp,
}

/// A step of a message, for the trace.
#[derive(Clone, Copy, Debug, Hash)]
enum Step {
    Offered,
    Accepted,
    Refused,
    Begun,
    Handled,
    Failed,
    Settled,
}

pub(crate) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl Ledger {
    pub(crate) fn new(plan: &Plan, tells: bool) -> Self {
        let disk_full = plan.faults.iter().any(|(_, fault)| fault.is_of_disk());
        let book = |flow: &Flow| {
            let lag = plan.services[flow.to].disk.filter(|_| !disk_full);
            Book {
                flow: *flow,
                name: format!("s{} to s{}", flow.from, flow.to),
                recipient: format!("s{}", flow.to),
                is_stored: plan.services[flow.from].disk.is_some(),
                is_receiver_stored: plan.services[flow.to].disk.is_some(),
                written_after: lag.map(|lag| GATHERED + lag.lazy + 2 * lag.sync),
                sent: BTreeMap::new(),
                last: (0, 0, 0),
                in_hand: None,
                disorder: Vec::new(),
            }
        };
        let entries = Entries {
            flows: plan.flows.iter().map(book).collect(),
            ends: plan.services.iter().map(|_| BTreeMap::new()).collect(),
            trace: DefaultHasher::new(),
            told: tells.then(Vec::new),
            failures: Vec::new(),
            repeats: 0,
            handled: 0,
            reached: BTreeSet::new(),
            crashes: plan.crashes,
        };
        Self { entries: Arc::new(Mutex::new(entries)) }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the number of the next message of a flow, if there is one: it is about to be sent.
    pub(crate) fn offer(&self, flow: usize, instance: u32) -> Option<u64> {
        let mut entries = self.entries();
        let book = &mut entries.flows[flow];
        let number = book.sent.len() as u64 + 1;
        if number > book.flow.messages {
            return None;
        }
        let is_mortal = number.is_multiple_of(book.flow.mortal);
        book.sent.insert(number, Sent { instance, offered: now(), is_mortal, ..Sent::default() });
        entries.tell(flow, number, Step::Offered);
        Some(number)
    }

    pub(crate) fn accepted(&self, flow: usize, number: u64, id: Option<MessageId>) {
        let mut entries = self.entries();
        entries.tell(flow, number, Step::Accepted);
        let Some(sent) = entries.flows[flow].sent.get_mut(&number) else { return };
        sent.is_accepted = true;
        if sent.id.is_some() && sent.id != id {
            entries.fail(flow, number, "came under another id");
        } else {
            sent.id = id;
        }
    }

    pub(crate) fn refused(&self, flow: usize, number: u64) {
        self.entries().tell(flow, number, Step::Refused);
    }

    pub(crate) fn settled(&self, flow: usize, number: u64, delivered: Delivered) {
        let mut entries = self.entries();
        entries.tell(flow, number, Step::Settled);
        let entries = &mut *entries;
        let book = &mut entries.flows[flow];
        let is_poison = delivered == Delivered::Rejected(RejectCode::POISON)
            && book.is_poison(number, entries.crashes);
        let Some(sent) = book.sent.get_mut(&number) else { return };
        sent.delivered = Some(delivered);
        entries.reached.extend(match delivered {
            Delivered::Rejected(RejectCode::POISON) => Some(Bound::Crashes),
            Delivered::Rejected(RejectCode::FAILED) => Some(Bound::Attempts),
            Delivered::Expired => Some(Bound::TimeToLive),
            _ => None,
        });
        // A receiver that still runs has been given it.
        let is_given = sent.begun > 0 && !entries.ends[book.flow.to].contains_key(&sent.begun_in);
        let is_wrong = match delivered {
            Delivered::Handled => !sent.is_handled,
            Delivered::Rejected(RejectCode::POISON) => !sent.is_given_up && !is_poison,
            Delivered::Rejected(_) => !sent.is_given_up,
            Delivered::Expired => !sent.is_mortal || is_given,
            Delivered::Abandoned | Delivered::LeftInStore => false,
            _ => true,
        };
        if is_wrong {
            entries.fail(flow, number, &format!("is said to be {delivered:?}, which is not so"));
        }
    }

    /// Notes that a handler was given a message.
    pub(crate) fn begun(&self, arrival: Arrival, message: &Message) {
        let Arrival { flow, number, instance } = arrival;
        let mut entries = self.entries();
        entries.tell(flow, number, Step::Begun);
        let attempt = message.attempt();
        let book = &mut entries.flows[flow];
        let (last_instance, last, last_attempt) = book.last;
        book.last = (instance, number, attempt);
        let is_retry = last_instance == instance && last == number && attempt > last_attempt;
        let Some(sent) = book.sent.get_mut(&number) else {
            return entries.fail(flow, number, "came and was never sent");
        };
        let is_repeat = sent.done.is_some() && !is_retry;
        let done = sent.done;
        let mut wrong = Vec::new();
        if last_instance == instance && number <= last && !is_retry {
            wrong.push(if is_repeat { "came again" } else { "came too late" });
        }
        if sent.begun > 0 && !is_retry && !message.redelivered() {
            wrong.push("came again as if it were new");
        }
        if sent.delivered == Some(Delivered::Expired) {
            wrong.push("came although it had expired");
        }
        if sent.id.is_some() && sent.id != message.id() {
            wrong.push("came again under another id");
        }
        sent.id = message.id();
        sent.begun += 1;
        sent.begun_in = instance;
        sent.counted_in.extend(message.redelivered().then_some(instance));
        book.in_hand = Some(number);
        let written_after = book.written_after;
        let to = book.flow.to;
        if is_repeat {
            entries.repeats += 1;
            let crash =
                done.and_then(|(instance, at)| Some((entries.ends[to].get(&instance)?.at, at)));
            if let (Some(written_after), Some((crash, at))) = (written_after, crash)
                && at + written_after < crash
            {
                wrong.push("came again although that it was handled was on the disk");
            }
        }
        for wrong in wrong {
            entries.fail(flow, number, wrong);
        }
    }

    /// Notes that a handler is done with a message.
    pub(crate) fn ended(&self, arrival: Arrival, outcome: Outcome) {
        let Arrival { flow, number, instance } = arrival;
        let mut entries = self.entries();
        let is_handled = outcome == Outcome::Handled;
        entries.tell(flow, number, if is_handled { Step::Handled } else { Step::Failed });
        entries.handled += u64::from(is_handled);
        if outcome != Outcome::Failed {
            entries.flows[flow].in_hand = None;
        }
        if let Some(sent) = entries.flows[flow].sent.get_mut(&number) {
            sent.is_handled |= is_handled;
            sent.is_given_up |= outcome == Outcome::GivenUp;
            sent.done = is_handled.then(|| (instance, now())).or(sent.done);
        }
    }

    /// Notes that an instance of a service is over, in order if it reports what it has not sent.
    pub(crate) fn died(
        &self,
        service: usize,
        instance: u32,
        at: Duration,
        unsent: Option<Vec<(String, usize)>>,
    ) {
        let mut entries = self.entries();
        if entries.ends[service].contains_key(&instance) {
            return;
        }
        let is_its = |book: &&mut Book| book.flow.to == service;
        for book in entries.flows.iter_mut().filter(is_its) {
            book.ended(instance, at, unsent.is_some());
        }
        entries.ends[service].insert(instance, End { at, unsent });
    }

    /// Tells of something that happens, beside the trace.
    pub(crate) fn note(&self, at: Duration, what: &dyn Debug) {
        if let Some(told) = &mut self.entries().told {
            told.push(format!("{:10.3} {what:?}", at.as_secs_f64()));
        }
    }

    pub(crate) fn reached(&self, bound: Bound) {
        self.entries().reached.insert(bound);
    }

    pub(crate) fn failed(&self, failure: String) {
        let mut entries = self.entries();
        if entries.failures.len() < 10 {
            entries.failures.push(failure);
        }
    }

    /// Checks, now that all is quiet, that nothing is lost of the flows for which `counts` is true.
    /// `letters` returns the dead letters of a service; `None` if some may have had no room.
    pub(crate) fn close(
        &self,
        counts: impl Fn(&Flow) -> bool,
        letters: impl Fn(usize) -> Option<Vec<MessageId>>,
    ) {
        let mut entries = self.entries();
        let entries = &mut *entries;
        let mut lost = Vec::new();
        let flows = entries.flows.iter_mut().enumerate();
        for (flow, book) in flows.filter(|(_, book)| counts(&book.flow)) {
            let mut orderly: BTreeMap<u32, usize> = BTreeMap::new();
            let unsettled = book.sent.iter().filter(|(_, sent)| sent.is_lost());
            let unsettled: Vec<u64> = unsettled.map(|(number, _)| *number).collect();
            let letters = letters(book.flow.to);
            for number in unsettled {
                let id = book.sent[&number].id;
                let is_kept =
                    letters.as_ref().is_none_or(|it| id.is_some_and(|id| it.contains(&id)));
                if is_kept && book.is_poison(number, entries.crashes) {
                    continue; // its sender was gone when it was rejected
                }
                let sent = &book.sent[&number];
                match entries.ends[book.flow.from].get(&sent.instance) {
                    Some(_) if sent.is_mortal => {}
                    Some(End { unsent: Some(_), .. }) if !book.is_stored => {
                        *orderly.entry(sent.instance).or_default() += 1;
                    }
                    Some(_) if !book.is_stored => {}
                    _ => lost.push((flow, number, "is lost".to_owned())),
                }
            }
            for (instance, missing) in orderly {
                let end = entries.ends[book.flow.from].get(&instance);
                let unsent = end.and_then(|end| end.unsent.as_ref()).into_iter().flatten();
                let unsent = unsent.filter(|(peer, _)| *peer == book.recipient);
                let unsent: usize = unsent.map(|(_, unsent)| unsent).sum();
                if missing > unsent {
                    let of = format!(
                        "{missing} of instance {instance} are lost, {unsent} of them reported"
                    );
                    lost.push((flow, 0, of));
                }
            }
        }
        for (flow, number, cause) in lost {
            entries.fail(flow, number, &cause);
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        let mut entries = self.entries();
        Summary {
            hash: entries.trace.finish(),
            handled: entries.handled,
            repeats: entries.repeats,
            failures: std::mem::take(&mut entries.failures),
            told: entries.told.take().unwrap_or_default(),
            reached: std::mem::take(&mut entries.reached),
        }
    }
}

/// The figures of a ledger.
pub(crate) struct Summary {
    pub(crate) hash: u64,
    pub(crate) handled: u64,
    pub(crate) repeats: u64,
    pub(crate) failures: Vec<String>,
    pub(crate) told: Vec<String>,
    pub(crate) reached: BTreeSet<Bound>,
}

impl Sent {
    /// Returns whether it was accepted and has no outcome.
    fn is_lost(&self) -> bool {
        let is_settled = match self.delivered {
            Some(Delivered::Expired | Delivered::Rejected(_)) => true,
            _ => self.is_handled || self.is_given_up,
        };
        self.is_accepted && !is_settled
    }
}

impl Book {
    /// Notes that an instance of the receiver is over.
    fn ended(&mut self, instance: u32, at: Duration, is_orderly: bool) {
        let in_hand = self.in_hand.take();
        if is_orderly {
            return;
        }
        let last = if self.last.0 == instance { self.last.1 } else { 0 };
        let done = self.sent.get(&last).and_then(|sent| sent.done);
        let is_written = |(_, done)| self.written_after.is_some_and(|after| done + after < at);
        let first = last + u64::from(done.is_some_and(is_written));
        self.disorder.push(Disorder { instance, at, in_hand, first, counted: None });
    }

    /// Returns whether a message has to be given up after `crashes` counted attempts that ended with
    /// the receiver's process. An attempt is counted before it begins: the process may end between.
    fn is_poison(&mut self, number: u64, crashes: u32) -> bool {
        let Some(sent) = self.sent.get(&number) else { return false };
        let mut counted = 0;
        for end in &mut self.disorder {
            counted += u32::from(match end.in_hand {
                Some(in_hand) => in_hand == number && sent.counted_in.contains(&end.instance),
                // It was about to handle one of them at most.
                None => {
                    let may_be = end.first <= number && sent.offered <= end.at;
                    may_be && *end.counted.get_or_insert(number) == number
                }
            });
        }
        counted >= crashes && self.is_receiver_stored
    }
}

impl Entries {
    fn tell(&mut self, flow: usize, number: u64, step: Step) {
        let at = now();
        (at.as_micros(), flow, number, step).hash(&mut self.trace);
        if let Some(told) = &mut self.told {
            let name = &self.flows[flow].name;
            told.push(format!("{:10.3} {name} #{number} {step:?}", at.as_secs_f64()));
        }
    }

    fn fail(&mut self, flow: usize, number: u64, cause: &str) {
        let name = &self.flows[flow].name;
        if self.failures.len() < 10 {
            let at = match turmoil::sim_elapsed() {
                Some(at) => format!("{:.3} s", at.as_secs_f64()),
                None => "at the end".to_owned(),
            };
            self.failures.push(format!("{at}: #{number} from {name} {cause}"));
        }
    }
}

#[cfg(test)]
mod tests;
