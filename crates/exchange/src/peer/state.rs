//! State of one peer, behind its lock. Its methods keep what belongs together in step: the link and
//! the room that it takes, the slot and the connection, the inbox and the workers.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use paddington_transport::Explanation;
use paddington_wire::link::{CursorChanges, Link, Millis, Outcome, Started};
use paddington_wire::{
    CloseCode, Encoding, Frame, Instance, PeerName, Ready, RejectCode, SessionId, Software, Ticket,
    Violation,
};
use tokio::time::Instant;

use super::Number;
use super::appends::{Append, Appends, Stored};
use super::attempts::Attempts;
use super::calls::Calls;
use super::handshakes::Handshakes;
use super::inbox::{Call, Ended, Failure, Inbox};
use super::inbox_room::{InboxRoom, Lease};
use super::outbox::{Outbox, PeerLink};
use super::presence::{Absence, NotTaken, Order, Presence, Probed, Taken};
use super::reports::Reports;
use super::room::Room;
use super::shared::Shared;
use super::standing::Standing;
use super::term_state::TermState;
use super::workers::{WorkerId, Workers};
use crate::status::{LastError, PeerCounters};
use crate::store::Answer;

/// State of one peer.
#[derive(Debug)]
pub(super) struct State {
    pub(super) outbox: Outbox,
    pub(super) presence: Presence,
    pub(super) inbox: Inbox,
    /// `None` before the first call.
    pub(super) calls: Option<Box<Calls>>,
    pub(super) lease: Lease,
    pub(super) workers: Workers,
    appends: Appends,
    pub(super) counters: PeerCounters,
    reports: Reports,
    pub(super) handshakes: Handshakes,
    /// The software of the peer, as it says.
    pub(super) software: Software,
    pub(super) standing: Standing,
    pub(super) attempts: Attempts,
    /// `None` without a store that replicas share. Boxed because few services have one.
    pub(super) term: Option<Box<TermState>>,
}

/// Answer to the question whether a newcomer may take the slot.
#[derive(Debug)]
pub(super) enum Probing {
    /// The slot is free, or held by the same instance.
    Free,
    /// The connection that holds the slot may be alive, and cannot be probed.
    InUse,
    /// The connection that holds the slot is to be woken, and has to show a sign of life.
    Asked(Probed, Option<Waker>),
}

impl State {
    pub(super) fn new(link: PeerLink, shared: &Shared, term: Option<TermState>) -> Self {
        Self {
            outbox: Outbox::new(link, &shared.room),
            presence: Presence::default(),
            inbox: Inbox::default(),
            calls: None,
            lease: shared.inboxes.lease(),
            workers: Workers::new(shared.config.concurrency),
            appends: Appends::default(),
            counters: PeerCounters::default(),
            reports: Reports::default(),
            handshakes: Handshakes::default(),
            software: Software::default(),
            standing: Standing::default(),
            attempts: Attempts::default(),
            term: term.map(Box::new),
        }
    }

    /// Keeps why a connection has ended or an attempt has failed, for whoever asks.
    pub(super) fn note_error(&mut self, explanation: Explanation) {
        let Explanation { code, cause, remedy, .. } = explanation;
        self.attempts.failed(LastError { at: SystemTime::now(), code, cause, remedy });
    }

    pub(super) fn counters_mut(&mut self) -> &mut PeerCounters {
        &mut self.counters
    }

    pub(super) fn reports_mut(&mut self) -> &mut Reports {
        &mut self.reports
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.outbox.link().encoding()
    }

    // The outbox.

    /// Returns the messages that wait for the peer, and its link.
    pub(super) fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Returns the link of a `sealed` peer, for changes that free no room.
    pub(super) fn sealed_link(&mut self) -> Option<&mut Link> {
        self.outbox.sealed()
    }

    /// Returns the requests that wait for an answer of the peer or of the handler.
    pub(super) fn calls_mut(&mut self) -> &mut Calls {
        self.calls.get_or_insert_default()
    }

    /// Returns whether there may be such requests.
    pub(super) fn has_calls(&self) -> bool {
        self.calls.is_some()
    }

    /// Returns whether requests of several tasks wait to be transmitted, and nothing else does.
    pub(super) fn asks_together(&mut self) -> bool {
        let several = self.calls.as_ref().is_some_and(|calls| calls.waiters.len() > 1);
        let link = self.outbox.link();
        several
            && link.messages() == 0
            && self.sealed_link().is_some_and(|it| it.has_waiting_requests())
    }

