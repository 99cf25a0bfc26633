//! The link itself: both directions and the session that joins them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::acks::Facts;
use super::calls::{Calls, state_without_calls};
use super::credit::Window;
use super::inbound::{Arriving, Inbound, Incoming};
use super::link_session::{LinkSession, Started};
use super::memory::Full;
use super::outbound::{Counts, Outbound, Outcome};
use super::stored::StoredLink;
use super::stream::{Next, TransmitLimits};
use super::{LinkConfig, Millis};
use crate::faults::{Fault, broken};
use crate::frame::{
    Ack, Batch, Calls as CallsFrame, Completed, Data, Features, Frame, Ready, RejectCode, Skip,
};
use crate::{Instance, MessageId, Payload, RejectText, SessionId, Software, Violation};

/// All that one service remembers about its messages to and from one peer, across connections.
///
/// See the [module](crate::link) for how it is driven.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    pub(super) config: Arc<LinkConfig>,
    instance: Instance,
    peer: Option<Instance>,
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
    /// Boxed, like the calls, because most links of a large server are not connected.
    pub(super) session: Option<Box<LinkSession>>,
    /// `None` before the first session or request.
    pub(super) calls: Option<Box<Calls>>,
    pub(super) draining: bool,
}

impl Link {
    /// Creates a link of this service's `instance`, on which nothing has happened yet. Links can share
    /// their configuration.
    #[must_use]
    pub fn new(config: impl Into<Arc<LinkConfig>>, instance: Instance) -> Self {
        let config = config.into();
        Self {
            instance,
            peer: None,
            outbound: Outbound::new(instance),
            inbound: Inbound::new(Arc::clone(&config)),
            session: None,
            calls: None,
            config,
            draining: false,
        }
    }

    /// Restores a link from the state that a store has kept, at the time `now`. The caller then
    /// reports messages that are [`stored`](Self::stored) and [`trimmed`](Self::trimmed), and
    /// supplies the payloads that are [`wanted`](Self::wanted).
    #[must_use]
    pub fn restore(
        config: impl Into<Arc<LinkConfig>>,
        instance: Instance,
        stored: StoredLink,
        now: Millis,
    ) -> Self {
        let config = config.into();
        Self {
            outbound: Outbound::restore(instance, stored.streams, now),
            inbound: Inbound::restore(Arc::clone(&config), stored.cursors),
            ..Self::new(config, instance)
        }
    }

    /// Recalls, after [`restore`](Self::restore), that a message of the peer was rejected: the peer
    /// may not have been told yet.
    pub fn recall(&mut self, id: MessageId, code: RejectCode) {
        self.inbound.recall(id, code);
    }

    /// Asks the peer, in this and every later session, to hold back new messages.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Accepts a message at the time `now`. It waits until the peer acknowledges it or, if it has
    /// not been transmitted by then, until `deadline`.
    ///
    /// # Errors
    ///
    /// [`Full`] if it does not fit into the outbox; nothing is accepted then.
    pub fn enqueue(
        &mut self,
        payload: Payload,
        now: Millis,
        deadline: Option<Millis>,
    ) -> Result<MessageId, Full> {
        self.room_for(payload.len())?;
        Ok(self.outbound.enqueue(payload, now, deadline))
    }

    /// Checks whether a message of `len` bytes fits into the outbox.
    ///
    /// # Errors
    ///
    /// [`Full`] if it does not.
    pub fn room_for(&self, len: usize) -> Result<(), Full> {
        self.config.room_for(len, self.outbound.messages(), self.outbound.bytes())
    }

    /// Returns the longest message that the peer accepts, in bytes, as long as it is connected.
    #[must_use]
    pub fn peer_max_payload(&self) -> Option<u32> {
        self.session.as_ref().map(|session| session.max_payload)
    }

    /// Returns whether a new session has to be started: streams wait that the current one does not
    /// know, because there were too many to list, or completions are held back.
    #[must_use]
    pub fn wants_new_session(&self) -> bool {
        let Some(session) = &self.session else { return false };
        let mut backlog = self.outbound.backlog().peekable();
        let unlisted = |instance| !session.ours.contains(&instance);
        (backlog.peek().is_some() && backlog.all(unlisted)) || self.inbound.wants_new_session()
    }

