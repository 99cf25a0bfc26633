//! Calls of the handler, under the peer's lock: which comes next, and what its end changes.

use std::fmt::Display;
use std::future::poll_fn;
use std::num::NonZeroU64;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use paddington_wire::{Delivery, Encoding, Message, MessageId, RejectCode};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::inbox::Item;
use super::peer::wake;
use super::reports::Cause;
use super::standing::Standing;
use super::state::State;
use super::{Call, Ended, Peer, WorkerId};
use crate::store::{Answer, LinkStore};
use crate::{Event, OnError};

impl Peer {
    /// Returns the next call of the handler for `worker`, which is `done` with another one; `None`
    /// if it is to stop.
    pub(crate) fn poll_call(
        &self,
        worker: WorkerId,
        done: &mut Option<(Call, Ended)>,
        cx: &Context<'_>,
    ) -> Poll<Option<Call>> {
        let now = Instant::now();
        let mut state = self.lock();
        let alone = state.workers_mut().len() == 1;
        let (mut connection, mut counted) = (None, false);
        if let Some((call, ended)) = done.take() {
            let failed = matches!(ended, Ended::Failed(_));
            counted = call.counted;
            if matches!(ended, Ended::Left | Ended::Halted) {
                self.uncount_attempt(&mut state, worker);
            }
            let (changed, halted) = state.finish_call(worker, call, ended, now);
            if changed {
                state.give_back_room(&self.shared.inboxes);
                self.note_store_work(&mut state);
            }
            if failed {
                self.renew_session_if_wanted(&mut state);
            }
            if halted {
                self.shared.tell(Event::HandlingStopped { peer: self.name.clone() });
            }
            connection = state.take_waker_for_ack();
            if matches!(state.standing, Standing::Yielding | Standing::Away) {
                self.tell_progress(); // whoever waits for the end of the calls
            }
        }
        if state.skip_handled() {
            state.give_back_room(&self.shared.inboxes);
            self.note_store_work(&mut state);
            connection = connection.or_else(|| state.take_waker_for_ack());
        }
        let polled = poll_call(&mut state, worker, self.store().is_some(), now, cx);
        let next_is_counted = matches!(&polled, Poll::Ready(Some(next)) if next.again);
        if counted && !next_is_counted {
            // What has ended must not count as an attempt that ended the process. If the next call
            // is counted too, that makes the cursors durable.
            self.sync_cursors(&mut state);
        }
        let reader = if polled.is_ready() { state.take_hex_connection_waker() } else { None };
        // If this worker has nothing to do, neither has any other, so none is woken.
        let more =
            if polled.is_pending() || alone { Vec::new() } else { state.take_more_worker_wakers() };
        drop(state);
        if matches!(polled, Poll::Ready(None)) {
            self.tell_progress(); // whoever waits for the end of all workers
        }
        more.into_iter().chain(connection).chain(reader).for_each(Waker::wake);
        polled
    }

    /// Returns the message for the handler. The call keeps it too where it may be needed once more,
    /// for another attempt or as a dead letter.
    pub(crate) fn message(&self, call: &mut Call) -> Option<Message> {
        let keeps = self.store().is_some() || self.shared.config.on_error != OnError::Next;
        let us = &self.shared.name;
        Some(match call.item(keeps)? {
            Item::Control(control) => Message::from_control(us, control),
            Item::Message(received) => {
                let redelivered = received.again;
                let fence = NonZeroU64::new(self.fence().0);
                let delivery = Delivery { id: call.id, redelivered, attempt: call.attempt, fence };
                Message::received(self.name.clone(), us, received.content, delivery)
            }
        })
    }

    /// Returns whether `worker` may call the handler once more for a message that it has failed on.
    /// A message of a `hex` peer comes only once, so all its attempts are made before the shutdown.
    pub(crate) fn may_try_again(&self, worker: WorkerId) -> bool {
        let mut state = self.lock();
        let stops = state.workers_mut().is_stopping();
        let leaves = stops && (state.encoding() == Encoding::Sealed || state.has_ended());
        !leaves && state.workers_mut().is_here(worker) && state.may_handle()
    }

