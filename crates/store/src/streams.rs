//! The streams of each mailbox, in memory, so that an append does not read the file; and where their
//! rows are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use paddington_wire::{Instance, LinkId, MessageId};

use crate::error::Fault;
use crate::row::stored;

/// Bits of a row's position that count the rows of its stream; those above are the stream's id.
const ROW_BITS: u32 = 44;
/// The highest id of a stream.
const MAX_ID: i64 = (1 << (63 - ROW_BITS)) - 1;

/// One stream of one mailbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) id: StreamId,
    /// Position among the mailbox's streams: older ones have smaller numbers.
    pub(crate) age: i64,
    pub(crate) instance: Instance,
    /// The number of the next message.
    pub(crate) next: i64,
    /// The position of the next row.
    pub(crate) end: i64,
}

/// The id of a stream in the file. It is used again when the stream is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(pub(crate) i64);

impl StreamId {
    /// The id after `highest`, if there is one.
    pub(crate) fn after(highest: i64) -> Option<Self> {
        (0..MAX_ID).contains(&highest).then_some(Self(highest + 1))
    }

    /// Returns whether a stream can have this id.
    pub(crate) fn is_valid(self) -> bool {
        (1..=MAX_ID).contains(&self.0)
    }

    /// The stream that a row at this position belongs to.
    pub(crate) fn at(position: i64) -> Self {
        Self(position >> ROW_BITS)
    }

    /// The positions of its rows.
    pub(crate) fn rows(self) -> Range<i64> {
        let start = self.0 << ROW_BITS;
        start..start | ((1 << ROW_BITS) - 1)
    }
}

/// The place of a new message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) stream: StreamId,
    pub(crate) age: i64,
    pub(crate) number: i64,
    /// The position of its first row.
    pub(crate) position: i64,
}

/// The streams of the mailboxes that were used so far, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    mailboxes: HashMap<LinkId, Vec<Known>>,
}

impl Streams {
    /// Returns the streams of a mailbox, which `load` reads the first time.
    pub(crate) fn of(
        &mut self,
        link: LinkId,
        load: impl FnOnce() -> Result<Vec<Known>, Fault>,
    ) -> Result<&mut Vec<Known>, Fault> {
        Ok(match self.mailboxes.entry(link) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(load()?),
        })
    }

    /// Forgets the streams of a mailbox, because they are removed.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.mailboxes.remove(&link);
    }

    /// Forgets all streams, because the file may differ from them.
    pub(crate) fn clear(&mut self) {
        self.mailboxes.clear();
    }
}

/// Returns the index of the stream that a new message continues, or `None` if it begins one.
pub(crate) fn continued(streams: &[Known], id: MessageId) -> Result<Option<usize>, Fault> {
    let number = stored(id.number)?;
    match streams.iter().position(|known| known.instance == id.stream) {
        None if number > 0 => Ok(None),
        Some(index) if index + 1 == streams.len() && streams[index].next == number => {
            Ok(Some(index))
        }
        Some(index) if index + 1 == streams.len() => {
            let next = streams[index].next;
            Err(Fault::refused(format!("message {id} is out of order: the next number is {next}")))
        }
        _ => Err(Fault::refused(format!("message {id} cannot be appended to its stream"))),
    }
}

impl Known {
    /// Places the next message, which takes so many `rows`.
    pub(crate) fn place(&mut self, rows: usize) -> Result<Place, Fault> {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        let end = self.end.checked_add(rows).filter(|end| *end <= self.id.rows().end);
        let end = end.ok_or_else(|| Fault::refused("its stream is full: restart the service"))?;
        let Self { id: stream, age, next: number, end: position, .. } = *self;
        (self.next, self.end) = (number + 1, end);
        Ok(Place { stream, age, number, position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: i64, instance: u8, next: i64) -> Known {
        let id = StreamId(id);
        Known { id, age: 0, instance: [instance; 16].into(), next, end: id.rows().start }
    }

    #[test]
    fn numbers_go_on_without_a_gap() {
        let id = |stream: u8, number| MessageId { stream: [stream; 16].into(), number };
        assert!(continued(&[], id(1, 0)).is_err(), "numbers begin at 1");
        assert_eq!(continued(&[], id(1, 5)).unwrap(), None);
        let streams = [known(1, 1, 6)];
        assert_eq!(continued(&streams, id(1, 6)).unwrap(), Some(0));
        assert!(continued(&streams, id(1, 7)).is_err(), "a gap");
        assert!(continued(&streams, id(1, 5)).is_err(), "a repeat");
        assert!(continued(&streams, id(1, u64::MAX)).is_err(), "too large");
        assert_eq!(continued(&streams, id(2, 1)).unwrap(), None);
        let streams = [known(1, 1, 6), known(2, 2, 2)];
        assert!(continued(&streams, id(1, 6)).is_err(), "not the newest stream");
    }

    #[test]
    fn the_rows_of_two_streams_never_meet() {
        assert_eq!(StreamId::after(0), Some(StreamId(1)));
        let last = StreamId::after(MAX_ID - 1).unwrap();
        assert_eq!(StreamId::after(MAX_ID), None);
        assert_eq!(last.rows().end, i64::MAX);
        let mut known = known(7, 1, 1);
        let first = known.place(3).unwrap();
        assert_eq!((first.number, first.position), (1, 7 << ROW_BITS));
        let second = known.place(1).unwrap();
        assert_eq!((second.number, second.position), (2, first.position + 3));
        assert_eq!(StreamId::at(known.end), StreamId(7));
        assert!(known.place(1 << ROW_BITS).is_err(), "full");
        assert_eq!(StreamId::at(StreamId(7).rows().end), StreamId(7));
        assert!(StreamId(7).rows().end < StreamId(8).rows().start);
    }
}
