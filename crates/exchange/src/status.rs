//! What can be seen of an exchange from outside.

use std::time::Duration;

use paddington_wire::{Encoding, PeerName};

/// How one peer is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// The peer's name.
    pub name: PeerName,
    /// What its link speaks. A `hex` link neither acknowledges nor resumes.
    pub encoding: Encoding,
    /// For how long it has been connected, if it is.
    pub connected_for: Option<Duration>,
    /// How many messages wait for it.
    pub outbox_messages: usize,
    /// How many bytes wait for it, Σ(24 + length).
    pub outbox_bytes: u64,
    /// For how long the oldest message has been waiting for it.
    pub oldest: Duration,
    /// How many of its messages wait for the handler.
    pub inbox_messages: usize,
    /// How many of its messages the handler has handled.
    pub handled: u64,
    /// How many of its messages the handler has failed on.
    pub failed: u64,
}

impl PeerStatus {
    /// Whether the peer is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected_for.is_some()
    }
}

/// How a shutdown went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Messages that were accepted and that no peer has acknowledged, by peer. Of a `hex` peer,
    /// those that were not sent.
    pub unsent: Vec<(PeerName, usize)>,
    /// Peers whose handler was still running when the time was up.
    pub unfinished: Vec<PeerName>,
}

impl ShutdownReport {
    /// Whether nothing was left undone.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unsent.is_empty() && self.unfinished.is_empty()
    }
}
