//! Which streams each peer has, and which number comes next: in memory, so that an append needs no
//! look at the file.

use std::collections::HashMap;

use paddington_wire::{Instance, MessageId, PeerName};

use crate::error::Fault;
use crate::row::stored;

/// One stream of one peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Its age among the streams of the peer.
    pub(crate) ord: i64,
    pub(crate) instance: Instance,
    /// The number of the message that comes next.
    pub(crate) next: i64,
}

/// The streams of the peers that were asked for, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    peers: HashMap<PeerName, Vec<Known>>,
}

impl Streams {
    /// The streams of a peer; `load` reads them, the first time.
    pub(crate) fn of(
        &mut self,
        peer: &PeerName,
        load: impl FnOnce() -> Result<Vec<Known>, Fault>,
    ) -> Result<&mut Vec<Known>, Fault> {
        if !self.peers.contains_key(peer) {
            self.peers.insert(peer.clone(), load()?);
        }
        Ok(self.peers.entry(peer.clone()).or_default())
    }

    /// What comes next is what was not stored.
    pub(crate) fn rewind(&mut self, peer: &PeerName, ord: i64, number: i64) {
        let streams = self.peers.get_mut(peer).into_iter().flatten();
        for known in streams.filter(|known| known.ord == ord) {
            known.next = known.next.min(number);
        }
    }
}

/// The place of a new message: the stream's age and the message's number.
pub(crate) fn place(streams: &mut Vec<Known>, id: MessageId) -> Result<(i64, i64), Fault> {
    let number = stored(id.number)?;
    let newest = streams.last().map_or(0, |known| known.ord + 1);
    match streams.iter().position(|known| known.instance == id.stream) {
        None if number > 0 => {
            streams.push(Known { ord: newest, instance: id.stream, next: number + 1 });
            Ok((newest, number))
        }
        Some(index) if index + 1 == streams.len() && streams[index].next == number => {
            streams[index].next = number + 1;
            Ok((streams[index].ord, number))
        }
        Some(index) if index + 1 == streams.len() => {
            let next = streams[index].next;
            Err(Fault::refused(format!("message {id} is not in order: number {next} is next")))
        }
        _ => Err(Fault::refused(format!("message {id} belongs to no stream that goes on"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_without_a_gap() {
        let id = |stream: u8, number| MessageId { stream: [stream; 16].into(), number };
        let mut streams = vec![];
        assert!(place(&mut streams, id(1, 0)).is_err(), "numbers begin at 1");
        assert_eq!(place(&mut streams, id(1, 5)).unwrap(), (0, 5));
        assert_eq!(place(&mut streams, id(1, 6)).unwrap(), (0, 6));
        assert!(place(&mut streams, id(1, 8)).is_err(), "a gap");
        assert!(place(&mut streams, id(1, 6)).is_err(), "a repeat");
        assert!(place(&mut streams, id(1, u64::MAX)).is_err(), "too large");
        assert_eq!(place(&mut streams, id(2, 1)).unwrap(), (1, 1));
        assert!(place(&mut streams, id(1, 7)).is_err(), "not the newest stream");
    }
}
