//! One stream of this side: the numbered messages of one life.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Millis;
use super::faults::{Fault, broken};
use super::outbound::{Limits, Next};
use super::restore::{RestoredMessage, RestoredStream};
use crate::frame::Data;
use crate::{Instance, MessageId, Messages};

/// How many messages are wanted from the store before it is their turn.
const READ_AHEAD: u64 = 256;

/// One stream: everything from `base` on is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stream {
    pub(super) instance: Instance,
    pub(super) base: u64,
    pub(super) kept: VecDeque<Kept>,
    /// The next number to transmit in this session.
    pub(super) cursor: u64,
    /// The highest number ever transmitted.
    pub(super) transmitted: u64,
    /// The highest number that is stored; without a store, all of them.
    pub(super) stored: u64,
    /// Up to where the store was told to forget.
    trimmed: u64,
    /// The peer expects a number below `base`: an old connection has acknowledged it since this
    /// side's READY. It is to be told that there is a gap.
    gap: bool,
}

/// A message, until the peer acknowledges it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kept {
    pub(super) body: Body,
    pub(super) accepted: Millis,
    pub(super) deadline: Option<Millis>,
}

/// Where the payload of a message is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Body {
    Here(Bytes),
    /// In the store only; the length in bytes.
    Stored(u32),
    /// The message has met its fate: only its number is left to be skipped.
    Gone,
}

impl Body {
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }

    /// The message, if it is in memory.
    fn payload(&self) -> Option<&Bytes> {
        if let Self::Here(payload) = self { Some(payload) } else { None }
    }

    /// What the message costs, 0 if it is gone.
    pub(super) fn cost(&self) -> u64 {
        match self {
            Self::Here(payload) => Data::cost(payload.len()),
            Self::Stored(len) => Data::cost(*len as usize),
            Self::Gone => 0,
        }
    }

    /// What of the cost is in memory.
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

    /// Whether it may still be transmitted.
    fn lives(&self, limits: &Limits) -> bool {
        !self.is_expired(limits.now) && !self.is_too_long(limits.max_payload)
    }
}

impl Stream {
    /// The stream of this life, without a store.
    pub(super) fn new(instance: Instance) -> Self {
        let kept = VecDeque::new();
        Self {
            instance,
            base: 1,
            kept,
            cursor: 1,
            transmitted: 0,
            stored: u64::MAX,
            trimmed: 0,
            gap: false,
        }
    }

    /// The stream of an earlier life. Each of its messages may have been transmitted.
    pub(super) fn restore(stored: RestoredStream) -> Self {
        let RestoredStream { instance, base, messages } = stored;
        let kept = |message: RestoredMessage| Kept {
            body: Body::Stored(message.len),
            accepted: 0,
            deadline: message.deadline,
        };
        let kept: VecDeque<_> = messages.into_iter().map(kept).collect();
        let last = base + kept.len() as u64 - 1;
        let (cursor, trimmed) = (base, base - 1);
        Self { instance, base, kept, cursor, transmitted: last, stored: last, trimmed, gap: false }
    }

    /// The number that the next message gets.
    pub(super) fn next(&self) -> u64 {
        self.base + self.kept.len() as u64
    }

    pub(super) fn kept(&self, number: u64) -> Option<&Kept> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.kept.get(index)
    }

    pub(super) fn kept_mut(&mut self, number: u64) -> Option<&mut Kept> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.kept.get_mut(index)
    }

    pub(super) fn is_expired(&self, number: u64, now: Millis) -> bool {
        self.kept(number).is_some_and(|kept| kept.is_expired(now))
    }

    pub(super) fn is_too_long(&self, number: u64, max: u32) -> bool {
        self.kept(number).is_some_and(|kept| kept.is_too_long(max))
    }

    /// How many messages from the cursor on are given up. Those that are not stored yet are not
    /// skipped: were storing to fail, their numbers would be given again.
    pub(super) fn given_up_at_cursor(&self) -> u64 {
        let mut given_up = 0;
        while self.cursor + given_up <= self.stored
            && self.kept(self.cursor + given_up).is_some_and(|kept| kept.body.is_gone())
        {
            given_up += 1;
        }
        given_up
    }

    /// In a new session the peer expects `number` next.
    pub(super) fn go_on_at(&mut self, number: u64) {
        self.gap = number < self.base && !broken(Fault::LateGapNotTold);
        self.cursor = number.clamp(self.base, self.next());
    }

    pub(super) fn next_to_transmit(&mut self, stream: u8, limits: &Limits) -> Option<Next> {
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

    /// How many messages from the cursor on can be transmitted in one frame. Whether the first one
    /// has expired or is too long has been seen to.
    fn run(&self, limits: &Limits) -> usize {
        let stored = if broken(Fault::TransmittedBeforeStored) { u64::MAX } else { self.stored };
        let mut end = stored.saturating_add(1).min(self.base + limits.in_flight);
        if self.cursor <= self.transmitted {
            end = end.min(self.transmitted + 1);
        }
        let (mut run, mut cost, mut len) = (0, 0, 0);
        for (_, kept) in (self.cursor..end).zip(self.ahead()).take(Messages::MAX) {
            let Some(payload) = kept.body.payload() else { break };
            cost += Data::cost(payload.len());
            len += Messages::entry_len(payload.len());
            let joins = run == 0 || (len <= limits.batch && kept.lives(limits));
            if cost > limits.credit || !joins {
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

    pub(super) fn pop_up_to(&mut self, number: u64) -> Option<(u64, Kept)> {
        if self.base > number {
            return None;
        }
        let kept = self.kept.pop_front()?;
        let dropped = self.base;
        self.base += 1;
        self.cursor = self.cursor.max(self.base);
        Some((dropped, kept))
    }

    /// Everything from the cursor on.
    pub(super) fn ahead(&self) -> impl Iterator<Item = &Kept> + Clone {
        let transmitted = usize::try_from(self.cursor - self.base).unwrap_or(usize::MAX);
        self.kept.range(transmitted.min(self.kept.len())..)
    }

    /// The first message from the cursor on that is in the store only.
    pub(super) fn first_unloaded(&self) -> Option<u64> {
        let ahead = self.cursor..self.next().min(self.cursor + READ_AHEAD);
        let unloaded = |number: &u64| {
            self.kept(*number).is_some_and(|kept| matches!(kept.body, Body::Stored(_)))
        };
        ahead.into_iter().find(unloaded)
    }

    /// Leaves a message to the store. Returns how much memory that frees.
    pub(super) fn unload(&mut self, number: u64) -> u64 {
        let Some(kept) = self.kept_mut(number) else { return 0 };
        let Body::Here(payload) = &kept.body else { return 0 };
        let len = payload.len();
        kept.body = Body::Stored(len as u32);
        Data::cost(len)
    }

    pub(super) fn take_trim(&mut self) -> Option<MessageId> {
        let number = self.base - 1;
        let news = number > self.trimmed;
        self.trimmed = number;
        news.then_some(MessageId { stream: self.instance, number })
    }
}
