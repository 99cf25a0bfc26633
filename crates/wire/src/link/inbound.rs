//! What the peer has sent and this side has taken in.
//! Implements `docs/protocol.md` §5.1 and §5.2 for the receiver.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::faults::{Fault, broken};
use super::restore::RestoredCursor;
use super::state::CursorChanges;
use crate::frame::{CursorState, Data, RejectCode, Rejection, StreamState};
use crate::{Instance, MessageId, Violation};

/// How many rejections are kept for a stream.
const REJECTIONS: usize = 1_024;

/// A message for the application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Incoming {
    /// Its number.
    pub id: MessageId,
    /// Whether its sender transmitted it in an earlier session too.
    pub again: bool,
    /// The message.
    pub payload: Bytes,
}

impl Incoming {
    /// Copies the message out of the block that it came in.
    fn detach(&mut self) {
        self.payload = Bytes::copy_from_slice(&self.payload);
    }
}

/// The cursors of this side, one for each stream of the peer that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Inbound {
    cursors: Vec<Cursor>,
    /// Bytes taken in and not handled, Σ(24 + length).
    held: u64,
    /// Whether a store asks what has changed.
    durable: bool,
    /// The lives that are over, for the store.
    forgotten: Vec<Instance>,
}

/// Messages of one stream with numbers that follow each other.
pub(super) struct Arriving<P> {
    pub(super) again: bool,
    /// The number of the first one.
    pub(super) first: u64,
    pub(super) payloads: P,
}

/// How many of the messages that arrived were no news.
#[derive(Default)]
pub(super) struct Taken {
    /// Those that were taken in before (rule R11).
    pub(super) repeats: u32,
    /// Those that were handled before a restart.
    pub(super) finished: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cursor {
    instance: Instance,
    received: u64,
    completed: u64,
    /// Taken in and not yet completed, in order.
    pending: VecDeque<Pending>,
    /// Given up, in order. A rejection stays until the peer no longer keeps the message, because
    /// the acknowledgement that told it may have been lost with its connection.
    rejected: VecDeque<Rejection>,
    /// The highest completed number that the peer was told in this session.
    told: u64,
    /// Whether the peer still lists the stream. If not, nothing on it is acknowledged any more.
    listed: bool,
    /// Handled before a restart although something before it was not.
    finished: BTreeSet<u64>,
    /// Whether it has moved since the store last asked.
    moved: bool,
}

/// A number, or a gap that ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pending {
    to: u64,
    cost: u64,
    done: bool,
    gap: bool,
}

/// An acknowledgement that is due.
pub(super) struct Due {
    pub(super) stream: u8,
    pub(super) number: u64,
    pub(super) rejected: Vec<Rejection>,
}

impl Inbound {
    /// The cursors that a store has kept.
    pub(super) fn restore(cursors: Vec<RestoredCursor>) -> Self {
        let cursor = |stored: RestoredCursor| Cursor {
            finished: stored.finished.into_iter().collect(),
            listed: false,
            moved: false,
            ..Cursor::new(stored.instance, stored.completed)
        };
        let cursors = cursors.into_iter().map(cursor).collect();
        Self { cursors, durable: true, ..Self::default() }
    }

    /// Recalls that a message was given up in an earlier life.
    pub(super) fn recall(&mut self, id: MessageId, code: RejectCode) {
        let mut cursors = self.cursors.iter_mut().filter(|cursor| cursor.instance == id.stream);
        if let Some(cursor) = cursors.next()
            && (id.number <= cursor.completed || cursor.finished.contains(&id.number))
            && !cursor.rejected.iter().any(|rejection| rejection.number == id.number)
        {
            cursor.reject(Rejection { number: id.number, code });
        }
    }

    /// What has changed since the last time.
    pub(super) fn take_changes(&mut self) -> CursorChanges {
        let mut changes = CursorChanges::default();
        if self.durable {
            changes.forgotten = std::mem::take(&mut self.forgotten);
            let moved = self.cursors.iter_mut().filter(|cursor| cursor.moved);
            changes.moved = moved.map(Cursor::take_state).collect();
        }
        changes
    }

    /// Sets the cursors for a new session (rules R7 and R8). `told` is what this side's READY said.
    pub(super) fn resume(&mut self, theirs: &[StreamState], told: &[CursorState]) {
        if broken(Fault::CursorDroppedWithSession) {
            self.cursors.clear();
        }
        for cursor in &mut self.cursors {
            cursor.listed = false;
        }
        for stream in theirs {
            let before = if broken(Fault::UnknownStreamFromZero) { 0 } else { stream.base - 1 };
            let cursor = self.cursor_or_new(stream.instance, before);
            cursor.listed = true;
            cursor.raise(before);
            cursor.rejected.retain(|rejection| rejection.number >= stream.base);
            let told = told.iter().find(|told| told.instance == stream.instance);
            cursor.told = told.map_or(0, |told| told.completed).max(stream.base - 1);
            if broken(Fault::DueAcknowledgementsDropped) {
                cursor.told = cursor.completed;
            }
        }
        self.forget_orphans();
    }

