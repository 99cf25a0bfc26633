//! Calls of a link: requests in both directions, and the frames that carry them.

use std::sync::Arc;

use super::acks::AckTime;
use super::answerer::AnswerRefused;
use super::call_events::{Answer, CallCounts, CallEvent, CallId};
use super::calls::Calls;
use super::config::Millis;
use super::link::Link;
use super::requester::{OutgoingRequest, RequestRefused};
use crate::call_items::CallItem;
use crate::frame::{Calls as CallsFrame, Frame};

impl Link {
    /// Accepts a request. It ends with a [`CallEvent::Ended`], unless it is
    /// [given up](Self::give_up_request) before. Returns its number.
    ///
    /// Requests are in memory only, and have their own order and bounds (`docs/protocol.md` §5.4):
    /// they wait for no message, and no message waits for them.
    ///
    /// # Errors
    ///
    /// [`RequestRefused`] if it is not accepted.
    pub fn request(&mut self, request: OutgoingRequest) -> Result<u64, RequestRefused> {
        let connected = self.session.is_some();
        self.calls_or_new().request(request, connected)
    }

    /// Gives up a request whose answer nobody waits for any more: it has `expired`, or is cancelled.
    /// Returns whether there is something to [`transmit`](Self::transmit).
    pub fn give_up_request(&mut self, call: u64, expired: bool) -> bool {
        self.calls.as_mut().is_some_and(|calls| calls.give_up(call, expired))
    }

    /// Answers a request of the peer, once.
    ///
    /// # Errors
    ///
    /// [`AnswerRefused`] if the answer was not taken.
    pub fn answer(&mut self, id: CallId, answer: Answer) -> Result<(), AnswerRefused> {
        let Some(calls) = &mut self.calls else { return Err(AnswerRefused::Over) };
        calls.answer(id, answer)
    }

    /// Returns whether there are events to [take](Self::take_call_events).
    #[must_use]
    pub fn has_call_events(&self) -> bool {
        self.calls.as_ref().is_some_and(|calls| calls.has_events())
    }

    /// Takes what has happened to calls since the last time, after [`start`](Self::start),
    /// [`receive`](Self::receive) and [`transmit`](Self::transmit).
    pub fn take_call_events(&mut self) -> Vec<CallEvent> {
        self.calls.as_mut().map(|calls| calls.take_events()).unwrap_or_default()
    }

    /// Cancels all requests of this side. Returns those that the peer has certainly not received, which
    /// may be made elsewhere.
    pub fn abandon_requests(&mut self) -> Vec<(u64, OutgoingRequest)> {
        self.calls.as_mut().map(|calls| calls.abandon()).unwrap_or_default()
    }

    /// Returns the number of requests of this side whose answers somebody waits for.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.calls.as_ref().map_or(0, |calls| calls.awaited())
    }

    /// Returns whether requests of this side wait to be transmitted.
    #[must_use]
    pub fn has_waiting_requests(&self) -> bool {
        self.calls.as_ref().is_some_and(|calls| calls.has_waiting())
    }

    /// Returns the number of requests of the peer whose answers it is not known to have.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.calls.as_ref().map_or(0, |calls| calls.unanswered())
    }

    /// Returns the number of requests by outcome.
    #[must_use]
    pub fn call_counts(&self) -> CallCounts {
        self.calls.as_ref().map(|calls| calls.counts()).unwrap_or_default()
    }

    /// Returns the next frame with calls.
    pub(super) fn next_calls(&mut self, now: Millis) -> Option<Frame> {
        let drains = self.peer_drains();
        let (first, items) = self.calls.as_mut()?.transmit(now, drains)?;
        Some(self.calls_frame(first, items))
    }

    /// Returns an acknowledgement of calls that is due now and that no other frame has carried.
    pub(super) fn due_calls_ack(&mut self, now: Millis) -> Option<Frame> {
        let ends = self.is_ending();
        self.calls.as_mut()?.is_ack_due(now, ends).then(|| self.calls_frame(0, Vec::new()))
    }

    /// Returns an acknowledgement of calls that is due, even if it could still wait.
    pub(super) fn owed_calls_ack(&mut self) -> Option<Frame> {
        self.calls.as_ref()?.owes_ack().then(|| self.calls_frame(0, Vec::new()))
    }

    /// Returns the time at which an acknowledgement of calls is to be sent.
    pub(super) fn calls_ack_time(&self, now: Millis) -> AckTime {
        let ends = self.is_ending();
        self.calls.as_ref().map_or(AckTime::Never, |calls| calls.ack_time(now, ends))
    }

    fn calls_frame(&mut self, first: u64, items: Vec<CallItem>) -> Frame {
        let ack = self.carried_ack();
        Frame::Calls(CallsFrame { first, ack, received: self.calls_or_new().tell(), items })
    }

    /// Returns the calls, of which there are none before the first session or request.
    pub(super) fn calls_or_new(&mut self) -> &mut Calls {
        self.calls.get_or_insert_with(|| Box::new(Calls::new(Arc::clone(&self.config))))
    }

    fn is_ending(&self) -> bool {
        self.draining || self.peer_drains()
    }
}
