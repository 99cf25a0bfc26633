//! What this side has accepted for the peer and the peer has not acknowledged.
//! Implements `docs/protocol.md` §5.1 and §5.2 for the sender.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use thiserror::Error;

use super::Millis;
use crate::frame::{CursorState, Data, RejectCode, Rejection, StreamState};
use crate::{Instance, MessageId, Violation};

/// How many fates of failed messages are remembered.
const FATES: usize = 4_096;

/// The outbox has no room.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the outbox is full: {messages} messages, {bytes} bytes wait")]
pub struct Full {
    /// How many messages wait.
    pub messages: usize,
    /// How many bytes wait, Σ(24 + length).
    pub bytes: u64,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// It waits for its acknowledgement.
    Waiting,
    /// The peer has handled it.
    Done,
    /// The peer has given it up.
    Rejected(RejectCode),
    /// Its time ran out before it was transmitted.
    Expired,
    /// It is longer than the peer accepts.
    TooLong,
}

/// How many messages met which fate: accepted is always the sum of all others and what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Accepted by `enqueue`.
    pub accepted: u64,
    /// Handled by the peer.
    pub acknowledged: u64,
    /// Given up by the peer.
    pub rejected: u64,
    /// Expired, or longer than the peer accepts.
    pub expired: u64,
}

/// The streams of this side, oldest first; the last one is the current one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outbound {
    streams: Vec<Stream>,
    messages: usize,
    bytes: u64,
    counts: Counts,
    /// Of the current stream: what did not end well.
    fates: BTreeMap<u64, Fate>,
}

/// One stream: everything from `base` on is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Stream {
    instance: Instance,
    base: u64,
    kept: VecDeque<Kept>,
    /// The next number to transmit in this session.
    cursor: u64,
    /// The highest number ever transmitted.
    transmitted: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kept {
    /// `None` once the message has met its fate: only its number is left to be skipped.
    payload: Option<Bytes>,
    accepted: Millis,
    deadline: Option<Millis>,
}

/// What is to be transmitted next.
pub(super) enum Next {
    Message { stream: u8, number: u64, again: bool, payload: Bytes },
    Skip { stream: u8, to: u64 },
}

/// What a transmission has to respect.
pub(super) struct Limits {
    pub(super) now: Millis,
    pub(super) credit: u64,
    pub(super) max_payload: u32,
    pub(super) in_flight: u64,
}

impl Outbound {
    pub(super) fn new(instance: Instance) -> Self {
        Self {
            streams: vec![Stream::new(instance)],
            messages: 0,
            bytes: 0,
            counts: Counts::default(),
            fates: BTreeMap::new(),
        }
    }

    pub(super) fn enqueue(
        &mut self,
        payload: Bytes,
        accepted: Millis,
        deadline: Option<Millis>,
    ) -> MessageId {
        self.messages += 1;
        self.bytes += Data::cost(payload.len());
        self.counts.accepted += 1;
        let stream = self.current_mut();
        let number = stream.next();
        stream.kept.push_back(Kept { payload: Some(payload), accepted, deadline });
        MessageId { stream: stream.instance, number }
    }

    /// Sets every stream to where the peer wants to go on (rule R9).
    pub(super) fn resume(&mut self, theirs: &[CursorState]) -> Result<(), Violation> {
        let current = self.current().instance;
        for index in 0..self.streams.len() {
            let stream = &self.streams[index];
            let Some(cursor) = theirs.iter().find(|theirs| theirs.instance == stream.instance)
            else {
                self.streams[index].cursor = self.streams[index].base;
                continue;
            };
            // Only this life knows for sure what it never numbered (rule R10).
            if stream.instance == current && cursor.received >= stream.next() {
                return Err(Violation::AckOfUnsent(cursor.received));
            }
            self.drop_up_to(index, cursor.completed, &[]);
            let stream = &mut self.streams[index];
            stream.cursor = (cursor.received + 1).clamp(stream.base, stream.next());
        }
        Ok(())
    }

    /// Takes an acknowledgement of the stream called `instance`. Returns whether it was news.
    pub(super) fn acknowledge(
        &mut self,
        instance: Instance,
        number: u64,
        rejected: &[Rejection],
    ) -> Result<bool, Violation> {
        let Some(index) = self.streams.iter().position(|stream| stream.instance == instance) else {
            return Ok(false);
        };
        if index + 1 == self.streams.len() && number > self.streams[index].transmitted {
            return Err(Violation::AckOfUnsent(number));
        }
        Ok(self.drop_up_to(index, number, rejected))
    }

    /// The next message or gap, oldest stream first.
    /// `listed` says which streams the session knows, and by which index.
    pub(super) fn next(&mut self, listed: &[Instance], limits: &Limits) -> Option<Next> {
        for index in 0..self.streams.len() {
            let instance = self.streams[index].instance;
            let Some(name) = listed.iter().position(|listed| *listed == instance) else {
                continue;
            };
            self.give_up_next(index, limits);
            if let Some(next) = self.streams[index].next_to_transmit(name as u8, limits) {
                return Some(next);
            }
            if self.streams[index].cursor < self.streams[index].next() {
                return None; // what is older goes first, even if it has to wait
            }
        }
        None
    }

    /// Marks what has expired, on every stream, so that its room is free. Returns whether anything
    /// has.
    pub(super) fn expire(&mut self, now: Millis) -> bool {
        let before = self.counts.expired;
        for index in 0..self.streams.len() {
            let stream = &self.streams[index];
            let numbers = stream.cursor.max(stream.base)..stream.next();
            for number in numbers {
                if self.streams[index].is_expired(number, now) {
                    self.give_up(index, number, Fate::Expired);
                }
            }
        }
        self.counts.expired > before
    }

