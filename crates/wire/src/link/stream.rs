//! One stream of this side: the numbered messages of one instance.

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};

use super::Millis;
use super::stored::{StoredMessage, StoredStream};
use crate::faults::{Fault, broken};
use crate::frame::{Data, StreamState};
use crate::{Instance, MessageId, Messages, Payload};

/// The part of a step by which a mark goes beyond the last message: so many messages that follow
/// need none of their own.
const MARK_BEYOND_LAST: u64 = 16;
/// Number of messages that are read from the store in advance.
const READ_AHEAD: u64 = 256;

/// One stream: messages from `base` on are kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stream {
    instance: Instance,
    base: u64,
    kept: VecDeque<Kept>,
    /// The next number to transmit in this session.
    cursor: u64,
    /// The highest number ever transmitted.
    transmitted: u64,
    /// The highest number that is stored; without a store, `u64::MAX`.
    stored: u64,
    /// The transmission mark: nothing beyond it is transmitted. Without a store, `u64::MAX`.
    mark: u64,
    /// The mark that the store was asked for, which it may not have made durable yet.
    mark_asked: u64,
    /// The last number that the store was told to remove.
    trimmed: u64,
    /// Whether the peer has to be told of a gap: it expects a number below `base`, because an old
    /// connection has acknowledged it since this side's READY.
    gap: bool,
}

/// A message, until the peer acknowledges it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kept {
    body: Body,
    accepted: Millis,
    deadline: Option<Millis>,
}

/// Where the payload of a message is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Body {
    Here(Payload),
    /// In the store only; the length in bytes.
    Stored(u32),
    /// The message has its outcome, and its number is skipped.
    Gone(GivenUp),
}

/// Reason why this side gives a message up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum GivenUp {
    Expired,
    TooLong,
    Abandoned,
}

/// The next transmission of a stream.
pub(super) enum Next {
    Message { stream: u8, number: u64, again: bool, payload: Payload },
    Batch { stream: u8, first: u64, again: bool, messages: Messages },
    Skip { stream: u8, to: u64 },
}

/// The limits of one transmission.
pub(super) struct TransmitLimits {
    pub(super) now: Millis,
    /// Bytes of credit that are left.
    pub(super) credit: u64,
    /// The longest message that the peer accepts, in bytes.
    pub(super) max_payload: u32,
    /// The most messages that are transmitted and not acknowledged.
    pub(super) in_flight: u64,
    /// The most bytes of a batch; 0 if each message has a frame of its own.
    pub(super) batch: usize,
}

impl Next {
    /// Returns the credit that it takes, in bytes.
    pub(super) fn cost(&self) -> u64 {
        match self {
            Self::Message { payload, .. } => Data::cost(payload.len()),
            Self::Batch { messages, .. } => messages.cost(),
            Self::Skip { .. } => 0,
        }
    }
}

impl Body {
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    /// Returns the payload, if it is in memory.
    fn payload(&self) -> Option<&Payload> {
        if let Self::Here(payload) = self { Some(payload) } else { None }
    }

    /// Returns the cost of the message in bytes, 0 if it is gone.
    pub(super) fn cost(&self) -> u64 {
        match self {
            Self::Here(payload) => Data::cost(payload.len()),
            Self::Stored(len) => Data::cost(*len as usize),
            Self::Gone(_) => 0,
        }
    }

    /// Returns the part of the cost that is in memory.
    pub(super) fn loaded_cost(&self) -> u64 {
        if matches!(self, Self::Here(_)) { self.cost() } else { 0 }
    }
}

impl Kept {
    fn is_expired(&self, now: Millis) -> bool {
        !self.body.is_gone() && self.deadline.is_some_and(|deadline| deadline <= now)
    }

    fn is_too_long(&self, max: u32) -> bool {
        self.body.cost() > Data::cost(max as usize)
    }

    /// Returns whether it may still be transmitted.
    fn may_go(&self, limits: &TransmitLimits) -> bool {
        !self.is_expired(limits.now) && !self.is_too_long(limits.max_payload)
    }
}

