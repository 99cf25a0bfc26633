//! Durations in configuration files: a number of seconds, with a fraction if need be, or a time as people
//! write it, such as `"30s"`, `"5m"` or `"1day 12h"`.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// Writes a duration as seconds.
///
/// # Errors
///
/// The serializer's error.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Reads a duration. Zero is refused, because a deadline cannot be switched off.
///
/// # Errors
///
/// An error if the value is not a duration, or out of bounds.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = duration(deserializer)?.filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| Error::custom("a duration must be more than 0 and at most 1e9 seconds"))
}

/// Durations that may be zero: times to wait for something that need not be waited for.
pub mod or_zero {
    use std::time::Duration;

    use serde::Deserializer;
    use serde::de::Error;

    pub use super::serialize;

    /// Reads a duration.
    ///
    /// # Errors
    ///
    /// An error if the value is not a duration, or out of bounds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        super::duration(deserializer)?
            .ok_or_else(|| Error::custom("a duration must be from 0 to 1e9 seconds"))
    }
}

const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// Reads a duration. Returns `None` if it is out of bounds.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let duration = deserializer.deserialize_any(Seconds)?;
    Ok(duration.filter(|duration| *duration <= LONGEST))
}

/// The error about a text. It does not show the text, which may be anything.
const NO_TIME: &str =
    "this is no time: write seconds, or numbers with units such as ms, s, m, h or days";

/// Reads a duration, or `None` for a number that is none.
struct Seconds;

impl Visitor<'_> for Seconds {
    type Value = Option<Duration>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds, or a time such as \"30s\" or \"5m\"")
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Self::Value, E> {
        Ok(Duration::try_from_secs_f64(seconds).ok())
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(seconds).ok().map(Duration::from_secs))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Self::Value, E> {
        Ok(Some(Duration::from_secs(seconds)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        humantime::parse_duration(text).map(Some).map_err(|_| E::custom(NO_TIME))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct File {
        #[serde(deserialize_with = "deserialize")]
        time: Duration,
    }

    fn read(value: &str) -> Result<Duration, String> {
        let file: Result<File, _> = serde_json::from_str(&format!("{{\"time\": {value}}}"));
        file.map(|file| file.time).map_err(|error| error.to_string())
    }

    #[test]
    fn a_duration_is_a_number_of_seconds_or_a_time_in_words() {
        for (value, millis) in [
            ("2", 2_000),
            ("0.5", 500),
            ("\"30s\"", 30_000),
            ("\"5m\"", 300_000),
            ("\"1day 12h\"", 129_600_000),
            ("\"250ms\"", 250),
        ] {
            assert_eq!(read(value), Ok(Duration::from_millis(millis)), "{value}");
        }
        for (value, cause) in [
            ("0", "more than 0"),
            ("\"0s\"", "more than 0"),
            ("-1", "more than 0"),
            ("1e12", "at most 1e9"),
            ("\"99years\"", "at most 1e9"),
            ("\"30\"", "this is no time"),
            ("\"soon\"", "this is no time"),
            ("true", "a number of seconds, or a time such as"),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.contains(cause), "{value}: {error}");
        }
    }
}
