//! The calls of one peer: the futures that wait for its answers, and its own requests.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use paddington_wire::link::{CallEnd, OutgoingRequest};
use tokio::sync::oneshot;
use tokio::time::Instant;

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
    /// Its time is over.
    Overdue,
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
pub(super) struct Waiters {
    waiting: HashMap<u64, Waiter, BuildHasherDefault<Spread>>,
    /// When the first of them may be over time.
    next_look: Option<Instant>,
}

#[derive(Debug)]
struct Waiter {
    end: oneshot::Sender<RequestEnd>,
    deadline: Option<Instant>,
}

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
    pub(super) fn add(
        &mut self,
        call: u64,
        deadline: Option<Instant>,
    ) -> oneshot::Receiver<RequestEnd> {
        let (end, ended) = oneshot::channel();
        self.waiting.insert(call, Waiter { end, deadline });
        ended
    }

    /// Removes a request. Returns whether it had not ended.
    pub(super) fn remove(&mut self, call: u64) -> bool {
        self.waiting.remove(&call).is_some()
    }

    /// Takes out a request that has ended, if somebody waits for it.
    pub(super) fn take(&mut self, call: u64) -> Option<oneshot::Sender<RequestEnd>> {
        self.waiting.remove(&call).map(|waiter| waiter.end)
    }

    /// Returns the number of futures that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns whether the next look comes too late for this deadline. If so, it comes in time from now on, and
    /// what was planned before is returned too.
    pub(super) fn look_by(&mut self, deadline: Instant) -> Option<Option<Instant>> {
        let late = self.next_look.is_none_or(|next| deadline < next);
        late.then(|| self.next_look.replace(deadline))
    }

    /// Takes out the requests whose time is over by `now`. Returns them, what was planned before, and when
    /// the next look is due.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Overdue {
        let is_over = |_: &u64, waiter: &mut Waiter| waiter.deadline.is_some_and(|at| at <= now);
        let ended: Vec<_> = self.waiting.extract_if(is_over).collect();
        let next = self.waiting.values().filter_map(|waiter| waiter.deadline).min();
        let before = std::mem::replace(&mut self.next_look, next);
        let ended = ended.into_iter().map(|(call, waiter)| (call, waiter.end)).collect();
        Overdue { ended, before, next }
    }

    /// Ends all requests without an answer: those that were not sent go back to those who wait.
    pub(super) fn abandon(&mut self, unsent: Vec<(u64, OutgoingRequest)>) {
        for (call, request) in unsent {
            if let Some(waiter) = self.take(call) {
                let _ = waiter.send(RequestEnd::Unsent(request)); // it may have been given up at this moment
            }
        }
        self.waiting.clear();
    }
}

/// The requests of one peer that are over time.
#[derive(Debug)]
pub(super) struct Overdue {
    pub(super) ended: Vec<(u64, oneshot::Sender<RequestEnd>)>,
    /// When a look was planned before.
    pub(super) before: Option<Instant>,
    /// When the next look is due.
    pub(super) next: Option<Instant>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_look_is_planned_only_if_none_comes_in_time() {
        let (start, mut waiters) = (Instant::now(), Waiters::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let ends: Vec<_> = (1..5).map(|call| waiters.add(call, Some(at(call)))).collect();
        let _patient = waiters.add(5, None);
        assert_eq!(waiters.look_by(at(2)), Some(None));
        assert_eq!(waiters.look_by(at(2)), None);
        assert_eq!(waiters.look_by(at(3)), None);
        assert_eq!(waiters.look_by(at(1)), Some(Some(at(2))));
        assert!(waiters.remove(1), "it has its answer");
        let Overdue { ended, before, next } = waiters.take_overdue(at(1));
        assert_eq!((ended.len(), before, next), (0, Some(at(1)), Some(at(2))));
        let Overdue { mut ended, next, .. } = waiters.take_overdue(at(3));
        ended.sort_by_key(|(call, _)| *call);
        assert_eq!(ended.iter().map(|(call, _)| *call).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((waiters.len(), next), (2, Some(at(4))));
        assert_eq!(waiters.take_overdue(at(9)).next, None);
        assert_eq!(waiters.look_by(at(9)), Some(None), "nothing is planned");
        drop(ends);
    }
}