impl Stream {
    /// Creates the stream of this instance, without a store.
    pub(super) fn new(instance: Instance) -> Self {
        Self {
            instance,
            base: 1,
            kept: VecDeque::new(),
            cursor: 1,
            transmitted: 0,
            stored: u64::MAX,
            mark: u64::MAX,
            mark_asked: u64::MAX,
            trimmed: 0,
            gap: false,
        }
    }

    /// Creates the stream of this instance, with a store.
    pub(super) fn durable(instance: Instance) -> Self {
        Self { stored: 0, mark: 0, mark_asked: 0, ..Self::new(instance) }
    }

    /// Restores the stream of an earlier instance, at the time `now`. Each of its messages up to the
    /// mark may have been transmitted.
    pub(super) fn restore(stored: StoredStream, now: Millis) -> Self {
        let StoredStream { instance, base, mark, messages } = stored;
        let kept = |message: StoredMessage| Kept {
            body: Body::Stored(message.len),
            accepted: 0,
            deadline: message.deadline(now),
        };
        let kept: VecDeque<_> = messages.into_iter().map(kept).collect();
        let last = base + kept.len() as u64 - 1;
        Self {
            base,
            kept,
            cursor: base,
            transmitted: mark.min(last),
            stored: last,
            mark,
            mark_asked: mark,
            trimmed: base - 1,
            ..Self::new(instance)
        }
    }

    /// Adds a message. Returns its number.
    pub(super) fn push(
        &mut self,
        payload: Payload,
        accepted: Millis,
        deadline: Option<Millis>,
    ) -> MessageId {
        let id = MessageId { stream: self.instance, number: self.next() };
        self.kept.push_back(Kept { body: Body::Here(payload), accepted, deadline });
        id
    }

    /// Records that everything up to `number` is stored. Returns the numbers that were not stored
    /// before and are not transmitted.
    pub(super) fn mark_stored(&mut self, number: u64) -> RangeInclusive<u64> {
        let news = self.stored.saturating_add(1).max(self.cursor)..=number;
        self.stored = self.stored.max(number);
        news
    }

    /// Returns the mark that has to be durable before more stored messages are transmitted, if it was
    /// not asked for yet; `step` is the most that it may be ahead.
    pub(super) fn take_mark(&mut self, step: u64) -> Option<u64> {
        self.take_mark_for(self.stored, step)
    }

    /// The same for the last message, which is about to be stored.
    pub(super) fn take_mark_of_last(&mut self, step: u64) -> Option<u64> {
        self.take_mark_for(self.next() - 1, step)
    }

    /// Records that the mark is durable.
    pub(super) fn raise_mark(&mut self, mark: u64) {
        self.mark = self.mark.max(mark);
        self.mark_asked = self.mark_asked.max(mark);
    }

    /// Records that marks that were asked for may never be durable.
    pub(super) fn forget_asked_mark(&mut self) {
        self.mark_asked = self.mark;
    }

    /// Removes the last message, if it is not stored.
    pub(super) fn pop_unstored(&mut self) -> Option<(u64, Body)> {
        if self.next() <= self.stored.saturating_add(1) {
            return None;
        }
        let kept = self.kept.pop_back()?;
        Some((self.next(), kept.body))
    }

    /// Removes the first message, if its number is `number` or less.
    pub(super) fn pop_up_to(&mut self, number: u64) -> Option<(u64, Body)> {
        if self.base > number {
            return None;
        }
        let kept = self.kept.pop_front()?;
        let dropped = self.base;
        self.base += 1;
        self.cursor = self.cursor.max(self.base);
        Some((dropped, kept.body))
    }

    /// Drops a message: its number will be skipped. Returns its body, unless it was gone already.
    pub(super) fn give_up(&mut self, number: u64, why: GivenUp) -> Option<Body> {
        let kept = self.kept_mut(number).filter(|kept| !kept.body.is_gone())?;
        Some(std::mem::replace(&mut kept.body, Body::Gone(why)))
    }

    /// Gives all messages up.
    pub(super) fn abandon(&mut self) {
        for kept in self.kept.iter_mut().filter(|kept| !kept.body.is_gone()) {
            kept.body = Body::Gone(GivenUp::Abandoned);
        }
    }

