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
use super::asked::{Asked, Look, Needed, Request, RequestCall};
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
        if events.iter().any(|event| matches!(event, CallEvent::Ended { .. })) {
            news.ended.reserve(events.len()); // a frame rarely has both requests and answers
        }
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
                self.refuse(state, id, FailureCode::NO_ROOM);
                return;
            }
            let request = Request { id, depth, deadline, content };
            let max = self.shared.config.request_handlers;
            return state.calls_mut().asked.add(request, cost, max);
        } else {
            FailureCode::NOT_TEXT
        };
        self.refuse(state, id, refused);
    }

    /// Answers a request without a reply, under the peer's lock. Returns `false` if it has an answer.
    fn refuse(&self, state: &mut State, id: CallId, code: FailureCode) -> bool {
        state.sealed_link().is_some_and(|link| link.answer(id, Answer::failure(code)).is_ok())
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

    /// Returns the next request for a runner, whose last call, if it is `done`, may have taken `long`, and
    /// whether a look was started. If there is no request, the runner has to end.
    pub(crate) fn next_request(
        self: &Arc<Self>,
        done: Option<RequestCall>,
        long: bool,
    ) -> Option<(Request, bool)> {
        let mut state = self.lock();
        let answered = done.is_some_and(|done| self.settle_request(&mut state, done));
        let connection = if answered { state.take_connection_waker() } else { None };
        let (mut next, mut needed) = (None, None);
        while let Some((request, is_over)) = state.calls_mut().asked.take() {
            if is_over {
                self.settle_request(&mut state, RequestCall::of(&request));
                continue;
            }
            needed = state.calls_mut().asked.need(long);
            next = Some((request, needed == Some(Needed::Look)));
            break;
        }
        drop(state);
        wake(connection);
        self.run_requests(needed);
        next
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
    pub(crate) fn end_request(self: &Arc<Self>, call: RequestCall) {
        let mut state = self.lock();
        let answered = self.settle_request(&mut state, call);
        let needed = state.calls_mut().asked.need(false);
        let connection = if answered { state.take_connection_waker() } else { None };
        drop(state);
        wake(connection);
        self.run_requests(needed);
    }

    /// Returns whether the request had no answer, so that there is one to transmit now.
    fn settle_request(&self, state: &mut State, call: RequestCall) -> bool {
        let cost = RequestRoom::cost(call.len);
        let answered = self.refuse(state, call.id, FailureCode::NO_ANSWER);
        self.shared.requests.give_back(cost);
        state.calls_mut().asked.end(call.id, call.depth, cost);
        answered
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
        for request in state.calls_mut().asked.take_ready() {
            self.refuse(state, request.id, FailureCode::SHUTTING_DOWN);
            self.settle_request(state, RequestCall::of(&request));
        }
    }

    /// Stops the handling of all requests, for good. Returns whether one was running.
    pub(super) fn abort_requests(&self, state: &mut State) -> bool {
        if !state.has_calls() {
            return false;
        }
        let was_running = state.calls_mut().asked.is_running();
        let (ended, stops) = state.calls_mut().asked.take_running();
        for id in ended {
            self.refuse(state, id, FailureCode::SHUTTING_DOWN);
        }
        stops.iter().for_each(AbortHandle::abort);
        was_running
    }
}