    /// Returns this side's READY as of now.
    pub(super) fn ready(&self) -> Ready {
        self.outbox.link().ready()
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.outbox.link().next_deadline()
    }

    /// Returns the time for which the oldest message has been waiting.
    pub(super) fn oldest(&self, now: Millis) -> Duration {
        let oldest = self.outbox.link().oldest().map_or(0, |oldest| now.saturating_sub(oldest));
        Duration::from_millis(oldest)
    }

    /// Returns whether the outbox of this peer has room for `len` bytes.
    pub(super) fn has_room_for(&self, len: usize) -> bool {
        self.outbox.link().room_for(len).is_ok()
    }

    pub(super) fn outbox_messages(&self) -> usize {
        self.outbox.link().messages()
    }

    pub(super) fn outcome(&self, number: Number, instance: Instance) -> Outcome {
        self.outbox.link().outcome(number, instance)
    }

    // The slot.

    /// Counts an authenticated handshake of `instance`. Returns whether it is one too many.
    pub(super) fn count_handshake(
        &mut self,
        instance: Option<Instance>,
        now: Instant,
        max: usize,
    ) -> bool {
        let is_connected = instance.is_some() && instance == self.presence.instance();
        let refused = self.handshakes.count(instance, is_connected, now, max);
        self.counters.refused_overload += u64::from(refused);
        refused
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.presence.ticket()
    }

    /// Asks the connection that holds the slot for a sign of life, if `newcomer` has to wait for
    /// that.
    pub(super) fn probe(&mut self, newcomer: Option<Instance>, shared: &Shared) -> Probing {
        if self.presence.is_held_against(newcomer) && self.takes_no_more(shared) {
            return Probing::InUse; // nothing is read from it at the moment
        }
        match self.presence.probe(newcomer) {
            Some((probed, waker)) => Probing::Asked(probed, waker),
            None => Probing::Free,
        }
    }

    /// Returns whether the process that held the slot has said that it shuts down; `None` as long as
    /// the slot is held.
    pub(super) fn holder_has_left(&self) -> Option<bool> {
        (!self.presence.is_connected()).then(|| self.presence.has_left())
    }

    pub(super) fn is_alive(&self, probed: Probed) -> Option<bool> {
        self.presence.is_alive(probed)
    }

    /// Gives the slot to the holder of `ticket`.
    pub(super) fn take_slot(
        &mut self,
        ticket: Ticket,
        instance: Option<Instance>,
        probed: Option<Probed>,
        address: Option<IpAddr>,
    ) -> Result<Taken, NotTaken> {
        match self.standing {
            Standing::Removed => return Err(NotTaken::Removed),
            Standing::Yielding | Standing::Away => return Err(NotTaken::Superseded),
            Standing::Here | Standing::Leaving | Standing::Abandoned => {}
        }
        let taken = self.presence.take(ticket, instance, probed, address)?;
        self.counters.sessions += 1;
        self.counters.takeovers += u64::from(taken.is_takeover);
        Ok(taken)
    }

    /// Frees the slot, if `session` holds it, because its READY cannot be accepted.
    pub(super) fn give_back_slot(&mut self, session: SessionId) {
        self.presence.vacate(session, false);
    }

    /// Starts the session that has taken the slot, with both READYs. Returns the consequences, and
    /// whether room was freed.
    pub(super) fn start_session(
        &mut self,
        room: &Room,
        session: SessionId,
        [ours, theirs]: [&Ready; 2],
        now: Millis,
    ) -> Result<(Started, bool), Violation> {
        let (started, freed) = self.outbox.change(room, |link| match link {
            PeerLink::Sealed(link) => {
                let started = link.start(session, ours, theirs);
                link.forget_ended(now);
                started
            }
            PeerLink::Hex(_) => Err(Violation::OtherEncoding),
        });
        let started = started?;
        self.software.clone_from(&theirs.software);
        self.counters.regressions += u64::from(started.regressed);
        Ok((started, freed))
    }

    /// Tells the handler that the peer is connected.
    pub(super) fn announce(&mut self, agent: &PeerName, instance: Option<Instance>) {
        self.presence.announce(agent, instance, &mut self.inbox);
    }