    pub(super) fn fate(&self, id: MessageId) -> Fate {
        let current = self.current();
        if id.stream != current.instance {
            return Fate::Done;
        }
        let waiting = if id.number < current.base { Fate::Done } else { Fate::Waiting };
        self.fates.get(&id.number).copied().unwrap_or(waiting)
    }

    pub(super) fn states(&self) -> Vec<StreamState> {
        let state = |stream: &Stream| StreamState {
            instance: stream.instance,
            base: stream.base,
            next: stream.next(),
        };
        self.streams.iter().map(state).collect()
    }

    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn oldest(&self) -> Option<Millis> {
        let kept = self.streams.iter().flat_map(|stream| &stream.kept);
        kept.filter(|kept| kept.payload.is_some()).map(|kept| kept.accepted).next()
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.streams.iter().map(|stream| stream.cursor - stream.base).sum()
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Drops everything up to `number`: the peer has it. Returns whether anything was dropped.
    fn drop_up_to(&mut self, index: usize, number: u64, rejected: &[Rejection]) -> bool {
        let mut news = false;
        while let Some((dropped, kept)) = self.streams[index].pop_up_to(number) {
            news = true;
            if let Some(payload) = kept.payload {
                self.settle(&payload);
                match rejected.iter().find(|rejection| rejection.number == dropped) {
                    Some(rejection) => {
                        self.counts.rejected += 1;
                        self.remember(index, dropped, Fate::Rejected(rejection.code));
                    }
                    None => self.counts.acknowledged += 1,
                }
            }
        }
        news
    }

    /// Gives up the messages at a stream's cursor that may not be transmitted any more.
    fn give_up_next(&mut self, index: usize, limits: &Limits) {
        loop {
            let stream = &self.streams[index];
            let number = stream.cursor + stream.given_up_at_cursor();
            let fate = if stream.is_expired(number, limits.now) {
                Fate::Expired
            } else if stream.is_too_long(number, limits.max_payload) {
                Fate::TooLong
            } else {
                return;
            };
            self.give_up(index, number, fate);
        }
    }

    fn give_up(&mut self, index: usize, number: u64, fate: Fate) {
        let payload = self.streams[index].kept_mut(number).and_then(|kept| kept.payload.take());
        if let Some(payload) = payload {
            self.settle(&payload);
            self.counts.expired += 1;
            self.remember(index, number, fate);
        }
    }

    fn settle(&mut self, payload: &Bytes) {
        self.messages -= 1;
        self.bytes -= Data::cost(payload.len());
    }

    fn remember(&mut self, index: usize, number: u64, fate: Fate) {
        if index + 1 == self.streams.len() {
            self.fates.insert(number, fate);
            if self.fates.len() > FATES {
                self.fates.pop_first();
            }
        }
    }

    #[expect(clippy::expect_used, reason = "the current stream is never removed")]
    fn current(&self) -> &Stream {
        self.streams.last().expect("the current stream")
    }

    #[expect(clippy::expect_used, reason = "the current stream is never removed")]
    fn current_mut(&mut self) -> &mut Stream {
        self.streams.last_mut().expect("the current stream")
    }
}

impl Stream {
    fn new(instance: Instance) -> Self {
        Self { instance, base: 1, kept: VecDeque::new(), cursor: 1, transmitted: 0 }
    }

    /// The number that the next message gets.
    fn next(&self) -> u64 {
        self.base + self.kept.len() as u64
    }

    fn kept(&self, number: u64) -> Option<&Kept> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.kept.get(index)
    }

    fn kept_mut(&mut self, number: u64) -> Option<&mut Kept> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.kept.get_mut(index)
    }

    fn is_expired(&self, number: u64, now: Millis) -> bool {
        let expired = |kept: &Kept| kept.deadline.is_some_and(|deadline| deadline <= now);
        self.kept(number).is_some_and(|kept| kept.payload.is_some() && expired(kept))
    }

    fn is_too_long(&self, number: u64, max: u32) -> bool {
        let payload = self.kept(number).and_then(|kept| kept.payload.as_ref());
        payload.is_some_and(|payload| payload.len() > max as usize)
    }

    /// How many messages from the cursor on are given up.
    fn given_up_at_cursor(&self) -> u64 {
        let mut given_up = 0;
        while self.kept(self.cursor + given_up).is_some_and(|kept| kept.payload.is_none()) {
            given_up += 1;
        }
        given_up
    }

    fn next_to_transmit(&mut self, stream: u8, limits: &Limits) -> Option<Next> {
        let given_up = self.given_up_at_cursor();
        if given_up > 0 {
            let to = self.cursor + given_up - 1;
            self.advance(to);
            return Some(Next::Skip { stream, to });
        }
        let number = self.cursor;
        let payload = self.kept(number)?.payload.clone()?;
        if Data::cost(payload.len()) > limits.credit || number >= self.base + limits.in_flight {
            return None;
        }
        let again = number <= self.transmitted;
        self.advance(number);
        Some(Next::Message { stream, number, again, payload })
    }

    fn advance(&mut self, to: u64) {
        self.cursor = to + 1;
        self.transmitted = self.transmitted.max(to);
    }

    fn pop_up_to(&mut self, number: u64) -> Option<(u64, Kept)> {
        if self.base > number {
            return None;
        }
        let kept = self.kept.pop_front()?;
        let dropped = self.base;
        self.base += 1;
        self.cursor = self.cursor.max(self.base);
        Some((dropped, kept))
    }
}