    /// Takes a payload that was read from the store. Returns whether it was missing.
    pub(super) fn load(&mut self, number: u64, payload: Payload) -> bool {
        let kept = self.kept_mut(number).filter(|kept| matches!(kept.body, Body::Stored(_)));
        let Some(kept) = kept else { return false };
        kept.body = Body::Here(payload);
        true
    }

    /// Leaves a payload to the store. Returns the bytes that this frees.
    pub(super) fn unload(&mut self, number: u64) -> u64 {
        let Some(kept) = self.kept_mut(number) else { return 0 };
        let Body::Here(payload) = &kept.body else { return 0 };
        let len = payload.len();
        kept.body = Body::Stored(len as u32);
        Data::cost(len)
    }

    /// Returns the last number that the store may remove, if that has changed.
    pub(super) fn take_trim(&mut self) -> Option<MessageId> {
        let number = self.base - 1;
        let news = number > self.trimmed;
        self.trimmed = number;
        news.then_some(MessageId { stream: self.instance, number })
    }

    /// Continues in a new session, at the `number` that the peer expects.
    pub(super) fn go_on_at(&mut self, number: u64) {
        self.gap = number < self.base && !broken(Fault::LateGapNotTold);
        self.cursor = number.clamp(self.base, self.next());
    }

    pub(super) fn next_to_transmit(&mut self, stream: u8, limits: &TransmitLimits) -> Option<Next> {
        if std::mem::take(&mut self.gap) {
            return Some(Next::Skip { stream, to: self.base - 1 });
        }
        let given_up = self.given_up_at_cursor();
        if given_up > 0 {
            let to = self.cursor + given_up - 1;
            self.advance(to);
            return Some(Next::Skip { stream, to });
        }
        let first = self.cursor;
        let again = first <= self.transmitted;
        let run = self.run(limits);
        let payloads = self.ahead().take(run).filter_map(|kept| kept.body.payload());
        let next = if run > 1 {
            let messages = Messages::new(payloads)?;
            Next::Batch { stream, first, again, messages }
        } else {
            let payload = payloads.last()?.clone();
            Next::Message { stream, number: first, again, payload }
        };
        self.advance(first + run as u64 - 1);
        Some(next)
    }

    pub(super) fn instance(&self) -> Instance {
        self.instance
    }

    /// Returns the id of its message with this number.
    pub(super) fn id(&self, number: u64) -> MessageId {
        MessageId { stream: self.instance, number }
    }

    /// Returns the number of the first message that is kept.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Returns the number that the next message gets.
    pub(super) fn next(&self) -> u64 {
        self.base + self.kept.len() as u64
    }

    /// Returns the highest number ever transmitted.
    pub(super) fn transmitted(&self) -> u64 {
        self.transmitted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Returns whether something is left to transmit in this session.
    pub(super) fn has_more(&self) -> bool {
        self.cursor < self.next()
    }

    /// Returns whether a mark is to be [taken](Self::take_mark).
    pub(super) fn wants_mark(&self, step: u64) -> bool {
        self.lacks_mark_for(self.stored, step)
    }

    /// Returns the number of messages that are transmitted in this session and not acknowledged.
    pub(super) fn in_flight(&self) -> u64 {
        self.cursor - self.base
    }

    /// Returns the numbers that are not transmitted in this session.
    pub(super) fn untransmitted(&self) -> Range<u64> {
        self.cursor.max(self.base)..self.next()
    }

    /// Returns the first number from the cursor on that is not skipped.
    pub(super) fn first_to_transmit(&self) -> u64 {
        self.cursor + self.given_up_at_cursor()
    }

    pub(super) fn state(&self) -> StreamState {
        StreamState { instance: self.instance, base: self.base, next: self.next() }
    }

    /// Returns the time at which the oldest message that waits was accepted.
    pub(super) fn oldest(&self) -> Option<Millis> {
        self.kept.iter().find(|kept| !kept.body.is_gone()).map(|kept| kept.accepted)
    }

    /// Returns the earliest deadline of a message that is not transmitted.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let waiting = self.ahead().filter(|kept| !kept.body.is_gone());
        waiting.filter_map(|kept| kept.deadline).min()
    }

