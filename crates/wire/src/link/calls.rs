//! The stream of calls: the requests of both sides and their answers, beside the messages. They are
//! in memory only. Implements `docs/protocol.md` §5.4.

use std::sync::Arc;

use super::acks::{AckTime, Acks, Facts};
use super::answerer::{AnswerRefused, Answerer};
use super::call_events::{Answer, CallCounts, CallEnd, CallEvent, CallId, IncomingRequest};
use super::config::{LinkConfig, Millis};
use super::places::Bounds;
use super::requester::{GivenUp, OutgoingRequest, PeerBounds, RequestRefused, Requester};
use crate::call_items::{CallBody, CallItem, FailureCode};
use crate::error::Violation;
use crate::faults::{Fault, broken};
use crate::frame::{Calls as CallsFrame, CallsState, Features, Ready};
use crate::instance::Instance;
use crate::queue::Queue;

/// Maximum number of items that are transmitted and not acknowledged; answers are always
/// transmitted.
const IN_FLIGHT: usize = 4_096;
/// Maximum number of bytes in a frame with more than one item.
const FRAME: usize = 16 * 1024;
/// Number of items for which a frame has room without growing.
const TOGETHER: usize = 64;
/// Bytes that were received, a quarter of which is worth an acknowledgement at once.
const ACK_WINDOW: u64 = 1024 * 1024;

/// The calls between this side and one process of the peer, and the requests of this side that wait
/// for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Calls {
    config: Arc<LinkConfig>,
    pair: Pair,
    requester: Requester,
    answerer: Answerer,
    /// Calls to cancel.
    cancels: Queue<u64>,
    /// Items that were transmitted and not acknowledged.
    sent: Queue<Sent>,
    /// The number of the first of them.
    base: u64,
    /// How many of them were transmitted in this session.
    resent: usize,
    /// The highest number received.
    received: u64,
    /// Items and bytes that were received and not acknowledged.
    unacknowledged: (u64, u64),
    acks: Acks,
    /// Whether the peer takes part.
    offered: bool,
    /// Whether there may be something to transmit or to acknowledge.
    active: bool,
    /// Whether a frame of calls goes first, the next time.
    turn: bool,
    counts: CallCounts,
    events: Vec<CallEvent>,
}

/// The two processes whose calls have numbers in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Pair {
    number: u64,
    peer: Option<Instance>,
    /// The instance whose calls the peer remembered before.
    before: Option<Instance>,
    /// Whether the peer has certainly begun this pair too.
    confirmed: bool,
}

/// An item that was transmitted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Sent {
    Request(u64),
    Answer(u64, Answer),
    Cancel(u64),
}

/// The item that is to be transmitted next.
#[derive(Clone, Copy)]
enum Next {
    Answer,
    Cancel,
    Request(u64),
}

/// Returns the part about calls of READY as long as there are none.
pub(super) fn state_without_calls(config: &LinkConfig) -> CallsState {
    CallsState {
        requests: config.requests,
        request_window: config.request_window(),
        of: None,
        received: 0,
    }
}

impl Calls {
    pub(super) fn new(config: Arc<LinkConfig>) -> Self {
        Self {
            pair: Pair::default(),
            requester: Requester::default(),
            answerer: Answerer::default(),
            cancels: Queue::default(),
            sent: Queue::default(),
            base: 1,
            resent: 0,
            received: 0,
            unacknowledged: (0, 0),
            acks: Acks::new(config.ack_delay),
            config,
            offered: false,
            active: false,
            turn: false,
            counts: CallCounts::default(),
            events: Vec::new(),
        }
    }

    /// Returns the part about calls of this side's READY.
    pub(super) fn state(&self) -> CallsState {
        CallsState {
            of: self.pair.peer,
            received: self.received,
            ..state_without_calls(&self.config)
        }
    }