    /// Ends `session`, if it holds the slot. `left` says whether the peer has said that it shuts
    /// down. Returns whether it held the slot.
    pub(super) fn end_session(&mut self, agent: &PeerName, session: SessionId, left: bool) -> bool {
        if !self.presence.vacate(session, left) {
            return false;
        }
        let link = self.outbox.sealed();
        let resumes = link.is_some();
        link.into_iter().for_each(|link| link.end(session));
        self.presence.announce_end(agent, resumes, &mut self.inbox);
        true
    }

    /// Tells the handler that the peer is gone, once it has been absent for `grace`.
    pub(super) fn note_absence(&mut self, agent: &PeerName, grace: Duration) -> Absence {
        self.presence.note_absence(agent, grace, &mut self.inbox)
    }

    pub(super) fn close(&mut self, code: CloseCode) -> Option<Waker> {
        self.presence.close(code)
    }

    /// Ends the session, so that nothing is transmitted or taken in any more, and asks the connection
    /// to close. Returns its waker.
    pub(super) fn close_session(&mut self, code: CloseCode) -> Option<Waker> {
        if let (Some(session), Some(link)) = (self.presence.session(), self.outbox.sealed()) {
            link.end(session);
        }
        self.presence.close(code)
    }

    // Traffic of the connection that holds the slot.

    /// Has the connection of `session` send a frame about keys. Returns its waker.
    pub(super) fn say(&mut self, session: SessionId, frame: Frame) -> Option<Waker> {
        self.presence.say(session, frame)
    }

    /// Takes the next frame about keys that the connection of `session` is to send.
    pub(super) fn take_said(&mut self, session: SessionId) -> Option<Frame> {
        self.presence.take_said(session)
    }

    pub(super) fn take_order(&mut self, session: SessionId) -> Order {
        self.presence.take_order(session)
    }

    pub(super) fn closing(&self, session: SessionId) -> Option<CloseCode> {
        self.presence.closing(session)
    }

    pub(super) fn set_waker(&mut self, session: SessionId, cx: &Context<'_>) -> bool {
        self.presence.set_waker(session, cx)
    }

    pub(super) fn hear(&mut self, session: SessionId) -> bool {
        self.presence.hear(session)
    }

