//! A cursor: how far this side is with one stream of the peer. Implements `docs/protocol.md` §5.1.

use std::collections::{BTreeSet, VecDeque};

use super::stored::StoredCursor;
use crate::faults::{Fault, broken};
use crate::frame::{CursorState, RejectCode, Rejection, StreamState};
use crate::{Instance, Queue, RejectText};

/// Position in one stream of the peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cursor {
    instance: Instance,
    received: u64,
    completed: u64,
    /// Messages and gaps beyond `completed`, in order.
    entries: Queue<Entry>,
    /// Rejections, in order. A rejection is kept until the peer no longer keeps the message,
    /// because the acknowledgement that reports it may be lost with its connection.
    rejected: VecDeque<Rejection>,
    /// Bytes of their texts.
    texts: usize,
    /// The highest completed number that was reported to the peer in this session.
    told: u64,
    /// Whether the peer still lists the stream. If not, nothing on it is acknowledged.
    listed: bool,
    /// Numbers that were handled out of order before a restart.
    finished: BTreeSet<u64>,
    /// Whether it has moved since the store last asked.
    moved: bool,
}

/// The most bytes of texts that are kept with the rejections of one stream. The texts of further
/// ones are left out.
const MAX_TEXTS: usize = 32 * 1024;

/// A received message, or a gap that ends with the number `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    to: u64,
    /// Bytes of the window that it takes.
    cost: u64,
    state: EntryState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum EntryState {
    Unhandled,
    Done,
    Gap,
}

/// Novelty of a message that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    New,
    /// It was received before (rule R11).
    Repeat,
    /// It was handled before a restart.
    Finished,
}

impl Cursor {
    /// Creates the cursor of a stream that is received from `number` + 1 on.
    pub(super) fn new(instance: Instance, number: u64) -> Self {
        Self {
            instance,
            received: number,
            completed: number,
            entries: Queue::default(),
            rejected: VecDeque::new(),
            texts: 0,
            told: number,
            listed: true,
            finished: BTreeSet::new(),
            moved: true,
        }
    }

    /// Restores a cursor that a store has kept.
    pub(super) fn restore(stored: StoredCursor) -> Self {
        Self {
            finished: stored.finished.into_iter().collect(),
            listed: false,
            moved: false,
            ..Self::new(stored.instance, stored.completed)
        }
    }

    /// Recalls that a message was rejected by an earlier instance of this side.
    pub(super) fn recall(&mut self, rejection: Rejection) {
        let number = rejection.number;
        if (number <= self.completed || self.finished.contains(&number))
            && !self.rejected.iter().any(|known| known.number == number)
        {
            self.reject(rejection);
        }
    }

    pub(super) fn unlist(&mut self) {
        self.listed = false;
    }

    /// Prepares for a session in which the peer lists `stream`. `told` is what this side's READY
    /// said of it (rules R4 and R7).
    pub(super) fn list(&mut self, stream: &StreamState, told: Option<&CursorState>) {
        self.listed = true;
        self.raise(base_before(stream));
        self.rejected.retain(|rejection| rejection.number >= stream.base);
        self.texts = self.rejected.iter().map(|rejection| rejection.text.as_str().len()).sum();
        self.told = told.map_or(0, |told| told.completed).max(stream.base - 1);
        if broken(Fault::DueAcknowledgementsDropped) {
            self.told = self.completed;
        }
    }

    /// Receives a message, which is the next one or a repeat.
    pub(super) fn receive(&mut self, number: u64, cost: u64) -> Novelty {
        if number <= self.received && !broken(Fault::RepeatsTakenForNew) {
            return Novelty::Repeat;
        }
        self.received = number;
        if self.finished.remove(&number) {
            self.entries.push_back(Entry { to: number, cost: 0, state: EntryState::Done });
            return Novelty::Finished;
        }
        self.entries.push_back(Entry { to: number, cost, state: EntryState::Unhandled });
        Novelty::New
    }

    /// Receives a gap up to `to`. Returns the bytes of the window that this frees, or `None` if it is
    /// no news.
    pub(super) fn skip(&mut self, to: u64, max_rejections: usize) -> Option<u64> {
        if to <= self.received {
            return None;
        }
        self.received = to;
        let extends = |last: &Entry| match last.state {
            EntryState::Gap => true,
            EntryState::Done => broken(Fault::GapHidesFinished),
            EntryState::Unhandled => false,
        };
        match self.entries.back_mut().filter(|last| extends(last)) {
            Some(last) => last.to = to,
            None => self.entries.push_back(Entry { to, cost: 0, state: EntryState::Gap }),
        }
        self.finished.retain(|finished| *finished > to);
        Some(self.complete(max_rejections))
    }

    /// Takes note that a message is handled or rejected. Returns the bytes of the window that this
    /// frees, or `None` if the message was not waiting for that.
    pub(super) fn handled(
        &mut self,
        number: u64,
        outcome: Result<(), (RejectCode, RejectText)>,
        max_rejections: usize,
    ) -> Option<u64> {
        let index = self.find(number)?;
        let entry = &mut self.entries[index];
        if entry.state != EntryState::Unhandled {
            return None;
        }
        entry.state = EntryState::Done;
        self.moved = true;
        if let Err((code, text)) = outcome {
            self.reject(Rejection { number, code, text });
            if broken(Fault::RejectionsForgotten) && self.rejected.len() > max_rejections {
                self.rejected.pop_front();
            }
        }
        let held_back = self.is_held_back(max_rejections);
        // What is held back still takes room, or its number would have no bound.
        let freed = if held_back { 0 } else { std::mem::take(&mut self.entries[index].cost) };
        Some(freed + self.complete(max_rejections))
    }

