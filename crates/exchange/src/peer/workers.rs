//! The workers of one peer: the tasks that call the handler, and the calls that run.

use std::task::{Context, Waker};
use std::time::Duration;

use paddington_wire::MessageId;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::inbox::Call;

/// The number of a worker; it is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerId(u64);

/// The workers of one peer. Normally it has one, so that messages are handled in order.
#[derive(Debug)]
pub(crate) struct Workers {
    workers: Vec<Worker>,
    /// Number of workers that were ever added.
    added: u64,
    /// The most messages that may be handled at the same time.
    concurrency: usize,
    /// Whether handling stops because the service shuts down.
    stopping: bool,
    /// Whether nothing more is handled until handling is resumed.
    halted: bool,
    /// Whether calls begin in the order of their messages. Then there are only as many workers as
    /// have something to do, and one more.
    in_order: bool,
    /// The worker whose call has to begin before another one may, if calls begin in order.
    beginning: Option<WorkerId>,
}

#[derive(Debug)]
struct Worker {
    id: WorkerId,
    waker: Option<Waker>,
    task: Option<AbortHandle>,
    running: Option<Running>,
}

/// A call of the handler that runs.
#[derive(Debug)]
struct Running {
    /// Start of the run; `None` while it waits for its turn, or for the next attempt.
    since: Option<Instant>,
    /// Time that it ran before that.
    before: Duration,
    call: Call,
    /// Whether the call has failed and its message is becoming a dead letter.
    failed: bool,
    /// Whether the store counts this attempt as one that a crash may end.
    counted: bool,
}

impl Running {
    fn take_counted(&mut self) -> Option<MessageId> {
        std::mem::take(&mut self.counted).then_some(self.call.id)?
    }

    fn is_overdue(&self, limit: Duration) -> bool {
        !self.failed && self.since.is_some_and(|since| since.elapsed() > limit)
    }

