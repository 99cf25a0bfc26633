//! State that the callers and the thread of the store share: the queue, the health, and whether the
//! store is open.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use paddington_exchange::store::{Mailbox, StoreError, StoreHealth};

use crate::health::Health;
use crate::lazies::Lazies;
use crate::operation::{Query, QueueKey, Write};
use crate::queue::Queue;
use crate::round::Round;
use paddington_exchange::store::parts::{Waiter, stopped};

/// The queue behind a lock, which is never held while SQLite works.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    health: Health,
    closing: bool,
    /// Whether the thread has ended.
    closed: bool,
    closers: Vec<Waiter<()>>,
}

/// The next step of the thread.
#[derive(Debug)]
pub(crate) enum Step {
    /// Read and write a round.
    Work(Round),
    /// Nothing was asked for during the whole wait.
    Idle,
    /// Everything is written, and nothing more is accepted.
    Close,
}

/// Methods for the callers.
impl Shared {
    pub(crate) fn write(&self, key: QueueKey, write: Write) {
        let mut state = self.lock();
        let short = || state.health.shortage.clone().filter(|_| write.grows());
        match state.refusal().or_else(|| state.health.failure.clone()).or_else(short) {
            Some(why) => write.refuse(&why),
            None => {
                state.queue.write(key, write);
                self.wake.notify_one();
            }
        }
    }

    pub(crate) fn lazy(&self, mailbox: Mailbox, add: impl FnOnce(&mut Lazies)) {
        let mut state = self.lock();
        if state.refusal().is_some() {
            // Dropping the waiter tells its caller that the store is closed.
            return;
        }
        state.queue.lazy(mailbox, Instant::now(), add);
        self.wake.notify_one();
    }

    pub(crate) fn query(&self, key: QueueKey, query: Query) {
        let mut state = self.lock();
        let waits = state.queue.has_to_wait(&key, &query);
        let failure = state.health.failure.clone().filter(|_| waits);
        match state.refusal().or(failure) {
            Some(why) => query.refuse(&why),
            None => {
                state.queue.query(key, query);
                self.wake.notify_one();
            }
        }
    }

    pub(crate) fn close(&self, waiter: Waiter<()>) {
        let mut state = self.lock();
        if state.closed {
            drop(waiter.send(Ok(())));
            return;
        }
        state.closing = true;
        state.closers.push(waiter);
        self.wake.notify_one();
    }

    /// Closes without an answer.
    pub(crate) fn abandon(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    pub(crate) fn health(&self) -> StoreHealth {
        self.lock().health.report()
    }
}

/// Methods for the thread.
impl Shared {
    /// Waits for work, at most for `patience` if there is a limit.
    pub(crate) fn next(&self, patience: Option<Duration>) -> Step {
        let mut state = self.lock();
        let idle_at = patience.map(|patience| Instant::now() + patience);
        loop {
            let now = Instant::now();
            let due = state.queue.due();
            if state.queue.is_urgent() || state.closing || due.is_some_and(|due| due <= now) {
                if state.closing && state.queue.is_empty() {
                    return Step::Close;
                }
                return Step::Work(state.queue.take());
            }
            if idle_at.is_some_and(|idle_at| idle_at <= now) {
                return Step::Idle;
            }
            let until = [due, idle_at].into_iter().flatten().min();
            state = self.wait(state, until.map(|until| until.saturating_duration_since(now)));
        }
    }

    /// Waits for queries that can be answered while the store fails. Returns none if it is time to
    /// try again or to close.
    pub(crate) fn next_read(&self, until: Option<Instant>) -> Vec<Query> {
        let mut state = self.lock();
        loop {
            let reads = state.queue.take_independent();
            let left = until.and_then(|until| until.checked_duration_since(Instant::now()));
            let Some(left) = left.filter(|_| reads.is_empty() && !state.closing) else {
                return reads;
            };
            state = self.wait(state, Some(left));
        }
    }

    /// Waits until it is time to try again, and returns whether that is the last time.
    pub(crate) fn pause(&self, until: Option<Instant>) -> bool {
        let mut state = self.lock();
        while !state.closing {
            let left = until.and_then(|until| until.checked_duration_since(Instant::now()));
            let Some(left) = left else { break };
            state = self.wait(state, Some(left));
        }
        state.closing
    }

    pub(crate) fn record(&self, took: Duration, appended: u64) {
        self.lock().health.commits.record(took, appended);
    }

    pub(crate) fn put_back(&self, lazies: Vec<(Mailbox, Lazies)>) {
        let mut state = self.lock();
        for (mailbox, lazies) in lazies {
            state.queue.put_back(mailbox, lazies);
        }
    }

    /// Puts back a write of which a step is done.
    pub(crate) fn go_on(&self, key: QueueKey, write: Write) {
        self.lock().queue.go_on(key, write);
    }

    /// Puts back a query of which a step is done.
    pub(crate) fn ask_on(&self, query: Query) {
        self.lock().queue.ask_on(query);
    }

    /// Accepts only lazies and independent queries from now on, until
    /// [`recovered`](Self::recovered) is called.
    pub(crate) fn failed(&self, why: &StoreError) {
        let mut state = self.lock();
        state.health.failure = Some(why.clone());
        state.queue.refuse_urgent(why);
    }

    /// Refuses the queries that wait for the file to be opened.
    pub(crate) fn refuse_reads(&self, why: &StoreError) {
        for query in self.lock().queue.take_independent() {
            query.refuse(why);
        }
    }

    pub(crate) fn recovered(&self) {
        let mut state = self.lock();
        (state.health.failure, state.health.shortage) = (None, None);
    }

    /// Accepts only what does not make the file grow, until [`recovered`](Self::recovered) is
    /// called.
    pub(crate) fn short(&self, why: StoreError) {
        let mut state = self.lock();
        (state.health.failure, state.health.shortage) = (None, Some(why));
    }

    /// Answers everything that still waits, because the thread ends.
    pub(crate) fn finished(&self, result: &Result<(), StoreError>) {
        let mut state = self.lock();
        state.closing = true;
        state.closed = true;
        let why = result.as_ref().err().cloned().unwrap_or_else(stopped);
        state.queue.refuse_all(&why);
        for closer in std::mem::take(&mut state.closers) {
            drop(closer.send(result.clone()));
        }
    }

    /// Takes the lock, even after a panic: the state is consistent whenever the lock is released.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        at_most: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        match at_most {
            Some(time) => {
                self.wake.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl State {
    /// The reason why nothing at all is accepted any more, if so.
    fn refusal(&self) -> Option<StoreError> {
        (self.closing || self.closed).then(stopped)
    }
}
