//! The session of a peer, if it has one, and what the handler was told of it.
//! Implements `docs/protocol.md` §8 (rules R3 to R5 of `docs/delivery.md`).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use paddington_wire::{
    CloseCode, Control, Frame, Instance, PeerName, SessionId, Slot, Ticket, Verdict,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::inbox::Inbox;
use super::pings::{PingError, Pings};
use crate::status::PeerAddress;

/// The slot of a peer, and the connection that holds it.
#[derive(Debug, Default)]
pub(super) struct Presence {
    slot: Slot,
    /// Boxed because most peers of a large server are not connected.
    live: Option<Box<Live>>,
    /// When it was connected or disconnected last, by the wall clock.
    changed: Option<SystemTime>,
    announced: Announced,
    /// When its connection ended, until the peer is back or the handler is told that it is absent.
    absent_since: Option<Instant>,
    /// Whether the handler was told that the announced instance is absent.
    told_absent: bool,
    /// Whether the peer has said that it shuts down, and has not come back.
    left: bool,
}

/// The connection that holds the slot.
#[derive(Debug)]
struct Live {
    session: SessionId,
    /// Where it comes from; `None` if this side has opened it.
    address: Option<IpAddr>,
    /// Where it leads to, if this side has opened it.
    to: Option<SocketAddr>,
    waker: Option<Waker>,
    /// Code with which the connection is to close.
    closing: Option<CloseCode>,
    /// Whether the connection is to ask for a sign of life.
    probe: bool,
    /// What is to be said beside messages: about the keys of the link, and pings.
    said: VecDeque<Frame>,
    /// The pings that somebody waits for, which are among what is to be said.
    pings: Pings,
    /// The last round trip that was measured.
    round_trip: Option<Duration>,
    /// Number of frames that have arrived.
    heard: u64,
    since: Instant,
}

/// The instance of the peer that the handler was told is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Announced {
    #[default]
    None,
    /// A `hex` peer, whose instances have no names.
    Unnamed,
    Instance(Instance),
}

/// A connection that was asked for a sign of life, and the number of frames that it had received by
/// then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probed {
    session: SessionId,
    heard: u64,
}

/// A connection that has taken the slot.
pub(super) struct Taken {
    pub(super) session: SessionId,
    /// Waker of the connection that it replaces, which has to notice.
    pub(super) replaced: Option<Waker>,
    pub(super) is_takeover: bool,
}

/// A ping that the connection is to send.
pub(super) struct AskedPing {
    pub(super) session: SessionId,
    pub(super) token: u64,
    /// Resolves with the round trip.
    pub(super) answer: oneshot::Receiver<Duration>,
    /// Waker of the connection.
    pub(super) waker: Option<Waker>,
}

/// Reason why a connection cannot take the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The connection that was probed has shown a sign of life meanwhile.
    Alive,
    /// A later ticket was drawn.
    Superseded,
    /// The peer was removed.
    Removed,
}

/// Absence of a peer that was connected and has not said that it shuts down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    None,
    /// The handler is to be told after this time.
    Brief(Duration),
    /// The handler is told now.
    Told,
}

/// An order for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on.
    Carry,
    /// Ask for a sign of life.
    Probe,
    /// Say what is to be said about keys.
    Say,
    /// Close with this code.
    Close(CloseCode),
}

impl Presence {
    pub(super) fn ticket(&mut self) -> Ticket {
        self.slot.ticket()
    }

    /// Asks the connection that holds the slot for a sign of life, if it has to give one before
    /// `newcomer` may take the slot. Returns the connection and its waker.
    pub(super) fn probe(&mut self, newcomer: Option<Instance>) -> Option<(Probed, Option<Waker>)> {
        let Verdict::Probe(session) = self.slot.judge(newcomer) else { return None };
        let live = self.live.as_mut()?;
        live.probe = true;
        Some((Probed { session, heard: live.heard }, live.waker.take()))
    }

    /// Returns whether the slot is held by a session that `newcomer` may not replace without a
    /// probe.
    pub(super) fn is_held_against(&self, newcomer: Option<Instance>) -> bool {
        matches!(self.slot.judge(newcomer), Verdict::Probe(_))
    }

    /// Returns whether a probed connection has shown a sign of life; `None` if it is gone.
    pub(super) fn is_alive(&self, probed: Probed) -> Option<bool> {
        let live = self.live.as_ref().filter(|live| live.session == probed.session)?;
        Some(live.heard > probed.heard)
    }

