//! Delays between attempts to connect.

use std::time::Duration;

use crate::Retry;

/// Growing delays: at once, then 1, 2, 4 seconds, and so on up to the interval. Jitter, which only
/// shortens them, keeps services that lost the same peer from reconnecting all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    longest: Duration,
    next: Duration,
}

/// Upper bound of the first delay, which is random.
const FIRST: Duration = Duration::from_millis(500);
/// The first delay of a client that has not been connected yet.
const STARTING: Duration = Duration::from_millis(10);

impl Backoff {
    /// Returns the delays of normal operation.
    pub(crate) fn normal(retry: &Retry) -> Self {
        Self { longest: retry.interval, next: Duration::ZERO }
    }

    /// Returns the delays of a client that has not been connected yet and whose server does not
    /// listen: two services that are started together connect within milliseconds.
    pub(crate) fn starting(retry: &Retry) -> Self {
        Self { longest: retry.interval, next: STARTING.min(retry.interval) }
    }

    /// Returns the delays after refusals, which start at the interval of normal operation.
    pub(crate) fn refused(retry: &Retry) -> Self {
        Self { longest: retry.refused, next: retry.interval }
    }

    /// Returns the next delay, jittered by `chance`, a random number in `0.0..1.0`.
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