    /// Takes messages of the stream that the peer calls `name` in. Those that are new go behind the
    /// others in `arrived`.
    pub(super) fn take<P: IntoIterator<Item = Bytes>>(
        &mut self,
        instance: Instance,
        name: u8,
        messages: Arriving<P>,
        arrived: &mut Vec<Incoming>,
    ) -> Result<Taken, Violation> {
        let Arriving { again, first, payloads } = messages;
        let cursor = listed(&mut self.cursors, instance).ok_or(Violation::UnknownStream(name))?;
        if first.saturating_sub(cursor.received) > 1 {
            return Err(Violation::Gap { expected: cursor.received + 1, got: first });
        }
        let (mut taken, start) = (Taken::default(), arrived.len());
        for (index, payload) in payloads.into_iter().enumerate() {
            let number = first + index as u64;
            let repeat = number <= cursor.received && !broken(Fault::RepeatsTakenForNew);
            if repeat || (taken.repeats > 0 && broken(Fault::BatchDroppedForItsFirst)) {
                taken.repeats += 1;
                continue;
            }
            cursor.received = number;
            let finished = cursor.finished.remove(&number);
            let cost = if finished { 0 } else { Data::cost(payload.len()) };
            cursor.pending.push_back(Pending { to: number, cost, done: finished, gap: false });
            if finished {
                taken.finished += 1;
                continue;
            }
            self.held += cost;
            arrived.push(Incoming { id: MessageId { stream: instance, number }, again, payload });
        }
        if taken.finished > 0 {
            cursor.complete();
        }
        if taken.repeats + taken.finished > 0 {
            // What is gone counts no more, and so may not stay in memory.
            arrived[start..].iter_mut().for_each(Incoming::detach);
        }
        if broken(Fault::AcknowledgeOnArrival) {
            arrived[start..].iter().for_each(|it| _ = self.handled(it.id, Ok(())));
        }
        Ok(taken)
    }

    /// Takes note of a gap up to `to`. Returns whether it is news.
    pub(super) fn skip(&mut self, instance: Instance, to: u64) -> bool {
        let Some(cursor) = listed(&mut self.cursors, instance) else {
            return false;
        };
        if to <= cursor.received {
            return false;
        }
        cursor.received = to;
        match cursor.pending.back_mut() {
            Some(last) if last.gap || last.done && broken(Fault::GapHidesFinished) => {
                last.to = to;
            }
            _ => cursor.pending.push_back(Pending { to, cost: 0, done: true, gap: true }),
        }
        cursor.finished.retain(|finished| *finished > to);
        cursor.complete();
        true
    }

    /// Takes note that a message is handled. Returns what it had cost, 0 if it was not pending.
    pub(super) fn handled(&mut self, id: MessageId, outcome: Result<(), RejectCode>) -> u64 {
        let Some(cursor) = self.cursors.iter_mut().find(|cursor| cursor.instance == id.stream)
        else {
            return 0;
        };
        let Some(index) = cursor.find_pending(id.number) else { return 0 };
        let pending = &mut cursor.pending[index];
        if pending.done {
            return 0;
        }
        pending.done = true;
        cursor.moved = true;
        let cost = pending.cost;
        if let Err(code) = outcome {
            cursor.reject(Rejection { number: id.number, code });
        }
        cursor.complete();
        self.held -= cost;
        self.forget_orphans();
        cost
    }

    /// An acknowledgement that the peer has not been told, for one of the streams in `theirs`.
    pub(super) fn due(&self, theirs: &[Instance]) -> Option<(usize, u8)> {
        theirs.iter().enumerate().find_map(|(stream, instance)| {
            let index = self.cursors.iter().position(|cursor| cursor.instance == *instance)?;
            let cursor = &self.cursors[index];
            let due = cursor.listed && cursor.completed > cursor.told;
            due.then_some((index, stream as u8))
        })
    }

    /// Takes the due acknowledgement with up to `max_rejections` rejections. It does not reach
    /// beyond a rejection that stays behind.
    pub(super) fn tell(&mut self, (index, stream): (usize, u8), max_rejections: usize) -> Due {
        let cursor = &mut self.cursors[index];
        let mut rejected: Vec<_> =
            cursor.untold_rejections().take(max_rejections.saturating_add(1)).copied().collect();
        let left = rejected.split_off(max_rejections.min(rejected.len()));
        let number = left.first().map_or(cursor.completed, |next| next.number - 1);
        cursor.told = number;
        Due { stream, number, rejected }
    }

