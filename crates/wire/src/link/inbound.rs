//! Messages that the peer has sent and this side has received.
//! Implements `docs/protocol.md` §5.1 and §5.2 for the receiver.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cursor::{Cursor, Novelty, base_before};
use super::stored::{CursorChanges, StoredCursor};
use super::{LinkConfig, Millis};
use crate::faults::{Fault, broken};
use crate::frame::{CursorState, RejectCode, Rejection, StreamState};
use crate::{Instance, MessageId, Payload, RejectText, Violation};

/// A message for the application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Incoming {
    /// Its stream and number.
    pub id: MessageId,
    /// Whether its sender transmitted it in an earlier session too.
    pub again: bool,
    /// The message.
    pub payload: Payload,
}

impl Incoming {
    /// Copies the message out of the block that it shares.
    fn detach(&mut self) {
        self.payload = self.payload.detached();
    }
}

/// The cursors of this side, one for each stream of the peer that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inbound {
    config: Arc<LinkConfig>,
    cursors: Vec<Cursor>,
    /// Cursors of instances that have ended, oldest first, each with the time at which that was
    /// noticed. Such an instance may come back: if a second process has taken its place, its peer is
    /// told nothing of its streams.
    ended: VecDeque<(Option<Millis>, Cursor)>,
    /// Bytes that were received and are not handled, Σ(overhead + length).
    held: u64,
    /// Whether a store keeps the cursors.
    durable: bool,
    /// Instances of the peer whose cursors are forgotten, for the store.
    forgotten: Vec<Instance>,
}

/// Messages of one stream with consecutive numbers.
pub(super) struct Arriving<P> {
    pub(super) again: bool,
    /// The number of the first one.
    pub(super) first: u64,
    pub(super) payloads: P,
}

/// Number of messages that arrived and were not new.
#[derive(Default)]
pub(super) struct Taken {
    /// Messages that were received before (rule R11).
    pub(super) repeats: u32,
    /// Messages that were handled before a restart.
    pub(super) finished: u32,
}

/// A cursor that has to be told to the peer: its index, and the peer's index of the stream.
#[derive(Clone, Copy)]
pub(super) struct DueCursor {
    index: usize,
    stream: u8,
}

/// An acknowledgement that is due.
pub(super) struct Due {
    pub(super) stream: u8,
    pub(super) number: u64,
    pub(super) rejected: Vec<Rejection>,
}

impl Inbound {
    pub(super) fn new(config: Arc<LinkConfig>) -> Self {
        Self {
            config,
            cursors: Vec::new(),
            ended: VecDeque::new(),
            held: 0,
            durable: false,
            forgotten: Vec::new(),
        }
    }

    /// Restores the cursors that a store has kept.
    pub(super) fn restore(config: Arc<LinkConfig>, cursors: Vec<StoredCursor>) -> Self {
        let cursors = cursors.into_iter().map(Cursor::restore).collect();
        Self { cursors, durable: true, ..Self::new(config) }
    }

    /// Recalls that a message was rejected by an earlier instance of this side.
    pub(super) fn recall(&mut self, id: MessageId, code: RejectCode) {
        if let Some(cursor) = self.cursor(id.stream) {
            cursor.recall(Rejection { number: id.number, code, text: RejectText::NONE });
        }
    }

    /// Returns the changes since the last call.
    pub(super) fn take_changes(&mut self) -> CursorChanges {
        if !self.durable {
            return CursorChanges::default();
        }
        CursorChanges {
            moved: self.all_mut().filter_map(Cursor::take_moved).collect(),
            forgotten: std::mem::take(&mut self.forgotten),
        }
    }

    /// Sets the cursors for a new session (rules R7 and R8). `told` is what this side's READY said.
    pub(super) fn resume(&mut self, theirs: &[StreamState], told: &[CursorState]) {
        if broken(Fault::CursorDroppedWithSession) {
            self.cursors.clear();
        }
        self.cursors.iter_mut().for_each(Cursor::unlist);
        for stream in theirs {
            let told = told.iter().find(|told| told.instance == stream.instance);
            self.cursor_or_new(stream).list(stream, told);
        }
        let max = self.config.rejections;
        self.held -= self.cursors.iter_mut().map(|cursor| cursor.complete(max)).sum::<u64>();
        self.end_orphans();
    }

    /// Forgets the cursors of instances that have ended too long ago.
    pub(super) fn forget_ended(&mut self, now: Millis) {
        for (since, _) in &mut self.ended {
            since.get_or_insert(now);
        }
        let time = self.config.ended_time;
        while let Some((Some(since), _)) = self.ended.front()
            && since.saturating_add(time) <= now
        {
            self.forget_oldest();
        }
    }

    /// Receives messages of the stream whose index is `name`. New ones are appended to `arrived`.
    pub(super) fn take<P: IntoIterator<Item = Payload>>(
        &mut self,
        instance: Instance,
        name: u8,
        config: &LinkConfig,
        messages: Arriving<P>,
        arrived: &mut Vec<Incoming>,
    ) -> Result<Taken, Violation> {
        let Arriving { again, first, payloads } = messages;
        let cursor = listed(&mut self.cursors, instance).ok_or(Violation::UnknownStream(name))?;
        if first.saturating_sub(cursor.received()) > 1 {
            return Err(Violation::Gap { expected: cursor.received() + 1, got: first });
        }
        let (mut taken, start) = (Taken::default(), arrived.len());
        for (index, payload) in payloads.into_iter().enumerate() {
            if taken.repeats > 0 && broken(Fault::BatchDroppedForItsFirst) {
                taken.repeats += 1;
                continue;
            }
            let (number, cost) = (first + index as u64, config.held(payload.len()));
            match cursor.receive(number, cost) {
                Novelty::Repeat => taken.repeats += 1,
                Novelty::Finished => taken.finished += 1,
                Novelty::New => {
                    self.held += cost;
                    let id = MessageId { stream: instance, number };
                    arrived.push(Incoming { id, again, payload });
                }
            }
        }
        if taken.finished > 0 {
            self.held -= cursor.complete(self.config.rejections);
        }
        if taken.repeats + taken.finished > 0 {
            // The dropped messages no longer count, so they must not stay in memory.
            arrived[start..].iter_mut().for_each(Incoming::detach);
        }
        if broken(Fault::AcknowledgeOnArrival) {
            arrived[start..].iter().for_each(|message| self.handled(message.id, Ok(())));
        }
        Ok(taken)
    }

