//! How long this machine has slept.

use std::time::Duration;

/// The time since boot without what was spent awake, where the operating system tells.
#[cfg(target_os = "linux")]
pub(crate) fn slept() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let since_boot = |clock| {
        let time = clock_gettime(clock);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(0),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    };
    since_boot(ClockId::Boottime).saturating_sub(since_boot(ClockId::Monotonic))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn slept() -> Duration {
    Duration::ZERO
}
