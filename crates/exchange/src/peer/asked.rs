//! The requests of a peer that are handled or wait for a handler: which of them begins next.

use std::collections::{BTreeMap, VecDeque};

use futures_util::future::{AbortHandle, AbortRegistration};
use paddington_wire::link::CallId;
use paddington_wire::{CallItem, Content};
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

/// A call of the handler for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestCall {
    pub(crate) id: CallId,
    pub(crate) depth: u8,
    /// Length of the request, in bytes.
    pub(crate) len: usize,
}

impl RequestCall {
    pub(crate) fn of(request: &Request) -> Self {
        Self { id: request.id, depth: request.depth, len: request.content.len() }
    }
}

/// A task that takes requests and calls the handler for them is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    /// One more runner.
    Runner,
    /// A look after a moment, whether the runners still take requests.
    Look,
}

/// The requests of a peer that are not over.
#[derive(Debug, Default)]
pub(super) struct Asked {
    waiting: BTreeMap<u8, VecDeque<Request>>,
    /// Requests that occupy a call of the handler, and that no runner has taken.
    ready: VecDeque<Ready>,
    /// Requests that a runner has taken, whose calls have not ended or waited yet: one for each runner.
    begun: Vec<CallId>,
    /// Requests whose calls wait for something, and what stops each.
    stops: BTreeMap<CallId, AbortHandle>,
    /// Number of calls of the handler by depth, also of requests that are over and whose handler has
    /// not stopped yet.
    calls: [usize; CallItem::MAX_DEPTH as usize],
    /// Bytes of the requests and of the calls.
    bytes: u64,
    /// Number of tasks that take requests.
    runners: usize,
    /// Number of requests that they ever took.
    taken: u64,
    /// Whether a look is due.
    watched: bool,
}

/// A request that may begin.
#[derive(Debug)]
struct Ready {
    request: Request,
    /// Whether nobody waits for its answer any more.
    is_over: bool,
}

impl Asked {
    /// Adds a request that takes so many `bytes`. It may begin if fewer than `max` of its depth are
    /// handled.
    pub(super) fn add(&mut self, request: Request, bytes: u64, max: usize) {
        self.bytes += bytes;
        if self.calls_at(request.depth).is_some_and(|calls| *calls >= max) {
            self.waiting.entry(request.depth).or_default().push_back(request);
        } else {
            self.occupy(request);
        }
    }

    fn occupy(&mut self, request: Request) {
        self.calls_at(request.depth).into_iter().for_each(|calls| *calls += 1);
        self.ready.push_back(Ready { request, is_over: false });
    }

    /// Returns the number of calls of a depth. The link takes no request that is deeper.
    fn calls_at(&mut self, depth: u8) -> Option<&mut usize> {
        self.calls.get_mut(usize::from(depth))
    }

    /// Returns which task is needed for the requests that may begin, which the caller starts. A
    /// runner whose call has taken `long` may be slow with the next one too.
    pub(super) fn need(&mut self, long: bool) -> Option<Needed> {
        if self.ready.is_empty() {
            return None;
        }
        if self.runners == 0 || long {
            self.runners += 1;
            return Some(Needed::Runner);
        }
        (!std::mem::replace(&mut self.watched, true)).then_some(Needed::Look)
    }

    /// Returns the next request for a runner, and whether it is over already. If there is none, the
    /// runner no longer counts.
    pub(super) fn take(&mut self) -> Option<(Request, bool)> {
        let Some(Ready { request, is_over }) = self.ready.pop_front() else {
            self.leave();
            return None;
        };
        self.taken += 1;
        if !is_over {
            self.begun.push(request.id);
        }
        Some((request, is_over))
    }

    /// Records that a runner takes no more requests.
    pub(super) fn leave(&mut self) {
        self.runners = self.runners.saturating_sub(1);
    }

    /// Records that the call for a request waits. Returns what stops it, or `None` if the request is
    /// over.
    pub(super) fn wait(&mut self, id: CallId) -> Option<AbortRegistration> {
        if !self.no_longer_begun(id) {
            return None;
        }
        let (abort, registration) = AbortHandle::new_pair();
        self.stops.insert(id, abort);
        Some(registration)
    }

    /// Removes a request from those that have begun. Returns whether it was one.
    fn no_longer_begun(&mut self, id: CallId) -> bool {
        let at = self.begun.iter().position(|begun| *begun == id);
        at.map(|at| self.begun.swap_remove(at)).is_some()
    }

    /// Looks at the runners again, which had taken `before` requests the last time. If they have taken
    /// none since, there is one more, which the caller starts. Returns `None` if nothing waits for them.
    pub(super) fn look(&mut self, before: Option<u64>) -> Option<Look> {
        self.watched = !self.ready.is_empty();
        let stuck = self.watched && before == Some(self.taken);
        self.runners += usize::from(stuck);
        self.watched.then_some(Look { taken: self.taken, stuck })
    }

    /// Records that a call of the handler has ended. The next request of the same depth may begin.
    pub(super) fn end(&mut self, id: CallId, depth: u8, bytes: u64) {
        if !self.no_longer_begun(id) {
            self.stops.remove(&id);
        }
        self.bytes -= bytes;
        self.calls_at(depth).into_iter().for_each(|calls| *calls -= 1);
        if let Some(request) = self.waiting.get_mut(&depth).and_then(VecDeque::pop_front) {
            self.occupy(request);
        }
    }

