//! What this side has accepted for the peer and the peer has not acknowledged.
//! Implements `docs/protocol.md` §5.1 and §5.2 for the sender.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;

use super::faults::{Fault, broken};
use super::restore::{RestoredMessage, RestoredStream};
use super::stream::{Body, Kept, Stream};
use super::{LinkConfig, Millis};
use crate::frame::{CursorState, Data, RejectCode, Rejection, StreamState};
use crate::{Instance, MessageId, Messages, Violation};

/// How many outcomes of failed messages are remembered.
const OUTCOMES: usize = 4_096;

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
pub enum Outcome {
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
    /// Given up by this side, with [`Link::abandon`](super::Link::abandon).
    pub abandoned: u64,
}

/// The streams of this side, oldest first; the last one is the current one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outbound {
    streams: Vec<Stream>,
    /// Whether every message is stored before it is transmitted, and what is trimmed is to be told.
    durable: bool,
    messages: usize,
    bytes: u64,
    /// Of these, the bytes whose messages are here and not only in the store.
    loaded: u64,
    counts: Counts,
    /// Of the current stream: what did not end well.
    outcomes: BTreeMap<u64, Outcome>,
}

/// What is to be transmitted next.
pub(super) enum Next {
    Message { stream: u8, number: u64, again: bool, payload: Bytes },
    Batch { stream: u8, first: u64, again: bool, messages: Messages },
    Skip { stream: u8, to: u64 },
}

/// What a transmission has to respect.
pub(super) struct Limits {
    pub(super) now: Millis,
    pub(super) credit: u64,
    pub(super) max_payload: u32,
    pub(super) in_flight: u64,
    pub(super) batch: usize,
}

impl Outbound {
    pub(super) fn new(instance: Instance) -> Self {
        Self {
            streams: vec![Stream::new(instance)],
            durable: false,
            messages: 0,
            bytes: 0,
            loaded: 0,
            counts: Counts::default(),
            outcomes: BTreeMap::new(),
        }
    }

    /// What earlier lives have stored, oldest first, and the stream of this life.
    pub(super) fn restore(instance: Instance, streams: Vec<RestoredStream>) -> Self {
        let mut outbound = Self { durable: true, ..Self::new(instance) };
        outbound.streams[0].stored = 0;
        for stream in streams.into_iter().rev() {
            outbound.messages += stream.messages.len();
            outbound.bytes += stream.messages.iter().map(RestoredMessage::cost).sum::<u64>();
            outbound.counts.accepted += stream.messages.len() as u64;
            outbound.streams.insert(0, Stream::restore(stream));
        }
        outbound
    }

    pub(super) fn enqueue(
        &mut self,
        payload: Bytes,
        accepted: Millis,
        deadline: Option<Millis>,
    ) -> MessageId {
        let cost = Data::cost(payload.len());
        self.messages += 1;
        self.bytes += cost;
        self.loaded += cost;
        self.counts.accepted += 1;
        let stream = self.current_mut();
        let number = stream.next();
        stream.kept.push_back(Kept { body: Body::Here(payload), accepted, deadline });
        MessageId { stream: stream.instance, number }
    }

    /// Takes note that the store has everything of this life up to `number`. What is beyond the
    /// bytes that may be loaded is from now on in the store only.
    pub(super) fn stored(&mut self, number: u64, config: &LinkConfig) {
        let stream = self.current_mut();
        let news = (stream.stored + 1).max(stream.cursor)..=number;
        stream.stored = stream.stored.max(number);
        for number in news {
            if self.loaded <= 2 * config.whole_window() {
                break;
            }
            self.loaded -= self.current_mut().unload(number);
        }
    }

    /// Takes back what was accepted and could not be stored. None of it was transmitted.
    pub(super) fn unstored(&mut self) -> usize {
        let mut count = 0;
        while self.current().next() > self.current().stored.saturating_add(1) {
            let Some(kept) = self.current_mut().kept.pop_back() else { break };
            self.counts.accepted -= 1;
            count += 1;
            let number = self.current().next();
            if !kept.body.is_gone() {
                self.settle(&kept.body);
            } else if self.outcomes.remove(&number).is_some() {
                self.counts.expired -= 1;
            } else {
                self.counts.abandoned -= 1;
            }
        }
        count
    }

    /// The first message that is to be transmitted before long and is in the store only.
    pub(super) fn wanted(&self, listed: &[Instance]) -> Option<MessageId> {
        let mut listed = self.streams.iter().filter(|stream| listed.contains(&stream.instance));
        let stream = listed.find(|stream| stream.cursor < stream.next())?;
        let number = stream.first_unloaded()?;
        Some(MessageId { stream: stream.instance, number })
    }

    /// Takes a message that was wanted.
    pub(super) fn supply(&mut self, id: MessageId, payload: Bytes) {
        let stream = self.streams.iter_mut().find(|stream| stream.instance == id.stream);
        if let Some(kept) = stream.and_then(|stream| stream.kept_mut(id.number))
            && matches!(kept.body, Body::Stored(_))
        {
            self.loaded += Data::cost(payload.len());
            kept.body = Body::Here(payload);
        }
    }

    /// Up to where the store may forget the messages of each stream, where that is news.
    pub(super) fn take_trims(&mut self) -> Vec<MessageId> {
        if !self.durable {
            return Vec::new();
        }
        self.streams.iter_mut().filter_map(Stream::take_trim).collect()
    }

    /// Takes note that the store has durably forgotten a stream up to `id`. A stream of an earlier
    /// life goes when that was its last message (rule R14).
    pub(super) fn trimmed(&mut self, id: MessageId) {
        let current = self.current().instance;
        self.streams.retain(|stream| {
            stream.instance != id.stream
                || stream.instance == current
                || !stream.kept.is_empty()
                || (id.number + 1 < stream.base && !broken(Fault::UnlistedByAnyRemoval))
        });
    }

