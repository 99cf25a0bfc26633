//! Messages as rows: a payload is cut into pieces that fill the pages of the file, and put together
//! again, with its checksum, when it is read.

use std::mem;

use bytes::Bytes;
use paddington_wire::{LinkId, Payload};
use rusqlite::{Row, Rows};

use crate::error::Fault;
use crate::row::{Expiry, blob, checksum};
use crate::stream_row::StreamRow;
use crate::streams::StreamId;

/// The length of a piece: eight of them, with what belongs to each, fill a page of 4 KiB. Rows of
/// another length leave up to half of a page empty.
const PIECE: usize = 480;
/// The longest payload that is cut. What a longer one leaves empty of a page is little compared
/// with it.
const LONGEST_CUT: usize = 16 * 1024;
/// Of a row that is too long for a page, SQLite keeps so much in it if the rest fills other pages
/// well, each of which takes so much. Otherwise it keeps more in the page, up to all of it.
const KEPT: usize = 489;
const PAGE: usize = 4_092;
/// Bytes that fill a page well in that sense.
const FILLS: usize = 3_600;
/// Bytes that a row holds beside its piece.
const ROW: usize = 21;

/// The columns that [`Messages`] reads.
pub(crate) const COLUMNS: &str = "position, number, deadline, ttl, checksum, is_bytes, payload";

/// Number of rows of a message of `len` bytes.
pub(crate) fn rows(len: usize) -> usize {
    let cut = len_to_cut(len);
    (cut.div_ceil(PIECE) + usize::from(cut < len)).max(1)
}

/// Cuts the payload of a message for its rows, of which there is at least one.
pub(crate) fn cut(payload: &[u8]) -> (&[u8], impl Iterator<Item = &[u8]>) {
    let cut = len_to_cut(payload.len());
    let first = if cut == 0 { payload.len() } else { cut.min(PIECE) };
    let (first, rest) = payload.split_at(first);
    let (rest, whole) = rest.split_at(cut.saturating_sub(PIECE).min(rest.len()));
    (first, rest.chunks(PIECE).chain(Some(whole).filter(|whole| !whole.is_empty())))
}

/// The number of bytes that are cut off in pieces, so that the rest of a payload fills whole pages.
fn len_to_cut(len: usize) -> usize {
    let Some(beyond) = (len + ROW).checked_sub(KEPT) else { return len };
    let (pages, rest) = (beyond / PAGE, beyond % PAGE);
    match pages {
        _ if len > LONGEST_CUT || rest > FILLS => 0,
        0 => len,
        _ if rest <= PIECE => 0,
        _ => rest,
    }
}

/// A message that was put together from its rows, and is not checked yet.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// The position of its first row.
    pub(crate) position: i64,
    pub(crate) number: i64,
    expiry: (Option<i64>, Option<i64>),
    checksum: Option<i64>,
    is_bytes: bool,
    pub(crate) bytes: Vec<u8>,
    rows: i64,
}

impl Joined {
    pub(crate) fn stream(&self) -> StreamId {
        StreamId::at(self.position)
    }

    /// The position after its last row.
    pub(crate) fn end(&self) -> i64 {
        self.position.saturating_add(self.rows)
    }

    /// Returns the payload, text or bytes.
    pub(crate) fn payload(&self) -> Payload {
        payload(self.is_bytes, &self.bytes)
    }

    /// Checks it as a message of this stream, and returns when it expires.
    pub(crate) fn check(&self, stream: &StreamRow) -> Result<Option<Expiry>, Fault> {
        let (deadline, ttl) = self.expiry;
        let expiry = deadline.zip(ttl).map(|(deadline, ttl)| Expiry { deadline, ttl });
        let is_whole = deadline.is_some() == ttl.is_some();
        let StreamRow { mailbox, age, instance, .. } = stream;
        let (link, instance) = (mailbox.link, instance.as_bytes());
        let sum = sum(link, *age, instance, self.number, expiry, self.is_bytes, &self.bytes);
        if !is_whole || self.checksum != Some(sum) || stream.id != self.stream() {
            return Err(damaged("its checksum is wrong"));
        }
        Ok(expiry)
    }