    /// Goes on with a new session, or begins anew with another process of the peer. Both sides know
    /// both READYs, so they decide the same.
    pub(super) fn start(&mut self, ours: &Ready, theirs: &Ready) -> Result<(), Violation> {
        self.offered = theirs.features.has(Features::CALLS);
        let goes_on = self.offered
            && theirs.calls.of == Some(ours.instance)
            && ours.calls.of == Some(theirs.instance);
        if goes_on || broken(Fault::OldCallsKept) {
            let received = theirs.calls.received;
            if received > self.last() {
                return Err(Violation::AckOfUnsent(received));
            }
            self.pair.confirmed = true;
            self.drop_up_to(received);
        } else {
            self.begin_pair(theirs);
        }
        self.resent = if broken(Fault::CallsNotRepeated) { self.sent.len() } else { 0 };
        self.acks = Acks::new(self.config.ack_delay);
        self.unacknowledged = (0, 0); // READY has told
        let places = Bounds::new(&theirs.calls);
        self.requester.set_peer(PeerBounds { places, max_payload: theirs.max_payload });
        if places.are_none() {
            self.requester.refuse_waiting(&mut self.counts, &mut self.events);
        }
        self.active = !self.sent.is_empty()
            || !self.cancels.is_empty()
            || self.answerer.next_len().is_some()
            || self.requester.waiting() > 0;
        self.turn = false;
        Ok(())
    }

    /// Accepts a request of this side. Returns its number.
    pub(super) fn request(
        &mut self,
        request: OutgoingRequest,
        connected: bool,
    ) -> Result<u64, RequestRefused> {
        let call = self.requester.accept(request, &self.config, connected)?;
        self.counts.requested += 1;
        self.active = true;
        Ok(call)
    }

    /// Gives up a request of this side, because its time is over or it is cancelled.
    pub(super) fn give_up(&mut self, call: u64, expired: bool) -> bool {
        let given_up = self.requester.give_up(call);
        match given_up {
            GivenUp::Ended => return false,
            GivenUp::Untold => {}
            GivenUp::Told if broken(Fault::CancelsNotTold) => {}
            GivenUp::Told => self.cancels.push_back(call),
        }
        if expired {
            self.counts.expired += 1;
        } else {
            self.counts.cancelled += 1;
        }
        self.active = true;
        given_up == GivenUp::Told
    }

    /// Takes the answer to a request of the peer.
    pub(super) fn answer(&mut self, id: CallId, answer: Answer) -> Result<(), AnswerRefused> {
        if id.pair != self.pair.number {
            return Err(AnswerRefused::Over);
        }
        let max = self.requester.max_payload();
        let is_reply = matches!(answer, Answer::Reply(_));
        let taken = self.answerer.answer(id.call, answer, &self.config, max);
        if taken != Err(AnswerRefused::Over) {
            let replied = is_reply && taken.is_ok();
            self.counts.replied += u64::from(replied);
            self.counts.refused += u64::from(!replied);
            self.active = true;
        }
        taken
    }

    /// Receives a frame.
    pub(super) fn receive(&mut self, frame: CallsFrame) -> Result<(), Violation> {
        if !self.offered {
            return Err(Violation::NotOffered);
        }
        if frame.received > self.last() {
            return Err(Violation::AckOfUnsent(frame.received));
        }
        self.pair.confirmed = true;
        self.active = true;
        self.drop_up_to(frame.received);
        let (first, expected) = (frame.first, self.received + 1);
        if frame.items.is_empty() {
            return Ok(());
        }
        if first == 0 || first.checked_add(frame.items.len() as u64).is_none() {
            return Err(Violation::BadPayload);
        }
        if first > expected {
            return Err(Violation::Gap { expected, got: first });
        }
        let repeats = expected - first;
        if repeats > 0 {
            self.acks.note_repeat();
        }
        let repeats = if broken(Fault::CallRepeatsTakenForNew) { 0 } else { repeats };
        self.events.reserve(frame.items.len());
        for item in frame.items.into_iter().skip(usize::try_from(repeats).unwrap_or(usize::MAX)) {
            self.received += 1;
            self.unacknowledged.0 += 1;
            self.unacknowledged.1 += item.encoded_len() as u64;
            self.acks.note_completed(1);
            self.take(item)?;
        }
        Ok(())
    }

