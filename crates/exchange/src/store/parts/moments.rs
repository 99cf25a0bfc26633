//! Moments as numbers. Stored ones are those of the wall clock, because the monotonic clock means nothing to the
//! next process.

use std::time::{Duration, SystemTime};

/// Converts a moment to milliseconds since 1970.
#[must_use]
pub fn unix_millis(moment: SystemTime) -> i64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Converts milliseconds since 1970 to a moment.
#[must_use]
pub fn from_unix_millis(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}
