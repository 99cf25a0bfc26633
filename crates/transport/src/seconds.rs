//! Durations in configuration files: seconds, optionally with a fraction, and never zero.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// Writes a duration as seconds.
///
/// # Errors
///
/// The serializer's error.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Reads seconds. Zero is refused, because a deadline cannot be switched off.
///
/// # Errors
///
/// An error if the value is not a number, or out of bounds.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    let duration = Duration::try_from_secs_f64(seconds).ok();
    let duration = duration.filter(|duration| !duration.is_zero() && *duration <= LONGEST);
    duration
        .ok_or_else(|| de::Error::custom("a duration must be more than 0 and at most 1e9 seconds"))
}

const LONGEST: Duration = Duration::from_secs(1_000_000_000);
