//! The link itself: both directions and the session that joins them.

use bytes::Bytes;

use super::LinkConfig;
use super::faults::{Fault, broken};
use super::inbound::{Arriving, Inbound, Incoming};
use super::outbound::{Counts, Full, Limits, Next, Outbound, Outcome};
use super::restore::{Restored, RestoredCursor};
use super::session::{AckDue, LinkSession, SessionId};
use crate::frame::{Ack, Batch, Completed, Data, Features, Frame, Ready, Skip};
use crate::{Instance, MessageId, RejectCode, Violation};

/// A point in time, in milliseconds since any fixed moment, the same for one link.
pub type Millis = u64;

/// The most streams that READY can list.
const MAX_LISTED: usize = 64;
/// The most rejections in one ACK.
const MAX_REJECTIONS: usize = 64;

/// Everything that one service remembers of its exchange with one peer.
///
/// See the [module](crate::link) for how it is driven.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    config: LinkConfig,
    instance: Instance,
    peer: Option<Instance>,
    outbound: Outbound,
    inbound: Inbound,
    session: Option<LinkSession>,
    draining: bool,
}

/// What a new session means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The peer is in a life that was not seen before.
    pub new_instance: bool,
    /// Messages of this side were acknowledged by the way.
    pub progress: bool,
    /// The peer has seen messages of an earlier life that this side's store does not know: it was
    /// restored from a copy, or has lost something (rule R10).
    pub regressed: bool,
}

/// What changed of the cursors since it was last asked for, for a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CursorChanges {
    /// Cursors that have moved, as they are now.
    pub moved: Vec<RestoredCursor>,
    /// Lives of the peer that are over and handled.
    pub forgotten: Vec<Instance>,
}

impl Link {
    /// A link that nothing has happened on, in the life of this service called `instance`.
    #[must_use]
    pub fn new(config: LinkConfig, instance: Instance) -> Self {
        Self {
            config,
            instance,
            peer: None,
            outbound: Outbound::new(instance),
            inbound: Inbound::default(),
            session: None,
            draining: false,
        }
    }

    /// A link that goes on from what a store has kept. Whoever drives it tells it what is
    /// [`stored`](Self::stored) and [`trimmed`](Self::trimmed), and supplies what it
    /// [wants](Self::wanted).
    #[must_use]
    pub fn restore(config: LinkConfig, instance: Instance, restored: Restored) -> Self {
        Self {
            outbound: Outbound::restore(instance, restored.streams),
            inbound: Inbound::restore(restored.cursors),
            ..Self::new(config, instance)
        }
    }

    /// Recalls, after [`restore`](Self::restore), that a message of the peer was given up: the peer
    /// may not have been told yet.
    pub fn recall(&mut self, id: MessageId, code: RejectCode) {
        self.inbound.recall(id, code);
    }