    /// Records that a call has failed, so that its message is rejected once. Returns `false` if the
    /// worker or the peer was removed meanwhile.
    pub(crate) fn fail_call(&self, worker: WorkerId) -> bool {
        let mut state = self.lock();
        !state.has_ended() && state.workers_mut().fail(worker)
    }

    /// Takes note that the process was stopped for `time`, in which no call has run.
    pub(crate) fn forgive(&self, time: Duration) {
        if let Some(mut state) = self.lock_if_active() {
            state.workers_mut().forgive(time);
        }
    }

    /// Removes the workers whose call has been running for longer than `limit`. Their messages are
    /// to be [left behind](Self::leave_behind).
    pub(crate) fn remove_overdue(&self, limit: Duration) -> Vec<Call> {
        let state = self.lock_if_active();
        state.map(|mut state| state.workers_mut().remove_overdue(limit)).unwrap_or_default()
    }

    /// Rejects the message of a call that cannot be stopped.
    pub(crate) fn leave_behind(&self, call: &Call) {
        let mut state = self.lock();
        if state.leave_behind(call) {
            state.give_back_room(&self.shared.inboxes);
            self.note_store_work(&mut state);
            self.renew_session_if_wanted(&mut state);
        }
        let waker = state.take_waker_for_ack();
        drop(state);
        wake(waker);
        self.tell_progress(); // somebody may wait for the end of the calls
    }

    /// Logs that the handler has failed on a message, at which attempt, and why.
    pub(crate) fn report_failure(&self, call: &Call, attempt: u32, cause: &dyn Display) {
        let id = call.shown().unwrap_or_default();
        let detail = format!("{id} {cause}");
        let is_kept = self.store().is_some() || self.shared.config.on_error.tries_after(attempt);
        let cause = if is_kept || call.is_control() { Cause::Failed } else { Cause::Lost };
        self.lock().reports_mut().report(&self.name, cause, 1, detail.trim_start());
    }

    /// Logs that a message is rejected because it is bytes, and the handler takes text.
    pub(crate) fn report_bytes(&self, call: &Call) {
        let id = call.shown().unwrap_or_default();
        self.lock().reports_mut().report(&self.name, Cause::TextOnly, 1, &id);
    }

    /// Returns whether it needs another worker.
    pub(crate) fn lacks_workers(&self) -> bool {
        self.lock().workers_mut().is_one_missing()
    }

    pub(crate) fn add_worker(&self, in_order: bool) -> WorkerId {
        self.lock().workers_mut().add(in_order)
    }

    /// Records that the call of a worker has begun, so that the next one may. Returns whether another
    /// worker is needed for that.
    pub(crate) fn begin_next(&self, worker: WorkerId) -> bool {
        let mut state = self.lock();
        state.workers_mut().begun(worker);
        let waker = state.take_worker_waker();
        let another = waker.is_none() && state.workers_mut().wants_another();
        drop(state);
        wake(waker);
        another
    }

