//! The status of an exchange's peers, and the report of its shutdown.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use paddington_transport::Endpoint;
use paddington_wire::link::{CallCounts, Counts, Link};
use paddington_wire::{Encoding, Instance, PeerName, Software};

/// Status of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// The peer's name.
    pub name: PeerName,
    /// Encoding of its link. A `hex` link neither acknowledges nor resumes, and does not resist
    /// replay.
    pub encoding: Encoding,
    /// Whether the messages that wait for it outlive this process.
    pub stored: bool,
    /// Whether this replica owns the link; `None` if no replicas share the store. What is told of a peer
    /// whose link it does not own is what this replica knew last; [`Exchange::owners`](crate::Exchange::owners)
    /// says which replica owns it.
    pub owned: Option<bool>,
    /// Whether this side opens the connections, because the peer is a server.
    pub dialled: bool,
    /// Time since it connected, if it is connected.
    pub connected_for: Option<Duration>,
    /// When it was connected, or disconnected if it is not, by the wall clock. `None` if it was not
    /// connected yet since it was added or this service was started.
    pub since: Option<SystemTime>,
    /// The address of the other end, if it is connected.
    pub address: Option<PeerAddress>,
    /// The time between the last ping of this connection and its answer. Of two connected sides that
    /// are silent, only the client pings; see [`Exchange::ping`](crate::Exchange::ping).
    pub round_trip: Option<Duration>,
    /// Why the last connection has ended, the last attempt to connect has failed, or somebody with
    /// keys of this link was refused; it is kept when the peer is connected again.
    pub last_error: Option<LastError>,
    /// Of a server: the URLs of it that were tried, the latest last.
    pub urls: Vec<UrlStatus>,
    /// Its instance, from `Connected` until `Disconnected`. `None` for a `hex` peer.
    pub instance: Option<Instance>,
    /// The name and version of its software, as it said when it last connected; empty if it has
    /// said nothing. It is for people only and may be a lie. It has no control characters, but a web
    /// page that shows it has to escape it.
    pub software: Software,
    /// Number of messages that wait for it.
    pub outbox_messages: usize,
    /// Bytes that wait for it, Σ(24 + length).
    pub outbox_bytes: u64,
    /// Time that the oldest message has been waiting for it.
    pub oldest: Duration,
    /// Number of messages that are transmitted and not acknowledged.
    pub in_flight: u64,
    /// Number of its messages that wait for the handler.
    pub inbox_messages: usize,
    /// Bytes of its window that are used, as they are held: Σ(160 + length), of a `hex` peer Σ(length).
    pub inbox_bytes: u64,
    /// Whether the handling of its messages was stopped by [`OnError::Stop`](crate::OnError::Stop).
    pub halted: bool,
    /// Number of its messages that were handled.
    pub handled: u64,
    /// Number of its messages, control messages included, that the handler has failed on.
    pub failed: u64,
    /// Messages that were accepted for it, by outcome: `accepted` is always the sum of the other
    /// counts and of the messages that wait. `None` on a `hex` link, which reports no outcomes.
    pub counts: Option<Counts>,
    /// Requests to it and from it.
    pub calls: CallsStatus,
    /// All other counters.
    pub counters: PeerCounters,
}

/// Status of a replica, where several share a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// Its number, which no other replica has ever had.
    pub number: u32,
    /// The time for which it certainly lives in the eyes of the others; zero if they may count it as dead. Where the
    /// links are spread over several databases, the longest of its leases.
    pub lease: Duration,
    /// Its lease in each database, in the order of the configuration. It handles messages only of peers whose links
    /// live in those where it is not zero.
    pub leases: Vec<Duration>,
    /// Number of links that it owns.
    pub links: usize,
    /// Number of times that it has become the owner of a link.
    pub claimed: u64,
    /// Number of times that it has given a link up.
    pub yielded: u64,
    /// Number of times that another replica has become the owner of a link of its own, while it counted as dead.
    pub deposed: u64,
}