    /// Receives a gap up to `to`. Returns whether it is news.
    pub(super) fn skip(&mut self, instance: Instance, to: u64) -> bool {
        let max = self.config.rejections;
        let cursor = listed(&mut self.cursors, instance);
        let freed = cursor.and_then(|cursor| cursor.skip(to, max));
        self.held -= freed.unwrap_or_default();
        freed.is_some()
    }

    /// Returns whether completions are held back until a new session, because the peer has not shown
    /// yet that it knows of the rejections that it was told.
    pub(super) fn wants_new_session(&self) -> bool {
        let max = self.config.rejections;
        self.cursors.iter().any(|cursor| cursor.is_held_back(max) && !cursor.is_due())
    }

    /// Records that a message was handled or rejected.
    pub(super) fn handled(&mut self, id: MessageId, outcome: Result<(), (RejectCode, RejectText)>) {
        let max = self.config.rejections;
        if let Some(cursor) = self.cursor(id.stream)
            && let Some(cost) = cursor.handled(id.number, outcome, max)
        {
            let is_over = cursor.is_over();
            self.held -= cost;
            if is_over {
                self.end_orphans();
            }
        }
    }

    /// Returns a cursor that has to be told to the peer, of one of the streams in `theirs`.
    pub(super) fn due(&self, theirs: &[Instance]) -> Option<DueCursor> {
        theirs.iter().enumerate().find_map(|(stream, instance)| {
            let index = self.cursors.iter().position(|cursor| cursor.instance() == *instance)?;
            self.cursors[index].is_due().then_some(DueCursor { index, stream: stream as u8 })
        })
    }

    /// Returns the acknowledgement that is due, with up to `max_rejections` rejections, in up to
    /// `max_len` bytes if it is more than one.
    pub(super) fn tell(&mut self, due: DueCursor, max_rejections: usize, max_len: usize) -> Due {
        let (number, rejected) = self.cursors[due.index].tell(max_rejections, max_len);
        Due { stream: due.stream, number, rejected }
    }

    /// Returns the cursors for READY, those of listed streams first.
    pub(super) fn states(&self, max: usize) -> Vec<CursorState> {
        let (listed, orphans): (Vec<_>, Vec<_>) =
            self.cursors.iter().partition(|cursor| cursor.is_listed());
        listed.into_iter().chain(orphans).take(max).map(Cursor::state).collect()
    }

    /// Returns the bytes that were received and are not handled, Σ(overhead + length).
    pub(super) fn held(&self) -> u64 {
        if broken(Fault::WindowForgetsTheDead) {
            let listed = self.cursors.iter().filter(|cursor| cursor.is_listed());
            return listed.map(Cursor::cost).sum();
        }
        self.held
    }

    /// Sets the cursors aside whose streams are not listed and whose messages are all handled. One
    /// that knows of no message is forgotten.
    fn end_orphans(&mut self) {
        let kept = self.config.ended_time > 0;
        for mut cursor in self.cursors.extract_if(.., |cursor| cursor.is_over()) {
            cursor.forget_texts();
            if kept && cursor.received() > 0 && !broken(Fault::EndedCursorsForgotten) {
                self.ended.push_back((None, cursor));
            } else if self.durable {
                self.forgotten.push(cursor.instance());
            }
        }
        while self.ended.len() > self.config.ended {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, cursor)) = self.ended.pop_front()
            && self.durable
        {
            self.forgotten.push(cursor.instance());
        }
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Cursor> {
        self.cursors.iter_mut().chain(self.ended.iter_mut().map(|(_, cursor)| cursor))
    }

    fn cursor(&mut self, instance: Instance) -> Option<&mut Cursor> {
        self.cursors.iter_mut().find(|cursor| cursor.instance() == instance)
    }

    fn cursor_or_new(&mut self, stream: &StreamState) -> &mut Cursor {
        let known = self.cursors.iter().position(|cursor| cursor.instance() == stream.instance);
        let index = known.unwrap_or_else(|| {
            let is_back = |(_, cursor): &(_, Cursor)| cursor.instance() == stream.instance;
            let ended = self.ended.iter().position(is_back);
            let ended = ended.and_then(|index| self.ended.remove(index)).map(|(_, cursor)| cursor);
            let new = || Cursor::new(stream.instance, base_before(stream));
            self.cursors.push(ended.unwrap_or_else(new));
            self.forgotten.retain(|forgotten| *forgotten != stream.instance);
            self.cursors.len() - 1
        });
        &mut self.cursors[index]
    }
}

/// Returns the cursor of a stream that the peer still lists.
fn listed(cursors: &mut [Cursor], instance: Instance) -> Option<&mut Cursor> {
    cursors.iter_mut().find(|cursor| cursor.is_listed() && cursor.instance() == instance)
}
