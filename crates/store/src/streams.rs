//! The streams of each peer and their next numbers, in memory, so that an append does not read the
//! file.

use std::collections::HashMap;

use paddington_wire::{Instance, MessageId, PeerName};

use crate::error::Fault;
use crate::row::stored;

/// One stream of one peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Position among the peer's streams: older ones have smaller numbers.
    pub(crate) age: i64,
    pub(crate) instance: Instance,
    /// The number of the next message.
    pub(crate) next: i64,
}

/// The streams of the peers that were used so far, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    peers: HashMap<PeerName, Vec<Known>>,
}

impl Streams {
    /// Returns the streams of a peer, which `load` reads the first time.
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

    /// Makes `number` the next number again, because it was not stored.
    pub(crate) fn rewind(&mut self, peer: &PeerName, age: i64, number: i64) {
        let streams = self.peers.get_mut(peer).into_iter().flatten();
        for known in streams.filter(|known| known.age == age) {
            known.next = known.next.min(number);
        }
    }
}

/// Places a new message: returns the age of its stream, and its number.
pub(crate) fn place(streams: &mut Vec<Known>, id: MessageId) -> Result<(i64, i64), Fault> {
    let number = stored(id.number)?;
    let newest = streams.last().map_or(0, |known| known.age + 1);
    match streams.iter().position(|known| known.instance == id.stream) {
        None if number > 0 => {
            streams.push(Known { age: newest, instance: id.stream, next: number + 1 });
            Ok((newest, number))
        }
        Some(index) if index + 1 == streams.len() && streams[index].next == number => {
            streams[index].next = number + 1;
            Ok((streams[index].age, number))
        }
        Some(index) if index + 1 == streams.len() => {
            let next = streams[index].next;
            Err(Fault::refused(format!("message {id} is out of order: the next number is {next}")))
        }
        _ => Err(Fault::refused(format!("message {id} cannot be appended to its stream"))),
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
