//! Messages that this side has accepted and the peer has not acknowledged.
//! Implements `docs/protocol.md` §5.1 and §5.2 for the sender.

use std::collections::BTreeMap;

use super::memory::Memory;
use super::stored::StoredStream;
use super::stream::{Body, GivenUp, Next, Stream, TransmitLimits};
use super::{LinkConfig, Millis};
use crate::faults::{Fault, broken};
use crate::frame::{CursorState, Data, RejectCode, Rejection, StreamState};
use crate::{Instance, MessageId, Payload, RejectText, Violation};

/// Outcome of an accepted message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It waits for its acknowledgement.
    Waiting,
    /// The peer has handled it.
    Done,
    /// The peer has rejected it.
    Rejected(RejectCode),
    /// Its time ran out before it was transmitted.
    Expired,
    /// It is longer than the peer accepts.
    TooLong,
}

/// Number of messages by outcome: `accepted` is always the sum of the others and of the messages
/// that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Accepted by `enqueue`.
    pub accepted: u64,
    /// Handled by the peer.
    pub acknowledged: u64,
    /// Rejected by the peer.
    pub rejected: u64,
    /// Expired before they were transmitted.
    pub expired: u64,
    /// Longer than the peer accepts, and so never transmitted.
    pub too_long: u64,
    /// Abandoned by this side, with [`Link::abandon`](super::Link::abandon).
    pub abandoned: u64,
}

impl Counts {
    /// Returns whether every accepted message is accounted for, if so many still wait.
    #[must_use]
    pub fn is_conserved(&self, waiting: usize) -> bool {
        let ended = self.acknowledged + self.rejected + self.expired + self.too_long;
        self.accepted == ended + self.abandoned + waiting as u64
    }
}

/// The streams of this side, oldest first; the last one is the current one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outbound {
    streams: Vec<Stream>,
    /// Whether every message is stored before it is transmitted, and the store is told of trims.
    durable: bool,
    memory: Memory,
    counts: Counts,
    /// Outcomes of messages that were not handled.
    outcomes: BTreeMap<MessageId, Outcome>,
    /// The peer's words about those that were rejected, where it has said any.
    texts: BTreeMap<MessageId, RejectText>,
}

impl Outbound {
    pub(super) fn new(instance: Instance) -> Self {
        Self {
            streams: vec![Stream::new(instance)],
            durable: false,
            memory: Memory::default(),
            counts: Counts::default(),
            outcomes: BTreeMap::new(),
            texts: BTreeMap::new(),
        }
    }

    /// Restores the stored streams of earlier instances, oldest first, and begins the stream of
    /// this one.
    pub(super) fn restore(instance: Instance, streams: Vec<StoredStream>, now: Millis) -> Self {
        let mut outbound =
            Self { durable: true, streams: vec![Stream::durable(instance)], ..Self::new(instance) };
        for stream in streams.into_iter().rev() {
            stream.messages.iter().for_each(|message| outbound.memory.add_stored(message.cost()));
            outbound.counts.accepted += stream.messages.len() as u64;
            outbound.streams.insert(0, Stream::restore(stream, now));
        }
        outbound
    }

    pub(super) fn enqueue(
        &mut self,
        payload: Payload,
        accepted: Millis,
        deadline: Option<Millis>,
    ) -> MessageId {
        self.memory.add(Data::cost(payload.len()));
        self.counts.accepted += 1;
        self.current_mut().push(payload, accepted, deadline)
    }

    /// Records that the store has everything of this instance up to `number`. Payloads that exceed
    /// what may be in memory are left to the store.
    pub(super) fn stored(&mut self, number: u64, config: &LinkConfig) {
        for number in self.current_mut().mark_stored(number) {
            if !self.memory.has_enough(config) {
                break;
            }
            let cost = self.current_mut().unload(number);
            self.memory.unload(cost);
        }
    }

    /// Takes back the messages that were accepted and could not be stored. None was transmitted.
    pub(super) fn unstored(&mut self) -> usize {
        let mut count = 0;
        self.current_mut().forget_asked_mark();
        while let Some((number, body)) = self.current_mut().pop_unstored() {
            self.counts.accepted -= 1;
            count += 1;
            match body {
                Body::Gone(GivenUp::Expired) => self.counts.expired -= 1,
                Body::Gone(GivenUp::TooLong) => self.counts.too_long -= 1,
                Body::Gone(GivenUp::Abandoned) => self.counts.abandoned -= 1,
                Body::Here(_) | Body::Stored(_) => self.settle(&body),
            }
            let stream = self.current().instance();
            self.outcomes.remove(&MessageId { stream, number });
        }
        count
    }

    /// Returns the mark that a stream needs before it transmits more stored messages, if the store
    /// was not asked for it yet.
    pub(super) fn take_mark(&mut self, listed: &[Instance], step: u64) -> Option<MessageId> {
        let index = self.transmitting(listed)?;
        let number = self.streams[index].take_mark(step)?;
        Some(MessageId { stream: self.streams[index].instance(), number })
    }