    /// Abandons all messages that wait. Returns their number.
    pub fn abandon(&mut self) -> usize {
        self.outbound.abandon()
    }

    /// Removes the messages that have expired by `now`. Returns whether there were any.
    pub fn expire(&mut self, now: Millis) -> bool {
        self.outbound.expire(now)
    }

    /// Lets sessions begin with the [`first_window`](LinkConfig::first_window) of `config`, which is
    /// otherwise the one that the link has, from the next one on.
    pub fn set_first_window(&mut self, config: Arc<LinkConfig>) {
        self.config = config;
    }

    /// Returns this side's instance on the link.
    #[must_use]
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// Returns this side's READY as of now. It does not name the software.
    #[must_use]
    pub fn ready(&self) -> Ready {
        Ready {
            instance: self.instance,
            max_payload: self.config.max_payload,
            window: Window::first(&self.config, self.inbound.held()),
            features: Features::BATCH.with(Features::CALLS),
            mine: self.outbound.states(self.config.listed.clamp(2, Ready::MAX_ENTRIES)),
            yours: self.inbound.states(Ready::MAX_ENTRIES),
            software: Software::default(),
            calls: match &self.calls {
                Some(calls) => calls.state(),
                None => state_without_calls(&self.config),
            },
        }
    }

    /// Starts a session: `ours` is the READY that this side sent, `theirs` is the peer's. This ends
    /// the current session, if there is one (rule R4).
    ///
    /// # Errors
    ///
    /// [`Violation`] if the peer claims to have received messages that were never sent; there is no
    /// session then.
    pub fn start(
        &mut self,
        id: SessionId,
        ours: &Ready,
        theirs: &Ready,
    ) -> Result<Started, Violation> {
        self.session = None;
        let waiting = self.outbound.messages();
        let regressed = self.outbound.resume(&theirs.yours, &ours.mine)?;
        self.calls_or_new().start(ours, theirs)?;
        self.inbound.resume(&theirs.mine, &ours.yours);
        let held = self.inbound.held();
        let session = LinkSession::new(id, &self.config, held, [ours, theirs]);
        self.session = Some(Box::new(session));
        let new_instance = self.peer.replace(theirs.instance) != Some(theirs.instance);
        Ok(Started { new_instance, progress: self.outbound.messages() < waiting, regressed })
    }

    /// Forgets the peer's instances that have ended by `now` for longer than
    /// [`ended_time`](LinkConfig::ended_time). To be called with every new session.
    pub fn forget_ended(&mut self, now: Millis) {
        self.inbound.forget_ended(now);
    }

    /// Ends `session`, if it is the current one.
    pub fn end(&mut self, session: SessionId) {
        if self.is_current(session) || broken(Fault::CleanUpByName) {
            self.session = None;
        }
    }

    /// Receives a frame of `session` and appends the messages that are new to `arrived`. A frame of
    /// a session that has ended (rule R5) is ignored, and so is one that does not concern a link,
    /// like PING. Returns whether messages of this side were acknowledged.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the peer broke the protocol. The session has ended then.
    pub fn receive(
        &mut self,
        session: SessionId,
        frame: Frame,
        arrived: &mut Vec<Incoming>,
    ) -> Result<bool, Violation> {
        if !self.is_current(session) && !broken(Fault::DeadSessionHeard) {
            return Ok(false);
        }
        let received = match frame {
            Frame::Data(Data { stream, again, number, ack, payload }) => {
                let cost = Data::cost(payload.len());
                let messages = Arriving { again, first: number, payloads: Some(payload) };
                self.receive_messages(stream, ack, cost, messages, arrived)
            }
            Frame::Batch(Batch { stream, again, first, ack, messages }) => {
                let cost = messages.cost();
                match first.checked_add(messages.count() as u64 - 1) {
                    None => Err(Violation::BadPayload),
                    Some(_) => {
                        let messages = Arriving { again, first, payloads: messages };
                        self.receive_messages(stream, ack, cost, messages, arrived)
                    }
                }
            }
            Frame::Ack(mut ack) => {
                ack.rejected.sort_unstable_by_key(|rejection| rejection.number);
                self.receive_ack(&ack)
            }
            Frame::Skip(skip) => self.receive_skip(skip),
            Frame::Calls(calls) => self.receive_calls(calls),
            Frame::Drain => {
                self.session.iter_mut().for_each(|session| session.peer_drains = true);
                Ok(false)
            }
            Frame::Renew(_) | Frame::Renewed(_) => Err(Violation::BadRenewal("it was not offered")),
            _ => Ok(false),
        };
        if received.is_err() {
            self.session = None; // its later frames are ignored
        }
        received
    }

