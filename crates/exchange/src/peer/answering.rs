//! Answering: the requests of a peer, from their arrival to their answers. Which of them begins is
//! decided in `asked.rs`. Implements `docs/protocol.md` §5.4.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use paddington_wire::link::{Answer, AnswerRefused, CallEvent, CallId, IncomingRequest, Link};
use paddington_wire::{Asker, Content, FailureCode, Message, ReplyError};
use tokio::time::Instant;

use super::Peer;
use super::asked::{Asked, Begun, Request};
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
    /// Takes what has happened to calls, under the peer's lock. Returns the requests whose handling
    /// begins, which the caller starts without the lock.
    pub(super) fn take_call_events(&self, state: &mut State) -> Vec<Begun> {
        let events = state.sealed_link().map(Link::take_call_events).unwrap_or_default();
        let mut begun = Vec::new();
        for event in events {
            match event {
                CallEvent::Ended { call, end } => state.calls_mut().waiters.end(call, end),
                CallEvent::Asked(request) => begun.extend(self.take_request(state, request)),
                CallEvent::Cancelled(id) => self.stop_requests(state, |other| other == id),
                CallEvent::Forgotten { pair } => self.stop_requests(state, |id| id.pair < pair),
                _ => {}
            }
        }
        begun
    }

    /// Takes a request that has arrived. Returns it if its handling may begin.
    fn take_request(&self, state: &mut State, request: IncomingRequest) -> Option<Begun> {
        let IncomingRequest { id, depth, left, payload } = request;
        let deadline = left.map(|left| Instant::now() + Duration::from_millis(u64::from(left)));
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
                return None;
            }
            let request = Request { id, depth, deadline, content };
            let max = self.shared.config.request_handlers;
            return state.calls_mut().asked.add(request, cost, max);
        } else {
            FailureCode::NOT_TEXT
        };
        self.refuse(state, id, refused);
        None
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
        running.iter().for_each(futures_util::future::AbortHandle::abort);
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

    /// Records that the call of the handler for a request has ended, which then has an answer in any
    /// case. Starts the next one.
    pub(crate) fn end_request(self: &Arc<Self>, id: CallId, depth: u8, len: usize) {
        let cost = RequestRoom::cost(len);
        let mut state = self.lock();
        self.refuse(&mut state, id, FailureCode::NO_ANSWER);
        self.shared.requests.give_back(cost);
        let begun = state.calls_mut().asked.end(id, depth, cost);
        let connection = state.take_connection_waker();
        drop(state);
        wake(connection);
        self.begin_requests(begun.into_iter().collect());
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

    /// Refuses the requests that wait for a handler.
    pub(super) fn refuse_waiting_requests(&self, state: &mut State) {
        if !state.has_calls() {
            return;
        }
        for request in state.calls_mut().asked.take_waiting() {
            self.give_back_request(&mut state.calls_mut().asked, &request);
            self.refuse(state, request.id, FailureCode::SHUTTING_DOWN);
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
            abort.abort();
        }
        was_running
    }
}
