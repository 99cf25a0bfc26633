//! The calls of the handler, as the peer's lock sees them.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use paddington_wire::{Delivery, Encoding, Message, MessageId, RejectCode};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Item, Peer, PeerLink, State, WorkerId, wake};
use crate::{Event, OnError};

/// A call of the handler.
#[derive(Debug)]
pub(crate) struct Call {
    /// `None` once it was given to the handler for good.
    item: Option<Item>,
    control: bool,
    pub(crate) id: Option<MessageId>,
    /// Whether the message was transmitted in an earlier session too.
    pub(crate) again: bool,
    /// Which call this is for this message, from 1.
    pub(crate) attempt: u32,
}

impl Call {
    fn new(item: Item) -> Self {
        let (id, again, control) = match &item {
            Item::Message(received) => (received.id, received.again, false),
            Item::Control(_) => (None, false, true),
        };
        Self { item: Some(item), control, id, again, attempt: 1 }
    }

    /// The number of the message, for a log.
    pub(crate) fn shown(&self) -> Option<String> {
        self.id.map(|id| id.to_string())
    }

    pub(crate) fn payload(&self) -> Option<Bytes> {
        match &self.item {
            Some(Item::Message(received)) => Some(received.text.clone().into_bytes()),
            _ => None,
        }
    }

    pub(crate) fn is_control(&self) -> bool {
        self.control
    }

    /// The same call, with its message only where that may become a dead letter.
    fn noted(&self, keeps: bool) -> Self {
        let Self { id, again, attempt, control, .. } = *self;
        Self { item: if keeps { self.item.clone() } else { None }, control, id, again, attempt }
    }
}

/// How the handling of a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    /// It is given up.
    Failed(RejectCode),
    /// No more is handled until somebody says so; then the message comes first.
    Halted,
    /// There is no next attempt here: the service shuts down and the message comes again later, or
    /// somebody else has given it up.
    Left,
}

impl Peer {
    /// The next call of the handler for `worker`, who is done with another one; `None` once it is to
    /// stop.
    pub(crate) fn poll_call(
        &self,
        worker: WorkerId,
        done: &mut Option<(Call, Ended)>,
        cx: &Context<'_>,
    ) -> Poll<Option<Call>> {
        let now = Instant::now();
        let mut state = self.lock();
        let alone = state.handling.workers.len() == 1;
        let writer = done.take().and_then(|(call, ended)| {
            self.finish(&mut state, worker, call, ended, now);
            state.take_waker_for_ack()
        });
        let polled = state.poll_call(worker, self.store.is_some(), now, cx);
        let reader = if polled.is_ready() { state.take_hex_reader_waker() } else { None };
        // Where this one has nothing to do, no colleague has: it would only be woken to say so.
        let other_worker_wakers =
            if polled.is_pending() || alone { Vec::new() } else { state.other_worker_wakers() };
        drop(state);
        other_worker_wakers.into_iter().chain(writer).chain(reader).for_each(Waker::wake);
        polled
    }

    /// What the handler is given. It is kept too where it may be needed once more: for another
    /// attempt, or as a dead letter.
    pub(crate) fn message(&self, call: &mut Call) -> Option<Message> {
        let kept = self.store.is_some() || self.shared.config.on_error != OnError::Next;
        let item = if kept { call.item.clone() } else { call.item.take() };
        let us = &self.shared.name;
        Some(match item? {
            Item::Control(control) => Message::from_control(us, control),
            Item::Message(received) => {
                let redelivered = received.again;
                let delivery = Delivery { id: call.id, redelivered, attempt: call.attempt };
                Message::received(self.name.clone(), us, received.text, delivery)
            }
        })
    }

    /// Whether `worker` may call the handler once more for a message on which it has failed. A `hex`
    /// peer's message comes only once: all its attempts are made before the shutdown.
    pub(crate) fn may_try_again(&self, worker: WorkerId) -> bool {
        let state = self.lock();
        let leaves = state.handling.stopping && state.link.encoding() == Encoding::Sealed;
        !leaves && state.handling.workers.is_here(worker)
    }

    /// The handler is done with a message.
    fn finish(&self, state: &mut State, worker: WorkerId, call: Call, ended: Ended, now: Instant) {
        if !state.handling.workers.is_here(worker) {
            return; // it was given up, and another one has taken its place
        }
        let took = state.handling.workers.end(worker, now);
        match ended {
            Ended::Done => self.settle_call(state, &call, Ok(()), took),
            Ended::Failed(code) => self.settle_call(state, &call, Err(code), took),
            Ended::Left => state.put_back(call),
            Ended::Halted => {
                state.put_back(call);
                state.handling.halted = true;
                self.shared.tell(Event::HandlingStopped { peer: self.name.clone() });
            }
        }
    }

