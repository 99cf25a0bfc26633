//! The requests of this side: which of them is transmitted next, and how each of them ends.
//! Implements `docs/protocol.md` §5.4 for the requester.

use std::collections::BTreeMap;

use thiserror::Error;

use super::Millis;
use super::call_events::{Answer, CallCounts, CallEnd, CallEvent};
use super::config::LinkConfig;
use super::places::{Bounds, Places};
use crate::call_items::{CallBody, CallItem, FailureCode};
use crate::error::Violation;
use crate::faults::{Fault, broken};
use crate::frame::Data;
use crate::payload::Payload;
use crate::queue::Queue;

/// A request of this side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutgoingRequest {
    /// The request.
    pub payload: Payload,
    /// Number of requests in whose handling it is made.
    pub depth: u8,
    /// The time at which nobody waits for the answer any more.
    pub deadline: Option<Millis>,
}

/// The reason why a request is not accepted. Nothing of it is kept.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestRefused {
    /// It is made in the handling of too many others.
    #[error("the request is made within {} others", CallItem::MAX_DEPTH)]
    TooDeep,
    /// Too many requests wait to be transmitted.
    #[error("{requests} requests, {bytes} bytes wait to be sent")]
    Full {
        /// Number of requests that wait.
        requests: usize,
        /// Bytes that wait, Σ(24 + length).
        bytes: u64,
    },
    /// It is longer than the peer, which is connected, accepts.
    #[error("the peer accepts at most {max} bytes")]
    TooLong {
        /// The longest request that it accepts, in bytes.
        max: u32,
    },
    /// The peer, which is connected, answers no requests.
    #[error("the peer answers no requests")]
    NotAnswered,
}

/// The bounds that the peer's process has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PeerBounds {
    pub(super) places: Bounds,
    pub(super) max_payload: u32,
}

/// The requests of this side that have not ended, and the places that they occupy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Requester {
    made: u64,
    open: BTreeMap<u64, Open>,
    /// Requests that are not transmitted, by depth, in their order.
    waiting: [Queue<u64>; CallItem::MAX_DEPTH as usize],
    /// Number of these.
    waiting_requests: usize,
    waiting_bytes: u64,
    places: Places,
    /// `None` before the first session.
    peer: Option<PeerBounds>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open {
    request: OutgoingRequest,
    /// Its length, which outlives the payload.
    len: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Waiting,
    /// Transmitted with this number of the stream of calls.
    Sent(u64),
    /// Transmitted likewise, and nobody waits for the answer any more.
    Over(u64),
}

impl Requester {
    pub(super) fn set_peer(&mut self, peer: PeerBounds) {
        self.peer = Some(peer);
    }

    /// Returns the length of the longest payload that the peer accepts, in bytes.
    pub(super) fn max_payload(&self) -> u32 {
        self.peer.map_or(0, |peer| peer.max_payload)
    }

    /// Accepts a request. Returns its number.
    pub(super) fn accept(
        &mut self,
        request: OutgoingRequest,
        config: &LinkConfig,
        connected: bool,
    ) -> Result<u64, RequestRefused> {
        if request.depth >= CallItem::MAX_DEPTH {
            return Err(RequestRefused::TooDeep);
        }
        if let Some(peer) = self.peer.filter(|_| connected) {
            let max = peer.max_payload;
            if peer.places.are_none() {
                return Err(RequestRefused::NotAnswered);
            } else if request.payload.len() > max as usize {
                return Err(RequestRefused::TooLong { max });
            }
        }
        let (requests, bytes) = (self.waiting_requests, self.waiting_bytes);
        let len = request.payload.len();
        let full = requests >= config.waiting_requests
            || bytes + Data::cost(len) > config.waiting_request_bytes.max(config.longest());
        if full {
            return Err(RequestRefused::Full { requests, bytes });
        }
        self.made += 1;
        let call = self.made;
        self.wait(call, request.depth, len);
        self.open.insert(call, Open { request, len, state: State::Waiting });
        Ok(call)
    }