    /// Gives the slot to the holder of `ticket`. A connection of another process gives way only if
    /// it was `probed` and has been silent since.
    pub(super) fn take(
        &mut self,
        ticket: Ticket,
        instance: Option<Instance>,
        probed: Option<Probed>,
        address: Option<IpAddr>,
    ) -> Result<Taken, NotTaken> {
        if let (Verdict::Probe(holder), Some(live)) = (self.slot.judge(instance), &self.live)
            && live.session == holder
            && probed != Some(Probed { session: holder, heard: live.heard })
        {
            return Err(NotTaken::Alive);
        }
        let session = self.slot.take(ticket, instance).ok_or(NotTaken::Superseded)?;
        let (waker, closing) = (None, None);
        let since = Instant::now();
        let live = Live {
            session,
            address,
            to: None,
            waker,
            closing,
            probe: false,
            said: VecDeque::new(),
            pings: Pings::default(),
            round_trip: None,
            heard: 0,
            since,
        };
        self.left = false;
        self.changed = Some(SystemTime::now());
        let old = self.live.replace(Box::new(live));
        let is_takeover = old.is_some();
        Ok(Taken { session, replaced: old.and_then(|old| old.waker), is_takeover })
    }

    /// Frees the slot, if `session` still holds it. Returns whether it did. `left` says whether the
    /// peer has said that it shuts down.
    pub(super) fn vacate(&mut self, session: SessionId, left: bool) -> bool {
        if !self.slot.vacate(session) {
            return false;
        }
        self.live = None;
        self.left = left;
        self.changed = Some(SystemTime::now());
        true
    }

    /// Asks the connection to close, if there is one. Returns its waker.
    pub(super) fn close(&mut self, code: CloseCode) -> Option<Waker> {
        let live = self.live.as_mut()?;
        live.closing = Some(code);
        live.waker.take()
    }

    /// Returns the order for the connection of `session`. A probe is ordered once.
    pub(super) fn take_order(&mut self, session: SessionId) -> Order {
        let Some(live) = self.live_mut(session) else { return Order::Close(CloseCode::Replaced) };
        if std::mem::take(&mut live.probe) {
            return Order::Probe;
        }
        match live.closing {
            Some(code) => Order::Close(code),
            None if live.said.is_empty() => Order::Carry,
            None => Order::Say,
        }
    }

    /// Has the connection of `session` send a frame. Returns its waker.
    pub(super) fn say(&mut self, session: SessionId, frame: Frame) -> Option<Waker> {
        let live = self.live_mut(session)?;
        live.said.push_back(frame);
        live.waker.take()
    }

    /// Takes the next frame that the connection of `session` is to send.
    pub(super) fn take_said(&mut self, session: SessionId) -> Option<Frame> {
        let live = self.live_mut(session)?;
        let said = live.said.pop_front();
        if let Some(Frame::Ping(token)) = said {
            live.pings.sent(token);
        }
        said
    }

    /// Has the connection ask its peer for an answer.
    pub(super) fn ping(
        &mut self,
        peer: &PeerName,
        patience: Duration,
    ) -> Result<AskedPing, PingError> {
        let live = self.live.as_mut().filter(|live| live.closing.is_none());
        let live = live.ok_or_else(|| PingError::NotConnected(peer.clone()))?;
        let asked = live.pings.add(patience);
        let (token, answer) = asked.ok_or_else(|| PingError::TooMany(peer.clone()))?;
        live.said.push_back(Frame::Ping(token));
        Ok(AskedPing { session: live.session, token, answer, waker: live.waker.take() })
    }

    /// Takes the answer to a ping that has arrived in `session`.
    pub(super) fn answered(&mut self, session: SessionId, token: u64) {
        if let Some(live) = self.live_mut(session)
            && let Some(round_trip) = live.pings.answered(token)
        {
            live.round_trip = Some(round_trip);
        }
    }

    /// Forgets a ping of `session` that nobody waits for any more.
    pub(super) fn forget_ping(&mut self, session: SessionId, token: u64) {
        if let Some(live) = self.live_mut(session) {
            live.pings.forget(token);
            live.said.retain(|frame| !matches!(frame, Frame::Ping(said) if *said == token));
        }
    }

    /// Notes a round trip that the connection of `session` has measured on its own.
    pub(super) fn measured(&mut self, session: SessionId, round_trip: Duration) {
        if let Some(live) = self.live_mut(session) {
            live.round_trip = Some(round_trip);
        }
    }

    /// Notes where the connection leads to, which this side has opened.
    pub(super) fn leads_to(&mut self, address: SocketAddr) {
        if let Some(live) = &mut self.live {
            live.to = Some(address);
        }
    }

    /// Returns the code with which the connection of `session` is to close, if it is.
    pub(super) fn closing(&self, session: SessionId) -> Option<CloseCode> {
        match self.live.as_ref().filter(|live| live.session == session) {
            None => Some(CloseCode::Replaced),
            Some(live) => live.closing,
        }
    }