    /// Waits until handling stops, which it does soon. Returns `false` if the message of the worker
    /// would not come again.
    pub(crate) async fn may_leave(&self, worker: WorkerId) -> bool {
        if !self.shared.stopping.is_cancelled() || self.lock().encoding() == Encoding::Hex {
            return false;
        }
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.workers_mut().is_stopping() || state.has_ended() {
                return Poll::Ready(());
            }
            state.workers_mut().wait(worker, cx);
            Poll::Pending
        })
        .await;
        true
    }

    pub(crate) fn set_worker_task(&self, worker: WorkerId, task: AbortHandle) {
        self.lock().workers_mut().set_task(worker, task);
    }

    /// Waits for something that is not part of the call, which does not count as running meanwhile.
    pub(crate) async fn paused<F: Future>(&self, worker: WorkerId, wait: F) -> F::Output {
        self.lock().workers_mut().stop_clock(worker);
        let output = wait.await;
        self.lock().workers_mut().start_clock(worker);
        output
    }

    /// Sets how many of the peer's messages are handled at the same time, by as many workers.
    pub(crate) fn set_concurrency(&self, concurrency: usize) {
        let mut state = self.lock();
        state.workers_mut().set_concurrency(concurrency);
        let wakers = state.workers_mut().wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Resumes the handling of messages after a failure that has stopped it.
    pub(crate) fn resume_handling(&self) {
        let mut state = self.lock();
        state.workers_mut().resume();
        let waker = state.take_worker_waker();
        drop(state);
        wake(waker);
    }

    /// Aborts the workers. Returns whether a call was running.
    pub(crate) fn abort_handling(&self) -> bool {
        let mut state = self.lock();
        let requests = self.abort_requests(&mut state);
        state.workers_mut().abort() || requests
    }

    /// Stops the handling after the calls that run or, for a `hex` peer, after its last message,
    /// which would not come again.
    ///
    /// Whatever ends a call from now on, even a kill by a supervisor that is out of patience, does
    /// not count as a crash of its handler.
    pub(crate) fn stop_handling(&self) {
        let mut state = self.lock();
        state.workers_mut().stop();
        self.uncount(state.workers_mut().take_all_counted());
        self.refuse_waiting_requests(&mut state);
        let wakers = state.workers_mut().wakers();
        let connection = state.take_connection_waker();
        drop(state);
        wake(connection);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Asks the store to count an attempt of a worker, after everything that was handled. Returns
    /// `None` if it must not begin, because the service shuts down.
    pub(crate) fn count_attempt(
        &self,
        store: &dyn LinkStore,
        worker: WorkerId,
        id: MessageId,
    ) -> Option<Answer<u32>> {
        let mut state = self.lock();
        if !state.workers_mut().count(worker) {
            return None;
        }
        drop(self.commit_cursors_of(&mut state));
        Some(store.attempt(&self.mailbox, id, self.fence()))
    }

    /// Records that the store has not counted the attempt of a worker.
    pub(crate) fn forget_attempt(&self, worker: WorkerId) {
        self.lock().workers_mut().take_counted(worker);
    }

    /// Takes back the count of a worker's attempt, which has not ended.
    #[cold]
    fn uncount_attempt(&self, state: &mut State, worker: WorkerId) {
        self.uncount(state.workers_mut().take_counted(worker));
    }

    /// Tells the store that attempts did not end with a crash. It writes that although nobody waits.
    pub(super) fn uncount(&self, counted: impl IntoIterator<Item = MessageId>) {
        if let Some(store) = self.store() {
            counted.into_iter().for_each(|id| drop(store.uncount(&self.mailbox, id, self.fence())));
        }
    }

    pub(crate) fn note_dead_letter(&self, id: MessageId, code: RejectCode) {
        self.lock().counters_mut().dead_letters += 1;
        self.shared.tell(Event::DeadLetter { peer: self.name.clone(), id, code });
    }
}

/// Returns the next call for `worker`, or `None` if it is to stop.
fn poll_call(
    state: &mut State,
    worker: WorkerId,
    keeps: bool,
    now: Instant,
    cx: &Context<'_>,
) -> Poll<Option<Call>> {
    // Messages of a `sealed` peer that are not handled are not acknowledged and come again.
    let leaves = state.encoding() == Encoding::Sealed && !state.has_ended();
    let drained = leaves || state.inbox_mut().is_empty();
    if state.workers_mut().is_over_for(worker, drained) {
        state.workers_mut().remove(worker);
        return Poll::Ready(None);
    }
    let Some(call) = next_call(state, worker, keeps, now) else {
        if state.workers_mut().is_spare(worker) {
            state.workers_mut().remove(worker);
            return Poll::Ready(None);
        }
        state.workers_mut().wait(worker, cx);
        return Poll::Pending;
    };
    Poll::Ready(Some(call))
}

fn next_call(state: &mut State, worker: WorkerId, keeps: bool, now: Instant) -> Option<Call> {
    let control = matches!(state.inbox_mut().front()?, Item::Control(_));
    if !state.workers_mut().may_begin(control) || !(state.may_handle() || state.has_ended()) {
        return None;
    }
    let call = Call::new(state.inbox_mut().pop()?);
    state.workers_mut().begin(worker, call.noted(keeps), now);
    Some(call)
}