    /// Gives up a request. Returns whether the peer has to be told.
    pub(super) fn give_up(&mut self, call: u64) -> GivenUp {
        let Some(open) = self.open.get_mut(&call) else { return GivenUp::Ended };
        match open.state {
            State::Waiting => {
                self.forget_waiting(call);
                GivenUp::Untold
            }
            State::Sent(number) => {
                open.state = State::Over(number);
                if broken(Fault::CancelFreesPlace) {
                    self.places.give_back(open.request.depth, open.len);
                }
                GivenUp::Told
            }
            State::Over(_) => GivenUp::Ended,
        }
    }

    /// Returns the next request to transmit, and its length. Deeper ones go first: others wait for
    /// them. Those that have ended meanwhile are reported.
    pub(super) fn next(
        &mut self,
        now: Millis,
        counts: &mut CallCounts,
        events: &mut Vec<CallEvent>,
    ) -> Option<(u64, usize)> {
        let peer = self.peer?;
        let mut depth = CallItem::MAX_DEPTH;
        while depth > 0 {
            let Some(call) = self.waiting_at(depth - 1).front().copied() else {
                depth -= 1;
                continue;
            };
            let open = self.open.get(&call)?;
            let end = if open.request.deadline.is_some_and(|deadline| deadline <= now) {
                CallEnd::Expired
            } else if open.len > peer.max_payload as usize {
                CallEnd::TooLong { len: open.len, max: peer.max_payload }
            } else if self.places.fits(depth - 1, open.len, peer.places)
                || broken(Fault::PlacesIgnored)
            {
                return Some((call, open.len));
            } else {
                depth -= 1;
                continue;
            };
            self.forget_waiting(call);
            counts.end(&end);
            events.push(CallEvent::Ended { call, end });
        }
        None
    }

    /// Records that a request is transmitted with `number`.
    pub(super) fn note_sent(&mut self, call: u64, number: u64) {
        if let Some(open) = self.open.get_mut(&call) {
            open.state = State::Sent(number);
            let (depth, len) = (open.request.depth, open.len);
            self.places.take(depth, len);
            self.wait_no_more(call, depth, len);
        }
    }

    /// Returns a transmitted request as it is at the time `now`.
    pub(super) fn item(&self, call: u64, now: Millis) -> Option<CallItem> {
        let request = &self.open.get(&call)?.request;
        let left = request.deadline.map(|deadline| {
            u32::try_from(deadline.saturating_sub(now)).unwrap_or(u32::MAX).min(u32::MAX - 1)
        });
        let (depth, payload) = (request.depth, request.payload.clone());
        Some(CallItem { call, body: CallBody::Request { depth, left, payload } })
    }

    /// Records that the peer has received a request.
    pub(super) fn note_received(&mut self, call: u64) {
        if let Some(open) = self.open.get_mut(&call) {
            open.request.payload = Payload::bytes(Vec::new());
        }
    }

    /// Takes an answer; `acked` is the highest number that the peer has received. Returns whether
    /// somebody waits for it.
    ///
    /// # Errors
    ///
    /// [`Violation::AnswerOfNothing`] if no request of this number waits for one.
    pub(super) fn take_answer(&mut self, call: u64, acked: u64) -> Result<bool, Violation> {
        let state = self.open.get(&call).map(|open| open.state);
        let waits = match state {
            Some(State::Sent(number)) if number <= acked => true,
            Some(State::Over(number)) if number <= acked => broken(Fault::LateAnswersTold),
            _ => return Err(Violation::AnswerOfNothing(call)),
        };
        if let Some(open) = self.open.remove(&call) {
            self.places.give_back(open.request.depth, open.len);
        }
        Ok(waits)
    }

