//! Numbers.

/// A number of something. Numbers that do not fit do not occur.
pub(crate) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