/// The address of the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerAddress {
    /// The client comes from this address. Behind a trusted proxy it is the one that the proxy reports.
    Ip(IpAddr),
    /// The connection leads to this address of the server, or of the proxy on the way to it.
    Socket(SocketAddr),
}

impl PeerAddress {
    /// Returns the address without a port.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        match self {
            Self::Ip(ip) => *ip,
            Self::Socket(socket) => socket.ip(),
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Socket(socket) => socket.fmt(f),
        }
    }
}

/// A failure on a link, in the words of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastError {
    /// When it happened, by the wall clock.
    pub at: SystemTime,
    /// The cause, as one word that stays the same (`docs/doctor.md`).
    pub code: &'static str,
    /// What happened.
    pub cause: String,
    /// What probably helps.
    pub remedy: Option<&'static str>,
}

/// Status of one URL of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UrlStatus {
    /// The URL.
    pub url: Endpoint,
    /// Whether the present or the last session came about by it. It is tried first.
    pub is_good: bool,
    /// What the last attempt by it has failed with, if it has not led to a session since.
    pub last_error: Option<LastError>,
}

/// Status of the requests to one peer, and of its requests. All zero on a `hex` link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallsStatus {
    /// Number of requests whose replies are awaited.
    pub waiting: usize,
    /// Number of requests of the peer whose answers it is not known to have.
    pub unanswered: usize,
    /// Requests by outcome: `requested` is always the sum of `answered`, `failed`, `expired`,
    /// `cancelled` and of those that wait. Where replicas share a store, these are the requests that this
    /// one has made over its link, whichever replica had asked, since its present term began.
    pub counts: CallCounts,
    /// Number of requests that this replica has put into the shared store, and whose replies are awaited.
    pub relayed_waiting: usize,
    /// All of these by outcome, in the same way. Whichever replica makes them counts them too, in its
    /// `counts`.
    pub relayed: CallCounts,
}

impl CallsStatus {
    pub(crate) fn of(link: &Link) -> Self {
        Self {
            waiting: link.requests(),
            unanswered: link.unanswered(),
            counts: link.call_counts(),
            ..Self::default()
        }
    }
}

/// Counters of one link since the service was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCounters {
    /// Connections that were established.
    pub sessions: u64,
    /// Of these, those that replaced an older one.
    pub takeovers: u64,
    /// Connections that ended because the peer was silent, or took no data.
    pub dead: u64,
    /// Connections that ended because the peer broke the protocol or the connection was tampered
    /// with.
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
    /// Sessions in which the peer had received more than the store knew.
    pub regressions: u64,
    /// Total time that the handler has been running.
    pub handler_time: Duration,
    /// Total time that `send_when_ready` and `send_timeout` have waited for room.
    pub send_wait: Duration,
}

impl PeerStatus {
    /// Returns whether the peer is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected_for.is_some()
    }

    /// Returns whether every message and every request that was accepted for the peer is accounted
    /// for, and every request of the peer that has arrived.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        let CallsStatus { waiting, unanswered, counts, relayed_waiting, relayed } = &self.calls;
        let calls = counts.is_conserved(*waiting)
            && counts.answers_are_conserved(*unanswered)
            && relayed.is_conserved(*relayed_waiting);
        if !calls {
            return false;
        }
        let Some(counts) = self.counts else { return true };
        counts.is_conserved(self.outbox_messages)
    }
}

/// Report of a shutdown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Number of messages that were accepted and that the peer has not acknowledged, by peer; for a
    /// `hex` peer, that were not sent.
    pub unsent: Vec<(PeerName, usize)>,
    /// Number of messages that wait in the store for the next start, by peer.
    pub left_in_store: Vec<(PeerName, usize)>,
    /// Peers whose handler was still running when the time was up.
    pub unfinished: Vec<PeerName>,
    /// The reason why the store could not be closed properly, if so.
    pub store: Option<String>,
}

impl ShutdownReport {
    /// Returns whether nothing was lost or left undone. Messages that wait in the store are
    /// neither.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unsent.is_empty() && self.unfinished.is_empty() && self.store.is_none()
    }
}
