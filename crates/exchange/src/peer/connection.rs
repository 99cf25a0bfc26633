//! The connection of a peer, as the transport sees it: it takes the slot, carries the peer's
//! frames, and ends. Implements `docs/protocol.md` §5.2, §6 and §8 (rules R3, R4, R5).

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use paddington_transport::{End, ReadyReservation, Refusal, Reservation, SessionKeys, Traffic};
use paddington_wire::link::{AckTime, Incoming, Millis, Started};
use paddington_wire::{
    CloseCode, Content, Encoding, Frame, Instance, Ready, RejectCode, SessionId, Text, Ticket,
    Violation,
};
use tokio::time::Sleep;
use tracing::{debug, error, info, warn};

use super::Peer;
use super::calls::CallNews;
use super::inbox::Received;
use super::outbox::PeerLink;
use super::peer::wake;
use super::presence::{NotTaken, Order, Probed};
use super::reports::Cause;
use super::state::State;
use crate::Event;

/// The most messages of one frame for which the buffer stays allocated: most connections are idle.
const ARRIVED: usize = 64;

/// The right to take a peer's slot, as long as no later ticket was drawn.
#[derive(Debug)]
pub(crate) struct PeerReservation {
    peer: Arc<Peer>,
    ticket: Ticket,
    /// Where the connection comes from; `None` if this side has opened it.
    address: Option<IpAddr>,
    /// The connection that was probed and gave no sign of life.
    probed: Option<Probed>,
}

/// A [`PeerReservation`] whose READY is sealed.
#[derive(Debug)]
pub(crate) struct ReadyPeerReservation {
    reservation: PeerReservation,
    ours: Ready,
}

/// Traffic of the connection that holds a peer's slot.
#[derive(Debug)]
pub(crate) struct PeerTraffic {
    peer: Arc<Peer>,
    session: SessionId,
    /// Fires when an acknowledgement that waits is to be sent.
    ack_timer: Pin<Box<Sleep>>,
    /// The time for which the timer is set.
    ack_at: Option<Millis>,
    /// Messages of the frame that is being received; empty between two frames.
    arrived: Vec<Incoming>,
    /// What the frame that is being received has told about calls; `None` between two frames.
    news: Option<CallNews>,
    /// Whether other tasks had their turn before requests are transmitted.
    yielded: bool,
}

impl PeerReservation {
    /// Draws the next ticket for the peer's slot.
    pub(crate) fn new(peer: &Arc<Peer>, probed: Option<Probed>, address: Option<IpAddr>) -> Self {
        let ticket = peer.lock().ticket();
        Self { peer: Arc::clone(peer), ticket, address, probed }
    }

    /// Takes the slot for a session that `start` starts.
    fn take(
        self,
        instance: Option<Instance>,
        start: impl FnOnce(&mut State, SessionId) -> Result<CallNews, Violation>,
    ) -> Result<PeerTraffic, Refusal> {
        let peer = self.peer;
        let mut state = peer.lock();
        let taken = state.take_slot(self.ticket, instance, self.probed, self.address);
        let taken = taken.map_err(|why| match why {
            NotTaken::Alive => Refusal::Close(CloseCode::Busy),
            NotTaken::Superseded => Refusal::Silent,
            NotTaken::Removed => Refusal::Close(CloseCode::Removed),
        })?;
        let news = match start(&mut state, taken.session) {
            Ok(news) => news,
            Err(violation) => {
                state.give_back_slot(taken.session);
                drop(state);
                wake(taken.replaced);
                peer.tell_heard();
                peer.tell_progress();
                let cause = violation;
                error!(peer = %peer.name, %cause, "refused: the peer's READY is invalid");
                return Err(Refusal::Close(CloseCode::Violation));
            }
        };
        state.announce(&peer.name, instance);
        let encoding = state.encoding();
        let worker = state.take_worker_waker();
        drop(state);
        wake(taken.replaced);
        wake(worker);
        peer.tell_calls(news);
        peer.tell_heard();
        log_connected(&peer, encoding);
        peer.shared.tell(Event::Up { peer: peer.name.clone() });
        Ok(PeerTraffic::new(peer, taken.session))
    }
}