    /// Takes an item that is new.
    fn take(&mut self, CallItem { call, body }: CallItem) -> Result<(), Violation> {
        let id = CallId { pair: self.pair.number, call };
        match body {
            CallBody::Request { depth, left, payload } => {
                self.answerer.ask(call, depth, payload.len(), Bounds::new(&self.state()))?;
                self.counts.asked += 1;
                let request = IncomingRequest { id, depth, left, payload };
                self.events.push(CallEvent::Asked(request));
            }
            CallBody::Reply { payload } => self.take_answer(call, Answer::Reply(payload))?,
            CallBody::Failure { .. } if broken(Fault::FailuresIgnored) => {}
            CallBody::Failure { code, text } => {
                self.take_answer(call, Answer::Failure { code, text })?;
            }
            CallBody::Cancel => {
                if self.answerer.is_unanswered(call) || broken(Fault::AnsweredCancelled) {
                    // An answer without a reply always has room.
                    let _ = self.answer(id, Answer::failure(FailureCode::CANCELLED));
                    self.events.push(CallEvent::Cancelled(id));
                }
            }
        }
        Ok(())
    }

    fn take_answer(&mut self, call: u64, answer: Answer) -> Result<(), Violation> {
        if self.requester.take_answer(call, self.base - 1)? {
            let end = CallEnd::Answered(answer);
            self.counts.end(&end);
            self.events.push(CallEvent::Ended { call, end });
        } else {
            self.counts.late += 1;
            self.cancels.retain(|cancelled| *cancelled != call);
        }
        Ok(())
    }

    /// Returns the next items, with the number of the first of them. A request is held back from a
    /// peer that `drains`.
    pub(super) fn transmit(&mut self, now: Millis, drains: bool) -> Option<(u64, Vec<CallItem>)> {
        if !self.offered {
            return None;
        }
        let max =
            FRAME.min((self.requester.max_payload() as usize).saturating_add(CallItem::OVERHEAD));
        let (mut items, mut size) = (Vec::new(), CallItem::OVERHEAD - CallItem::HEADER_LEN);
        let first = self.base + self.resent as u64;
        while items.len() < CallItem::MAX {
            if self.resent == self.sent.len() {
                let Some((next, len)) = self.next(now, drains) else { break };
                if !items.is_empty() && size + CallItem::HEADER_LEN + len > max {
                    break;
                }
                self.begin(next);
            }
            let Some(item) = self.sent.get(self.resent).and_then(|sent| self.item(sent, now))
            else {
                break;
            };
            if !items.is_empty() && size + item.encoded_len() > max {
                break;
            }
            if items.is_empty() {
                items.reserve_exact(1 + self.untransmitted().min(TOGETHER));
            }
            self.resent += 1;
            size += item.encoded_len();
            items.push(item);
        }
        (!items.is_empty()).then_some((first, items))
    }

    /// Returns the number of items that wait, whether or not they may be transmitted now.
    fn untransmitted(&self) -> usize {
        let again = self.sent.len() - self.resent;
        again + self.answerer.ready() + self.cancels.len() + self.requester.waiting()
    }

    /// Returns what is to be transmitted for the first time, and its length: answers first, because
    /// others wait for them.
    fn next(&mut self, now: Millis, drains: bool) -> Option<(Next, usize)> {
        if let Some(len) = self.answerer.next_len() {
            return Some((Next::Answer, len));
        }
        if self.sent.len() >= IN_FLIGHT {
            return None;
        }
        if !self.cancels.is_empty() {
            return Some((Next::Cancel, 0));
        }
        if drains {
            return None;
        }
        let next = self.requester.next(now, &mut self.counts, &mut self.events);
        next.map(|(call, len)| (Next::Request(call), len))
    }

    /// Gives an item its number.
    fn begin(&mut self, next: Next) {
        let number = self.last() + 1;
        let sent = match next {
            Next::Answer => self.answerer.next().map(|(call, answer)| Sent::Answer(call, answer)),
            Next::Cancel => self.cancels.pop_front().map(Sent::Cancel),
            Next::Request(call) => {
                self.requester.note_sent(call, number);
                Some(Sent::Request(call))
            }
        };
        sent.into_iter().for_each(|sent| self.sent.push_back(sent));
    }

    fn item(&self, sent: &Sent, now: Millis) -> Option<CallItem> {
        match sent {
            Sent::Request(call) => self.requester.item(*call, now),
            Sent::Answer(call, answer) => Some(CallItem { call: *call, body: answer.body() }),
            Sent::Cancel(call) => Some(CallItem { call: *call, body: CallBody::Cancel }),
        }
    }

