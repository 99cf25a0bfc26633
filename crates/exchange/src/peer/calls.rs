//! The calls of one peer: the futures that wait for its answers, and its own requests.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use paddington_wire::link::{CallEnd, OutgoingRequest};
use tokio::sync::oneshot;

use super::asked::{Asked, Needed};

/// The calls of one peer, in both directions.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) waiters: Waiters,
    pub(super) asked: Asked,
}

/// The end of a request of this side.
#[derive(Debug)]
pub(super) enum RequestEnd {
    /// It has ended on the link.
    Here(CallEnd),
    /// The peer has certainly not received it, and the link is not this replica's any more.
    Unsent(OutgoingRequest),
}

/// What has happened to calls, to be told without the peer's lock.
#[derive(Debug, Default)]
pub(super) struct CallNews {
    /// Requests of this side that have ended, and how.
    pub(super) ended: Vec<(oneshot::Sender<RequestEnd>, CallEnd)>,
    /// The task that requests of the peer need.
    pub(super) needed: Option<Needed>,
}

/// The futures that wait for the answers of one peer, by request.
#[derive(Debug, Default)]
pub(super) struct Waiters(HashMap<u64, oneshot::Sender<RequestEnd>, BuildHasherDefault<Spread>>);

/// Spreads numbers that this side counts, so that nobody else chooses them.
#[derive(Debug, Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // The golden ratio: numbers that follow each other end up far apart, in all bits.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Waiters {
    /// Adds a request. Returns what becomes its end.
    pub(super) fn add(&mut self, call: u64) -> oneshot::Receiver<RequestEnd> {
        let (waiter, end) = oneshot::channel();
        self.0.insert(call, waiter);
        end
    }

    /// Removes a request. Returns whether it had not ended.
    pub(super) fn remove(&mut self, call: u64) -> bool {
        self.0.remove(&call).is_some()
    }

    /// Takes out a request that has ended, if somebody waits for it.
    pub(super) fn take(&mut self, call: u64) -> Option<oneshot::Sender<RequestEnd>> {
        self.0.remove(&call)
    }

    /// Returns the number of futures that wait.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Ends all requests without an answer: those that were not sent go back to those who wait.
    pub(super) fn abandon(&mut self, unsent: Vec<(u64, OutgoingRequest)>) {
        for (call, request) in unsent {
            if let Some(waiter) = self.0.remove(&call) {
                let _ = waiter.send(RequestEnd::Unsent(request)); // it may have been given up at this moment
            }
        }
        self.0.clear();
    }
}
