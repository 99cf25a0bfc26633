//! What waits for a peer, in either encoding: a link that numbers and acknowledges, or a queue that
//! only sends.

use std::collections::VecDeque;

use paddington_wire::link::{Full, Link, LinkConfig, Millis, Outcome, Restored};
use paddington_wire::{Data, Encoding, Frame, Instance, MessageId, Ready, RejectCode, Text};

/// What waits for one peer.
#[derive(Debug)]
pub(crate) enum PeerLink {
    Sealed(Box<Link>),
    Hex(HexOutbox),
}

/// The number of a message among those that this service has accepted for the peer.
pub(crate) type Number = u64;

impl PeerLink {
    pub(crate) fn new(encoding: Encoding, config: LinkConfig, instance: Instance) -> Self {
        match encoding {
            Encoding::Hex => Self::Hex(HexOutbox::new(config, instance)),
            _ => Self::Sealed(Box::new(Link::new(config, instance))),
        }
    }

    /// Goes on from what a store has kept; only a `sealed` link can.
    pub(crate) fn restore(config: LinkConfig, instance: Instance, restored: Restored) -> Self {
        Self::Sealed(Box::new(Link::restore(config, instance, restored)))
    }

    /// Recalls that a message of the peer was given up in an earlier life.
    pub(crate) fn recall(&mut self, id: MessageId, code: RejectCode) {
        if let Self::Sealed(link) = self {
            link.recall(id, code);
        }
    }

    /// What this side keeps and what it has; of a `hex` peer nothing is ever declared.
    pub(crate) fn ready(&self) -> Ready {
        match self {
            Self::Sealed(link) => link.ready(),
            Self::Hex(queue) => Link::new(queue.config, queue.instance).ready(),
        }
    }

    pub(crate) fn encoding(&self) -> Encoding {
        match self {
            Self::Sealed(_) => Encoding::Sealed,
            Self::Hex(_) => Encoding::Hex,
        }
    }

    pub(crate) fn enqueue(
        &mut self,
        text: Text,
        now: Millis,
        deadline: Option<Millis>,
    ) -> Result<Number, Full> {
        match self {
            Self::Sealed(link) => {
                link.enqueue(text.into_bytes(), now, deadline).map(|id| id.number)
            }
            Self::Hex(queue) => queue.enqueue(text, now, deadline),
        }
    }

    /// Whether a message of `len` bytes fits into the outbox.
    pub(crate) fn room_for(&self, len: usize) -> Result<(), Full> {
        match self {
            Self::Sealed(link) => link.room_for(len),
            Self::Hex(queue) => queue.room_for(len),
        }
    }

    pub(crate) fn messages(&self) -> usize {
        match self {
            Self::Sealed(link) => link.outbox_messages(),
            Self::Hex(queue) => queue.waiting.len(),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Sealed(link) => link.outbox_bytes(),
            Self::Hex(queue) => queue.bytes,
        }
    }

    pub(crate) fn oldest(&self) -> Option<Millis> {
        match self {
            Self::Sealed(link) => link.oldest(),
            Self::Hex(queue) => queue.waiting.front().map(|waiting| waiting.accepted),
        }
    }

    /// Gives up what has expired. Returns whether anything has.
    pub(crate) fn expire(&mut self, now: Millis) -> bool {
        match self {
            Self::Sealed(link) => link.expire(now),
            Self::Hex(queue) => queue.expire(now),
        }
    }

    /// When the next message expires.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        match self {
            Self::Sealed(link) => link.next_deadline(),
            Self::Hex(queue) => queue.waiting.iter().filter_map(|waiting| waiting.deadline).min(),
        }
    }

    /// Gives up what waits.
    pub(crate) fn abandon(&mut self) {
        match self {
            Self::Sealed(link) => {
                link.abandon();
            }
            Self::Hex(_) => {} // it keeps no account
        }
    }

    /// What became of a message, in this life's numbers.
    pub(crate) fn outcome(&self, number: Number, instance: Instance) -> Outcome {
        match self {
            Self::Sealed(link) => {
                link.outcome(paddington_wire::MessageId { stream: instance, number })
            }
            Self::Hex(queue) => queue.outcome(number),
        }
    }
}