    /// Moves `completed` over everything that is done. Returns the bytes of the window that this
    /// frees.
    pub(super) fn complete(&mut self, max_rejections: usize) -> u64 {
        let mut freed = 0;
        while let Some(entry) = self.entries.front() {
            if entry.state == EntryState::Unhandled
                || self.is_held_back_at(entry.to, max_rejections)
            {
                break;
            }
            self.completed = self.completed.max(entry.to);
            self.moved = true;
            freed += entry.cost;
            self.entries.pop_front();
        }
        debug_assert!(self.completed <= self.received, "nothing is handled before it came");
        freed
    }

    /// Whether completions are held back because of more rejections than `max`: READY cannot carry
    /// them, so each stays until a READY of the peer shows that it is known. A new session brings
    /// that, once the peer has been told of all that are completed.
    pub(super) fn is_held_back(&self, max: usize) -> bool {
        self.listed && self.rejected.len() > max
    }

    fn is_held_back_at(&self, number: u64, max: usize) -> bool {
        self.is_held_back(max)
            && self.rejected.partition_point(|rejection| rejection.number <= number) > max
    }

    /// Returns the number to acknowledge, with at most `max_rejections` of the rejections up to
    /// there, in at most `max_len` bytes if it is more than one, and counts them as told to the peer.
    /// If more rejections are due, the number ends before the first that is left out.
    pub(super) fn tell(&mut self, max_rejections: usize, max_len: usize) -> (u64, Vec<Rejection>) {
        let (mut rejected, mut len, mut told) = (Vec::new(), 0, self.completed);
        for rejection in self.untold_rejections() {
            len += rejection.encoded_len();
            let is_too_long = len > max_len && !rejected.is_empty();
            if rejected.len() == max_rejections || is_too_long {
                told = rejection.number - 1;
                break;
            }
            rejected.push(rejection.clone());
        }
        self.told = told;
        (told, rejected)
    }

    /// Forgets the texts of rejections: the peer may never ask for them.
    pub(super) fn forget_texts(&mut self) {
        self.rejected.iter_mut().for_each(|rejection| rejection.text = RejectText::NONE);
        self.texts = 0;
    }

    /// Returns the cursor as a store keeps it, if it has moved since the last call.
    pub(super) fn take_moved(&mut self) -> Option<StoredCursor> {
        if !std::mem::take(&mut self.moved) {
            return None;
        }
        let remembered = !broken(Fault::FinishedForgotten);
        let done = self.entries.iter().filter(|it| it.state == EntryState::Done && remembered);
        let finished = done.map(|entry| entry.to).chain(self.finished.iter().copied());
        debug_assert!(self.finished.first().is_none_or(|first| *first > self.completed));
        Some(StoredCursor {
            instance: self.instance,
            completed: self.completed,
            finished: finished.collect(),
        })
    }

    pub(super) fn instance(&self) -> Instance {
        self.instance
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    /// Returns whether the peer does not list the stream any more, and everything on it is handled
    /// (R8).
    pub(super) fn is_over(&self) -> bool {
        !self.listed && self.entries.is_empty()
    }

    /// Returns whether the peer is to be told that more is completed.
    pub(super) fn is_due(&self) -> bool {
        self.listed && self.completed > self.told
    }

    /// Returns the bytes of the window that its entries take.
    pub(super) fn cost(&self) -> u64 {
        self.entries.iter().map(|entry| entry.cost).sum()
    }

    /// Returns the cursor for READY. READY cannot carry rejections, so `completed` stops before the
    /// first.
    pub(super) fn state(&self) -> CursorState {
        let first = self.rejected.front().map_or(u64::MAX, |rejection| rejection.number);
        let completed = self.completed.min(first - 1);
        CursorState { instance: self.instance, received: self.received, completed }
    }

    /// Moves past everything up to `number`, which no longer concerns this side.
    fn raise(&mut self, number: u64) {
        self.received = self.received.max(number);
        self.moved |= number > self.completed;
        self.completed = self.completed.max(number);
        self.finished.retain(|finished| *finished > self.completed);
    }

    fn reject(&mut self, mut rejection: Rejection) {
        let texts = self.texts + rejection.text.as_str().len();
        if texts > MAX_TEXTS {
            rejection.text = RejectText::NONE;
        } else {
            self.texts = texts;
        }
        let at = self.rejected.partition_point(|earlier| earlier.number < rejection.number);
        self.rejected.insert(at, rejection);
    }

    fn untold_rejections(&self) -> impl Iterator<Item = &Rejection> {
        let untold = self.told + 1..=self.completed;
        self.rejected.iter().filter(move |rejection| untold.contains(&rejection.number))
    }

    /// Returns the index of the entry of a number: normally it is the first one.
    fn find(&self, number: u64) -> Option<usize> {
        if self.entries.front().is_some_and(|first| first.to == number) {
            return Some(0);
        }
        self.entries.binary_search_by_key(&number, |entry| entry.to).ok()
    }
}

/// Returns the number before the first one that the peer keeps, where the cursor of an unknown
/// stream begins (rule R7).
pub(super) fn base_before(stream: &StreamState) -> u64 {
    if broken(Fault::UnknownStreamFromZero) { 0 } else { stream.base - 1 }
}