    /// Returns the messages that wait for the handler.
    pub(super) fn inbox_mut(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// Lets a peer that is short of credit send more, if its messages are handled and there is room.
    pub(super) fn widen_window(&mut self, inboxes: &InboxRoom) {
        let Self { outbox, lease, .. } = self;
        if let Some(link) = outbox.sealed() {
            link.widen(|window| inboxes.take(lease, window));
        }
    }

    /// Adjusts the room of the inbox to what the link has granted or holds.
    pub(super) fn settle_inbox(&mut self, inboxes: &InboxRoom) {
        if self.has_ended() {
            return; // it has none any more
        }
        if let Some(link) = self.outbox.sealed() {
            inboxes.settle(&mut self.lease, link.committed());
        }
    }

    /// Gives back room of the inbox as messages are handled for which an earlier session had a wider
    /// window.
    pub(super) fn give_back_room(&mut self, inboxes: &InboxRoom) {
        if !self.lease.is_none() {
            self.settle_inbox(inboxes);
        }
    }

    /// Takes back the credit of the peer, if its messages take much more memory than the credit that
    /// they used, by ending `session`. Returns the bytes that it holds and the waker of the
    /// connection.
    pub(super) fn revoke_credit(&mut self, session: SessionId) -> Option<(u64, Option<Waker>)> {
        let link = self.outbox.sealed().filter(|link| link.holds_too_much())?;
        let held = link.held();
        link.end(session); // whatever else arrives in it is not taken in
        Some((held, self.presence.close(CloseCode::SessionAge)))
    }

    /// Returns whether a `hex` peer, which has no credit, is to be slowed down.
    pub(super) fn takes_no_more(&self, shared: &Shared) -> bool {
        let window = shared.config.window.min(shared.inboxes.first_window());
        let full = self.inbox.messages() >= shared.config.inbox_messages
            || self.inbox.bytes() >= window as usize
            || self.workers.is_stopping();
        full && self.encoding() == Encoding::Hex
    }

    // Calls of the handler.

    pub(super) fn workers_mut(&mut self) -> &mut Workers {
        &mut self.workers
    }

    /// Records the end of a call of `worker`. Returns whether the link has changed, and whether
    /// handling has been halted. The call is ignored if its worker was removed meanwhile.
    pub(super) fn finish_call(
        &mut self,
        worker: WorkerId,
        call: Call,
        ended: Ended,
        now: Instant,
    ) -> (bool, bool) {
        if !self.workers.is_here(worker) {
            return (false, false);
        }
        let took = self.workers.end(worker, now);
        if self.has_ended() {
            return (false, false); // nobody is told what became of it
        }
        match ended {
            Ended::Done => (self.settle_call(&call, Ok(()), took), false),
            Ended::Failed(failure) => (self.settle_call(&call, Err(failure), took), false),
            Ended::Left | Ended::Halted => {
                if let Some(item) = call.into_item() {
                    self.inbox.push_front(item);
                }
                let halts = ended == Ended::Halted;
                if halts {
                    self.workers.halt();
                }
                (false, halts)
            }
        }
    }

    /// Counts a call that has ended and reports it to the link. Returns whether the link has
    /// changed.
    fn settle_call(&mut self, call: &Call, outcome: Result<(), Failure>, took: Duration) -> bool {
        let counters = &mut self.counters;
        counters.handler_time += took;
        match &outcome {
            Ok(()) => counters.handled += u64::from(!call.is_control()),
            Err(failure) => {
                counters.failed += 1;
                counters.timed_out += u64::from(failure.code == RejectCode::TIMED_OUT);
            }
        }
        let (Some(link), Some(id)) = (self.outbox.sealed(), call.id) else { return false };
        match outcome {
            Ok(()) => link.handled(id, Ok(())),
            Err(Failure { code, text }) => link.reject(id, code, text),
        }
        true
    }

    /// Rejects the message of a call that cannot be stopped. Returns whether the link has changed.
    pub(super) fn leave_behind(&mut self, call: &Call) -> bool {
        self.counters.left_behind += 1;
        self.settle_call(call, Err(RejectCode::TIMED_OUT.into()), Duration::ZERO)
    }

    // Wakers.

    /// Returns the waker of the connection.
    pub(super) fn take_connection_waker(&mut self) -> Option<Waker> {
        self.presence.take_waker()
    }

    /// Returns the waker of the connection of a `hex` peer: the inbox may have room again.
    pub(super) fn take_hex_connection_waker(&mut self) -> Option<Waker> {
        if self.encoding() == Encoding::Hex { self.take_connection_waker() } else { None }
    }

    /// Returns the waker of the connection, if it is to look at the acknowledgements.
    pub(super) fn take_waker_for_ack(&mut self) -> Option<Waker> {
        let wakes = self.outbox.sealed().is_some_and(Link::take_ack_wakeup);
        if wakes { self.presence.take_waker() } else { None }
    }

    /// Returns the waker of a worker, if there is something to handle.
    pub(super) fn take_worker_waker(&mut self) -> Option<Waker> {
        let waits = self.inbox.is_empty() || self.workers.is_beginning();
        if waits { None } else { self.workers.next_waker() }
    }

    /// Returns the wakers of workers that may have something to do after one has found its call:
    /// the next message, or to stop.
    pub(super) fn take_more_worker_wakers(&mut self) -> Vec<Waker> {
        if self.workers.is_stopping() {
            return self.workers.wakers();
        }
        self.take_worker_waker().into_iter().collect()
    }

    // The store.

    pub(super) fn push_append(
        &mut self,
        number: Number,
        mark: Option<Number>,
        answer: Answer<()>,
    ) -> Stored {
        self.appends.push(number, mark, answer)
    }

    pub(super) fn take_appends(&mut self) -> VecDeque<Append> {
        self.appends.take()
    }

    /// Takes back a message that the store has refused, and every message after it. Returns whether
    /// room was freed, or `None` if they were taken back before.
    pub(super) fn take_back(&mut self, room: &Room, refused: &Append) -> Option<bool> {
        if !self.appends.begin_take_back(refused) {
            return None;
        }
        Some(self.outbox.take_back(room, refused.number()))
    }

    /// Notes that there is work for the store task besides appends. Returns whether that is news.
    pub(super) fn note_store_work(&mut self) -> bool {
        self.appends.note()
    }

    pub(super) fn take_store_note(&mut self) -> bool {
        self.appends.take_note()
    }

    pub(super) fn take_cursors(&mut self) -> CursorChanges {
        self.sealed_link().map(Link::take_cursors).unwrap_or_default()
    }
}