fn log_connected(peer: &Peer, encoding: Encoding) {
    if encoding == Encoding::Hex {
        warn!(peer = %peer.name, %encoding, "connected in an encoding that does not resist replay");
    } else {
        info!(peer = %peer.name, %encoding, "connected");
    }
}

impl Reservation for PeerReservation {
    type Traffic = PeerTraffic;
    type ReadyReservation = ReadyPeerReservation;

    fn may_speak(&self) -> bool {
        self.peer.lock().may_speak()
    }

    fn ready(self) -> (Ready, ReadyPeerReservation) {
        let ours = self.peer.ready();
        (ours.clone(), ReadyPeerReservation { reservation: self, ours })
    }

    fn establish(self) -> Result<PeerTraffic, Refusal> {
        self.take(None, |_, _| Ok(CallNews::default()))
    }
}

impl ReadyReservation for ReadyPeerReservation {
    type Traffic = PeerTraffic;

    fn establish(self, theirs: &Ready, keys: SessionKeys) -> Result<PeerTraffic, Refusal> {
        let Self { reservation, ours } = self;
        let peer = Arc::clone(&reservation.peer);
        if peer.keys().is_some_and(|link| link.ring().generation(keys.generation).is_none()) {
            return Err(Refusal::Silent); // others have taken their place during the handshake
        }
        let traffic = reservation.take(Some(theirs.instance), |state, session| {
            if let Some(link) = peer.keys() {
                link.begin(&peer, session, keys, [ours.features, theirs.features]);
            }
            let (started, freed) =
                state.start_session(&peer.shared.room, session, [&ours, theirs], peer.now())?;
            state.settle_inbox(&peer.shared.inboxes);
            peer.note_freed(state, freed);
            peer.note_store_work(state);
            report_regression(&peer, started);
            Ok(peer.take_call_events(state))
        })?;
        if peer.are_keys_fixed() {
            info!(peer = %peer.name, "the keys stay as they are: the peer has no place for new ones");
        }
        peer.attend_keys();
        Ok(traffic)
    }
}

fn report_regression(peer: &Peer, started: Started) {
    if started.regressed {
        error!(
            peer = %peer.name,
            "the peer has received messages that the store does not know: the store was restored \
             from an older copy, or has lost something; messages may repeat, but none that is \
             accepted from now on is lost"
        );
        peer.shared.tell(Event::StateRegressed { peer: peer.name.clone() });
    }
}

impl PeerTraffic {
    fn new(peer: Arc<Peer>, session: SessionId) -> Self {
        let ack_timer = Box::pin(tokio::time::sleep(peer.shared.config.ack_delay));
        Self {
            peer,
            session,
            ack_timer,
            ack_at: None,
            arrived: Vec::new(),
            news: None,
            yielded: false,
        }
    }

    /// Takes the next frame from the peer's link.
    fn next_frame(&mut self, state: &mut State, cx: &mut Context<'_>) -> Option<Frame> {
        let peer = Arc::clone(&self.peer);
        let now = peer.now();
        state.widen_window(&peer.shared.inboxes);
        let (mut frame, freed) = state.outbox_mut().transmit(&peer.shared.room, self.session, now);
        peer.note_freed(state, freed);
        if frame.is_none()
            && let Some(link) = state.sealed_link()
            && let AckTime::At(at) = link.ack_time(now)
            && self.poll_ack_timer(at, cx)
        {
            frame = link.transmit(self.session, at);
        }
        if matches!(&frame, Some(Frame::Ack(ack)) if !ack.rejected.is_empty()) {
            peer.renew_session_if_wanted(state);
        }
        if matches!(frame, None | Some(Frame::Calls(_)))
            && state.sealed_link().is_some_and(|link| link.has_call_events())
        {
            // Requests that have ended before they were transmitted.
            let news = peer.take_call_events(state);
            peer.tell_calls(news);
        }
        let wants_mark = |state: &mut State| state.sealed_link().is_some_and(|it| it.wants_mark());
        if peer.store().is_some() && (frame.is_none() || wants_mark(state)) {
            peer.tell_work(); // the next message may have to be read, or needs a mark
        }
        frame
    }

