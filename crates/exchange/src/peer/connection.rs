//! The connection of a peer, as the transport sees it.
//! Implements `docs/protocol.md` §5.2, §6 and §8 (rules R3, R4, R5).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use paddington_transport::{End, ReadyReservation, Refusal, Reservation, Traffic};
use paddington_wire::link::{AckDue, Incoming, Link, SessionId, Ticket};
use paddington_wire::{CloseCode, Encoding, Frame, Instance, Ready, RejectCode, Text, Violation};
use tokio::time::{Instant, Sleep};
use tracing::{debug, error, info, warn};

use super::inbox::Received;
use super::{Peer, PeerLink, State, Unresponsive, wake};
use crate::Event;

/// Once a frame brings fewer messages than this, room for more is given back: most connections
/// rest.
const ARRIVED: usize = 64;

/// The right to a peer's slot, until a later one is used.
#[derive(Debug)]
pub(crate) struct PeerReservation {
    peer: Arc<Peer>,
    ticket: Ticket,
    /// The connection that was asked for a sign of life and gave none.
    silent: Option<Unresponsive>,
}

/// The same, once this side's READY is sealed.
#[derive(Debug)]
pub(crate) struct ReadyPeerReservation {
    reservation: PeerReservation,
    ours: Ready,
}

/// What flows through the connection that holds a peer's slot.
#[derive(Debug)]
pub(crate) struct PeerTraffic {
    peer: Arc<Peer>,
    session: SessionId,
    ack_timer: Pin<Box<Sleep>>,
    ack_armed: bool,
    /// What a frame has brought; empty between two of them.
    arrived: Vec<Incoming>,
}

impl PeerReservation {
    /// The next place in the line for the peer's slot.
    pub(crate) fn new(peer: &Arc<Peer>, silent: Option<Unresponsive>) -> Self {
        let ticket = peer.lock().slot.ticket();
        Self { peer: Arc::clone(peer), ticket, silent }
    }

    /// Takes the slot for a session that `begin` begins.
    fn take(
        self,
        instance: Option<Instance>,
        begin: impl FnOnce(&mut State, SessionId) -> Result<(), Violation>,
    ) -> Result<PeerTraffic, Refusal> {
        let peer = self.peer;
        let mut state = peer.lock();
        if !state.gives_way(instance, self.silent) {
            return Err(Refusal::Close(CloseCode::Busy)); // it has come back to life meanwhile
        }
        let session = state.slot.take(self.ticket, instance).ok_or(Refusal::Silent)?;
        let replaced = state.go_live(session);
        if let Err(violation) = begin(&mut state, session) {
            state.slot.vacate(session);
            state.live = None;
            drop(state);
            wake(replaced);
            peer.tell_heard();
            peer.progress.notify_waiters();
            error!(peer = %peer.name, cause = %violation, "the peer claims what cannot be");
            return Err(Refusal::Close(CloseCode::Violation));
        }
        state.announce(&peer.name, instance);
        let encoding = state.link.encoding();
        let worker = state.take_worker_waker();
        drop(state);
        wake(replaced);
        wake(worker);
        peer.tell_heard();
        log_connected(&peer, encoding);
        peer.shared.tell(Event::Up { peer: peer.name.clone() });
        Ok(PeerTraffic::new(peer, session))
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

    fn ready(self) -> (Ready, ReadyPeerReservation) {
        let ours = self.peer.lock().link.ready();
        (ours.clone(), ReadyPeerReservation { reservation: self, ours })
    }

    fn establish(self) -> Result<PeerTraffic, Refusal> {
        self.take(None, |_, _| Ok(()))
    }
}

impl ReadyReservation for ReadyPeerReservation {
    type Traffic = PeerTraffic;

