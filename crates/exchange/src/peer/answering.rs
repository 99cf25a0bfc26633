//! Answering: the requests of a peer, from their arrival to their answers. Which of them begins is
//! decided in `asked.rs`. Implements `docs/protocol.md` §5.4.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, AbortRegistration};
use paddington_wire::link::{Answer, AnswerRefused, CallEvent, CallId, IncomingRequest, Link};
use paddington_wire::{Asker, Content, FailureCode, Message, ReplyError};
use tokio::time::Instant;

use super::Peer;
use super::asked::{Asked, Look, Needed, Request};
use super::calls::{CallNews, RequestEnd};
use super::peer::wake;
use super::reports::Cause;
use super::request_room::RequestRoom;
use super::state::State;

/// A request that the handler is called with, as the message sees it.
struct Answerer {
    peer: Arc<Peer>,
    id: CallId,
    deadline: Option<Instant>,
}

impl Asker for Answerer {
    fn reply(&self, reply: Content) -> Result<(), ReplyError> {
        let len = reply.len();
        let taken = self.peer.answer(self.id, Answer::Reply(reply.into()));
        taken.map_err(|refused| match refused {
            AnswerRefused::TooLong { max } => ReplyError::TooLong { len, max },
            AnswerRefused::NoRoom { bytes } => ReplyError::NoRoom { bytes },
            _ => ReplyError::Over,
        })
    }

    fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

impl Peer {
    /// Takes what has happened to calls, under the peer's lock. Returns what the caller has to
    /// [tell](Self::tell_calls) without the lock.
    pub(super) fn take_call_events(&self, state: &mut State) -> CallNews {
        let events = state.sealed_link().map(Link::take_call_events).unwrap_or_default();
        let mut news = CallNews::default();
        let mut now = None;
        for event in events {
            match event {
                CallEvent::Ended { call, end } => {
                    let waiter = state.calls_mut().waiters.take(call);
                    news.ended.extend(waiter.map(|waiter| (waiter, end)));
                }
                CallEvent::Asked(request) => {
                    let now = *now.get_or_insert_with(Instant::now);
                    self.take_request(state, request, now);
                }
                CallEvent::Cancelled(id) => self.stop_requests(state, |other| other == id),
                CallEvent::Forgotten { pair } => self.stop_requests(state, |id| id.pair < pair),
                _ => {}
            }
        }
        if state.has_calls() {
            news.needed = state.calls_mut().asked.need(false);
        }
        news
    }

    /// Tells the futures that wait here how their requests have ended, and starts the task that takes
    /// those of the peer.
    pub(super) fn tell_calls(self: &Arc<Self>, news: CallNews) {
        for (waiter, end) in news.ended {
            let _ = waiter.send(RequestEnd::Here(end)); // whoever has waited may have given up at this moment
        }
        self.run_requests(news.needed);
    }

    /// Takes a request that has arrived.
    fn take_request(&self, state: &mut State, request: IncomingRequest, now: Instant) {
        let IncomingRequest { id, depth, left, payload } = request;
        let deadline = left.map(|left| now + Duration::from_millis(u64::from(left)));
        let cost = RequestRoom::cost(payload.len());
        let is_bytes = payload.is_bytes();
        let content = Content::try_from(payload);
        let refused = if state.workers_mut().is_stopping() {
            FailureCode::SHUTTING_DOWN
        } else if is_bytes && !self.takes_bytes() {
            FailureCode::TEXT_ONLY
        } else if let Ok(content) = content {
            if !self.shared.requests.take(cost) {
                return self.refuse(state, id, FailureCode::NO_ROOM);
            }
            let request = Request { id, depth, deadline, content };
            let max = self.shared.config.request_handlers;
            return state.calls_mut().asked.add(request, cost, max);
        } else {
            FailureCode::NOT_TEXT
        };
        self.refuse(state, id, refused);
    }

    /// Answers a request without a reply, under the peer's lock.
    fn refuse(&self, state: &mut State, id: CallId, code: FailureCode) {
        if let Some(link) = state.sealed_link() {
            let _ = link.answer(id, Answer::failure(code)); // if it has no answer yet
        }
    }

    /// Gives back the memory of a request that was not begun.
    fn give_back_request(&self, asked: &mut Asked, request: &Request) {
        let cost = RequestRoom::cost(request.content.len());
        asked.give_back(cost);
        self.shared.requests.give_back(cost);
    }

    /// Stops the handling of requests that `are` over.
    fn stop_requests(&self, state: &mut State, are: impl Fn(CallId) -> bool) {
        let asked = &mut state.calls_mut().asked;
        let (waiting, running) = asked.remove(are);
        waiting.iter().for_each(|request| self.give_back_request(asked, request));
        running.iter().for_each(AbortHandle::abort);
    }

