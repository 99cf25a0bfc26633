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
    /// Delays while another process holds the slot, or the two sides do not agree.
    contested: Backoff,
    /// Delays until the first connection.
    starting: Option<Backoff>,
    /// Whether the server hung up on the last attempt.
    hung_up: bool,
    /// Whether the server has said that it has removed the link.
    removed: bool,
}

impl Delays {
    pub(crate) fn new(retry: Retry) -> Self {
        Self {
            normal: Backoff::normal(&retry),
            refused: Backoff::refused(&retry),
            contested: Backoff::contested(&retry),
            starting: Some(Backoff::starting(&retry)),
            hung_up: false,
            removed: false,
            retry,
        }
    }

    /// Returns the delay after a session, jittered by `chance`, a random number in `0.0..1.0`. A good
    /// session resets the delays. One that ended at once does not, or two services that cannot agree
    /// would reconnect without pause.
    pub(crate) fn after_session(&mut self, lasted: Duration, end: &End, chance: f64) -> Duration {
        self.starting = None;
        self.hung_up = false;
        self.removed = matches!(end, End::PeerClosed(CloseCode::Removed));
        if lasted >= self.retry.good_session {
            self.normal = Backoff::normal(&self.retry);
            self.forget_refusals();
        }
        match end {
            End::PeerClosed(CloseCode::Busy | CloseCode::Violation) | End::Violation(_) => {
                self.contested.next(chance)
            }
            End::PeerClosed(CloseCode::Overload | CloseCode::Removed) => self.refused.next(chance),
            _ => {
                self.forget_refusals();
                self.normal.next(chance)
            }
        }
    }

    /// Returns the delay after a failed attempt, jittered by `chance`. While there is another
    /// address to try, a refusal of this one delays nothing. `waited` is how long the attempt has
    /// taken: if the server has let it wait for the process that holds the slot, it need not wait
    /// here, too.
    pub(crate) fn after_failure(
        &mut self,
        error: &DialError,
        waited: Duration,
        other_address: bool,
        chance: f64,
    ) -> Duration {
        let hung_up_before = self.hung_up;
        self.hung_up = matches!(error, DialError::HungUp(_));
        self.removed |= matches!(error, DialError::Refused(CloseCode::Removed));
        match error {
            DialError::Refused(CloseCode::Busy) if waited >= PARKED => {
                self.contested = Backoff::contested(&self.retry);
                FIRST.min(self.retry.interval).mul_f64(0.9 + 0.1 * chance)
            }
            DialError::Refused(CloseCode::Busy | CloseCode::Violation) => {
                self.contested.next(chance)
            }
            DialError::Refused(_) if error.is_refusal() => self.refused.next(chance),
            // a server that is shutting down hangs up, too
            DialError::HungUp(_) if !hung_up_before => self.normal.next(chance),
            _ if error.is_refusal() && !other_address => self.refused.next(chance),
            // a server without other clients at this address hangs up before it answers
            DialError::Upgrade(_) | DialError::HungUp(_) if self.removed => {
                self.refused.next(chance)
            }
            DialError::Connect { .. } => {
                // whoever has stopped the server may have mended it
                self.forget_refusals();
                self.starting.as_mut().unwrap_or(&mut self.normal).next(chance)
            }
            _ => self.normal.next(chance),
        }
    }