    fn establish(self, theirs: &Ready) -> Result<PeerTraffic, Refusal> {
        let Self { reservation, ours } = self;
        let peer = Arc::clone(&reservation.peer);
        reservation.take(Some(theirs.instance), |state, session| {
            if let PeerLink::Sealed(link) = &mut state.link {
                let started = link.start(session, &ours, theirs)?;
                peer.settle(state);
                peer.note_store_work(state);
                if started.regressed {
                    state.counters.regressions += 1;
                    report_regression(&peer);
                }
            }
            Ok(())
        })
    }
}

fn report_regression(peer: &Peer) {
    error!(
        peer = %peer.name,
        "the peer has seen messages that the store does not know: it was restored from an older \
         copy, or has lost something; messages may repeat, none accepted from now on is lost"
    );
    peer.shared.tell(Event::StateRegressed { peer: peer.name.clone() });
}

impl PeerTraffic {
    fn new(peer: Arc<Peer>, session: SessionId) -> Self {
        let delay = peer.shared.config.ack_delay;
        let ack_timer = Box::pin(tokio::time::sleep(delay));
        Self { peer, session, ack_timer, ack_armed: false, arrived: Vec::new() }
    }

    /// Takes the next frame from the peer's link, acknowledgements when their time has come.
    fn next_frame(&mut self, state: &mut State, cx: &mut Context<'_>) -> Option<Frame> {
        let now = self.peer.now();
        let frame = match &mut state.link {
            PeerLink::Hex(queue) => queue.transmit(now),
            PeerLink::Sealed(link) => {
                let mut frame = link.transmit(self.session, now);
                if frame.is_none() && self.ack_is_due(link, cx) {
                    frame = link.acknowledge(self.session);
                }
                frame
            }
        };
        if matches!(frame, Some(Frame::Ack(_))) {
            self.ack_armed = false;
        }
        if let Some(live) = state.live_mut(self.session) {
            live.ack_armed = self.ack_armed;
        }
        if frame.is_none() && self.peer.store().is_some() {
            self.peer.work.notify_one(); // something may have to be read first
        }
        self.peer.settle(state);
        frame
    }

    /// An acknowledgement goes at once if everything is handled or either side shuts down, else
    /// after a moment in which others may join it.
    fn ack_is_due(&mut self, link: &Link, cx: &mut Context<'_>) -> bool {
        if link.ack_due() == AckDue::No {
            self.ack_armed = false;
            return false;
        }
        if link.is_idle() || link.is_ending() {
            return true;
        }
        if !self.ack_armed {
            self.ack_armed = true;
            let delay = self.peer.shared.config.ack_delay;
            self.ack_timer.as_mut().reset(Instant::now() + delay);
        }
        self.ack_timer.as_mut().poll(cx).is_ready()
    }

    /// The last frames: what is to be acknowledged, then the farewell.
    fn last_frame(&self, state: &mut State, code: CloseCode) -> Frame {
        let ack = match &mut state.link {
            PeerLink::Sealed(link) => link.acknowledge(self.session),
            PeerLink::Hex(_) => None,
        };
        ack.unwrap_or(Frame::Close(code))
    }

    fn receive_bare(&self, state: &mut State, text: Text) -> Result<(), Violation> {
        let max = self.peer.shared.config.transport.limits.max_payload;
        match u32::try_from(text.len()) {
            Ok(len) if len <= max => {}
            len => return Err(Violation::TooLong { len: len.unwrap_or(u32::MAX), max }),
        }
        state.inbox.push(Received { id: None, again: false, text });
        Ok(())
    }