    fn ran(&self, now: Instant) -> Duration {
        self.before
            + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

impl Workers {
    /// Creates no workers yet, of which so many may handle messages at the same time.
    pub(crate) fn new(concurrency: usize) -> Self {
        Self {
            workers: Vec::new(),
            added: 0,
            concurrency: concurrency.max(1),
            stopping: false,
            halted: false,
            in_order: false,
            beginning: None,
        }
    }

    /// Adds a worker, whose calls begin `in_order` of their messages or not, as those of the others.
    pub(crate) fn add(&mut self, in_order: bool) -> WorkerId {
        self.in_order = in_order;
        self.added += 1;
        let id = WorkerId(self.added);
        self.workers.push(Worker { id, waker: None, task: None, running: None });
        id
    }

    /// Sets how many messages may be handled at the same time.
    pub(crate) fn set_concurrency(&mut self, concurrency: usize) {
        self.concurrency = concurrency.max(1);
    }

    /// Returns how many messages may be handled at the same time.
    pub(crate) fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Returns whether there has to be another worker.
    pub(crate) fn is_one_missing(&self) -> bool {
        let enough = if self.in_order { 1 } else { self.concurrency };
        self.workers.len() < enough
    }

    /// Returns whether there may be another worker and all others are busy.
    pub(crate) fn wants_another(&self) -> bool {
        let busy = |worker: &Worker| worker.waker.is_none();
        !self.stopping && self.workers.len() < self.concurrency && self.workers.iter().all(busy)
    }

    /// Returns whether a worker that has nothing to do is not needed, because another one waits.
    pub(crate) fn is_spare(&self, id: WorkerId) -> bool {
        let waits = |worker: &Worker| worker.id != id && worker.waker.is_some();
        self.in_order && self.workers.iter().any(waits)
    }

    /// Stops handling: no further call begins, except for messages of a `hex` peer.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Halts handling: no further call begins until [`resume`](Self::resume).
    pub(crate) fn halt(&mut self) {
        self.halted = true;
    }

    pub(crate) fn resume(&mut self) {
        self.halted = false;
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.halted
    }

    /// Returns whether a worker is to stop: because the service shuts down and all that has to be
    /// handled before that is `drained`, or because there are too many workers.
    pub(crate) fn is_over_for(&self, worker: WorkerId, drained: bool) -> bool {
        let stopped = self.stopping && (drained || self.halted);
        stopped || !self.is_among(worker, self.concurrency)
    }

    pub(crate) fn set_task(&mut self, id: WorkerId, task: AbortHandle) {
        if let Some(worker) = self.get(id) {
            worker.task = Some(task);
        }
    }

    /// Removes a worker. Its later reports are ignored.
    pub(crate) fn remove(&mut self, id: WorkerId) {
        self.workers.retain(|worker| worker.id != id);
        self.begun(id);
    }

    /// Returns whether a worker is still there.
    pub(crate) fn is_here(&self, id: WorkerId) -> bool {
        self.is_among(id, self.workers.len())
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Returns whether `id` is one of the first `count` workers; the others are too many.
    fn is_among(&self, id: WorkerId, count: usize) -> bool {
        self.workers.iter().take(count).any(|worker| worker.id == id)
    }

    /// Returns whether a call may begin now. A control message is handled while nothing else is.
    pub(crate) fn may_begin(&self, control: bool) -> bool {
        if self.halted || self.beginning.is_some() {
            return false;
        }
        let mut running = self.workers.iter().filter_map(|worker| worker.running.as_ref());
        if control {
            running.next().is_none()
        } else {
            !running.any(|running| running.call.is_control())
        }
    }

    /// Returns whether a call runs.
    pub(crate) fn is_running(&self) -> bool {
        self.workers.iter().any(|worker| worker.running.is_some())
    }

    pub(crate) fn begin(&mut self, id: WorkerId, call: Call, since: Instant) {
        self.beginning = self.in_order.then_some(id);
        if let Some(worker) = self.get(id) {
            worker.waker = None; // waking it now would cost another worker its turn
            worker.running = Some(Running {
                since: Some(since),
                before: Duration::ZERO,
                call,
                failed: false,
                counted: false,
            });
        }
    }

    /// Records that the call of a worker has begun, or that it has none.
    pub(crate) fn begun(&mut self, id: WorkerId) {
        self.beginning.take_if(|beginning| *beginning == id);
    }

    /// Returns whether a call has yet to begin before another one may.
    pub(crate) fn is_beginning(&self) -> bool {
        self.beginning.is_some()
    }

    /// Records that a call has failed, so that its message is rejected once. Returns `false` if the
    /// worker was removed meanwhile.
    pub(crate) fn fail(&mut self, id: WorkerId) -> bool {
        let Some(running) = self.get(id).and_then(|worker| worker.running.as_mut()) else {
            return false;
        };
        running.failed = true;
        true
    }

    /// Records that the store is asked to count the attempt of a worker. Returns `false` if it must
    /// not begin, because the service shuts down.
    pub(crate) fn count(&mut self, id: WorkerId) -> bool {
        if self.stopping {
            return false;
        }
        if let Some(running) = self.get(id).and_then(|worker| worker.running.as_mut()) {
            running.counted = true;
        }
        true
    }

    /// Takes the message of a worker, if its attempt was counted.
    pub(crate) fn take_counted(&mut self, id: WorkerId) -> Option<MessageId> {
        self.get(id)?.running.as_mut()?.take_counted()
    }

    /// Takes the messages of all workers whose attempts were counted.
    pub(crate) fn take_all_counted(&mut self) -> Vec<MessageId> {
        let running = self.workers.iter_mut().filter_map(|worker| worker.running.as_mut());
        running.filter_map(Running::take_counted).collect()
    }

    /// Records the end of a call. Returns how long it took.
    pub(crate) fn end(&mut self, id: WorkerId, now: Instant) -> Duration {
        self.begun(id);
        let running = self.get(id).and_then(|worker| worker.running.take());
        running.map_or(Duration::ZERO, |running| running.ran(now))
    }

    /// Records that the call of a worker waits for something.
    pub(crate) fn stop_clock(&mut self, id: WorkerId) {
        if let Some(running) = self.get(id).and_then(|worker| worker.running.as_mut()) {
            running.before = running.ran(Instant::now());
            running.since = None;
        }
    }

    /// Records that the call of a worker runs again.
    pub(crate) fn start_clock(&mut self, id: WorkerId) {
        if let Some(running) = self.get(id).and_then(|worker| worker.running.as_mut()) {
            running.since = Some(Instant::now());
        }
    }

    /// Takes note that the process was stopped for `time`, in which no call has run.
    pub(crate) fn forgive(&mut self, time: Duration) {
        let running = self.workers.iter_mut().filter_map(|worker| worker.running.as_mut());
        for since in running.filter_map(|running| running.since.as_mut()) {
            *since += time;
        }
    }

    /// Removes the workers whose call has been running for longer than `limit`.
    pub(crate) fn remove_overdue(&mut self, limit: Duration) -> Vec<Call> {
        let overdue = |worker: &mut Worker| {
            worker.running.as_ref().is_some_and(|running| running.is_overdue(limit))
        };
        let removed: Vec<_> = self.workers.extract_if(.., overdue).collect();
        removed.iter().for_each(|worker| self.begun(worker.id));
        let running = removed.into_iter().filter_map(|worker| worker.running);
        running.map(|running| running.call).collect()
    }

    pub(crate) fn wait(&mut self, id: WorkerId, cx: &Context<'_>) {
        if let Some(worker) = self.get(id) {
            worker.waker = Some(cx.waker().clone());
        }
    }

    /// Returns the waker of a worker that waits for something to do.
    pub(crate) fn next_waker(&mut self) -> Option<Waker> {
        self.workers.iter_mut().find_map(|worker| worker.waker.take())
    }

    /// Returns the wakers of all workers that wait for something to do.
    pub(crate) fn wakers(&mut self) -> Vec<Waker> {
        self.workers.iter_mut().filter_map(|worker| worker.waker.take()).collect()
    }

    /// Aborts all workers. Returns whether a call was running.
    pub(crate) fn abort(&self) -> bool {
        self.workers.iter().filter_map(|worker| worker.task.as_ref()).for_each(AbortHandle::abort);
        self.is_running()
    }

    fn get(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.id == id)
    }
}
