//! How long to wait before the next attempt.

use std::time::Duration;

use crate::Retry;

/// Delays that grow: at once, then a second, two, four, and from there on the interval.
/// Every delay is jittered and none is longer than it says, so that services that lost the same
/// peer do not come back as one.
#[derive(Debug)]
pub(crate) struct Backoff {
    longest: Duration,
    next: Duration,
}

/// The first delay is anything up to this.
const FIRST: Duration = Duration::from_millis(500);
/// The first delay where nobody was connected yet.
const STARTING: Duration = Duration::from_millis(10);

impl Backoff {
    /// The delays of normal operation.
    pub(crate) fn normal(retry: &Retry) -> Self {
        Self { longest: retry.interval, next: Duration::ZERO }
    }

    /// The delays of a client that has not been connected yet and finds nobody listening: two
    /// services that are started together find each other in milliseconds.
    pub(crate) fn starting(retry: &Retry) -> Self {
        Self { longest: retry.interval, next: STARTING.min(retry.interval) }
    }

    /// The delays after refusals, from the interval of normal operation on.
    pub(crate) fn refused(retry: &Retry) -> Self {
        Self { longest: retry.refused, next: retry.interval }
    }

    /// The next delay, jittered by `chance`, which is from 0 up to 1.
    pub(crate) fn next(&mut self, chance: f64) -> Duration {
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