    /// Returns the mark that goes into the store together with the last message, if one is needed
    /// and no older stream is transmitted first.
    pub(super) fn take_mark_of_last(&mut self, listed: &[Instance], step: u64) -> Option<u64> {
        let is_current = self.transmitting(listed)? + 1 == self.streams.len();
        if is_current { self.current_mut().take_mark_of_last(step) } else { None }
    }

    pub(super) fn wants_mark(&self, listed: &[Instance], step: u64) -> bool {
        self.transmitting(listed).is_some_and(|index| self.streams[index].wants_mark(step))
    }

    /// Records that the store has made the mark of a stream durable.
    pub(super) fn marked(&mut self, id: MessageId) {
        let stream = self.streams.iter_mut().find(|stream| stream.instance() == id.stream);
        stream.into_iter().for_each(|stream| stream.raise_mark(id.number));
    }

    /// Returns the first message that is to be transmitted soon and whose payload is in the store
    /// only.
    pub(super) fn wanted(&self, listed: &[Instance]) -> Option<MessageId> {
        let mut listed = self.streams.iter().filter(|stream| listed.contains(&stream.instance()));
        listed.find(|stream| stream.has_more())?.first_unloaded()
    }

    /// Takes the payload of a message that was wanted.
    pub(super) fn supply(&mut self, id: MessageId, payload: Payload) {
        let cost = Data::cost(payload.len());
        let stream = self.streams.iter_mut().find(|stream| stream.instance() == id.stream);
        if stream.is_some_and(|stream| stream.load(id.number, payload)) {
            self.memory.load(cost);
        }
    }

    /// Returns the last message of each stream that the store may remove, with all before it, if
    /// that has changed.
    pub(super) fn take_trims(&mut self) -> Vec<MessageId> {
        if !self.durable {
            return Vec::new();
        }
        self.streams.iter_mut().filter_map(Stream::take_trim).collect()
    }

    /// Records that the store has durably removed a stream up to `id`. The stream of an earlier
    /// instance is removed if that was its last message (rule R14).
    pub(super) fn trimmed(&mut self, id: MessageId) {
        let current = self.current().instance();
        self.streams.retain(|stream| {
            stream.instance() != id.stream
                || stream.instance() == current
                || !stream.is_empty()
                || (id.number + 1 < stream.base() && !broken(Fault::UnlistedByAnyRemoval))
        });
    }

    /// Abandons all messages that wait. Returns their number.
    pub(super) fn abandon(&mut self) -> usize {
        let messages = self.memory.messages();
        self.streams.iter_mut().for_each(Stream::abandon);
        self.counts.abandoned += messages as u64;
        self.memory = Memory::default();
        messages
    }

    /// Returns the streams of earlier instances that are not empty.
    pub(super) fn backlog(&self) -> impl Iterator<Item = Instance> {
        let old = self.streams.len() - 1;
        let old = self.streams[..old].iter().filter(|stream| !stream.is_empty());
        old.map(Stream::instance)
    }