    /// Returns whether other tasks get their turn first: those that were woken together ask again
    /// together, and then their requests share a frame. No message waits for that.
    fn yields(&mut self, state: &mut State) -> bool {
        let yields = !self.yielded && state.has_calls() && state.asks_together();
        self.yielded = yields;
        yields
    }

    /// Returns whether the time of an acknowledgement has come. If not, the timer wakes the
    /// connection.
    fn poll_ack_timer(&mut self, at: Millis, cx: &mut Context<'_>) -> bool {
        if self.ack_at != Some(at) {
            self.ack_at = Some(at);
            self.ack_timer.as_mut().reset(self.peer.shared.moment(at));
        }
        self.ack_timer.as_mut().poll(cx).is_ready()
    }

    /// Returns the next of the last frames: acknowledgements that are due, then CLOSE.
    fn last_frame(&self, state: &mut State, code: CloseCode) -> Frame {
        let ack = state.sealed_link().and_then(|link| link.acknowledge(self.session));
        ack.unwrap_or(Frame::Close(code))
    }

    fn receive_bare(&self, state: &mut State, text: Text) -> Result<(), Violation> {
        let max = self.peer.shared.config.transport.limits.max_payload;
        match u32::try_from(text.len()) {
            Ok(len) if len <= max => {}
            len => return Err(Violation::TooLong { len: len.unwrap_or(u32::MAX), max }),
        }
        state.inbox_mut().push(Received { id: None, again: false, content: text.into() });
        Ok(())
    }

    fn receive_sealed(&mut self, state: &mut State, frame: Frame) -> Result<(), Violation> {
        let room = &self.peer.shared.room;
        let has_calls = matches!(frame, Frame::Calls(_));
        let (received, freed) = state.outbox_mut().change(room, |link| match link {
            PeerLink::Sealed(link) => link.receive(self.session, frame, &mut self.arrived),
            PeerLink::Hex(_) => Err(Violation::OtherEncoding),
        });
        self.peer.note_freed(state, freed);
        received?;
        if has_calls {
            self.news = Some(self.peer.take_call_events(state));
            return Ok(());
        }
        if self.arrived.len() < ARRIVED {
            self.arrived.shrink_to(ARRIVED);
        }
        let (before, mut not_text) = (state.inbox_mut().len(), 0);
        for message in self.arrived.drain(..) {
            let (id, again) = (message.id, message.again);
            match Content::try_from(message.payload) {
                Ok(content) => state.inbox_mut().push(Received { id: Some(id), again, content }),
                Err(_) => {
                    not_text += 1;
                    if let Some(link) = state.sealed_link() {
                        link.handled(id, Err(RejectCode::NOT_TEXT));
                    }
                }
            }
        }
        if not_text > 0 {
            let detail = "send text, in UTF-8";
            state.reports_mut().report(&self.peer.name, Cause::NotText, not_text, detail);
            // The rejected messages no longer count, so the others must not keep the block that
            // they share.
            state.inbox_mut().detach_from(before);
            self.peer.renew_session_if_wanted(state);
        }
        if let Some((held, waker)) = state.revoke_credit(self.session) {
            let detail = format!("{held} bytes are held");
            state.reports_mut().report(&self.peer.name, Cause::Small, 1, &detail);
            wake(waker);
        }
        Ok(())
    }
}