    /// Removes the requests that `are` over. Returns those that occupied no call, and the handles that
    /// stop the others.
    pub(super) fn remove(
        &mut self,
        are: impl Fn(CallId) -> bool,
    ) -> (Vec<Request>, Vec<AbortHandle>) {
        let waiting = self.waiting.values_mut();
        let mut removed = Vec::new();
        for queue in waiting.filter(|queue| queue.iter().any(|request| are(request.id))) {
            let (over, left): (VecDeque<_>, VecDeque<_>) =
                queue.drain(..).partition(|request| are(request.id));
            *queue = left;
            removed.extend(over);
        }
        self.ready.iter_mut().for_each(|ready| ready.is_over |= are(ready.request.id));
        self.begun.retain(|id| !are(*id));
        let stopped = self.stops.extract_if(.., |id, _| are(*id));
        (removed, stopped.map(|(_, abort)| abort).collect())
    }

    /// Takes out the requests that occupy no call.
    pub(super) fn take_waiting(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.waiting).into_values().flatten().collect()
    }

    /// Takes out the requests that occupy a call and that no runner has taken. Each has to
    /// [end](Self::end).
    pub(super) fn take_ready(&mut self) -> Vec<Request> {
        self.ready.drain(..).map(|ready| ready.request).collect()
    }

    /// Ends the requests that occupy a call. Returns them, and what stops the calls that wait.
    pub(super) fn take_running(&mut self) -> (Vec<CallId>, Vec<AbortHandle>) {
        let ready = self.ready.iter_mut().filter(|ready| !ready.is_over);
        let mut ended: Vec<_> = ready
            .map(|ready| {
                ready.is_over = true;
                ready.request.id
            })
            .collect();
        ended.append(&mut self.begun);
        let stops = std::mem::take(&mut self.stops);
        ended.extend(stops.keys());
        (ended, stops.into_values().collect())
    }

    /// Gives back the bytes of a request that occupied no call.
    pub(super) fn give_back(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }

    /// Returns whether a call of the handler is occupied.
    pub(super) fn is_running(&self) -> bool {
        self.calls.iter().any(|calls| *calls > 0)
    }
}

/// What a look at the runners has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Number of requests that they have ever taken.
    pub(crate) taken: u64,
    /// Whether one more is needed.
    pub(crate) stuck: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(call: u64) -> Request {
        let id = CallId { pair: 1, call };
        Request { id, depth: 0, deadline: None, content: Content::from(String::new()) }
    }

    fn asked(calls: std::ops::Range<u64>, max: usize) -> Asked {
        let mut asked = Asked::default();
        calls.for_each(|call| asked.add(request(call), 1, max));
        asked
    }

    #[test]
    fn one_runner_takes_all_requests_that_come_together() {
        let mut asked = asked(0..3, 2);
        assert_eq!(asked.need(false), Some(Needed::Runner));
        assert_eq!(asked.need(false), Some(Needed::Look));
        assert_eq!(asked.need(false), None);
        for call in 0..3 {
            let (request, is_over) = asked.take().unwrap();
            assert_eq!((request.id.call, is_over), (call, false));
            asked.end(request.id, 0, 1);
        }
        assert!(asked.take().is_none() && !asked.is_running() && asked.bytes == 0);
        asked.add(request(3), 1, 2);
        assert_eq!(asked.need(false), Some(Needed::Runner), "the last one has ended");
    }

    #[test]
    fn a_runner_that_is_slow_or_waits_or_is_held_up_gets_another_beside_it() {
        let mut asked = asked(0..9, 9);
        assert_eq!(asked.need(false), Some(Needed::Runner));
        asked.take().unwrap();
        assert_eq!(asked.need(true), Some(Needed::Runner), "its call has taken long");
        let (waits, _) = asked.take().unwrap();
        assert!(asked.wait(waits.id).is_some());
        asked.leave();
        asked.leave();
        assert_eq!(asked.need(false), Some(Needed::Runner), "both wait");
        assert_eq!(asked.need(false), Some(Needed::Look));
        assert_eq!(asked.look(None), Some(Look { taken: 2, stuck: false }));
        asked.take().unwrap();
        assert_eq!(asked.look(Some(2)), Some(Look { taken: 3, stuck: false }));
        assert_eq!(asked.look(Some(3)), Some(Look { taken: 3, stuck: true }));
        asked.take_ready();
        assert_eq!(asked.look(Some(3)), None);
        asked.add(request(9), 1, 99);
        assert_eq!(asked.need(false), Some(Needed::Look), "nobody looks any more");
    }

    #[test]
    fn a_request_that_is_over_before_it_is_taken_is_not_handled() {
        let mut asked = asked(0..2, 1);
        let (waiting, stopped) = asked.remove(|_| true);
        assert_eq!((waiting.len(), stopped.len()), (1, 0));
        let (request, is_over) = asked.take().unwrap();
        assert!(is_over && asked.wait(request.id).is_none());
    }
}
