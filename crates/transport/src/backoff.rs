//! The delay before a client tries again: how it grows, and what it depends on.

use std::time::Duration;

use paddington_wire::CloseCode;

use crate::{DialError, End, Retry};

/// The delays before the next attempt, depending on what happened last.
#[derive(Debug)]
pub(crate) struct Delays {
    retry: Retry,
    normal: Backoff,
    refused: Backoff,
    /// Delays until the first connection.
    starting: Option<Backoff>,
}

impl Delays {
    pub(crate) fn new(retry: Retry) -> Self {
        Self {
            normal: Backoff::normal(&retry),
            refused: Backoff::refused(&retry),
            starting: Some(Backoff::starting(&retry)),
            retry,
        }
    }

    /// Returns the delay after a session, jittered by `chance`, a random number in `0.0..1.0`. A good
    /// session resets the delays. One that ended at once does not, or two services that cannot agree
    /// would reconnect without pause.
    pub(crate) fn after_session(&mut self, lasted: Duration, end: &End, chance: f64) -> Duration {
        self.starting = None;
        match end {
            End::PeerClosed(CloseCode::Busy | CloseCode::Violation) | End::Violation(_) => {
                return self.retry.refused;
            }
            End::PeerClosed(CloseCode::Overload) => return self.refused.next(chance),
            _ => self.refused = Backoff::refused(&self.retry),
        }
        if lasted >= self.retry.good_session {
            self.normal = Backoff::normal(&self.retry);
        }
        self.normal.next(chance)
    }

    /// Returns the delay after a failed attempt, jittered by `chance`.
    pub(crate) fn after_failure(&mut self, error: &DialError, chance: f64) -> Duration {
        match error {
            DialError::Refused(CloseCode::Busy | CloseCode::Violation) => self.retry.refused,
            error if error.is_refusal() => self.refused.next(chance),
            DialError::Connect { .. } => {
                self.starting.as_mut().unwrap_or(&mut self.normal).next(chance)
            }
            _ => self.normal.next(chance),
        }
    }
}

/// Growing delays: at once, then 1, 2, 4 seconds, and so on up to the interval. Jitter, which only
/// shortens them, keeps services that lost the same peer from reconnecting all at once.
#[derive(Debug)]
struct Backoff {
    longest: Duration,
    next: Duration,
}

/// Upper bound of the first delay, which is random.
const FIRST: Duration = Duration::from_millis(500);
/// The first delay of a client that has not been connected yet.
const STARTING: Duration = Duration::from_millis(10);

impl Backoff {
    /// Returns the delays of normal operation.
    fn normal(retry: &Retry) -> Self {
        Self { longest: retry.interval, next: Duration::ZERO }
    }

    /// Returns the delays of a client that has not been connected yet and whose server does not
    /// listen: two services that are started together connect within milliseconds.
    fn starting(retry: &Retry) -> Self {
        Self { longest: retry.interval, next: STARTING.min(retry.interval) }
    }

    /// Returns the delays after refusals, which start at the interval of normal operation.
    fn refused(retry: &Retry) -> Self {
        Self { longest: retry.refused, next: retry.interval }
    }

    /// Returns the next delay, jittered by `chance`, a random number in `0.0..1.0`.
    fn next(&mut self, chance: f64) -> Duration {
        if self.next.is_zero() {
            self.next = (2 * FIRST).min(self.longest);
            return FIRST.min(self.longest).mul_f64(chance);
        }
        let delay = self.next.min(self.longest);
        self.next = (2 * self.next).min(self.longest);
        delay.mul_f64(0.9 + 0.1 * chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(mut backoff: Backoff, count: usize) -> Vec<Duration> {
        (0..count).map(|n| backoff.next([0.0, 0.7, 0.999][n % 3])).collect()
    }

    #[test]
    fn normal_delays_begin_at_once_and_never_exceed_the_interval() {
        let retry = Retry::default();
        let delays = take(Backoff::normal(&retry), 50);
        assert!(delays[0] <= FIRST);
        for (delay, bound) in delays.iter().zip([0.5, 1.0, 2.0, 4.0].into_iter().chain([5.0; 46])) {
            assert!(delay.as_secs_f64() <= bound, "{delay:?} {bound}");
        }
        assert!(delays[10..].iter().all(|delay| delay.as_secs_f64() >= 4.5));
        assert!(delays[10..].windows(2).any(|pair| pair[0] != pair[1]), "jittered");
    }

    #[test]
    fn delays_at_the_start_double_from_milliseconds_to_the_interval() {
        let delays = take(Backoff::starting(&Retry::default()), 12);
        assert!(delays[..6].iter().sum::<Duration>() < Duration::from_secs(1));
        assert!(delays[10..].iter().all(|delay| (4.5..=5.0).contains(&delay.as_secs_f64())));
    }

    #[test]
    fn delays_after_refusals_double_to_a_minute() {
        let delays = take(Backoff::refused(&Retry::default()), 10);
        assert!((4.5..=5.0).contains(&delays[0].as_secs_f64()));
        assert!((9.0..=10.0).contains(&delays[1].as_secs_f64()));
        assert!(delays[5..].iter().all(|delay| (54.0..=60.0).contains(&delay.as_secs_f64())));
    }
}