    /// Reports that the application is done with a message: it was handled, or is rejected (rule
    /// R12).
    pub fn handled(&mut self, id: MessageId, outcome: Result<(), RejectCode>) {
        self.settle(id, outcome.map_err(|code| (code, RejectText::NONE)));
    }

    /// Reports that the application rejects a message, with words for its sender. They are left out
    /// if too many wait to be told, or if this process ends before.
    pub fn reject(&mut self, id: MessageId, code: RejectCode, text: RejectText) {
        self.settle(id, Err((code, text)));
    }

    fn settle(&mut self, id: MessageId, outcome: Result<(), (RejectCode, RejectText)>) {
        self.inbound.handled(id, outcome);
        if let Some(session) = &mut self.session {
            session.acks.note_completed(1);
        }
    }

    /// Returns the next frame to transmit in `session` at the time `now`, or `None` until something
    /// happens or the time of [`ack_time`](Self::ack_time) has come.
    ///
    /// An acknowledgement that cannot wait goes first, then messages, which carry an
    /// acknowledgement, then one that is due now and that no message has carried.
    pub fn transmit(&mut self, session: SessionId, now: Millis) -> Option<Frame> {
        if !self.is_current(session) {
            return None;
        }
        let facts = self.facts()?;
        if self.session.as_ref()?.acks.is_urgent(&facts) {
            return self.acknowledge(session);
        }
        let has_calls = self.calls.as_ref().is_some_and(|calls| calls.is_active());
        if has_calls
            && self.calls.as_mut().is_some_and(|calls| calls.take_turn())
            && let Some(frame) = self.next_calls(now)
        {
            return Some(frame);
        }
        if let Some(frame) = self.next_message(now) {
            return Some(frame);
        }
        if has_calls && let Some(frame) = self.next_calls(now).or_else(|| self.due_calls_ack(now)) {
            return Some(frame);
        }
        let facts = self.facts()?;
        let due = self.session.as_mut()?.acks.is_due_now(&facts, now);
        if due { self.acknowledge(session) } else { None }
    }

