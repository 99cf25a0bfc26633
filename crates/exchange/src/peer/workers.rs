//! Who calls the handler for one peer, and since when.

use std::task::{Context, Waker};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::peer::Call;

/// One of those who call the handler for a peer; its number is never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerId(u64);

/// All of them. Normally one, so that messages are handled in order.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    workers: Vec<Worker>,
    hired: u64,
}

#[derive(Debug)]
struct Worker {
    id: WorkerId,
    waker: Option<Waker>,
    task: Option<AbortHandle>,
    busy: Option<Busy>,
}

/// A call of the handler that runs.
#[derive(Debug)]
struct Busy {
    /// `None` while the call waits for its turn, or for the next attempt.
    since: Option<Instant>,
    /// For how long it ran before.
    before: Duration,
    call: Call,
    /// The call has failed, and its message is being kept as a dead letter.
    failed: bool,
}

impl Busy {
    fn is_overdue(&self, limit: Duration) -> bool {
        !self.failed && self.since.is_some_and(|since| since.elapsed() > limit)
    }

    fn ran(&self, now: Instant) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| now - since)
    }
}

impl Workers {
    pub(crate) fn hire(&mut self) -> WorkerId {
        self.hired += 1;
        let id = WorkerId(self.hired);
        self.workers.push(Worker { id, waker: None, task: None, busy: None });
        id
    }

    pub(crate) fn set_task(&mut self, id: WorkerId, task: AbortHandle) {
        if let Some(worker) = self.get(id) {
            worker.task = Some(task);
        }
    }

    /// Dismisses a worker. Whatever it says later means nothing.
    pub(crate) fn remove(&mut self, id: WorkerId) {
        self.workers.retain(|worker| worker.id != id);
    }

    /// Whether a worker was not dismissed.
    pub(crate) fn is_here(&self, id: WorkerId) -> bool {
        self.is_among(id, self.workers.len())
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether `id` is one of the first `count` workers: the others are too many.
    pub(crate) fn is_among(&self, id: WorkerId, count: usize) -> bool {
        self.workers.iter().take(count).any(|worker| worker.id == id)
    }

    /// Whether a call may begin now: a control message is handled while nothing else is.
    pub(crate) fn may_begin(&self, control: bool) -> bool {
        let mut busy = self.workers.iter().filter_map(|worker| worker.busy.as_ref());
        if control { busy.next().is_none() } else { !busy.any(|busy| busy.call.is_control()) }
    }

    pub(crate) fn begin(&mut self, id: WorkerId, call: Call, since: Instant) {
        if let Some(worker) = self.get(id) {
            worker.waker = None; // it needs none now, and another one would miss its turn
            worker.busy =
                Some(Busy { since: Some(since), before: Duration::ZERO, call, failed: false });
        }
    }

    /// Takes note that a call has failed, so that nobody else gives its message up. `false` if
    /// somebody has.
    pub(crate) fn fail(&mut self, id: WorkerId) -> bool {
        let Some(busy) = self.get(id).and_then(|worker| worker.busy.as_mut()) else { return false };
        busy.failed = true;
        true
    }

    /// Takes note that a call is over. Returns how long it took.
    pub(crate) fn end(&mut self, id: WorkerId, now: Instant) -> Duration {
        let busy = self.get(id).and_then(|worker| worker.busy.take());
        busy.map_or(Duration::ZERO, |busy| busy.ran(now))
    }

    /// The call of a worker does not run for now.
    pub(crate) fn stop_clock(&mut self, id: WorkerId) {
        if let Some(busy) = self.get(id).and_then(|worker| worker.busy.as_mut()) {
            busy.before = busy.ran(Instant::now());
            busy.since = None;
        }
    }

    /// The call of a worker runs, and has just begun to.
    pub(crate) fn start_clock(&mut self, id: WorkerId) {
        if let Some(busy) = self.get(id).and_then(|worker| worker.busy.as_mut()) {
            busy.since = Some(Instant::now());
        }
    }

    /// Dismisses those whose call has been running for longer than `limit`.
    pub(crate) fn remove_overdue(&mut self, limit: Duration) -> Vec<Call> {
        let overdue =
            |worker: &mut Worker| worker.busy.as_ref().is_some_and(|busy| busy.is_overdue(limit));
        let dismissed = self.workers.extract_if(.., overdue);
        dismissed.filter_map(|worker| worker.busy).map(|busy| busy.call).collect()
    }

    pub(crate) fn wait(&mut self, id: WorkerId, cx: &Context<'_>) {
        if let Some(worker) = self.get(id) {
            worker.waker = Some(cx.waker().clone());
        }
    }

    /// One that waits for something to do.
    pub(crate) fn next_waker(&mut self) -> Option<Waker> {
        self.workers.iter_mut().find_map(|worker| worker.waker.take())
    }

    /// All that wait for something to do.
    pub(crate) fn wakers(&mut self) -> Vec<Waker> {
        self.workers.iter_mut().filter_map(|worker| worker.waker.take()).collect()
    }

    /// Ends all workers whatever they do. Returns whether a call was running.
    pub(crate) fn abort(&self) -> bool {
        self.workers.iter().filter_map(|worker| worker.task.as_ref()).for_each(AbortHandle::abort);
        self.workers.iter().any(|worker| worker.busy.is_some())
    }

    fn get(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.id == id)
    }
}