    /// Gives up everything that waits. Returns how many messages that were.
    pub(super) fn abandon(&mut self) -> usize {
        let messages = self.messages;
        for stream in &mut self.streams {
            stream.kept.iter_mut().for_each(|kept| kept.body = Body::Gone);
        }
        self.counts.abandoned += messages as u64;
        (self.messages, self.bytes, self.loaded) = (0, 0, 0);
        messages
    }

    /// How many streams of earlier lives have something to transmit.
    pub(super) fn backlog(&self) -> impl Iterator<Item = Instance> {
        let old = self.streams.len() - 1;
        let old = self.streams[..old].iter().filter(|stream| !stream.kept.is_empty());
        old.map(|stream| stream.instance)
    }

    /// Sets every stream to where the peer wants to go on (rule R9). `told` is what this side's
    /// READY said. Returns whether the peer has seen more of an earlier life than the store
    /// remembers (rule R10).
    pub(super) fn resume(
        &mut self,
        theirs: &[CursorState],
        told: &[StreamState],
    ) -> Result<bool, Violation> {
        let current = self.current().instance;
        let mut regressed = false;
        for index in 0..self.streams.len() {
            let stream = &mut self.streams[index];
            let told = told.iter().find(|told| told.instance == stream.instance);
            let told = told.map_or(stream.base, |told| told.base);
            let Some(cursor) = theirs.iter().find(|theirs| theirs.instance == stream.instance)
            else {
                stream.go_on_at(told);
                continue;
            };
            // Only this life knows for sure what it never transmitted (rule R10).
            if stream.instance == current && cursor.received > stream.transmitted {
                return Err(Violation::AckOfUnsent(cursor.received));
            }
            regressed |= cursor.received >= stream.next();
            if regressed && broken(Fault::RegressionRefused) {
                return Err(Violation::AckOfUnsent(cursor.received));
            }
            self.drop_up_to(index, cursor.completed, &[]);
            let has =
                if broken(Fault::RepeatsTakenForNew) { cursor.completed } else { cursor.received };
            self.streams[index].go_on_at(told.max(has.saturating_add(1)));
        }
        Ok(regressed)
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
                    self.give_up(index, number, Outcome::Expired);
                }
            }
        }
        self.counts.expired > before
    }

    pub(super) fn outcome(&self, id: MessageId) -> Outcome {
        let current = self.current();
        if id.stream != current.instance {
            return Outcome::Done;
        }
        let waiting = if id.number < current.base { Outcome::Done } else { Outcome::Waiting };
        self.outcomes.get(&id.number).copied().unwrap_or(waiting)
    }

    /// The streams to declare: the oldest ones and always the current one.
    pub(super) fn states(&self, max: usize) -> Vec<StreamState> {
        let state = |stream: &Stream| StreamState {
            instance: stream.instance,
            base: stream.base,
            next: stream.next(),
        };
        let old = self.streams.len() - 1;
        let old = self.streams[..old]
            .iter()
            .filter(|stream| !stream.kept.is_empty() || !broken(Fault::UnlistedBeforeRemoved));
        let declared = old.take(max - 1).chain([self.current()]);
        declared.map(state).collect()
    }

    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn oldest(&self) -> Option<Millis> {
        let kept = self.streams.iter().flat_map(|stream| &stream.kept);
        kept.filter(|kept| !kept.body.is_gone()).map(|kept| kept.accepted).next()
    }

    /// The earliest deadline of a message that is not transmitted.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let waiting = self.streams.iter().flat_map(Stream::ahead);
        waiting.filter(|kept| !kept.body.is_gone()).filter_map(|kept| kept.deadline).min()
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
            if !kept.body.is_gone() {
                self.settle(&kept.body);
                match rejected.binary_search_by_key(&dropped, |rejection| rejection.number) {
                    Ok(found) => {
                        let rejection = &rejected[found];
                        self.counts.rejected += 1;
                        self.remember(index, dropped, Outcome::Rejected(rejection.code));
                    }
                    Err(_) => self.counts.acknowledged += 1,
                }
            }
        }
        news
    }

    /// Gives up the messages at a stream's cursor that may not be transmitted any more.
    fn give_up_next(&mut self, index: usize, limits: &Limits) {
        let stream = &self.streams[index];
        let mut number = stream.cursor + stream.given_up_at_cursor();
        loop {
            let stream = &self.streams[index];
            let fate = if stream.is_expired(number, limits.now) {
                Outcome::Expired
            } else if stream.is_too_long(number, limits.max_payload) {
                Outcome::TooLong
            } else {
                return;
            };
            self.give_up(index, number, fate);
            number += 1;
        }
    }

    fn give_up(&mut self, index: usize, number: u64, fate: Outcome) {
        let kept = self.streams[index].kept_mut(number).filter(|kept| !kept.body.is_gone());
        if let Some(kept) = kept {
            let body = std::mem::replace(&mut kept.body, Body::Gone);
            self.settle(&body);
            self.counts.expired += 1;
            self.remember(index, number, fate);
        }
    }

    fn settle(&mut self, body: &Body) {
        self.messages -= 1;
        self.bytes -= body.cost();
        self.loaded -= body.loaded_cost();
    }

    fn remember(&mut self, index: usize, number: u64, fate: Outcome) {
        if index + 1 == self.streams.len() {
            self.outcomes.insert(number, fate);
            if self.outcomes.len() > OUTCOMES {
                self.outcomes.pop_first();
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