    pub(super) fn is_expired(&self, number: u64, now: Millis) -> bool {
        self.kept(number).is_some_and(|kept| kept.is_expired(now))
    }

    pub(super) fn is_too_long(&self, number: u64, max: u32) -> bool {
        self.kept(number).is_some_and(|kept| kept.is_too_long(max))
    }

    /// Returns the first message from the cursor on whose payload is in the store only.
    pub(super) fn first_unloaded(&self) -> Option<MessageId> {
        let mut ahead = self.cursor..self.next().min(self.cursor + READ_AHEAD);
        let number = ahead.find(|number| {
            self.kept(*number).is_some_and(|kept| matches!(kept.body, Body::Stored(_)))
        })?;
        Some(MessageId { stream: self.instance, number })
    }

    /// Returns the number of messages from the cursor on that are gone. Those that are not stored
    /// yet are not skipped: if storing them fails, their numbers are used again.
    fn given_up_at_cursor(&self) -> u64 {
        let mut given_up = 0;
        while self.cursor + given_up <= self.stored
            && self.kept(self.cursor + given_up).is_some_and(|kept| kept.body.is_gone())
        {
            given_up += 1;
        }
        given_up
    }

    /// Returns the next mark for messages up to `last`: a step ahead of what is transmitted, but not
    /// far beyond messages that are not there yet.
    fn take_mark_for(&mut self, last: u64, step: u64) -> Option<u64> {
        if !self.lacks_mark_for(last, step) {
            return None;
        }
        self.mark_asked = (self.cursor - 1 + step).min(last + step / MARK_BEYOND_LAST);
        Some(self.mark_asked)
    }

    /// Returns whether messages up to `last` that are soon transmitted are beyond the mark. The next
    /// mark is asked for half a step ahead, so that transmission does not wait for it.
    fn lacks_mark_for(&self, last: u64, step: u64) -> bool {
        self.mark_asked < last.min(self.cursor + step / 2)
    }

    /// Returns the number of messages from the cursor on that can be transmitted in one frame. The
    /// first one is neither expired nor too long.
    fn run(&self, limits: &TransmitLimits) -> usize {
        let stored = if broken(Fault::TransmittedBeforeStored) { u64::MAX } else { self.stored };
        let in_flight =
            if broken(Fault::FlightUnbounded) { Messages::MAX as u64 } else { limits.in_flight };
        let mark = if broken(Fault::TransmittedBeyondMark) { u64::MAX } else { self.mark };
        let mut end = stored.min(mark).saturating_add(1).min(self.base + in_flight);
        if self.cursor <= self.transmitted {
            end = end.min(self.transmitted + 1);
        }
        let (mut run, mut cost, mut len) = (0, 0, 0);
        for (_, kept) in (self.cursor..end).zip(self.ahead()).take(Messages::MAX) {
            let Some(payload) = kept.body.payload() else { break };
            cost += Data::cost(payload.len());
            len += Messages::entry_len(payload.len());
            let joins = run == 0 || (len <= limits.batch && kept.may_go(limits));
            if (cost > limits.credit && !broken(Fault::CreditIgnored)) || !joins {
                break;
            }
            run += 1;
        }
        run
    }

    fn advance(&mut self, to: u64) {
        debug_assert!(self.cursor <= to && to < self.next(), "what is transmitted is kept");
        self.cursor = to + 1;
        self.transmitted = self.transmitted.max(to);
    }

    /// Returns everything from the cursor on.
    fn ahead(&self) -> impl Iterator<Item = &Kept> + Clone {
        let transmitted = usize::try_from(self.cursor - self.base).unwrap_or(usize::MAX);
        self.kept.range(transmitted.min(self.kept.len())..)
    }

    fn kept(&self, number: u64) -> Option<&Kept> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.kept.get(index)
    }

    fn kept_mut(&mut self, number: u64) -> Option<&mut Kept> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.kept.get_mut(index)
    }
}
