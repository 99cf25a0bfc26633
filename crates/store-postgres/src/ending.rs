//! How a request has ended, as columns of its row.

use paddington_exchange::store::Ending;
use paddington_wire::{FailureCode, LinkId, Payload};
use tokio_postgres::Row;

use crate::error::Fault;
use crate::row::{self, at_most, column};

const REPLY: i32 = 1;
const FAILED: i32 = 2;
const TIMED_OUT: i32 = 3;
const FULL: i32 = 4;
const TOO_LONG: i32 = 5;
const NOT_ANSWERING: i32 = 6;
const PEER_CHANGED: i32 = 7;
const REMOVED: i32 = 8;
const MOVED: i32 = 9;
const LOST: i32 = 10;

/// Returns the kind of an ending, its number, and its payload or words.
pub(crate) fn columns(ending: Ending) -> (i32, i64, Payload) {
    let none = || Payload::text("");
    match ending {
        Ending::Reply(payload) => (REPLY, 0, payload),
        Ending::Failed { code, text } => {
            (FAILED, i64::from(code.0), Payload::text(text.unwrap_or_default()))
        }
        Ending::TimedOut => (TIMED_OUT, 0, none()),
        Ending::Full { requests } => (FULL, at_most(requests as u64), none()),
        Ending::TooLong { max } => (TOO_LONG, i64::from(max), none()),
        Ending::NotAnswering => (NOT_ANSWERING, 0, none()),
        Ending::PeerChanged => (PEER_CHANGED, 0, none()),
        Ending::Removed => (REMOVED, 0, none()),
        Ending::Moved => (MOVED, 0, none()),
        Ending::Lost => (LOST, 0, none()),
    }
}

/// Reads an ending from the columns `ending`, `value`, `crc`, `is_bytes` and `body` of a row.
pub(crate) fn read(link: LinkId, row: &Row, at: usize) -> Result<Ending, Fault> {
    let (kind, value): (i32, i64) = (column(row, at)?, column(row, at + 1)?);
    let payload = row::payload(link, row, at + 2)?;
    Ok(match kind {
        REPLY => Ending::Reply(payload),
        FAILED => {
            let text = String::from_utf8_lossy(&payload).into_owned();
            let code = FailureCode(u16::try_from(value).unwrap_or_default());
            Ending::Failed { code, text: (!text.is_empty()).then_some(text) }
        }
        TIMED_OUT => Ending::TimedOut,
        FULL => Ending::Full { requests: usize::try_from(value).unwrap_or_default() },
        TOO_LONG => Ending::TooLong { max: u32::try_from(value).unwrap_or_default() },
        NOT_ANSWERING => Ending::NotAnswering,
        PEER_CHANGED => Ending::PeerChanged,
        REMOVED => Ending::Removed,
        LOST => Ending::Lost,
        _ => Ending::Moved, // also what a later version may write: the peer may have handled it
    })
}
