//! What is known of one peer, behind its lock.

use std::collections::VecDeque;
use std::task::Waker;

use paddington_wire::link::{AckDue, SessionId, Slot, Verdict};
use paddington_wire::{CloseCode, Control, Encoding, Instance, PeerName};
use tokio::time::Instant;

use super::inbox::Inbox;
use super::storing::Storing;
use super::{PeerLink, Workers};
use crate::Config;
use crate::status::PeerCounters;

pub(crate) struct State {
    pub(crate) link: PeerLink,
    pub(crate) slot: Slot,
    pub(crate) live: Option<Live>,
    pub(crate) inbox: Inbox,
    pub(crate) handling: Handling,
    pub(crate) storing: Storing,
    pub(crate) counters: PeerCounters,
    /// The life of the peer that the handler was told is connected; of a `hex` peer, `Some(None)`.
    announced: Option<Option<Instance>>,
    pub(super) handshakes: VecDeque<Instant>,
    /// What this peer has taken from the common budget.
    pub(super) charged: u64,
    /// The peer has said that it shuts down, and has not come back.
    pub(crate) peer_left: bool,
    /// The exchange is over; what waits is lost, or left in the store.
    pub(crate) abandoned: bool,
}

/// The connection that holds the slot.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) session: SessionId,
    pub(crate) waker: Option<Waker>,
    /// The connection is to close with this code.
    pub(crate) closing: Option<CloseCode>,
    /// The connection is to ask for a sign of life.
    pub(crate) probe: bool,
    /// The connection waits with an acknowledgement already.
    pub(crate) ack_armed: bool,
    /// How many frames have arrived.
    pub(crate) heard: u64,
    pub(super) since: Instant,
}

/// A connection that was asked for a sign of life in vain, and what it had given before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unresponsive {
    pub(super) session: SessionId,
    pub(super) heard: u64,
}

/// Where the handling of this peer's messages stands.
#[derive(Debug)]
pub(crate) struct Handling {
    pub(crate) workers: Workers,
    /// How many of its messages may be handled at the same time.
    pub(crate) concurrency: usize,
    /// Nothing more is handled: the service shuts down.
    pub(crate) stopping: bool,
    /// Nothing more is handled until somebody says so.
    pub(crate) halted: bool,
}

impl State {
    pub(super) fn new(link: PeerLink, charged: u64) -> Self {
        Self {
            link,
            slot: Slot::default(),
            live: None,
            inbox: Inbox::default(),
            handling: Handling {
                workers: Workers::default(),
                concurrency: 1,
                stopping: false,
                halted: false,
            },
            storing: Storing::default(),
            counters: PeerCounters::default(),
            announced: None,
            handshakes: VecDeque::new(),
            charged,
            peer_left: false,
            abandoned: false,
        }
    }

    /// The connection of `session`, if it holds the slot.
    pub(crate) fn live_mut(&mut self, session: SessionId) -> Option<&mut Live> {
        self.live.as_mut().filter(|live| live.session == session)
    }

    /// A new connection holds the slot. Returns the waker of the one that it replaces, which is to
    /// find out.
    pub(crate) fn go_live(&mut self, session: SessionId) -> Option<Waker> {
        let live = Live {
            session,
            waker: None,
            closing: None,
            probe: false,
            ack_armed: false,
            heard: 0,
            since: Instant::now(),
        };
        self.peer_left = false;
        self.counters.sessions += 1;
        let old = self.live.replace(live)?;
        self.counters.takeovers += 1;
        old.waker
    }

    /// Whether the holder of the slot gives way to a connection of another process: only one that
    /// was asked for a sign of instance, and has given none until now.
    pub(crate) fn gives_way(
        &self,
        instance: Option<Instance>,
        silent: Option<Unresponsive>,
    ) -> bool {
        match (self.slot.judge(instance), &self.live) {
            (Verdict::Probe(holder), Some(live)) if live.session == holder => {
                silent == Some(Unresponsive { session: holder, heard: live.heard })
            }
            _ => true,
        }
    }

    /// Whether a `hex` peer, which has no credit, is to be slowed down.
    pub(crate) fn takes_no_more(&self, config: &Config) -> bool {
        let full = self.inbox.messages() >= config.inbox_messages
            || self.inbox.bytes() >= config.window as usize
            || self.handling.stopping;
        full && self.link.encoding() == Encoding::Hex
    }

    /// Tells the handler that the peer is there: of a `sealed` peer once for each of its lives, of
    /// a `hex` peer once for each connection.
    pub(crate) fn announce(&mut self, agent: &PeerName, instance: Option<Instance>) {
        if instance.is_some() && self.announced == Some(instance) {
            return;
        }
        self.withdraw(agent);
        self.announced = Some(instance);
        self.inbox.push_control(Control::Connected { agent: agent.clone() });
    }

    /// Tells the handler that the peer is gone, if it was told that it is there.
    pub(crate) fn withdraw(&mut self, agent: &PeerName) {
        if self.announced.take().is_some() {
            self.inbox.push_control(Control::Disconnected { agent: agent.clone() });
        }
    }

    /// The life of the peer that it is in, as far as is known.
    pub(crate) fn peer_instance(&self) -> Option<Instance> {
        self.announced.flatten()
    }

    /// The waker of the connection.
    pub(crate) fn take_connection_waker(&mut self) -> Option<Waker> {
        self.live.as_mut().and_then(|live| live.waker.take())
    }

    /// The waker of the connection of a `hex` peer: there may be room in the inbox again.
    pub(super) fn take_hex_reader_waker(&mut self) -> Option<Waker> {
        if self.link.encoding() == Encoding::Hex { self.take_connection_waker() } else { None }
    }

    /// The waker of one who handles messages, if there is something to handle.
    pub(crate) fn take_worker_waker(&mut self) -> Option<Waker> {
        if self.inbox.is_empty() { None } else { self.handling.workers.next_waker() }
    }

    /// The waker of the connection, if there is something to acknowledge at once, or something of
    /// which it does not know yet.
    pub(super) fn take_waker_for_ack(&mut self) -> Option<Waker> {
        let PeerLink::Sealed(link) = &self.link else { return None };
        let live = self.live.as_mut()?;
        match link.ack_due() {
            AckDue::Now => live.waker.take(),
            AckDue::Soon if link.is_idle() || !live.ack_armed => {
                live.ack_armed = true;
                live.waker.take()
            }
            _ => None,
        }
    }
}
