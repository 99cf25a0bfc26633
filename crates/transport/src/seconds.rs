//! Durations in configuration files: seconds, optionally with a fraction.

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
    let duration = duration(deserializer)?.filter(|duration| !duration.is_zero());
    duration
        .ok_or_else(|| de::Error::custom("a duration must be more than 0 and at most 1e9 seconds"))
}

/// Durations that may be zero: times to wait for something that need not be waited for.
pub mod or_zero {
    use std::time::Duration;

    use serde::{Deserializer, de};

    pub use super::serialize;

    /// Reads seconds.
    ///
    /// # Errors
    ///
    /// An error if the value is not a number, or out of bounds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        super::duration(deserializer)?
            .ok_or_else(|| de::Error::custom("a duration must be from 0 to 1e9 seconds"))
    }
}

const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// Reads seconds. Returns `None` if they are out of bounds.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let duration = Duration::try_from_secs_f64(f64::deserialize(deserializer)?).ok();
    Ok(duration.filter(|duration| *duration <= LONGEST))
}
