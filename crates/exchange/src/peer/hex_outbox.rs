//! The outbox of a `hex` peer, which sends no acknowledgements: a message leaves it when it is
//! handed to a connection.

use std::collections::{BTreeMap, VecDeque};

use paddington_wire::link::{Full, Link, LinkConfig, Millis, Outcome};
use paddington_wire::{Data, Frame, Instance, Ready, Text};

/// The number of a message among those that this service has accepted for a peer.
pub(crate) type Number = u64;

/// Messages that wait for a `hex` peer.
#[derive(Debug)]
pub(crate) struct HexOutbox {
    config: LinkConfig,
    instance: Instance,
    waiting: VecDeque<Waiting>,
    bytes: u64,
    accepted: Number,
    /// Numbers that have expired since they were last taken.
    expired: Vec<Number>,
}

#[derive(Debug)]
struct Waiting {
    number: Number,
    text: Text,
    accepted: Millis,
    deadline: Option<Millis>,
}

impl HexOutbox {
    pub(super) fn new(config: LinkConfig, instance: Instance) -> Self {
        let waiting = VecDeque::new();
        Self { config, instance, waiting, bytes: 0, accepted: 0, expired: Vec::new() }
    }

    pub(super) fn enqueue(
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

    pub(super) fn room_for(&self, len: usize) -> Result<(), Full> {
        self.config.room_for(len, self.waiting.len(), self.bytes)
    }

    /// Returns the next message to send.
    pub(super) fn transmit(&mut self, now: Millis) -> Option<Frame> {
        loop {
            let next = self.waiting.pop_front()?;
            self.bytes -= Data::cost(next.text.len());
            if next.deadline.is_none_or(|deadline| deadline > now) {
                return Some(Frame::Bare(next.text));
            }
            self.expired.push(next.number);
        }
    }

    pub(super) fn expire(&mut self, now: Millis) -> bool {
        let (expired, waiting): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.deadline.is_some_and(|deadline| deadline <= now));
        self.waiting = waiting;
        for gone in &expired {
            self.bytes -= Data::cost(gone.text.len());
            self.expired.push(gone.number);
        }
        !expired.is_empty()
    }

    /// Drops the texts of all messages that wait, none of which will be sent.
    pub(super) fn forget(&mut self) {
        self.waiting.iter_mut().for_each(|waiting| waiting.text = Text::default());
        self.bytes = 0;
    }

    pub(super) fn outcome(&self, number: Number) -> Outcome {
        if self.expired.contains(&number) {
            return Outcome::Expired;
        }
        let waits = self.waiting.binary_search_by_key(&number, |waiting| waiting.number).is_ok();
        if waits { Outcome::Waiting } else { Outcome::Done }
    }

    pub(super) fn instance(&self) -> Instance {
        self.instance
    }

    pub(super) fn ready(&self) -> Ready {
        Link::new(self.config, self.instance).ready()
    }

    pub(super) fn messages(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn oldest(&self) -> Option<Millis> {
        self.waiting.front().map(|waiting| waiting.accepted)
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.waiting.iter().filter_map(|waiting| waiting.deadline).min()
    }

    pub(super) fn has_outcomes(&self) -> bool {
        !self.expired.is_empty()
    }

    /// Takes the outcomes of messages that have expired.
    pub(super) fn take_outcomes(&mut self) -> BTreeMap<Number, Outcome> {
        let expired = std::mem::take(&mut self.expired);
        expired.into_iter().map(|number| (number, Outcome::Expired)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> HexOutbox {
        let config = LinkConfig { outbox_messages: 3, ..LinkConfig::default() };
        HexOutbox::new(config, Instance::from([0; 16]))
    }

    #[test]
    fn messages_leave_in_order_and_expire() {
        let mut outbox = outbox();
        assert_eq!(outbox.enqueue("a".into(), 0, Some(5)), Ok(1));
        assert_eq!(outbox.enqueue("b".into(), 0, None), Ok(2));
        assert_eq!(outbox.enqueue("c".into(), 0, Some(9)), Ok(3));
        assert_eq!(outbox.enqueue("d".into(), 0, None), Err(Full { messages: 3, bytes: 75 }));
        assert!(outbox.expire(9) && !outbox.expire(9));
        assert_eq!(outbox.outcome(1), Outcome::Expired);
        assert_eq!(outbox.outcome(2), Outcome::Waiting);
        assert_eq!(outbox.transmit(9), Some(Frame::Bare("b".into())));
        assert_eq!(outbox.outcome(2), Outcome::Done);
        assert_eq!((outbox.transmit(9), outbox.bytes), (None, 0));
    }
}