    fn begin(&mut self, row: &Row<'_>) -> Result<(), Fault> {
        (self.position, self.number) = (row.get(0)?, row.get(1)?);
        self.expiry = (row.get(2)?, row.get(3)?);
        self.checksum = row.get(4)?;
        self.is_bytes = row.get::<_, Option<bool>>(5)?.unwrap_or_default();
        self.bytes.clear();
        self.bytes.extend_from_slice(blob(row, 6)?);
        self.rows = 1;
        Ok(())
    }

    /// Adds a row, unless another message begins with it.
    fn join(&mut self, row: &Row<'_>) -> Result<bool, Fault> {
        let (position, number): (i64, i64) = (row.get(0)?, row.get(1)?);
        let goes_on = row.get::<_, Option<i64>>(4)?.is_none()
            && number == self.number
            && position.checked_sub(self.rows) == Some(self.position);
        if goes_on {
            self.bytes.extend_from_slice(blob(row, 6)?);
            self.rows += 1;
        }
        Ok(goes_on)
    }
}

/// Messages from rows that are sorted by their positions.
pub(crate) struct Messages<'s> {
    rows: Rows<'s>,
    current: Joined,
    /// The beginning of the next message.
    ahead: Option<Joined>,
    has_begun: bool,
}

impl<'s> Messages<'s> {
    pub(crate) fn new(rows: Rows<'s>) -> Self {
        Self { rows, current: Joined::default(), ahead: None, has_begun: false }
    }

    /// Returns the next message. Errors quote no value, because a damaged row may hold a payload in
    /// any column.
    pub(crate) fn next(&mut self) -> Result<Option<&Joined>, Fault> {
        if !self.has_begun {
            self.has_begun = true;
            let Some(row) = self.rows.next()? else { return Ok(None) };
            self.current.begin(row).map_err(damaged)?;
        } else {
            match &mut self.ahead {
                Some(ahead) => mem::swap(&mut self.current, ahead),
                None => return Ok(None),
            }
        }
        loop {
            let Some(row) = self.rows.next()? else {
                self.ahead = None;
                break;
            };
            if !self.current.join(row).map_err(damaged)? {
                self.ahead.get_or_insert_default().begin(row).map_err(damaged)?;
                break;
            }
        }
        Ok(Some(&self.current))
    }
}

/// Returns a stored payload, text or bytes.
pub(crate) fn payload(is_bytes: bool, bytes: &[u8]) -> Payload {
    let bytes = Bytes::copy_from_slice(bytes);
    if is_bytes { Payload::bytes(bytes) } else { Payload::text(bytes) }
}

/// The checksum of a message.
pub(crate) fn sum(
    link: LinkId,
    age: i64,
    instance: &[u8],
    number: i64,
    expiry: Option<Expiry>,
    is_bytes: bool,
    payload: &[u8],
) -> i64 {
    let expiry = expiry.map(|expiry| [expiry.deadline.to_le_bytes(), expiry.ttl.to_le_bytes()]);
    let expiry = expiry.as_ref().map_or(&[][..], |expiry| expiry.as_flattened());
    let (age, number) = (age.to_le_bytes(), number.to_le_bytes());
    let is_bytes = [u8::from(is_bytes)];
    checksum(&[link.as_bytes(), &age, instance, &number, expiry, &is_bytes, payload])
}

fn damaged(why: impl std::fmt::Display) -> Fault {
    Fault::refused(format!("a stored message is damaged: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_cut_into_its_rows() {
        for len in (0..LONGEST_CUT + 500).step_by(7).chain([PIECE, PIECE + 1, 2 * PIECE]) {
            let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let (first, rest) = cut(&payload);
            let pieces: Vec<_> = std::iter::once(first).chain(rest).collect();
            assert_eq!(pieces.len(), rows(len), "{len}");
            assert!(pieces.concat() == payload && rows(len) <= 9, "{len}");
        }
    }
}