    fn receive_sealed(&mut self, state: &mut State, frame: Frame) -> Result<(), Violation> {
        let PeerLink::Sealed(link) = &mut state.link else {
            return Err(Violation::OtherEncoding);
        };
        let progress = link.receive(self.session, frame, &mut self.arrived)?;
        if self.arrived.len() < ARRIVED {
            self.arrived.shrink_to(ARRIVED);
        }
        let before = state.inbox.len();
        let mut given_up = false;
        for message in self.arrived.drain(..) {
            match Text::try_from(message.payload) {
                Ok(text) => {
                    let (id, again) = (Some(message.id), message.again);
                    state.inbox.push(Received { id, again, text });
                }
                Err(_) => {
                    warn!(peer = %self.peer.name, id = %message.id, "a message is not text");
                    link.handled(message.id, Err(RejectCode::NOT_TEXT));
                    given_up = true;
                }
            }
        }
        if given_up {
            // What is gone counts no more, and so the others may not keep it in memory.
            state.inbox.detach_from(before);
        }
        if progress {
            self.peer.settle(state);
        }
        Ok(())
    }
}

impl Traffic for PeerTraffic {
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<Frame> {
        let peer = Arc::clone(&self.peer);
        let mut state = peer.lock();
        let Some(live) = state.live_mut(self.session) else {
            return Poll::Ready(Frame::Close(CloseCode::Replaced));
        };
        if std::mem::take(&mut live.probe) {
            return Poll::Ready(Frame::Ping(u64::MAX));
        }
        if let Some(code) = live.closing {
            return Poll::Ready(self.last_frame(&mut state, code));
        }
        if let Some(frame) = self.next_frame(&mut state, cx) {
            return Poll::Ready(frame);
        }
        remember(&mut state, self.session, cx);
        Poll::Pending
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<CloseCode> {
        let mut state = self.peer.lock();
        let code = match state.live_mut(self.session) {
            None => Some(CloseCode::Replaced),
            Some(live) => live.closing,
        };
        let Some(code) = code else {
            remember(&mut state, self.session, cx);
            return Poll::Pending;
        };
        Poll::Ready(code)
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.peer.lock();
        let full = state.takes_no_more(&self.peer.shared.config);
        if full && state.live_mut(self.session).is_some() {
            remember(&mut state, self.session, cx);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn receive(&mut self, frame: Frame) -> Result<(), Violation> {
        let peer = Arc::clone(&self.peer);
        let mut state = peer.lock();
        let Some(live) = state.live_mut(self.session) else { return Ok(()) };
        live.heard += 1;
        let drains = frame == Frame::Drain;
        let taken = match frame {
            Frame::Ping(_) | Frame::Pong(_) => Ok(()),
            Frame::Bare(text) => self.receive_bare(&mut state, text),
            frame => self.receive_sealed(&mut state, frame),
        };
        let worker = state.take_worker_waker();
        drop(state);
        wake(worker);
        peer.tell_heard();
        if drains {
            peer.progress.notify_waiters();
        }
        taken
    }

    fn ended(self, end: &End) {
        let mut state = self.peer.lock();
        if !state.slot.vacate(self.session) {
            drop(state);
            debug!(peer = %self.peer.name, cause = %end, "an older connection has ended");
            return;
        }
        state.live = None;
        count_end(&mut state, end);
        state.peer_left = matches!(end, End::PeerClosed(CloseCode::Shutdown));
        // A `sealed` peer that only lost its connection resumes: it is not gone.
        let gone = match &mut state.link {
            PeerLink::Sealed(link) => {
                link.end(self.session);
                state.peer_left
            }
            PeerLink::Hex(_) => true,
        };
        if gone {
            state.withdraw(&self.peer.name);
        }
        let worker = state.take_worker_waker();
        drop(state);
        wake(worker);
        self.peer.tell_heard();
        self.peer.progress.notify_waiters();
        log_ended(&self.peer, end);
        let (peer, cause) = (self.peer.name.clone(), end.to_string());
        self.peer.shared.tell(Event::Down { peer, cause });
    }
}

fn count_end(state: &mut State, end: &End) {
    let counters = &mut state.counters;
    match end {
        End::Dead | End::Stuck => counters.dead += 1,
        End::Tampered(_) | End::Violation(_) => counters.violations += 1,
        _ => {}
    }
}

/// The connection is to be woken when there is something to do for it.
fn remember(state: &mut State, session: SessionId, cx: &Context<'_>) {
    if let Some(live) = state.live_mut(session) {
        live.waker = Some(cx.waker().clone());
    }
}

fn log_ended(peer: &Peer, end: &End) {
    let peer = &peer.name;
    match end {
        End::Tampered(cause) => error!(%peer, %cause, "disconnected: somebody interferes"),
        End::Violation(cause) => error!(%peer, %cause, "disconnected: the peer broke the protocol"),
        End::Exhausted(cause) => warn!(%peer, %cause, "disconnected"),
        End::Lost(cause) => info!(%peer, %cause, "disconnected: the connection was lost"),
        end => info!(%peer, cause = %end, "disconnected"),
    }
}