    /// Keeps the waker of the connection of `session`. Returns whether it holds the slot.
    pub(super) fn set_waker(&mut self, session: SessionId, cx: &Context<'_>) -> bool {
        let Some(live) = self.live_mut(session) else { return false };
        live.waker = Some(cx.waker().clone());
        true
    }

    /// Returns the waker of the connection.
    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        self.live.as_mut().and_then(|live| live.waker.take())
    }

    /// Counts a frame of `session`. Returns whether it holds the slot.
    pub(super) fn hear(&mut self, session: SessionId) -> bool {
        let Some(live) = self.live_mut(session) else { return false };
        live.heard += 1;
        true
    }

    /// Tells the handler that the peer is connected: of a `sealed` peer once for each of its
    /// instances and after each absence, of a `hex` peer once for each connection.
    pub(super) fn announce(
        &mut self,
        agent: &PeerName,
        instance: Option<Instance>,
        inbox: &mut Inbox,
    ) {
        let announced = instance.map_or(Announced::Unnamed, Announced::Instance);
        self.absent_since = None;
        let told_absent = std::mem::take(&mut self.told_absent);
        if !told_absent {
            if announced != Announced::Unnamed && self.announced == announced {
                return;
            }
            self.withdraw(agent, inbox);
        }
        self.announced = announced;
        inbox.push_control(Control::Connected { agent: agent.clone() });
    }

    /// Tells the handler that the peer is gone, now that its connection has ended. A peer that
    /// `resumes` its session and has not said that it shuts down may be back soon.
    pub(super) fn announce_end(&mut self, agent: &PeerName, resumes: bool, inbox: &mut Inbox) {
        if self.left || !resumes {
            self.withdraw(agent, inbox);
        } else if self.announced != Announced::None {
            self.absent_since = Some(Instant::now());
        }
    }

    /// Tells the handler that the peer is gone for good, and asks the connection to close, if there is
    /// one, with this code. Returns its waker.
    pub(super) fn remove(
        &mut self,
        agent: &PeerName,
        inbox: &mut Inbox,
        code: CloseCode,
    ) -> Option<Waker> {
        self.absent_since = None;
        if std::mem::take(&mut self.told_absent) {
            self.announced = Announced::None;
        }
        self.withdraw(agent, inbox);
        self.close(code)
    }

    /// Returns the session of the connection, if there is one.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.live.as_ref().map(|live| live.session)
    }

    /// Tells the handler that the peer is gone, once it has been absent for `grace`. Returns the
    /// time until then.
    pub(super) fn note_absence(
        &mut self,
        agent: &PeerName,
        grace: Duration,
        inbox: &mut Inbox,
    ) -> Absence {
        let Some(since) = self.absent_since else { return Absence::None };
        let left = grace.saturating_sub(since.elapsed());
        if !left.is_zero() {
            return Absence::Brief(left);
        }
        self.absent_since = None;
        self.told_absent = true;
        inbox.push_control(Control::Disconnected { agent: agent.clone() });
        Absence::Told
    }

    /// Tells the handler that the peer is gone, if it was told that the peer is connected.
    fn withdraw(&mut self, agent: &PeerName, inbox: &mut Inbox) {
        if std::mem::take(&mut self.announced) != Announced::None {
            inbox.push_control(Control::Disconnected { agent: agent.clone() });
        }
    }

    /// Returns the instance of the peer, if it is known.
    pub(super) fn instance(&self) -> Option<Instance> {
        match self.announced {
            Announced::Instance(instance) => Some(instance),
            Announced::None | Announced::Unnamed => None,
        }
    }

    /// Returns the address that the connection comes from, if the peer has opened one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.live.as_ref().and_then(|live| live.address)
    }

    /// Returns the address of the other end, if it is connected and known.
    pub(super) fn other_end(&self) -> Option<PeerAddress> {
        let live = self.live.as_ref()?;
        let to = live.to.map(PeerAddress::Socket);
        to.or(live.address.map(PeerAddress::Ip))
    }

    /// Returns the last round trip of the connection.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.live.as_ref().and_then(|live| live.round_trip)
    }

    /// Returns when the peer was connected or disconnected last.
    pub(super) fn changed(&self) -> Option<SystemTime> {
        self.changed
    }

    pub(super) fn is_connected(&self) -> bool {
        self.live.is_some()
    }

    pub(super) fn connected_for(&self) -> Option<Duration> {
        self.live.as_ref().map(|live| live.since.elapsed())
    }

    /// Returns whether the peer has said that it shuts down, and has not come back.
    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    fn live_mut(&mut self, session: SessionId) -> Option<&mut Live> {
        self.live.as_deref_mut().filter(|live| live.session == session)
    }
}
