//! Parts that all rows share: a checksum over the whole row, and numbers as SQLite stores them.

use std::time::{Duration, SystemTime};

use paddington_exchange::store::parts::unix_millis;
use paddington_exchange::store::{Mailbox, StoredMessage};
use paddington_wire::{Instance, LinkId};
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

/// A mailbox as a row names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'r> {
    pub(crate) link: &'r [u8],
    pub(crate) peer: &'r str,
}

impl<'r> Owner<'r> {
    /// Reads it from two columns of a row.
    pub(crate) fn read(row: &'r Row<'_>, link: usize, peer: usize) -> Result<Self, Fault> {
        Ok(Self { link: blob(row, link)?, peer: text(row, peer)? })
    }

    pub(crate) fn mailbox(self) -> Result<Mailbox, Fault> {
        let link: [u8; LinkId::LEN] = self
            .link
            .try_into()
            .map_err(|_| Fault::refused("a stored link has the wrong length"))?;
        let peer = self.peer.parse().map_err(|_| Fault::refused("a stored name is not valid"))?;
        Ok(Mailbox { peer, link: link.into() })
    }
}

impl<'m> From<&'m Mailbox> for Owner<'m> {
    fn from(mailbox: &'m Mailbox) -> Self {
        Self { link: mailbox.link.as_bytes(), peer: mailbox.peer.as_str() }
    }
}

/// Returns a column of a row as text.
pub(crate) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, Fault> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

/// Returns a column of a row as bytes.
pub(crate) fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], Fault> {
    Ok(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

/// The end of a message's time to live. The deadline is kept in the time of the wall clock, which
/// may be set while the message is stored; its time to live tells how much of it can be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub(crate) deadline: i64,
    pub(crate) ttl: i64,
}

impl Expiry {
    /// A message that a salvage has put in the place of a lost one has expired: it is never
    /// transmitted, and the peer is told to skip its number. No other one has this deadline.
    pub(crate) const LOST: Self = Self { deadline: 0, ttl: 0 };

    pub(crate) fn new(now: SystemTime, ttl: Duration) -> Self {
        let deadline = now.checked_add(ttl).map_or(i64::MAX, unix_millis);
        Self { deadline, ttl: i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX) }
    }

    /// The time that is left at `now`: never more than there was at first.
    pub(crate) fn left(self, now: i64) -> Duration {
        let left = self.deadline.saturating_sub(now).min(self.ttl).max(0);
        Duration::from_millis(left.unsigned_abs())
    }

    /// Returns whether the clock shows an earlier time than when the message was stored.
    pub(crate) fn is_clock_back(self, now: i64) -> bool {
        self.deadline.saturating_sub(now) > self.ttl
    }
}

/// The description of a stored message.
pub(crate) fn message(
    len: usize,
    expiry: Option<Expiry>,
    now: i64,
) -> Result<StoredMessage, Fault> {
    let len = u32::try_from(len).map_err(|_| Fault::refused("a stored message is too long"))?;
    Ok(StoredMessage { len, ttl: expiry.map(|expiry| expiry.left(now)) })
}
