//! The clocks of this machine that timers do not use.

use std::time::Duration;

/// Returns how long this machine has been suspended since it was booted, or zero if that is not
/// known.
#[cfg(target_os = "linux")]
pub(crate) fn slept() -> Duration {
    use rustix::time::ClockId;
    read(ClockId::Boottime).saturating_sub(read(ClockId::Monotonic))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn slept() -> Duration {
    Duration::ZERO
}

/// Extends `wait` by less than a `period`, so that it ends when the machine's clock shows a
/// multiple of `period`.
#[cfg(target_os = "linux")]
pub(crate) fn to_next(period: Duration, wait: Duration) -> Duration {
    round_up(read(rustix::time::ClockId::Monotonic), period, wait)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn to_next(_: Duration, wait: Duration) -> Duration {
    wait
}

#[cfg(target_os = "linux")]
fn read(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(any(target_os = "linux", test))]
fn round_up(now: Duration, period: Duration, wait: Duration) -> Duration {
    let (end, period) = ((now + wait).as_nanos(), period.as_nanos());
    let late = end.next_multiple_of(period) - end;
    wait + Duration::from_nanos(u64::try_from(late).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_end_together_and_never_early() {
        let millis = Duration::from_millis;
        let period = millis(100);
        assert_eq!(round_up(millis(1_234), period, millis(10_000)), millis(10_066));
        assert_eq!(round_up(millis(1_200), period, millis(10_000)), millis(10_000));
        for now in 0..250 {
            let wait = round_up(millis(now), period, millis(33));
            assert!(wait >= millis(33) && wait < millis(133), "{wait:?}");
            assert_eq!((millis(now) + wait).as_millis() % 100, 0);
        }
    }
}
