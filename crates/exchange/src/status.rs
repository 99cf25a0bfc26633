//! What can be seen of an exchange from outside.

use std::time::Duration;

use paddington_wire::link::Counts;
use paddington_wire::{Encoding, Instance, PeerName};

/// How one peer is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// The peer's name.
    pub name: PeerName,
    /// What its link speaks. A `hex` link neither acknowledges nor resumes, and does not resist
    /// replay.
    pub encoding: Encoding,
    /// Whether what waits for it outlives this process.
    pub stored: bool,
    /// For how long it has been connected, if it is.
    pub connected_for: Option<Duration>,
    /// The life that it is in, as long as it is there; of a `hex` peer that is not known.
    pub instance: Option<Instance>,
    /// How many messages wait for it.
    pub outbox_messages: usize,
    /// How many bytes wait for it, Σ(24 + length).
    pub outbox_bytes: u64,
    /// For how long the oldest message has been waiting for it.
    pub oldest: Duration,
    /// How many messages are transmitted and not acknowledged.
    pub in_flight: u64,
    /// How many of its messages wait for the handler.
    pub inbox_messages: usize,
    /// How many bytes of its window are used, Σ(24 + length).
    pub inbox_bytes: u64,
    /// Whether its messages are not handled any more, because of
    /// [`OnError::Stop`](crate::OnError::Stop).
    pub halted: bool,
    /// How many of its messages the handler has handled.
    pub handled: u64,
    /// How many of its messages the handler has failed on.
    pub failed: u64,
    /// What became of the messages that were accepted for it: what was accepted is always the sum of
    /// the other counts and of what waits. `None` on a `hex` link, which is told nothing.
    pub counts: Option<Counts>,
    /// What else happened.
    pub counters: PeerCounters,
}

/// What has happened on one link since the service was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCounters {
    /// Connections that were established.
    pub sessions: u64,
    /// Of these, those that have replaced an older one.
    pub takeovers: u64,
    /// Connections that ended because the peer was silent, or took nothing.
    pub dead: u64,
    /// Connections that ended because the peer broke the protocol, or somebody interfered.
    pub violations: u64,
    /// Handshakes that were refused because another process is connected.
    pub refused_duplicate: u64,
    /// Handshakes that were refused because there were too many.
    pub refused_overload: u64,
    /// Messages that the handler has handled.
    pub handled: u64,
    /// Messages and control messages that the handler has failed on.
    pub failed: u64,
    /// Of these, those that took too long.
    pub timed_out: u64,
    /// Of these, those whose handler still runs and cannot be stopped.
    pub left_behind: u64,
    /// Messages that became dead letters.
    pub dead_letters: u64,
    /// How often the peer had seen more than the store remembers.
    pub regressions: u64,
    /// How long the handler has been running in all.
    pub handler_time: Duration,
    /// How long `send_when_ready` and `send_timeout` have waited for room in all.
    pub send_wait: Duration,
}

impl PeerStatus {
    /// Whether the peer is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected_for.is_some()
    }

    /// Whether every message that was accepted for the peer is accounted for.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        let Some(counts) = self.counts else { return true };
        let met = counts.acknowledged + counts.rejected + counts.expired + counts.abandoned;
        counts.accepted == met + self.outbox_messages as u64
    }
}

/// How a shutdown went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Messages that were accepted and that no peer has acknowledged, by peer. Of a `hex` peer,
    /// those that were not sent.
    pub unsent: Vec<(PeerName, usize)>,
    /// Messages that wait in the store for the next start, by peer.
    pub left_in_store: Vec<(PeerName, usize)>,
    /// Peers whose handler was still running when the time was up.
    pub unfinished: Vec<PeerName>,
    /// Why the store could not be closed in order, if so.
    pub store: Option<String>,
}

impl ShutdownReport {
    /// Whether nothing was lost or left undone. What waits in the store is neither.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unsent.is_empty() && self.unfinished.is_empty() && self.store.is_none()
    }
}