    /// Returns the time at which the next message expires, if it is not transmitted by then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.outbound.next_deadline()
    }

    /// Returns the outcome of a message that this instance accepted.
    #[must_use]
    pub fn outcome(&self, id: MessageId) -> Outcome {
        self.outbound.outcome(id)
    }

    /// Returns whether there are outcomes to [take](Self::take_outcomes).
    #[must_use]
    pub fn has_outcomes(&self) -> bool {
        self.outbound.has_outcomes()
    }

    /// Takes the outcomes of messages that the peer has not handled, since the last call; also of those
    /// that an earlier instance has accepted. Without it they pile up; an outcome that was taken is not
    /// told by [`outcome`](Self::outcome) any more.
    pub fn take_outcomes(&mut self) -> BTreeMap<MessageId, Outcome> {
        self.outbound.take_outcomes()
    }

    /// Takes the peer's words about rejected messages, since the last call. To be called with
    /// [`take_outcomes`](Self::take_outcomes).
    pub fn take_texts(&mut self) -> BTreeMap<MessageId, RejectText> {
        self.outbound.take_texts()
    }

    /// Returns the number of messages that wait for their acknowledgement.
    #[must_use]
    pub fn outbox_messages(&self) -> usize {
        self.outbound.messages()
    }

    /// Returns the bytes that wait for their acknowledgement, Σ(24 + length).
    #[must_use]
    pub fn outbox_bytes(&self) -> u64 {
        self.outbound.bytes()
    }

    /// Returns the time at which the oldest message that waits was accepted.
    #[must_use]
    pub fn oldest(&self) -> Option<Millis> {
        self.outbound.oldest()
    }

    /// Returns the number of messages that are transmitted in the current session and not
    /// acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        if self.session.is_some() { self.outbound.in_flight() } else { 0 }
    }

    /// Returns whether the peer is shutting down and takes no new messages.
    #[must_use]
    pub fn peer_drains(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.peer_drains)
    }

    /// Returns the number of messages by outcome.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.outbound.counts()
    }

    /// Returns whether `session` is the current one.
    #[must_use]
    pub fn is_current(&self, session: SessionId) -> bool {
        self.session.as_ref().is_some_and(|current| current.id == session)
    }

    /// Returns the next message or batch, with the acknowledgement that it can carry; before the
    /// first one, the request to hold back messages if this side shuts down.
    fn next_message(&mut self, now: Millis) -> Option<Frame> {
        let session = self.session.as_mut()?;
        if self.draining && !session.told_drain {
            session.told_drain = true;
            return Some(Frame::Drain);
        }
        if session.peer_drains {
            return None;
        }
        let limits = TransmitLimits {
            now,
            credit: session.credit.left(),
            max_payload: session.max_payload,
            in_flight: self.config.in_flight,
            batch: session.batch,
        };
        let next = self.outbound.next(&session.ours, &limits)?;
        session.credit.spend(next.cost());
        let ack = self.carried_ack();
        Some(match next {
            Next::Skip { stream, to } => Frame::Skip(Skip { stream, to, ack }),
            Next::Message { stream, number, again, payload } => {
                Frame::Data(Data { stream, again, number, ack, payload })
            }
            Next::Batch { stream, first, again, messages } => {
                Frame::Batch(Batch { stream, again, first, ack, messages })
            }
        })
    }

    pub(super) fn facts(&self) -> Option<Facts> {
        let session = self.session.as_ref()?;
        let cursor_moved = self.inbound.due(&session.theirs).is_some();
        Some(session.facts(self.inbound.held(), cursor_moved, self.draining))
    }

    fn receive_messages<P: IntoIterator<Item = Payload>>(
        &mut self,
        stream: u8,
        ack: Completed,
        cost: u64,
        messages: Arriving<P>,
        arrived: &mut Vec<Incoming>,
    ) -> Result<bool, Violation> {
        let Some(session) = &mut self.session else { return Ok(false) };
        let instance = session.their_stream(stream)?;
        session.window.take(cost)?;
        let progress = self.receive_completed(ack, &[])?;
        let taken = self.inbound.take(instance, stream, &self.config, messages, arrived)?;
        if let Some(session) = &mut self.session {
            if taken.repeats > 0 {
                session.acks.note_repeat();
            }
            session.acks.note_completed(taken.finished);
        }
        Ok(progress)
    }

    fn receive_calls(&mut self, calls: CallsFrame) -> Result<bool, Violation> {
        let progress = self.receive_completed(calls.ack, &[])?;
        self.calls_or_new().receive(calls)?;
        Ok(progress)
    }

    fn receive_ack(&mut self, ack: &Ack) -> Result<bool, Violation> {
        let progress = self.receive_completed(ack.ack, &ack.rejected)?;
        if let Some(session) = &mut self.session {
            session.credit.raise(ack.credit);
        }
        Ok(progress)
    }

    fn receive_skip(&mut self, skip: Skip) -> Result<bool, Violation> {
        let Some(session) = &mut self.session else { return Ok(false) };
        let stream = session.their_stream(skip.stream)?;
        let progress = self.receive_completed(skip.ack, &[])?;
        let news = self.inbound.skip(stream, skip.to);
        if let Some(session) = &mut self.session {
            if news { session.acks.note_completed(1) } else { session.acks.note_repeat() }
        }
        Ok(progress)
    }

    fn receive_completed(
        &mut self,
        ack: Completed,
        rejected: &[crate::Rejection],
    ) -> Result<bool, Violation> {
        let Some(session) = &self.session else {
            return Ok(false);
        };
        let stream = session.our_stream(ack.stream)?;
        self.outbound.acknowledge(stream, ack.number, rejected)
    }
}