    pub(super) fn states(&self, max: usize) -> Vec<CursorState> {
        let state = |cursor: &Cursor| CursorState {
            instance: cursor.instance,
            received: cursor.received,
            completed: cursor.completed_before_rejection(),
        };
        let (listed, orphans): (Vec<_>, Vec<_>) =
            self.cursors.iter().partition(|cursor| cursor.listed);
        listed.into_iter().chain(orphans).take(max).map(state).collect()
    }

    pub(super) fn held(&self) -> u64 {
        if broken(Fault::WindowForgetsTheDead) {
            let listed = self.cursors.iter().filter(|cursor| cursor.listed);
            return listed.flat_map(|cursor| &cursor.pending).map(|pending| pending.cost).sum();
        }
        self.held
    }

    /// Whether everything that was taken in is handled.
    pub(super) fn is_idle(&self) -> bool {
        self.held == 0
    }

    /// Forgets the cursors of streams that are not listed and whose messages are all handled.
    fn forget_orphans(&mut self) {
        let (durable, forgotten) = (self.durable, &mut self.forgotten);
        self.cursors.retain(|cursor| {
            let kept = cursor.listed || !cursor.pending.is_empty();
            if !kept && durable {
                forgotten.push(cursor.instance);
            }
            kept
        });
    }

    fn cursor_or_new(&mut self, instance: Instance, number: u64) -> &mut Cursor {
        let known = self.cursors.iter().position(|cursor| cursor.instance == instance);
        let index = known.unwrap_or_else(|| {
            self.cursors.push(Cursor::new(instance, number));
            self.cursors.len() - 1
        });
        &mut self.cursors[index]
    }
}

/// The cursor of a stream that the peer still lists.
fn listed(cursors: &mut [Cursor], instance: Instance) -> Option<&mut Cursor> {
    cursors.iter_mut().find(|cursor| cursor.listed && cursor.instance == instance)
}

impl Cursor {
    fn new(instance: Instance, number: u64) -> Self {
        Self {
            instance,
            received: number,
            completed: number,
            pending: VecDeque::new(),
            rejected: VecDeque::new(),
            told: number,
            listed: true,
            finished: BTreeSet::new(),
            moved: true,
        }
    }

    /// Everything up to `number` is no business of this side any more.
    fn raise(&mut self, number: u64) {
        self.received = self.received.max(number);
        self.moved |= number > self.completed;
        self.completed = self.completed.max(number);
        self.finished.retain(|finished| *finished > self.completed);
    }

    fn take_state(&mut self) -> RestoredCursor {
        self.moved = false;
        let remembered = !broken(Fault::FinishedForgotten);
        let done = self.pending.iter().filter(|pending| pending.done && !pending.gap && remembered);
        let finished = done.map(|pending| pending.to).chain(self.finished.iter().copied());
        debug_assert!(self.finished.first().is_none_or(|first| *first > self.completed));
        RestoredCursor {
            instance: self.instance,
            completed: self.completed,
            finished: finished.collect(),
        }
    }

    /// Where a number is pending: normally it is the first one.
    fn find_pending(&self, number: u64) -> Option<usize> {
        if self.pending.front().is_some_and(|first| first.to == number) {
            return Some(0);
        }
        self.pending.binary_search_by_key(&number, |pending| pending.to).ok()
    }

    /// What READY may call completed: it cannot carry rejections, so it stops before the first.
    fn completed_before_rejection(&self) -> u64 {
        let first = self.rejected.front().map_or(u64::MAX, |rejection| rejection.number);
        self.completed.min(first - 1)
    }

    fn untold_rejections(&self) -> impl Iterator<Item = &Rejection> {
        let untold = self.told + 1..=self.completed;
        self.rejected.iter().filter(move |rejection| untold.contains(&rejection.number))
    }

    fn reject(&mut self, rejection: Rejection) {
        let at = self.rejected.partition_point(|earlier| earlier.number < rejection.number);
        self.rejected.insert(at, rejection);
        if self.rejected.len() > REJECTIONS {
            self.rejected.pop_front();
        }
    }

    /// Moves `completed` over everything that is done.
    fn complete(&mut self) {
        while let Some(pending) = self.pending.front().filter(|pending| pending.done) {
            self.completed = self.completed.max(pending.to);
            self.moved = true;
            self.pending.pop_front();
        }
        debug_assert!(self.completed <= self.received, "nothing is handled before it came");
    }
}