/// The outbox of a `hex` peer: what was handed to a connection is gone.
#[derive(Debug)]
pub(crate) struct HexOutbox {
    config: LinkConfig,
    instance: Instance,
    waiting: VecDeque<Waiting>,
    bytes: u64,
    accepted: Number,
    expired: Vec<Number>,
}

#[derive(Debug)]
struct Waiting {
    number: Number,
    text: Text,
    accepted: Millis,
    deadline: Option<Millis>,
}

/// How many expired numbers are remembered.
const EXPIRED: usize = 4_096;

impl HexOutbox {
    fn new(config: LinkConfig, instance: Instance) -> Self {
        let waiting = VecDeque::new();
        Self { config, instance, waiting, bytes: 0, accepted: 0, expired: Vec::new() }
    }

    fn enqueue(
        &mut self,
        text: Text,
        now: Millis,
        deadline: Option<Millis>,
    ) -> Result<Number, Full> {
        self.room_for(text.len())?;
        self.accepted += 1;
        self.bytes += Data::cost(text.len());
        let number = self.accepted;
        self.waiting.push_back(Waiting { number, text, accepted: now, deadline });
        Ok(number)
    }

    fn room_for(&self, len: usize) -> Result<(), Full> {
        self.config.room_for(len, self.waiting.len(), self.bytes)
    }

    /// The next message to send.
    pub(crate) fn transmit(&mut self, now: Millis) -> Option<Frame> {
        loop {
            let next = self.waiting.pop_front()?;
            self.bytes -= Data::cost(next.text.len());
            if next.deadline.is_none_or(|deadline| deadline > now) {
                return Some(Frame::Bare(next.text));
            }
            self.remember_expired(next.number);
        }
    }

    fn expire(&mut self, now: Millis) -> bool {
        let (expired, waiting): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.deadline.is_some_and(|deadline| deadline <= now));
        self.waiting = waiting;
        for gone in &expired {
            self.bytes -= Data::cost(gone.text.len());
            self.remember_expired(gone.number);
        }
        !expired.is_empty()
    }

    fn outcome(&self, number: Number) -> Outcome {
        if self.expired.binary_search(&number).is_ok() {
            return Outcome::Expired;
        }
        let waits = self.waiting.binary_search_by_key(&number, |waiting| waiting.number).is_ok();
        if waits { Outcome::Waiting } else { Outcome::Done }
    }

    fn remember_expired(&mut self, number: Number) {
        if self.expired.len() == EXPIRED {
            self.expired.remove(0);
        }
        let at = self.expired.partition_point(|earlier| *earlier < number);
        self.expired.insert(at, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> HexOutbox {
        let config = LinkConfig { outbox_messages: 3, ..LinkConfig::default() };
        HexOutbox::new(config, Instance::from([0; 16]))
    }

    #[test]
    fn messages_leave_in_order_and_expire() {
        let mut queue = queue();
        assert_eq!(queue.enqueue("a".into(), 0, Some(5)), Ok(1));
        assert_eq!(queue.enqueue("b".into(), 0, None), Ok(2));
        assert_eq!(queue.enqueue("c".into(), 0, Some(9)), Ok(3));
        assert_eq!(queue.enqueue("d".into(), 0, None), Err(Full { messages: 3, bytes: 75 }));
        assert!(queue.expire(9) && !queue.expire(9));
        assert_eq!(queue.outcome(1), Outcome::Expired);
        assert_eq!(queue.outcome(2), Outcome::Waiting);
        assert_eq!(queue.transmit(9), Some(Frame::Bare("b".into())));
        assert_eq!(queue.outcome(2), Outcome::Done);
        assert_eq!((queue.transmit(9), queue.bytes), (None, 0));
    }
}
