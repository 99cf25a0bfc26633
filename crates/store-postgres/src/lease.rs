//! The lease: how long this replica certainly lives in the eyes of all others (S7).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// The shortest lease: a replica sends four beats in it.
pub(crate) const MIN_LEASE: Duration = Duration::from_secs(4);
/// The longest lease: its end is computed in milliseconds.
pub(crate) const MAX_LEASE: Duration = Duration::from_secs(3_600);

/// The lease of one replica at one database. A clone is the same lease.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// The end of the lease in milliseconds of [`now`]; 0 if it has lapsed.
    end: AtomicU64,
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// The end of the lease by the last beat, whether or not it counts.
    beats_until: u64,
    /// Number of lapses.
    lapses: u64,
    /// Whether it has lapsed, and nobody has asked since which links are still owned.
    has_lapsed: bool,
}

/// Permission to end a lapse, from before it was asked which links are owned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Living {
    lapses: u64,
}

/// How often a timer looks at the clock that goes on while the machine sleeps.
const LOOK: Duration = Duration::from_millis(500);

impl Lease {
    /// A lease that has not begun.
    pub(crate) fn new() -> Self {
        let inner = Mutex::default();
        let state = State { end: AtomicU64::new(0), inner, changed: Notify::new() };
        Self { state: Arc::new(state) }
    }

    /// The time that is left.
    pub(crate) fn left(&self) -> Duration {
        let end = self.state.end.load(Ordering::Acquire);
        let left = end.saturating_sub(now());
        if left == 0 && end > 0 {
            self.look();
        }
        Duration::from_millis(left)
    }

    /// Notes a beat that was `sent` at this time of [`now`], and is answered.
    pub(crate) fn beat(&self, sent: u64, lease: Duration) {
        let mut inner = self.lock();
        if inner.beats_until > 0 && now() >= inner.beats_until {
            self.run_out(&mut inner);
        }
        let lease = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        inner.beats_until = inner.beats_until.max(sent.saturating_add(lease));
        if !inner.has_lapsed {
            self.state.end.store(inner.beats_until, Ordering::Release);
        }
        drop(inner);
        self.state.changed.notify_waiters();
    }

    /// Notes that others may take this replica for dead from now on.
    pub(crate) fn lapse(&self) {
        let mut inner = self.lock();
        self.lapse_locked(&mut inner);
        inner.beats_until = 0;
    }

    /// Waits until this replica lives.
    pub(crate) async fn living(&self) -> Living {
        loop {
            let changed = self.state.changed.notified();
            {
                let inner = self.lock();
                if inner.beats_until > now() {
                    return Living { lapses: inner.lapses };
                }
            }
            changed.await;
        }
    }

    /// Ends a lapse, unless there was another one since.
    pub(crate) fn resume(&self, living: Living) {
        let mut inner = self.lock();
        if inner.lapses == living.lapses && inner.beats_until > now() {
            inner.has_lapsed = false;
            self.state.end.store(inner.beats_until, Ordering::Release);
        }
    }

    /// Resolves once it has lapsed.
    pub(crate) async fn lapsed(self) {
        loop {
            let changed = self.state.changed.notified();
            let left = self.left();
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(left.min(LOOK)) => {}
            }
        }
    }

    /// Notes a lapse if the time is over.
    fn look(&self) {
        let mut inner = self.lock();
        if now() >= inner.beats_until {
            self.run_out(&mut inner);
        }
    }

    fn run_out(&self, inner: &mut Inner) {
        if !inner.has_lapsed {
            tracing::warn!(
                "the lease has run out: other replicas may have taken links of this one over"
            );
        }
        self.lapse_locked(inner);
    }

    fn lapse_locked(&self, inner: &mut Inner) {
        inner.has_lapsed = true;
        inner.lapses += 1;
        self.state.end.store(0, Ordering::Release);
        self.state.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds of a clock that goes on while the machine sleeps.
#[cfg(target_os = "linux")]
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000 + u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000_000
}

/// Milliseconds of the wall clock: elsewhere there is no other one that goes on while the machine sleeps.
#[cfg(not(target_os = "linux"))]
pub(crate) fn now() -> u64 {
    paddington_exchange::store::parts::unix_millis(std::time::SystemTime::now()).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    #[test]
    fn it_is_counted_from_before_the_beat_was_sent() {
        let lease = Lease::new();
        assert_eq!(lease.left(), Duration::ZERO);
        lease.beat(now() - 4_000, LEASE);
        let left = lease.left().as_millis();
        assert!((5_000..=6_000).contains(&left), "{left}");
    }

    #[tokio::test]
    async fn a_lapse_counts_until_it_was_asked_what_is_owned() {
        let lease = Lease::new();
        lease.beat(now() - 9_990, LEASE);
        lease.clone().lapsed().await;
        // Nobody has to look at it while it lapses.
        lease.beat(now(), LEASE);
        assert_eq!(lease.left(), Duration::ZERO);
        let early = lease.living().await;
        lease.lapse();
        lease.resume(early);
        lease.beat(now(), LEASE);
        lease.resume(early);
        assert_eq!(lease.left(), Duration::ZERO, "there was another lapse since");
        lease.resume(lease.living().await);
        assert!(lease.left() > LEASE / 2);
    }

    #[test]
    fn a_late_beat_is_a_lapse_though_nobody_has_looked() {
        let lease = Lease::new();
        lease.beat(now() - 10_000, LEASE);
        lease.beat(now(), LEASE);
        assert_eq!(lease.left(), Duration::ZERO);
    }
}