    fn forget_refusals(&mut self) {
        self.refused = Backoff::refused(&self.retry);
        self.contested = Backoff::contested(&self.retry);
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
/// The first delay while another process holds the slot.
const CONTESTED: Duration = Duration::from_secs(1);
/// Time after which a refusal because of another process comes from a server that waited for that to
/// shut down.
const PARKED: Duration = Duration::from_secs(4);
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

    /// Returns the delays while another process holds the slot, which may be about to end, or while
    /// the two sides do not agree. They grow with the time that this has taken.
    fn contested(retry: &Retry) -> Self {
        Self { longest: retry.refused, next: CONTESTED.min(retry.interval) }
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
    use paddington_wire::{HandshakeError, Violation};

    use super::*;
    use crate::UpgradeError;

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

    fn hung_up() -> DialError {
        DialError::HungUp(tokio_tungstenite::tungstenite::Error::ConnectionClosed.into())
    }

    fn nobody_listens() -> DialError {
        let source = std::io::ErrorKind::ConnectionRefused.into();
        DialError::Connect { address: "192.0.2.1:1".to_owned(), source }
    }

    fn refused(status: http::StatusCode) -> DialError {
        UpgradeError::Refused { status, by_service: true }.into()
    }

    /// Returns the delays after failures with one address, in seconds, without jitter.
    fn after(errors: impl IntoIterator<Item = DialError>) -> Vec<f64> {
        let mut delays = Delays::new(Retry::default());
        let delay = |error| delays.after_failure(&error, Duration::ZERO, false, 1.0).as_secs_f64();
        errors.into_iter().map(delay).collect()
    }

    #[test]
    fn what_only_a_person_can_mend_is_tried_more_and_more_seldom() {
        let refusals: [fn() -> DialError; 10] = [
            || refused(http::StatusCode::BAD_REQUEST),
            || refused(http::StatusCode::FORBIDDEN),
            || refused(http::StatusCode::NOT_FOUND),
            || refused(http::StatusCode::TOO_MANY_REQUESTS),
            || refused(http::StatusCode::MOVED_PERMANENTLY),
            || refused(http::StatusCode::OK),
            || UpgradeError::Answer("it is odd").into(),
            || HandshakeError::Violation(Violation::OtherEncoding).into(),
            || DialError::Refused(CloseCode::Overload),
            || DialError::Refused(CloseCode::Removed),
        ];
        for refusal in refusals {
            let delays = after(std::iter::repeat_with(refusal).take(6));
            assert_eq!(delays, [5.0, 10.0, 20.0, 40.0, 60.0, 60.0], "{}", refusal());
        }
        let delays = after(std::iter::repeat_with(hung_up).take(7));
        assert_eq!(delays, [0.5, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0], "the first may be a restart");
    }

    #[test]
    fn a_server_that_restarts_is_found_within_seconds() {
        for restarting in [
            vec![hung_up(), nobody_listens(), nobody_listens(), nobody_listens()],
            [502, 503, 504, 502, 503, 504]
                .map(|status| refused(http::StatusCode::from_u16(status).unwrap()))
                .into(),
            vec![DialError::Timeout(crate::Step::Answer), hung_up(), nobody_listens()],
        ] {
            let delays = after(restarting);
            assert!(delays.iter().all(|delay| *delay <= 5.0), "{delays:?}");
        }
        let bad = || refused(http::StatusCode::BAD_REQUEST);
        let delays = after([bad(), bad(), bad(), nobody_listens(), bad()]);
        assert_eq!(delays[2..], [20.0, 0.01, 5.0], "the delays begin anew");
    }

    #[test]
    fn another_address_is_tried_without_delay() {
        let mut delays = Delays::new(Retry::default());
        let bad = refused(http::StatusCode::BAD_REQUEST);
        assert!(delays.after_failure(&bad, Duration::ZERO, true, 1.0) <= FIRST);
        assert!(delays.after_failure(&bad, Duration::ZERO, false, 1.0) > FIRST);
        let busy = DialError::Refused(CloseCode::Overload);
        assert!(
            delays.after_failure(&busy, Duration::ZERO, true, 1.0) > FIRST,
            "this is the server"
        );
    }

    #[test]
    fn a_server_that_has_waited_for_another_process_is_asked_again_soon() {
        let mut delays = Delays::new(Retry::default());
        let busy = DialError::Refused(CloseCode::Busy);
        for _ in 0..20 {
            assert!(delays.after_failure(&busy, PARKED, false, 1.0) <= FIRST);
        }
        let at_once = delays.after_failure(&busy, Duration::ZERO, false, 1.0);
        assert_eq!(at_once, CONTESTED);
    }

    #[test]
    fn a_slot_that_is_held_by_another_process_is_tried_after_growing_delays() {
        for code in [CloseCode::Busy, CloseCode::Violation] {
            let delays = after(std::iter::repeat_with(|| DialError::Refused(code)).take(8));
            assert_eq!(delays, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
            let mut delays = Delays::new(Retry::default());
            let end = End::PeerClosed(code);
            let mut after = |lasted, chance| {
                delays.after_session(Duration::from_secs(lasted), &end, chance).as_secs_f64()
            };
            assert_eq!([after(1, 1.0), after(1, 1.0), after(1, 1.0)], [1.0, 2.0, 4.0]);
            assert!((7.1..7.9).contains(&after(1, 0.0)), "jittered");
            assert_eq!(after(3_600, 1.0), 1.0, "a good session came between");
        }
    }
}
