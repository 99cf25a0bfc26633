//! The requests of a peer that are handled or wait for a handler: which of them begins next.

use std::collections::{BTreeMap, VecDeque};

use futures_util::future::{AbortHandle, AbortRegistration};
use paddington_wire::Content;
use paddington_wire::link::CallId;
use tokio::time::Instant;

/// A request of a peer for the handler.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: CallId,
    pub(crate) depth: u8,
    /// When nobody waits for the answer any more.
    pub(crate) deadline: Option<Instant>,
    pub(crate) content: Content,
}

/// A request whose handling begins, and what ends it early.
pub(crate) type Begun = (Request, AbortRegistration);

/// The requests of a peer that are not over.
#[derive(Debug, Default)]
pub(super) struct Asked {
    waiting: BTreeMap<u8, VecDeque<Request>>,
    running: BTreeMap<CallId, AbortHandle>,
    /// Number of calls of the handler by depth, also of requests that are over and whose handler has
    /// not stopped yet.
    calls: BTreeMap<u8, usize>,
    /// Bytes of the requests and of the calls.
    bytes: u64,
}

impl Asked {
    /// Adds a request that takes so many `bytes`. Returns it if its handling may begin, because
    /// fewer than `max` of its depth are handled.
    pub(super) fn add(&mut self, request: Request, bytes: u64, max: usize) -> Option<Begun> {
        self.bytes += bytes;
        if self.calls.get(&request.depth).is_some_and(|calls| *calls >= max) {
            self.waiting.entry(request.depth).or_default().push_back(request);
            return None;
        }
        Some(self.begin(request))
    }

    fn begin(&mut self, request: Request) -> Begun {
        let (abort, registration) = AbortHandle::new_pair();
        *self.calls.entry(request.depth).or_default() += 1;
        self.running.insert(request.id, abort);
        (request, registration)
    }

    /// Records that a call of the handler has ended. Returns the next request of the same depth.
    pub(super) fn end(&mut self, id: CallId, depth: u8, bytes: u64) -> Option<Begun> {
        self.running.remove(&id);
        self.bytes -= bytes;
        if let Some(calls) = self.calls.get_mut(&depth) {
            *calls -= 1;
        }
        let request = self.waiting.get_mut(&depth)?.pop_front()?;
        Some(self.begin(request))
    }

    /// Removes the requests that `are` over. Returns those that were not begun, and the handles that
    /// stop the others.
    pub(super) fn remove(
        &mut self,
        are: impl Fn(CallId) -> bool,
    ) -> (Vec<Request>, Vec<AbortHandle>) {
        let waiting = self.waiting.values_mut();
        let (mut removed, mut stopped) = (Vec::new(), Vec::new());
        for queue in waiting.filter(|queue| queue.iter().any(|request| are(request.id))) {
            let (over, left): (VecDeque<_>, VecDeque<_>) =
                queue.drain(..).partition(|request| are(request.id));
            *queue = left;
            removed.extend(over);
        }
        for (_, abort) in self.running.extract_if(.., |id, _| are(*id)) {
            stopped.push(abort);
        }
        (removed, stopped)
    }

    /// Takes out the requests that were not begun.
    pub(super) fn take_waiting(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.waiting).into_values().flatten().collect()
    }

    /// Takes out the handles that stop the calls of the handler.
    pub(super) fn take_running(&mut self) -> BTreeMap<CallId, AbortHandle> {
        std::mem::take(&mut self.running)
    }

    /// Gives back the bytes of a request that was not begun.
    pub(super) fn give_back(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }

    /// Returns whether a call of the handler runs.
    pub(super) fn is_running(&self) -> bool {
        self.calls.values().any(|calls| *calls > 0)
    }
}
