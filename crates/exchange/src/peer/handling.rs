//! The calls of the handler, as the peer's lock sees them.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use paddington_wire::link::Outcome;
use paddington_wire::{Delivery, Encoding, Message, MessageId, RejectCode};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Peer, State, wake};
use crate::courier::Courier;
use crate::inbox::Item;
use crate::lane::{Ended, WorkerId};
use crate::{Event, OnError};

/// A call of the handler.
#[derive(Debug)]
pub(crate) struct Job {
    /// `None` once it was given to the handler for good.
    item: Option<Item>,
    control: bool,
    pub(crate) id: Option<MessageId>,
    /// Whether the message was transmitted in an earlier session too.
    pub(crate) again: bool,
    /// Which call this is for this message, from 1.
    pub(crate) attempt: u32,
}

impl Job {
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

impl Peer {
    /// The next call of the handler for `worker`, who is done with another one; `None` once it is to
    /// stop.
    pub(crate) fn poll_job(
        &self,
        worker: WorkerId,
        done: &mut Option<(Job, Ended)>,
        cx: &Context<'_>,
    ) -> Poll<Option<Job>> {
        let now = Instant::now();
        let mut state = self.lock();
        let alone = state.lane.workers.len() == 1;
        let writer = done.take().and_then(|(job, ended)| {
            self.finish(&mut state, worker, job, ended, now);
            state.writer_for_ack()
        });
        let polled = state.poll_job(worker, self.store.is_some(), now, cx);
        let reader = if polled.is_ready() { state.hex_reader() } else { None };
        // Where this one has nothing to do, no colleague has: it would only be woken to say so.
        let colleagues = if polled.is_pending() || alone { Vec::new() } else { state.colleagues() };
        drop(state);
        colleagues.into_iter().chain(writer).chain(reader).for_each(Waker::wake);
        polled
    }

    /// What the handler is given. It is kept too where it may be needed once more: for another
    /// attempt, or as a dead letter.
    pub(crate) fn message(&self, job: &mut Job) -> Option<Message> {
        let kept = self.store.is_some() || self.shared.config.on_error != OnError::Next;
        let item = if kept { job.item.clone() } else { job.item.take() };
        let us = &self.shared.name;
        Some(match item? {
            Item::Control(control) => Message::from_control(us, control),
            Item::Message(received) => {
                let redelivered = received.again;
                let delivery = Delivery { id: job.id, redelivered, attempt: job.attempt };
                Message::received(self.name.clone(), us, received.text, delivery)
            }
        })
    }

    /// Whether `worker` may call the handler once more for a message on which it has failed. A `hex`
    /// peer's message comes only once: all its attempts are made before the shutdown.
    pub(crate) fn may_try_again(&self, worker: WorkerId) -> bool {
        let state = self.lock();
        let leaves = state.lane.stopping && state.courier.encoding() == Encoding::Sealed;
        !leaves && state.lane.workers.is_here(worker)
    }

    /// The handler is done with a message.
    fn finish(&self, state: &mut State, worker: WorkerId, job: Job, ended: Ended, now: Instant) {
        if !state.lane.workers.is_here(worker) {
            return; // it was given up, and another one has taken its place
        }
        let took = state.lane.workers.end(worker, now);
        match ended {
            Ended::Done => self.settle_job(state, &job, Outcome::Done, took),
            Ended::Failed(code) => self.settle_job(state, &job, Outcome::Rejected(code), took),
            Ended::Left => state.put_back(job),
            Ended::Halted => {
                state.put_back(job);
                state.lane.halted = true;
                self.shared.tell(Event::HandlingStopped { peer: self.name.clone() });
            }
        }
    }

    fn settle_job(&self, state: &mut State, job: &Job, outcome: Outcome, took: Duration) {
        let counters = &mut state.counters;
        counters.handler_time += took;
        match outcome {
            Outcome::Done => counters.handled += u64::from(!job.control),
            Outcome::Rejected(code) => {
                counters.failed += 1;
                counters.timed_out += u64::from(code == RejectCode::TIMED_OUT);
            }
        }
        if let (Courier::Sealed(link), Some(id)) = (&mut state.courier, job.id) {
            link.handled(id, outcome);
            self.note_store_work(state);
        }
    }