    /// Forgets the requests that were transmitted: another process of the peer has taken the place
    /// of the one that was asked.
    pub(super) fn lose_sent(&mut self, counts: &mut CallCounts, events: &mut Vec<CallEvent>) {
        for (call, open) in self.open.extract_if(.., |_, open| open.state != State::Waiting) {
            if matches!(open.state, State::Sent(_)) {
                counts.end(&CallEnd::PeerChanged);
                events.push(CallEvent::Ended { call, end: CallEnd::PeerChanged });
            }
        }
        self.places = Places::default();
    }

    /// Lets the requests that were transmitted wait again: the peer has certainly received none.
    pub(super) fn take_back_sent(&mut self) {
        self.open.retain(|_, open| !matches!(open.state, State::Over(_)));
        self.waiting = Default::default();
        (self.waiting_requests, self.waiting_bytes) = (0, 0);
        let mut all = std::mem::take(&mut self.open);
        for (call, open) in &mut all {
            open.state = State::Waiting;
            self.wait(*call, open.request.depth, open.len);
        }
        self.open = all;
        self.places = Places::default();
    }

    /// Takes all requests out that are not transmitted, with their numbers.
    pub(super) fn take_waiting(&mut self) -> Vec<(u64, OutgoingRequest)> {
        let waiting = self.open.extract_if(.., |_, open| open.state == State::Waiting);
        let taken = waiting.map(|(call, open)| (call, open.request)).collect();
        self.waiting = Default::default();
        (self.waiting_requests, self.waiting_bytes) = (0, 0);
        taken
    }

    /// Ends all requests that wait to be transmitted, for a peer that answers none.
    pub(super) fn refuse_waiting(&mut self, counts: &mut CallCounts, events: &mut Vec<CallEvent>) {
        while let Some(call) = self.waiting.iter().find_map(|calls| calls.front()).copied() {
            self.forget_waiting(call);
            counts.end(&CallEnd::NotAnswered);
            events.push(CallEvent::Ended { call, end: CallEnd::NotAnswered });
        }
    }

    /// Returns the requests whose answers somebody waits for.
    pub(super) fn awaited(&self) -> impl Iterator<Item = u64> {
        let awaited = self.open.iter().filter(|(_, open)| !matches!(open.state, State::Over(_)));
        awaited.map(|(call, _)| *call)
    }

    /// Returns the number of requests that wait to be transmitted.
    pub(super) fn waiting(&self) -> usize {
        self.waiting_requests
    }

    fn wait(&mut self, call: u64, depth: u8, len: usize) {
        self.waiting_at(depth).push_back(call);
        self.waiting_requests += 1;
        self.waiting_bytes += Data::cost(len);
    }

    fn wait_no_more(&mut self, call: u64, depth: u8, len: usize) {
        let calls = self.waiting_at(depth);
        if calls.front() == Some(&call) || broken(Fault::CancelledForAnother) {
            calls.pop_front();
        } else {
            calls.retain(|waiting| *waiting != call);
        }
        self.waiting_requests -= 1;
        self.waiting_bytes -= Data::cost(len);
    }

    /// Returns the requests of a depth that are not transmitted. None is accepted that is deeper than the
    /// last of them.
    fn waiting_at(&mut self, depth: u8) -> &mut Queue<u64> {
        let last = self.waiting.len() - 1;
        &mut self.waiting[usize::from(depth).min(last)]
    }

    fn forget_waiting(&mut self, call: u64) {
        if let Some(open) = self.open.remove(&call) {
            self.wait_no_more(call, open.request.depth, open.len);
        }
    }
}

/// The consequence of giving up a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// It was never transmitted.
    Untold,
    /// The peer has to be told.
    Told,
    /// It has ended already.
    Ended,
}

impl CallCounts {
    pub(super) fn end(&mut self, end: &CallEnd) {
        match end {
            CallEnd::Answered(Answer::Reply(_)) => self.answered += 1,
            // The peer may be the first to see that the time is over.
            CallEnd::Answered(Answer::Failure { code: FailureCode::EXPIRED, .. })
            | CallEnd::Expired => self.expired += 1,
            _ => self.failed += 1,
        }
    }
}
