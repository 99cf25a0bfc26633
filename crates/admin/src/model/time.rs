//! Times.

use std::time::SystemTime;

/// A time as the API writes it: RFC 3339, in UTC, to the millisecond.
#[must_use]
pub fn time(moment: SystemTime) -> String {
    humantime::format_rfc3339_millis(moment).to_string()
}