    /// From now on the peer is asked, in every session, to hold back new messages.
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
        payload: Bytes,
        now: Millis,
        deadline: Option<Millis>,
    ) -> Result<MessageId, Full> {
        self.room_for(payload.len())?;
        Ok(self.outbound.enqueue(payload, now, deadline))
    }

    /// Whether a message of `len` bytes fits into the outbox.
    ///
    /// # Errors
    ///
    /// [`Full`] if it does not.
    pub fn room_for(&self, len: usize) -> Result<(), Full> {
        self.config.room_for(len, self.outbound.messages(), self.outbound.bytes())
    }

    /// Takes note that the store has every message of this life up to `number`: now they may be
    /// transmitted.
    pub fn stored(&mut self, number: u64) {
        self.outbound.stored(number, &self.config);
    }

    /// Takes back what was accepted and could not be stored; nothing of it was transmitted. Returns
    /// how many messages that were.
    pub fn unstored(&mut self) -> usize {
        self.outbound.unstored()
    }

    /// The first message that is to be transmitted before long and is in the store only.
    #[must_use]
    pub fn wanted(&self) -> Option<MessageId> {
        self.outbound.wanted(&self.session.as_ref()?.ours)
    }

    /// Takes the payload of a message that was [wanted](Self::wanted) from the store.
    pub fn supply(&mut self, id: MessageId, payload: Bytes) {
        self.outbound.supply(id, payload);
    }

    /// The last message of each stream that the store may forget, with all before it, where that is
    /// news.
    pub fn take_trims(&mut self) -> Vec<MessageId> {
        self.outbound.take_trims()
    }

    /// Takes note that the store has durably forgotten everything up to `id` (rule R14).
    pub fn trimmed(&mut self, id: MessageId) {
        self.outbound.trimmed(id);
    }

    /// What the store is to remember of the cursors, where that is news.
    pub fn take_cursors(&mut self) -> CursorChanges {
        self.inbound.take_changes()
    }

    /// Whether streams wait that the session does not know of, because there were too many to
    /// declare: a new session has room for them.
    #[must_use]
    pub fn wants_new_session(&self) -> bool {
        let Some(session) = &self.session else { return false };
        let mut backlog = self.outbound.backlog().peekable();
        backlog.peek().is_some() && backlog.all(|instance| !session.ours.contains(&instance))
    }

    /// Gives up everything that waits. Returns how many messages that were.
    pub fn abandon(&mut self) -> usize {
        self.outbound.abandon()
    }

    /// Gives up what has expired by `now`. Returns whether anything has.
    pub fn expire(&mut self, now: Millis) -> bool {
        self.outbound.expire(now)
    }

    /// This side's READY as of now.
    #[must_use]
    pub fn ready(&self) -> Ready {
        let room = self.config.whole_window().saturating_sub(self.inbound.held());
        Ready {
            instance: self.instance,
            max_payload: self.config.max_payload,
            window: u32::try_from(room).unwrap_or(u32::MAX),
            features: Features::BATCH,
            mine: self.outbound.states(MAX_LISTED),
            yours: self.inbound.states(MAX_LISTED),
        }
    }

    /// Begins a session: `ours` is the READY that this side sent, `theirs` is the peer's. A session
    /// that still stands ends with this.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the peer claims to have what was never sent; no session stands then.
    pub fn start(
        &mut self,
        id: SessionId,
        ours: &Ready,
        theirs: &Ready,
    ) -> Result<Started, Violation> {
        self.session = None;
        let waiting = self.outbound.messages();
        let regressed = self.outbound.resume(&theirs.yours, &ours.mine)?;
        self.inbound.resume(&theirs.mine, &ours.yours);
        self.session = Some(LinkSession::new(id, &self.config, ours, theirs));
        let new_instance = self.peer.replace(theirs.instance) != Some(theirs.instance);
        Ok(Started { new_instance, progress: self.outbound.messages() < waiting, regressed })
    }

    /// Ends `session`, if it is the one that stands.
    pub fn end(&mut self, session: SessionId) {
        if self.is_current(session) || broken(Fault::CleanUpByName) {
            self.session = None;
        }
    }

    /// Takes a frame of `session` in and puts the messages that are new behind those in `arrived`.
    /// Frames of a session that is over mean nothing (rule R5), and those that are no business of a
    /// link, like PING, are ignored. Returns whether messages of this side were acknowledged.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the peer broke the protocol. The session is to be ended.
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
            Frame::Data(data) => self.receive_data(data, arrived),
            Frame::Batch(batch) => self.receive_batch(batch, arrived),
            Frame::Ack(mut ack) => {
                ack.rejected.sort_unstable_by_key(|rejection| rejection.number);
                self.receive_ack(&ack)
            }
            Frame::Skip(skip) => self.receive_skip(skip),
            Frame::Drain => {
                self.receive_drain();
                Ok(false)
            }
            _ => Ok(false),
        };
        if received.is_err() {
            self.session = None; // whatever else it sends means nothing
        }
        received
    }

    /// Takes note that the application is done with a message (rule R12).
    pub fn handled(&mut self, id: MessageId, outcome: Result<(), RejectCode>) {
        self.inbound.handled(id, outcome);
        if let Some(session) = &mut self.session {
            session.note_completed(1);
        }
    }

    /// The next frame to transmit in `session`: an acknowledgement that is due at once, or the next
    /// message, or several, or nothing.
    pub fn transmit(&mut self, session: SessionId, now: Millis) -> Option<Frame> {
        if !self.is_current(session) {
            return None;
        }
        if self.ack_due() == AckDue::Now {
            return self.acknowledge(session);
        }
        let session = self.session.as_mut()?;
        if self.draining && !session.told_drain {
            session.told_drain = true;
            return Some(Frame::Drain);
        }
        if session.peer_drains {
            return None;
        }
        let limits = Limits {
            now,
            credit: session.credit_left(),
            max_payload: session.max_payload,
            in_flight: self.config.in_flight,
            batch: session.batch,
        };
        let next = self.outbound.next(&session.ours, &limits)?;
        let ack = self.carried_ack();
        Some(match next {
            Next::Skip { stream, to } => Frame::Skip(Skip { stream, to, ack }),
            Next::Message { stream, number, again, payload } => {
                self.spend(Data::cost(payload.len()));
                Frame::Data(Data { stream, again, number, ack, payload })
            }
            Next::Batch { stream, first, again, messages } => {
                self.spend(messages.cost());
                Frame::Batch(Batch { stream, again, first, ack, messages })
            }
        })
    }

    /// When an acknowledgement is to be sent.
    #[must_use]
    pub fn ack_due(&self) -> AckDue {
        let Some(session) = &self.session else {
            return AckDue::No;
        };
        let cursor_due = self.inbound.due(&session.theirs).is_some();
        let longest = Data::cost(self.config.max_payload as usize);
        session.ack_due(self.config.whole_window(), longest, self.inbound.held(), cursor_due)
    }

    /// The acknowledgement that is due in `session`, if any. Ask again until there is none.
    pub fn acknowledge(&mut self, session: SessionId) -> Option<Frame> {
        if !self.is_current(session) || self.ack_due() == AckDue::No {
            return None;
        }
        let session = self.session.as_mut()?;
        let credit = session.grant(self.config.whole_window(), self.inbound.held());
        let rejections =
            MAX_REJECTIONS.min(session.max_payload as usize / Ack::REJECTION_LEN).max(1);
        let due = self.inbound.due(&session.theirs).map(|due| self.inbound.tell(due, rejections));
        Some(Frame::Ack(match due {
            Some(due) => Ack {
                ack: Completed { stream: due.stream, number: due.number },
                credit,
                rejected: due.rejected,
            },
            None => Ack { credit, ..Ack::default() },
        }))
    }

    /// When the next message expires, if it is not transmitted by then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.outbound.next_deadline()
    }

    /// What became of a message that this life accepted.
    #[must_use]
    pub fn outcome(&self, id: MessageId) -> Outcome {
        self.outbound.outcome(id)
    }

    /// How many messages wait for their acknowledgement.
    #[must_use]
    pub fn outbox_messages(&self) -> usize {
        self.outbound.messages()
    }

    /// How many bytes wait for their acknowledgement, Σ(24 + length).
    #[must_use]
    pub fn outbox_bytes(&self) -> u64 {
        self.outbound.bytes()
    }

    /// When the oldest message that waits was accepted.
    #[must_use]
    pub fn oldest(&self) -> Option<Millis> {
        self.outbound.oldest()
    }

    /// How many messages are transmitted in the current session and not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        if self.session.is_some() { self.outbound.in_flight() } else { 0 }
    }

    /// Whether the peer shuts down and takes no new messages.
    #[must_use]
    pub fn peer_drains(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.peer_drains)
    }

    /// Whether either side shuts down.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.draining || self.peer_drains()
    }

    /// How many messages met which fate.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.outbound.counts()
    }

    /// How many bytes were taken in and are not handled, Σ(24 + length).
    #[must_use]
    pub fn held(&self) -> u64 {
        self.inbound.held()
    }

    /// Whether everything that was taken in is handled.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.inbound.is_idle()
    }

    /// Whether `session` is the one that stands.
    #[must_use]
    pub fn is_current(&self, session: SessionId) -> bool {
        self.session.as_ref().is_some_and(|current| current.id == session)
    }

    fn spend(&mut self, cost: u64) {
        if let Some(session) = &mut self.session {
            session.spend(cost);
        }
    }

    fn receive_data(&mut self, data: Data, arrived: &mut Vec<Incoming>) -> Result<bool, Violation> {
        let Data { stream, again, number, ack, payload } = data;
        let cost = Data::cost(payload.len());
        let messages = Arriving { again, first: number, payloads: Some(payload) };
        self.receive_messages(stream, ack, cost, messages, arrived)
    }

    fn receive_batch(
        &mut self,
        batch: Batch,
        arrived: &mut Vec<Incoming>,
    ) -> Result<bool, Violation> {
        let Batch { stream, again, first, ack, messages } = batch;
        if first.checked_add(messages.count() as u64 - 1).is_none() {
            return Err(Violation::BadPayload);
        }
        let cost = messages.cost();
        let messages = Arriving { again, first, payloads: messages };
        self.receive_messages(stream, ack, cost, messages, arrived)
    }

    fn receive_messages<P: IntoIterator<Item = Bytes>>(
        &mut self,
        stream: u8,
        ack: Completed,
        cost: u64,
        messages: Arriving<P>,
        arrived: &mut Vec<Incoming>,
    ) -> Result<bool, Violation> {
        let Some(session) = &mut self.session else { return Ok(false) };
        let instance = session.their_stream(stream)?;
        session.take(cost)?;
        let progress = self.receive_completed(ack, &[])?;
        let taken = self.inbound.take(instance, stream, messages, arrived)?;
        if let Some(session) = &mut self.session {
            if taken.repeats > 0 {
                session.note_repeat();
            }
            session.note_completed(taken.finished);
        }
        Ok(progress)
    }

    fn receive_ack(&mut self, ack: &Ack) -> Result<bool, Violation> {
        let progress = self.receive_completed(ack.ack, &ack.rejected)?;
        if let Some(session) = &mut self.session {
            session.raise_credit(ack.credit);
        }
        Ok(progress)
    }

    fn receive_skip(&mut self, skip: Skip) -> Result<bool, Violation> {
        let Some(session) = &mut self.session else { return Ok(false) };
        let stream = session.their_stream(skip.stream)?;
        let progress = self.receive_completed(skip.ack, &[])?;
        let news = self.inbound.skip(stream, skip.to);
        if let Some(session) = &mut self.session {
            if news { session.note_completed(1) } else { session.note_repeat() }
        }
        Ok(progress)
    }

    fn receive_drain(&mut self) {
        if let Some(session) = &mut self.session {
            session.peer_drains = true;
        }
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

    /// The acknowledgement that a message can carry: one without rejections, which need an ACK.
    fn carried_ack(&mut self) -> Completed {
        let Some(session) = &mut self.session else {
            return Completed::default();
        };
        let Some(due) = self.inbound.due(&session.theirs) else {
            return Completed::default();
        };
        let told = self.inbound.tell(due, 0);
        if self.inbound.due(&session.theirs).is_none() {
            session.note_carried();
        }
        Completed { stream: told.stream, number: told.number }
    }
}
