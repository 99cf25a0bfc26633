//! Columns of rows, as the types that they stand for.

use std::time::Duration;

use bytes::Bytes;
use paddington_exchange::store::{Mailbox, ReplicaId, StoredMessage};
use paddington_wire::{Instance, LinkId, Payload};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::error::Fault;

/// Returns a column of a row.
pub(crate) fn column<'r, T: FromSql<'r>>(row: &'r Row, at: usize) -> Result<T, Fault> {
    row.try_get(at).map_err(|error| Fault::refused(format!("a column cannot be read: {error}")))
}

/// Converts a number for the database, whose integers are signed.
pub(crate) fn stored(number: u64) -> Result<i64, Fault> {
    i64::try_from(number).map_err(|_| Fault::refused("a number is too large to be stored"))
}

/// Converts a number, or takes the largest one instead: for bounds.
pub(crate) fn at_most(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts a number from the database.
pub(crate) fn loaded(number: i64) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_| Fault::refused("a stored number is negative"))
}

pub(crate) fn instance(bytes: &[u8]) -> Result<Instance, Fault> {
    let bytes: [u8; Instance::LEN] =
        bytes.try_into().map_err(|_| Fault::refused("a stored instance has the wrong length"))?;
    Ok(bytes.into())
}

pub(crate) fn link(bytes: &[u8]) -> Result<LinkId, Fault> {
    let bytes: [u8; LinkId::LEN] =
        bytes.try_into().map_err(|_| Fault::refused("a stored link has the wrong length"))?;
    Ok(bytes.into())
}

pub(crate) fn mailbox(id: &[u8], name: &str) -> Result<Mailbox, Fault> {
    let peer = name.parse().map_err(|_| Fault::refused("a stored name is not valid"))?;
    Ok(Mailbox { peer, link: link(id)? })
}

/// The number of a replica, as the database has it.
pub(crate) fn replica(number: i32) -> ReplicaId {
    ReplicaId(number.cast_unsigned())
}

/// A time to live in milliseconds, so that a deadline that far ahead is a number, too.
pub(crate) fn ttl(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).map_or(i64::MAX / 2, |millis| millis.min(i64::MAX / 2))
}

/// The time that a message has left, if its time is limited.
pub(crate) fn left(millis: Option<i64>) -> Option<Duration> {
    millis.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or_default()))
}

/// The description of a stored message.
pub(crate) fn message(len: i32, left: Option<i64>) -> Result<StoredMessage, Fault> {
    let len = u32::try_from(len).map_err(|_| Fault::refused("a stored length is negative"))?;
    Ok(StoredMessage { len, ttl: self::left(left) })
}

/// The checksum of a payload, which is bound to its link.
pub(crate) fn checksum(link: LinkId, payload: &Payload) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(link.as_bytes());
    hasher.update(&[u8::from(payload.is_bytes())]);
    hasher.update(payload);
    i64::from(hasher.finalize())
}

/// Makes a payload of three columns of a row, and checks it.
pub(crate) fn payload(link: LinkId, row: &Row, at: usize) -> Result<Payload, Fault> {
    let (crc, is_bytes): (i64, bool) = (column(row, at)?, column(row, at + 1)?);
    let bytes = Bytes::copy_from_slice(column(row, at + 2)?);
    let payload = if is_bytes { Payload::bytes(bytes) } else { Payload::text(bytes) };
    if checksum(link, &payload) != crc {
        return Err(Fault::refused("a stored payload is damaged: its checksum is wrong"));
    }
    Ok(payload)
}
