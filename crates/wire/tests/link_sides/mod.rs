//! Two services in memory, joined frame by frame.

use std::collections::VecDeque;

use paddington_wire::link::{Link, LinkConfig};
use paddington_wire::{
    Frame, Instance, MessageId, Payload, RejectCode, SessionId, Slot, Violation,
};

pub(crate) fn instance(byte: u8) -> Instance {
    Instance::from([byte; 16])
}

/// One service: its link, the messages that its application was given, and those that it has not
/// handled yet.
pub(crate) struct Side {
    pub(crate) link: Link,
    pub(crate) slot: Slot,
    pub(crate) session: Option<SessionId>,
    pub(crate) delivered: Vec<(MessageId, Payload)>,
    pub(crate) unhandled: VecDeque<MessageId>,
}

impl Side {
    pub(crate) fn new(instance: Instance, config: LinkConfig) -> Self {
        Self {
            link: Link::new(config, instance),
            slot: Slot::default(),
            session: None,
            delivered: Vec::new(),
            unhandled: VecDeque::new(),
        }
    }

    pub(crate) fn send(&mut self, text: &str) -> MessageId {
        self.link.enqueue(Payload::text(text.to_owned()), 0, None).unwrap()
    }

    pub(crate) fn handle(&mut self, outcome: Result<(), RejectCode>) {
        if let Some(id) = self.unhandled.pop_front() {
            self.link.handled(id, outcome);
        }
    }

    pub(crate) fn handle_all(&mut self) {
        while !self.unhandled.is_empty() {
            self.handle(Ok(()));
        }
    }

    pub(crate) fn frames(&mut self, now: u64) -> Vec<Frame> {
        let Some(session) = self.session else { return Vec::new() };
        let mut frames = Vec::new();
        while let Some(frame) = self.link.transmit(session, now) {
            frames.push(frame);
        }
        while let Some(frame) = self.link.acknowledge(session) {
            frames.push(frame);
        }
        frames
    }

    pub(crate) fn receive(&mut self, frame: Frame) -> Result<(), Violation> {
        let session = self.session.unwrap();
        let mut arrived = Vec::new();
        self.link.receive(session, frame, &mut arrived)?;
        for message in arrived {
            self.delivered.push((message.id, message.payload));
            self.unhandled.push_back(message.id);
        }
        Ok(())
    }

    pub(crate) fn texts(&self) -> Vec<&str> {
        self.delivered.iter().map(|(_, text)| std::str::from_utf8(text).unwrap()).collect()
    }
}

pub(crate) fn connect(a: &mut Side, b: &mut Side) {
    let (ready_a, ready_b) = (a.link.ready(), b.link.ready());
    for (side, ours, theirs) in [(&mut *a, &ready_a, &ready_b), (&mut *b, &ready_b, &ready_a)] {
        let ticket = side.slot.ticket();
        let session = side.slot.take(ticket, None).unwrap();
        side.link.start(session, ours, theirs).unwrap();
        side.session = Some(session);
    }
}

pub(crate) fn cut(a: &mut Side, b: &mut Side) {
    for side in [a, b] {
        if let Some(session) = side.session.take() {
            side.link.end(session);
        }
    }
}

/// Carries frames both ways until neither side has any.
pub(crate) fn settle(a: &mut Side, b: &mut Side) {
    loop {
        let (from_a, from_b) = (a.frames(0), b.frames(0));
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        for frame in from_a {
            b.receive(frame).unwrap();
        }
        for frame in from_b {
            a.receive(frame).unwrap();
        }
    }
}

pub(crate) fn pair() -> (Side, Side) {
    pair_with(LinkConfig::default())
}

pub(crate) fn pair_with(config: LinkConfig) -> (Side, Side) {
    (Side::new(instance(1), config), Side::new(instance(2), config))
}
