//! A store: what a service has asked for, what is durable, and what the service was not told yet.
//!
//! Messages become durable in the order in which they were appended, and so do the lazy writes
//! (trims and cursors) among each other; either of the two queues may be ahead of the other.

use std::collections::VecDeque;
use std::time::Duration;

use paddington_wire::link::{self, Millis, StoredCursor, StoredLink, StoredStream};
use paddington_wire::{Instance, MessageId};

use crate::ledger::Breach;
use crate::scenario::Scenario;

/// A write without a sync of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lazy {
    /// Forget everything of a stream up to this message.
    Trim(MessageId),
    /// Remember that messages of a stream up to this one may have been transmitted.
    Mark(MessageId),
    /// Remember a cursor, and for the observer the labels that were finished on its stream.
    Cursor(StoredCursor, u32),
    /// Forget the cursor of an instance that is over.
    Forget(Instance),
}

/// An answer for the service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A message is durable, with the mark that came with it.
    Stored(MessageId, Option<u64>),
    /// A message could not be stored.
    Refused(MessageId),
    /// A stream is durably forgotten up to this message.
    Trimmed(MessageId),
    /// The mark of a stream is durable.
    Marked(MessageId),
}

/// One stored message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredMessage {
    /// Its number.
    pub id: MessageId,
    /// Its label in the ledger, which is its payload.
    pub label: u8,
    /// Whether it has a deadline.
    pub mortal: bool,
    /// The transmission mark that is stored with it.
    pub mark: Option<u64>,
}

/// Contents that outlive a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    /// The messages, with the streams in the order in which they were begun.
    pub messages: Vec<StoredMessage>,
    /// The transmission marks of their streams, those that are not 0.
    pub marks: Vec<MessageId>,
    /// The cursors.
    pub cursors: Vec<StoredCursor>,
    /// The labels of the peer's messages that the cursors call finished, for the observer.
    pub finished: u32,
}

/// A disk and the writes on their way to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disk {
    /// Contents that are durable.
    pub durable: Durable,
    /// Messages on their way.
    pub appends: VecDeque<StoredMessage>,
    /// Trims and cursors on their way.
    pub lazy: VecDeque<Lazy>,
    /// Answers that the service was not given yet, in order.
    pub answers: VecDeque<Answer>,
    /// A copy, as a backup would be.
    pub copy: Option<Box<Durable>>,
    /// Whether it refuses every message, until its service has heard of the failure.
    pub failing: bool,
}

impl Disk {
    /// Begins with messages that an earlier instance of the client has stored.
    pub fn left_over(&mut self, scenario: &Scenario) {
        for label in 0..scenario.left_over {
            let id = scenario.left_over_id(label);
            self.durable.messages.push(StoredMessage { id, label, mortal: false, mark: None });
        }
    }

    /// Takes a message. One that leaves a number out is refused.
    ///
    /// # Errors
    ///
    /// If the message before it is missing, which is a mistake of the driver.
    pub fn append(&mut self, message: StoredMessage) -> Result<(), Breach> {
        if self.failing {
            self.answers.push_back(Answer::Refused(message.id));
            return Ok(());
        }
        let MessageId { stream, number } = message.id;
        let mut known = self.durable.messages.iter().chain(&self.appends);
        let last = known.rfind(|known| known.id.stream == stream);
        if last.is_some_and(|last| last.id.number + 1 != number) {
            return Err(Breach::StoreHasHole);
        }
        self.appends.push_back(message);
        Ok(())
    }

    /// Makes the next message durable.
    pub fn commit_append(&mut self) -> Option<u8> {
        let mut message = self.appends.pop_front()?;
        let (label, mark) = (message.label, message.mark.take());
        self.answers.push_back(Answer::Stored(message.id, mark));
        mark.into_iter().for_each(|number| self.durable.mark(MessageId { number, ..message.id }));
        self.durable.messages.push(message);
        Some(label)
    }

    /// Makes the next lazy write durable.
    pub fn commit_lazy(&mut self) -> bool {
        let durable = &mut self.durable;
        match self.lazy.pop_front() {
            None => return false,
            Some(Lazy::Trim(upto)) => {
                let goes = |id: MessageId| id.stream == upto.stream && id.number <= upto.number;
                durable.messages.retain(|message| !goes(message.id));
                self.answers.push_back(Answer::Trimmed(upto));
            }
            Some(Lazy::Mark(upto)) => {
                durable.mark(upto);
                self.answers.push_back(Answer::Marked(upto));
            }
            Some(Lazy::Cursor(cursor, finished)) => {
                durable.cursors.retain(|known| known.instance != cursor.instance);
                durable.cursors.push(cursor);
                durable.finished |= finished;
            }
            Some(Lazy::Forget(instance)) => {
                durable.cursors.retain(|known| known.instance != instance);
            }
        }
        true
    }

    /// Fails every message that is on its way, and every later one until the service knows.
    pub fn fail(&mut self) {
        self.failing = true;
        self.answers.extend(self.appends.drain(..).map(|message| Answer::Refused(message.id)));
    }

    /// Drops all other refusals that were not told: one is enough to take everything back.
    pub fn take_refused(&mut self) -> Vec<MessageId> {
        let mut refused = Vec::new();
        self.answers.retain(|answer| match answer {
            Answer::Refused(id) => {
                refused.push(*id);
                false
            }
            _ => true,
        });
        refused
    }

    /// Cuts the power: writes on their way are lost.
    pub fn crash(&mut self) {
        let (durable, copy) = (std::mem::take(&mut self.durable), self.copy.take());
        *self = Self { durable, copy, ..Self::default() };
    }

    /// The labels of the messages that are durable.
    #[must_use]
    pub fn labels(&self) -> u32 {
        self.durable.messages.iter().fold(0, |labels, message| labels | 1 << message.label)
    }

    /// The label of a message, if the disk has it.
    #[must_use]
    pub fn read(&self, id: MessageId) -> Option<u8> {
        self.durable.messages.iter().find(|message| message.id == id).map(|message| message.label)
    }
}

impl Durable {
    fn mark(&mut self, upto: MessageId) {
        match self.marks.iter_mut().find(|mark| mark.stream == upto.stream) {
            Some(mark) => mark.number = mark.number.max(upto.number),
            None => self.marks.push(upto),
        }
    }

    /// The state that a link starts from at the time `now`.
    ///
    /// # Errors
    ///
    /// If the numbers of a stream have a hole: a store refuses to start then.
    pub fn restored(&self, now: Millis) -> Result<StoredLink, Breach> {
        let mut streams: Vec<StoredStream> = Vec::new();
        for message in &self.messages {
            let MessageId { stream: instance, number } = message.id;
            let left = Duration::from_millis(crate::world::DEADLINE - now);
            let message = link::StoredMessage { len: 1, ttl: message.mortal.then_some(left) };
            match streams.iter_mut().find(|stream| stream.instance == instance) {
                Some(stream) if stream.base + stream.messages.len() as u64 == number => {
                    stream.messages.push(message);
                }
                Some(_) => return Err(Breach::StoreHasHole),
                None => {
                    let mark = self.marks.iter().find(|mark| mark.stream == instance);
                    let mark = mark.map_or(0, |mark| mark.number);
                    let messages = vec![message];
                    streams.push(StoredStream { instance, base: number, mark, messages });
                }
            }
        }
        Ok(StoredLink { streams, cursors: self.cursors.clone() })
    }
}
