//! Points in time as files hold them: whole seconds, written as in RFC 3339, in UTC.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::{format_rfc3339_seconds, parse_rfc3339};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The last second that can be written: the end of the year 9999.
const LAST: u64 = 253_402_300_799;

/// A point in time, in seconds since the beginning of 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(u64);

impl Timestamp {
    /// The present time by the system's clock.
    pub(crate) fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// The time that is `seconds` after the beginning of 1970, or the last one that can be written.
    pub(crate) fn from_seconds(seconds: u64) -> Self {
        Self(seconds.min(LAST))
    }

    pub(crate) fn seconds(self) -> u64 {
        self.0
    }

    pub(crate) fn after(self, duration: Duration) -> Self {
        Self::from_seconds(self.0.saturating_add(duration.as_secs()))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self::from_seconds(time.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs()))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(Timestamp(seconds): Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&format_rfc3339_seconds((*self).into()), f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = parse_rfc3339(&text);
        time.map(Self::from).map_err(|_| {
            D::Error::custom(
                "a time is written in quotes and in UTC, such as \"2026-12-03T09:30:00Z\"",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_and_read() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_780_000_000, "2026-05-28T20:26:40Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            let time = Timestamp::from_seconds(seconds);
            assert_eq!(time.to_string(), text);
            let read: Timestamp = serde_json::from_str(&format!("{text:?}")).unwrap();
            assert_eq!(read, time);
        }
        for text in ["", "2026-05-28", "2026-05-28T20:26:40", "2026-13-28T20:26:40Z", "tomorrow"] {
            let read = serde_json::from_str::<Timestamp>(&format!("{text:?}"));
            assert!(read.is_err(), "{text}");
        }
    }
}
