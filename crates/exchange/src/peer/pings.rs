//! The pings of one connection that somebody waits for. Implements the part of `docs/protocol.md` §7 about
//! PING and PONG, as far as a connection does not ping on its own.

use std::time::Duration;

use paddington_wire::PeerName;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Number of pings of one peer that are unanswered at most. Its connection queues no more than four
/// answers, of which the pings that it is sent anyway take two.
const IN_FLIGHT: usize = 2;
/// The first token of these pings: those that a connection sends on its own count from 1.
const FIRST: u64 = 1 << 63;

/// The reason why a ping has no round trip.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PingError {
    /// There is no such peer.
    #[error("there is no peer called {0:?}")]
    UnknownPeer(String),
    /// The peer is not connected.
    #[error("{0} is not connected")]
    NotConnected(PeerName),
    /// The answers of a `hex` peer do not say which ping they are for.
    #[error("{0} cannot be pinged: the hex encoding does not tell pings apart")]
    Hex(PeerName),
    /// As many pings as are allowed are under way.
    #[error("two pings of {0} are under way already")]
    TooMany(PeerName),
    /// The peer has not answered in the time after which a silent connection counts as dead.
    #[error("{peer} has not answered within {} s", .waited.as_secs_f64())]
    NoAnswer {
        /// The peer.
        peer: PeerName,
        /// The time.
        waited: Duration,
    },
    /// The connection has ended before the answer came.
    #[error("the connection to {0} has ended before the answer came")]
    Ended(PeerName),
}

/// The pings of one connection that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Pings {
    /// Number of pings so far.
    pings: u64,
    waiting: Vec<Ping>,
}

#[derive(Debug)]
struct Ping {
    token: u64,
    /// When it was transmitted.
    sent: Option<Instant>,
    answer: oneshot::Sender<Duration>,
}

impl Pings {
    /// Adds a ping. Returns its token and its answer, unless too many are under way. One that nobody
    /// waits for any more is given up after `patience`.
    pub(super) fn add(&mut self, patience: Duration) -> Option<(u64, oneshot::Receiver<Duration>)> {
        let is_lost = |sent: Instant| sent.elapsed() >= patience;
        self.waiting.retain(|ping| !(ping.answer.is_closed() && ping.sent.is_some_and(is_lost)));
        if self.waiting.len() >= IN_FLIGHT {
            return None;
        }
        let token = FIRST + self.pings;
        self.pings += 1;
        let (answer, answered) = oneshot::channel();
        self.waiting.push(Ping { token, sent: None, answer });
        Some((token, answered))
    }

    /// Notes that a ping was transmitted.
    pub(super) fn sent(&mut self, token: u64) {
        if let Some(ping) = self.waiting.iter_mut().find(|ping| ping.token == token) {
            ping.sent = Some(Instant::now());
        }
    }

    /// Takes an answer. Returns the round trip, if it is that of one of these pings.
    pub(super) fn answered(&mut self, token: u64) -> Option<Duration> {
        let here = |ping: &Ping| ping.token == token && ping.sent.is_some();
        let ping = self.waiting.swap_remove(self.waiting.iter().position(here)?);
        let round_trip = ping.sent?.elapsed();
        let _ = ping.answer.send(round_trip); // nobody may wait any more
        Some(round_trip)
    }

    /// Forgets a ping that was not transmitted. One that was counts until its answer has come: the
    /// peer would drop the answers to more of them.
    pub(super) fn forget(&mut self, token: u64) {
        self.waiting.retain(|ping| ping.token != token || ping.sent.is_some());
    }
}