    /// Answers a request.
    pub(crate) fn answer(&self, id: CallId, answer: Answer) -> Result<(), AnswerRefused> {
        let mut state = self.lock();
        let Some(link) = state.sealed_link() else { return Err(AnswerRefused::Over) };
        let taken = link.answer(id, answer);
        let connection = state.take_connection_waker();
        drop(state);
        wake(connection);
        taken
    }

    /// Returns the next request for a runner, whose last call may have taken `long`, and whether a look
    /// was started. If there is no request, the runner has to end.
    pub(crate) fn next_request(self: &Arc<Self>, long: bool) -> Option<(Request, bool)> {
        let mut state = self.lock();
        loop {
            let (request, is_over) = state.calls_mut().asked.take()?;
            if is_over {
                self.settle_request(&mut state, request.id, request.depth, request.content.len());
                continue;
            }
            let needed = state.calls_mut().asked.need(long);
            drop(state);
            self.run_requests(needed);
            return Some((request, needed == Some(Needed::Look)));
        }
    }

    /// Records that a runner takes no more requests, because its call waits, or because it ends.
    pub(crate) fn leave_requests(self: &Arc<Self>) {
        let mut state = self.lock();
        state.calls_mut().asked.leave();
        let needed = state.calls_mut().asked.need(false);
        drop(state);
        self.run_requests(needed);
    }

    /// Records that the call for a request waits for something, so that its runner takes no more
    /// requests. Returns what stops the call, or `None` if the request is over.
    pub(crate) fn let_request_wait(self: &Arc<Self>, id: CallId) -> Option<AbortRegistration> {
        let mut state = self.lock();
        let stops = state.calls_mut().asked.wait(id);
        drop(state);
        self.leave_requests();
        stops
    }

    /// Looks whether runners take the requests that may begin, as they did `before`, and starts another
    /// one if they are held up. Returns the number to compare with the next time, if there is one.
    pub(crate) fn look_at_requests(self: &Arc<Self>, before: Option<u64>) -> Option<u64> {
        let Look { taken, stuck } = self.lock().calls_mut().asked.look(before)?;
        self.run_requests(stuck.then_some(Needed::Runner));
        Some(taken)
    }

    /// Records that the call of the handler for a request has ended, which then has an answer in any
    /// case. The next one may begin.
    pub(crate) fn end_request(self: &Arc<Self>, id: CallId, depth: u8, len: usize) {
        let mut state = self.lock();
        self.settle_request(&mut state, id, depth, len);
        let needed = state.calls_mut().asked.need(false);
        let connection = state.take_connection_waker();
        drop(state);
        wake(connection);
        self.run_requests(needed);
    }

    fn settle_request(&self, state: &mut State, id: CallId, depth: u8, len: usize) {
        let cost = RequestRoom::cost(len);
        self.refuse(state, id, FailureCode::NO_ANSWER);
        self.shared.requests.give_back(cost);
        state.calls_mut().asked.end(id, depth, cost);
    }

    /// Returns the message for the handler.
    pub(crate) fn request_message(self: &Arc<Self>, request: Request) -> Message {
        let Request { id, deadline, content, .. } = request;
        let asker = Answerer { peer: Arc::clone(self), id, deadline };
        Message::request(self.name.clone(), &self.shared.name, content, Arc::new(asker))
    }

    /// Logs that the handler has failed on a request, and why.
    pub(crate) fn report_failed_request(&self, id: CallId, cause: &dyn Display) {
        let detail = format!("request {} {cause}", id.call);
        self.lock().reports_mut().report(&self.name, Cause::Request, 1, &detail);
    }

    /// Stops the handling of all requests, whose answers nobody gets any more.
    pub(super) fn forget_requests(&self, state: &mut State) {
        if state.has_calls() {
            self.stop_requests(state, |_| true);
        }
    }

    /// Refuses the requests whose handling has not begun.
    pub(super) fn refuse_waiting_requests(&self, state: &mut State) {
        if !state.has_calls() {
            return;
        }
        for request in state.calls_mut().asked.take_waiting() {
            self.give_back_request(&mut state.calls_mut().asked, &request);
            self.refuse(state, request.id, FailureCode::SHUTTING_DOWN);
        }
        for Request { id, depth, content, .. } in state.calls_mut().asked.take_ready() {
            self.refuse(state, id, FailureCode::SHUTTING_DOWN);
            self.settle_request(state, id, depth, content.len());
        }
    }

    /// Stops the handling of all requests, for good. Returns whether one was running.
    pub(super) fn abort_requests(&self, state: &mut State) -> bool {
        if !state.has_calls() {
            return false;
        }
        let was_running = state.calls_mut().asked.is_running();
        for (id, abort) in state.calls_mut().asked.take_running() {
            self.refuse(state, id, FailureCode::SHUTTING_DOWN);
            abort.iter().for_each(AbortHandle::abort);
        }
        was_running
    }
}