    fn settle_call(
        &self,
        state: &mut State,
        call: &Call,
        outcome: Result<(), RejectCode>,
        took: Duration,
    ) {
        let counters = &mut state.counters;
        counters.handler_time += took;
        match outcome {
            Ok(()) => counters.handled += u64::from(!call.control),
            Err(code) => {
                counters.failed += 1;
                counters.timed_out += u64::from(code == RejectCode::TIMED_OUT);
            }
        }
        if let (PeerLink::Sealed(link), Some(id)) = (&mut state.link, call.id) {
            link.handled(id, outcome);
            self.note_store_work(state);
        }
    }

    /// Dismisses the workers whose call has been running for longer than `limit`. Their messages
    /// are to be [left behind](Self::leave_behind).
    pub(crate) fn remove_overdue(&self, limit: Duration) -> Vec<Call> {
        self.lock().handling.workers.remove_overdue(limit)
    }

    /// Gives up a message whose call cannot be ended.
    pub(crate) fn leave_behind(&self, call: &Call) {
        let mut state = self.lock();
        state.counters.left_behind += 1;
        let outcome = Err(RejectCode::TIMED_OUT);
        self.settle_call(&mut state, call, outcome, Duration::ZERO);
        let writer = state.take_waker_for_ack();
        drop(state);
        wake(writer);
    }

    pub(crate) fn hire(&self) -> WorkerId {
        self.lock().handling.workers.hire()
    }

    pub(crate) fn set_worker_task(&self, worker: WorkerId, task: AbortHandle) {
        self.lock().handling.workers.set_task(worker, task);
    }

    /// From now on so many of the peer's messages are handled at the same time. Returns how many
    /// workers are missing.
    pub(crate) fn set_concurrency(&self, concurrency: usize) -> usize {
        let mut state = self.lock();
        state.handling.concurrency = concurrency.max(1);
        let missing = state.handling.concurrency.saturating_sub(state.handling.workers.len());
        let wakers = state.handling.workers.wakers();
        drop(state);
        wakers.into_iter().for_each(|waker| wake(Some(waker)));
        missing
    }

    /// Goes on handling messages after a failure that has stopped it.
    pub(crate) fn resume_handling(&self) {
        let mut state = self.lock();
        state.handling.halted = false;
        let waker = state.take_worker_waker();
        drop(state);
        wake(waker);
    }

    /// Ends the handling whatever the handler does. Returns whether one was running.
    pub(crate) fn abort_handling(&self) -> bool {
        self.lock().handling.workers.abort()
    }

    /// Stops the handling after the calls that run, or, where nothing comes again, after the last.
    pub(crate) fn stop_handling(&self) {
        let mut state = self.lock();
        state.handling.stopping = true;
        let wakers = state.handling.workers.wakers();
        drop(state);
        wakers.into_iter().for_each(|waker| wake(Some(waker)));
    }

    pub(crate) fn note_dead_letter(&self, id: MessageId, code: RejectCode) {
        self.lock().counters.dead_letters += 1;
        self.shared.tell(Event::DeadLetter { peer: self.name.clone(), id, code });
    }
}

impl State {
    /// Whether a worker is to stop: of a `sealed` peer at once, because what is not handled is not
    /// acknowledged and comes again later.
    fn is_over_for(&self, worker: WorkerId) -> bool {
        let lane = &self.handling;
        let drained = self.link.encoding() == Encoding::Sealed || self.inbox.is_empty();
        let stopped = lane.stopping && (drained || lane.halted);
        stopped || !lane.workers.is_among(worker, lane.concurrency)
    }

    fn poll_call(
        &mut self,
        worker: WorkerId,
        keeps: bool,
        now: Instant,
        cx: &Context<'_>,
    ) -> Poll<Option<Call>> {
        if self.is_over_for(worker) {
            self.handling.workers.remove(worker);
            return Poll::Ready(None);
        }
        let Some(call) = self.next_call(worker, keeps, now) else {
            self.handling.workers.wait(worker, cx);
            return Poll::Pending;
        };
        Poll::Ready(Some(call))
    }

    /// Those who wait and may have something to do: the next message, or to stop.
    fn other_worker_wakers(&mut self) -> Vec<Waker> {
        if self.handling.stopping {
            return self.handling.workers.wakers();
        }
        self.take_worker_waker().into_iter().collect()
    }

    fn put_back(&mut self, call: Call) {
        if let Some(item) = call.item {
            self.inbox.push_front(item);
        }
    }

    fn next_call(&mut self, worker: WorkerId, keeps: bool, now: Instant) -> Option<Call> {
        let control = matches!(self.inbox.front()?, Item::Control(_));
        if self.handling.halted || !self.handling.workers.may_begin(control) {
            return None;
        }
        let call = Call::new(self.inbox.pop()?);
        self.handling.workers.begin(worker, call.noted(keeps), now);
        Some(call)
    }
}