    /// Sets every stream to where the peer wants to continue (rule R9). `told` is what this side's
    /// READY said. Returns whether the peer has received more of an earlier instance than the store
    /// knows (rule R10).
    pub(super) fn resume(
        &mut self,
        theirs: &[CursorState],
        told: &[StreamState],
    ) -> Result<bool, Violation> {
        let current = self.current().instance();
        let mut regressed = false;
        for index in 0..self.streams.len() {
            let stream = &mut self.streams[index];
            let told = told.iter().find(|told| told.instance == stream.instance());
            let told = told.map_or(stream.base(), |told| told.base);
            let Some(cursor) = theirs.iter().find(|theirs| theirs.instance == stream.instance())
            else {
                stream.go_on_at(told);
                continue;
            };
            // Only this instance knows for sure what it never transmitted (rule R10).
            if stream.instance() == current && cursor.received > stream.transmitted() {
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

    /// Takes an acknowledgement of the stream of `instance`. Returns whether it was news.
    pub(super) fn acknowledge(
        &mut self,
        instance: Instance,
        number: u64,
        rejected: &[Rejection],
    ) -> Result<bool, Violation> {
        let index = self.streams.iter().position(|stream| stream.instance() == instance);
        let Some(index) = index else { return Ok(false) };
        if index + 1 == self.streams.len() && number > self.streams[index].transmitted() {
            return Err(Violation::AckOfUnsent(number));
        }
        Ok(self.drop_up_to(index, number, rejected))
    }

    /// Returns the next message or gap, oldest stream first.
    pub(super) fn next(&mut self, listed: &[Instance], limits: &TransmitLimits) -> Option<Next> {
        for index in 0..self.streams.len() {
            let instance = self.streams[index].instance();
            let Some(name) = listed.iter().position(|listed| *listed == instance) else {
                if self.streams[index].is_empty() || broken(Fault::UnlistedOvertaken) {
                    continue;
                }
                return None; // it was not listed, because there were too many: a new session lists it
            };
            self.give_up_next(index, limits);
            if let Some(next) = self.streams[index].next_to_transmit(name as u8, limits) {
                return Some(next);
            }
            if self.streams[index].has_more() {
                return None; // an older stream goes first, even if it has to wait
            }
        }
        None
    }

    /// Removes the messages of every stream that have expired, which frees room. Returns whether
    /// there were any.
    pub(super) fn expire(&mut self, now: Millis) -> bool {
        let before = self.counts.expired;
        for index in 0..self.streams.len() {
            for number in self.streams[index].untransmitted() {
                if self.streams[index].is_expired(number, now) {
                    self.give_up(index, number, GivenUp::Expired);
                }
            }
        }
        self.counts.expired > before
    }

    pub(super) fn has_outcomes(&self) -> bool {
        !self.outcomes.is_empty()
    }

    /// Takes the outcomes of messages that were not handled.
    pub(super) fn take_outcomes(&mut self) -> BTreeMap<MessageId, Outcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// Takes the peer's words about rejected messages.
    pub(super) fn take_texts(&mut self) -> BTreeMap<MessageId, RejectText> {
        std::mem::take(&mut self.texts)
    }

    pub(super) fn outcome(&self, id: MessageId) -> Outcome {
        let current = self.current();
        if id.stream != current.instance() {
            return Outcome::Done;
        }
        let waiting = if id.number < current.base() { Outcome::Done } else { Outcome::Waiting };
        self.outcomes.get(&id).copied().unwrap_or(waiting)
    }

    /// Returns the streams to list in READY: the oldest ones and always the current one.
    pub(super) fn states(&self, max: usize) -> Vec<StreamState> {
        let old = self.streams.len() - 1;
        let old = self.streams[..old]
            .iter()
            .filter(|stream| !stream.is_empty() || !broken(Fault::UnlistedBeforeRemoved));
        old.take(max - 1).chain([self.current()]).map(Stream::state).collect()
    }

    pub(super) fn messages(&self) -> usize {
        self.memory.messages()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.memory.bytes()
    }

    pub(super) fn oldest(&self) -> Option<Millis> {
        self.streams.iter().find_map(Stream::oldest)
    }

    /// Returns the earliest deadline of a message that is not transmitted.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.streams.iter().filter_map(Stream::next_deadline).min()
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.streams.iter().map(Stream::in_flight).sum()
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Drops everything up to `number`: the peer has it. Returns whether anything was dropped.
    fn drop_up_to(&mut self, index: usize, number: u64, rejected: &[Rejection]) -> bool {
        let mut news = false;
        while let Some((dropped, body)) = self.streams[index].pop_up_to(number) {
            news = true;
            if !body.is_gone() {
                self.settle(&body);
                match rejected.binary_search_by_key(&dropped, |rejection| rejection.number) {
                    Ok(found) => {
                        let rejection = &rejected[found];
                        self.counts.rejected += 1;
                        self.remember(index, dropped, Outcome::Rejected(rejection.code));
                        if !rejection.text.is_empty() {
                            let id = self.streams[index].id(dropped);
                            self.texts.insert(id, rejection.text.clone());
                        }
                    }
                    Err(_) => self.counts.acknowledged += 1,
                }
            }
        }
        news
    }

    /// Drops the messages at a stream's cursor that have expired or are too long.
    fn give_up_next(&mut self, index: usize, limits: &TransmitLimits) {
        let mut number = self.streams[index].first_to_transmit();
        loop {
            let stream = &self.streams[index];
            let why = if stream.is_expired(number, limits.now) {
                GivenUp::Expired
            } else if stream.is_too_long(number, limits.max_payload) {
                GivenUp::TooLong
            } else {
                return;
            };
            self.give_up(index, number, why);
            number += 1;
        }
    }

    fn give_up(&mut self, index: usize, number: u64, why: GivenUp) {
        let Some(body) = self.streams[index].give_up(number, why) else { return };
        self.settle(&body);
        match why {
            GivenUp::Expired => {
                self.counts.expired += 1;
                self.remember(index, number, Outcome::Expired);
            }
            GivenUp::TooLong => {
                self.counts.too_long += 1;
                self.remember(index, number, Outcome::TooLong);
            }
            GivenUp::Abandoned => self.counts.abandoned += 1,
        }
    }

    fn settle(&mut self, body: &Body) {
        self.memory.remove(body.cost(), body.loaded_cost());
    }

    /// Remembers the outcome of a message until it is taken.
    fn remember(&mut self, index: usize, number: u64, outcome: Outcome) {
        self.outcomes.insert(self.streams[index].id(number), outcome);
    }

    /// Returns the index of the stream whose message is transmitted next. One that is not listed holds
    /// up those after it.
    fn transmitting(&self, listed: &[Instance]) -> Option<usize> {
        let is_listed = |stream: &Stream| listed.contains(&stream.instance());
        let is_overtaken = |it: &Stream| !is_listed(it) && broken(Fault::UnlistedOvertaken);
        let holds_up = |it: &Stream| it.has_more() || (!it.is_empty() && !is_listed(it));
        let index = self.streams.iter().position(|it| holds_up(it) && !is_overtaken(it))?;
        is_listed(&self.streams[index]).then_some(index)
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
