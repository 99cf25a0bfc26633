//! Parts that all rows share: a checksum over the whole row, and numbers as SQLite stores them.

use std::time::{Duration, SystemTime};

use paddington_exchange::store::StoredMessage;
use paddington_wire::Instance;
use rusqlite::Row;

use crate::error::Fault;

/// Computes the checksum of a row. It covers the lengths, so that no byte can move from one column
/// to the next.
pub(crate) fn checksum(columns: &[&[u8]]) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    for column in columns {
        hasher.update(&(column.len() as u64).to_le_bytes());
        hasher.update(column);
    }
    i64::from(hasher.finalize())
}

/// Converts a number for SQLite, whose integers are signed.
pub(crate) fn stored(number: u64) -> Result<i64, Fault> {
    i64::try_from(number).map_err(|_| Fault::refused("a number is too large to be stored"))
}

/// Converts a number from SQLite.
pub(crate) fn loaded(number: i64) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_| Fault::refused("a stored number is negative"))
}

/// Converts an instance from SQLite.
pub(crate) fn instance(bytes: &[u8]) -> Result<Instance, Fault> {
    let bytes: [u8; Instance::LEN] =
        bytes.try_into().map_err(|_| Fault::refused("a stored instance has the wrong length"))?;
    Ok(bytes.into())
}

/// Returns a column of a row as bytes.
pub(crate) fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], Fault> {
    Ok(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

/// Converts a moment to milliseconds since 1970. Deadlines on disk use the wall clock, because the
/// monotonic clock means nothing to the next process.
pub(crate) fn millis(moment: SystemTime) -> i64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Converts milliseconds since 1970 to a moment.
pub(crate) fn moment(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The deadline of a message that has `ttl` left at `now`.
pub(crate) fn deadline(now: SystemTime, ttl: Option<Duration>) -> Option<i64> {
    ttl.map(|ttl| now.checked_add(ttl).map_or(i64::MAX, millis))
}

/// The description of a stored message.
pub(crate) fn message(len: usize, deadline: Option<i64>, now: i64) -> Result<StoredMessage, Fault> {
    let len = u32::try_from(len).map_err(|_| Fault::refused("a stored message is too long"))?;
    let left = |deadline: i64| deadline.saturating_sub(now).max(0).unsigned_abs();
    Ok(StoredMessage { len, ttl: deadline.map(|deadline| Duration::from_millis(left(deadline))) })
}