impl Traffic for PeerTraffic {
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<Frame> {
        let peer = Arc::clone(&self.peer);
        let mut state = peer.lock();
        match state.take_order(self.session) {
            Order::Close(CloseCode::Replaced) => {
                return Poll::Ready(Frame::Close(CloseCode::Replaced));
            }
            Order::Close(code) => return Poll::Ready(self.last_frame(&mut state, code)),
            Order::Probe => return Poll::Ready(Frame::Ping(u64::MAX)),
            Order::Say => {
                if let Some(frame) = state.take_said(self.session) {
                    return Poll::Ready(frame);
                }
            }
            Order::Carry => {}
        }
        if self.yields(&mut state) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(frame) = self.next_frame(&mut state, cx) {
            return Poll::Ready(frame);
        }
        state.set_waker(self.session, cx);
        Poll::Pending
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<CloseCode> {
        let mut state = self.peer.lock();
        if let Some(code) = state.closing(self.session) {
            return Poll::Ready(code);
        }
        state.set_waker(self.session, cx);
        Poll::Pending
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.peer.lock();
        let full = state.takes_no_more(&self.peer.shared);
        if full && state.set_waker(self.session, cx) { Poll::Pending } else { Poll::Ready(()) }
    }

    fn receive(&mut self, frame: Frame) -> Result<(), Violation> {
        let peer = Arc::clone(&self.peer);
        let mut state = peer.lock();
        if !state.hear(self.session) || state.has_ended() {
            return Ok(());
        }
        let stopping = || peer.shared.stopping.is_cancelled();
        // An acknowledgement of answers may be what a shutdown waits for.
        if matches!(frame, Frame::Drain)
            && let Some(keys) = peer.keys()
        {
            keys.drain(&peer);
        }
        let drains =
            matches!(frame, Frame::Drain) || (matches!(frame, Frame::Calls(_)) && stopping());
        let received = match frame {
            Frame::Ping(_) => Ok(()),
            Frame::Pong(token) => {
                state.presence.answered(self.session, token);
                Ok(())
            }
            Frame::Bare(text) => self.receive_bare(&mut state, text),
            Frame::Renew(_) | Frame::Renewed(_) => {
                drop(state);
                peer.tell_heard();
                return peer.receive_keys(self.session, &frame);
            }
            frame => self.receive_sealed(&mut state, frame),
        };
        let worker = state.take_worker_waker();
        drop(state);
        wake(worker);
        if let Some(news) = self.news.take() {
            peer.tell_calls(news);
        }
        peer.tell_heard();
        if drains {
            peer.tell_progress();
        }
        received
    }

    fn measured(&mut self, round_trip: Duration) {
        self.peer.lock().presence.measured(self.session, round_trip);
    }

    fn ended(self, end: &End) {
        let peer = self.peer;
        let mut state = peer.lock();
        let left = matches!(end, End::PeerClosed(CloseCode::Shutdown));
        if let Some(keys) = peer.keys() {
            keys.end(&peer, self.session);
        }
        if !state.end_session(&peer.name, self.session, left) {
            drop(state);
            debug!(peer = %peer.name, cause = %end, "an older connection has ended");
            return;
        }
        state.settle_inbox(&peer.shared.inboxes);
        count_end(&mut state, end);
        if !is_as_intended(end) {
            state.note_error(end.into());
        }
        let worker = state.take_worker_waker();
        drop(state);
        wake(worker);
        peer.tell_ended();
        peer.tell_heard();
        peer.tell_progress();
        log_ended(&peer, end);
        peer.shared.tell(Event::Down { peer: peer.name.clone(), cause: end.to_string() });
    }
}

/// Returns whether a connection has ended because this side shuts down, or its session is renewed.
fn is_as_intended(end: &End) -> bool {
    matches!(
        end,
        End::Closed(CloseCode::SessionAge | CloseCode::Shutdown)
            | End::PeerClosed(CloseCode::SessionAge)
    )
}

fn count_end(state: &mut State, end: &End) {
    let counters = state.counters_mut();
    match end {
        End::Dead | End::Stuck => counters.dead += 1,
        End::Tampered(_) | End::Violation(_) => counters.violations += 1,
        _ => {}
    }
}

fn log_ended(peer: &Peer, end: &End) {
    let peer = &peer.name;
    match end {
        End::Tampered(cause) => {
            error!(%peer, %cause, "disconnected: the connection was tampered with");
        }
        End::Violation(cause) => error!(%peer, %cause, "disconnected: the peer broke the protocol"),
        End::PeerClosed(CloseCode::Removed) => {
            error!(%peer, "disconnected: the peer has removed this link; ask for a new invitation");
        }
        End::Exhausted(cause) => warn!(%peer, %cause, "disconnected"),
        End::Lost(cause) => info!(%peer, %cause, "disconnected: the connection was lost"),
        end => info!(%peer, cause = %end, "disconnected"),
    }
}