    /// Returns the highest number received, for a frame that tells it.
    pub(super) fn tell(&mut self) -> u64 {
        self.acks.note_sent();
        self.unacknowledged = (0, 0);
        self.received
    }

    /// Returns whether an acknowledgement is due, even if it could still wait.
    pub(super) fn owes_ack(&self) -> bool {
        self.offered && self.unacknowledged.0 > 0
    }

    /// Returns whether an acknowledgement is sent now, where nothing can carry it.
    pub(super) fn is_ack_due(&mut self, now: Millis, ends: bool) -> bool {
        let due = self.offered && self.acks.is_due_now(&self.facts(ends), now);
        if !due && self.unacknowledged.0 == 0 {
            (self.active, self.turn) = (false, false);
        }
        due
    }

    pub(super) fn ack_time(&self, now: Millis, ends: bool) -> AckTime {
        if !self.active || !self.offered {
            return AckTime::Never;
        }
        self.acks.time(&self.facts(ends), now)
    }

    fn facts(&self, at_rest: bool) -> Facts {
        let (items, gain) = self.unacknowledged;
        Facts { cursor_moved: items > 0, gain, window: ACK_WINDOW, runs_low: false, at_rest }
    }

    /// Returns whether there may be something to transmit or to acknowledge.
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// Returns whether a frame of calls goes before one of messages. They take turns.
    pub(super) fn take_turn(&mut self) -> bool {
        self.turn = !self.turn;
        self.turn
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(super) fn take_events(&mut self) -> Vec<CallEvent> {
        std::mem::take(&mut self.events)
    }

    pub(super) fn counts(&self) -> CallCounts {
        self.counts
    }

    /// Returns the number of requests of this side whose answers somebody waits for.
    pub(super) fn awaited(&self) -> usize {
        self.requester.awaited().count()
    }

    /// Returns whether requests of this side wait to be transmitted.
    pub(super) fn has_waiting(&self) -> bool {
        self.requester.waiting() > 0
    }

    /// Returns the number of requests of the peer whose answers it is not known to have.
    pub(super) fn unanswered(&self) -> usize {
        self.answerer.unanswered()
    }

    /// Cancels all requests of this side. Returns those that were not transmitted.
    pub(super) fn abandon(&mut self) -> Vec<(u64, OutgoingRequest)> {
        let unsent = self.requester.take_waiting();
        self.counts.cancelled += unsent.len() as u64;
        let awaited: Vec<_> = self.requester.awaited().collect();
        for call in awaited {
            self.give_up(call, false);
        }
        unsent
    }

    fn last(&self) -> u64 {
        self.base - 1 + self.sent.len() as u64
    }

    /// Drops what the peer has received.
    fn drop_up_to(&mut self, number: u64) {
        while self.base <= number {
            let Some(sent) = self.sent.pop_front() else { return };
            self.base += 1;
            self.resent = self.resent.saturating_sub(1);
            match sent {
                Sent::Request(call) => self.requester.note_received(call),
                Sent::Answer(call, answer) => self.answerer.note_received(call, &answer),
                Sent::Cancel(_) => {}
            }
        }
    }

    /// Begins anew with a process of the peer that knows nothing of this side's calls, or of whose
    /// calls this side knows nothing.
    fn begin_pair(&mut self, theirs: &Ready) {
        let peer = self.offered.then_some(theirs.instance);
        let unheard = self.pair.peer.is_some()
            && self.pair.peer == peer
            && !self.pair.confirmed
            && self.pair.before == theirs.calls.of;
        if unheard || broken(Fault::AnotherProcessAsked) {
            self.requester.take_back_sent();
        } else {
            self.requester.lose_sent(&mut self.counts, &mut self.events);
        }
        self.counts.dropped += self.answerer.unanswered() as u64;
        self.answerer = Answerer::default();
        self.cancels = Queue::default();
        self.sent = Queue::default();
        (self.base, self.received) = (1, 0);
        let number = self.pair.number + 1;
        self.pair = Pair { number, peer, before: theirs.calls.of, confirmed: false };
        if number > 1 {
            self.events.push(CallEvent::Forgotten { pair: number });
        }
    }
}