    /// Dismisses the workers whose call has been running for longer than `limit`. Their messages
    /// are to be [left behind](Self::leave_behind).
    pub(crate) fn dismiss_overdue(&self, limit: Duration) -> Vec<Job> {
        self.lock().lane.workers.dismiss_overdue(limit)
    }

    /// Gives up a message whose call cannot be ended.
    pub(crate) fn leave_behind(&self, job: &Job) {
        let mut state = self.lock();
        state.counters.left_behind += 1;
        let outcome = Outcome::Rejected(RejectCode::TIMED_OUT);
        self.settle_job(&mut state, job, outcome, Duration::ZERO);
        let writer = state.writer_for_ack();
        drop(state);
        wake(writer);
    }

    pub(crate) fn hire(&self) -> WorkerId {
        self.lock().lane.workers.hire()
    }

    pub(crate) fn set_worker_task(&self, worker: WorkerId, task: AbortHandle) {
        self.lock().lane.workers.set_task(worker, task);
    }

    /// From now on so many of the peer's messages are handled at the same time. Returns how many
    /// workers are missing.
    pub(crate) fn set_concurrency(&self, concurrency: usize) -> usize {
        let mut state = self.lock();
        state.lane.concurrency = concurrency.max(1);
        let missing = state.lane.concurrency.saturating_sub(state.lane.workers.len());
        let wakers = state.lane.workers.wakers();
        drop(state);
        wakers.into_iter().for_each(|waker| wake(Some(waker)));
        missing
    }

    /// Goes on handling messages after a failure that has stopped it.
    pub(crate) fn resume_handling(&self) {
        let mut state = self.lock();
        state.lane.halted = false;
        let waker = state.lane();
        drop(state);
        wake(waker);
    }

    /// Ends the handling whatever the handler does. Returns whether one was running.
    pub(crate) fn abort_lane(&self) -> bool {
        self.lock().lane.workers.abort()
    }

    /// Stops the handling after the calls that run, or, where nothing comes again, after the last.
    pub(crate) fn stop_lane(&self) {
        let mut state = self.lock();
        state.lane.stopping = true;
        let wakers = state.lane.workers.wakers();
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
        let lane = &self.lane;
        let drained = self.courier.encoding() == Encoding::Sealed || self.inbox.is_empty();
        let stopped = lane.stopping && (drained || lane.halted);
        stopped || !lane.workers.is_among(worker, lane.concurrency)
    }

    fn poll_job(
        &mut self,
        worker: WorkerId,
        keeps: bool,
        now: Instant,
        cx: &Context<'_>,
    ) -> Poll<Option<Job>> {
        if self.is_over_for(worker) {
            self.lane.workers.dismiss(worker);
            return Poll::Ready(None);
        }
        let Some(job) = self.next_job(worker, keeps, now) else {
            self.lane.workers.wait(worker, cx);
            return Poll::Pending;
        };
        Poll::Ready(Some(job))
    }

    /// Those who wait and may have something to do: the next message, or to stop.
    fn colleagues(&mut self) -> Vec<Waker> {
        if self.lane.stopping {
            return self.lane.workers.wakers();
        }
        self.lane().into_iter().collect()
    }

    fn put_back(&mut self, job: Job) {
        if let Some(item) = job.item {
            self.inbox.push_front(item);
        }
    }

    fn next_job(&mut self, worker: WorkerId, keeps: bool, now: Instant) -> Option<Job> {
        let control = matches!(self.inbox.front()?, Item::Control(_));
        if self.lane.halted || !self.lane.workers.may_begin(control) {
            return None;
        }
        let job = Job::new(self.inbox.pop()?);
        self.lane.workers.begin(worker, job.noted(keeps), now);
        Some(job)
    }
}
