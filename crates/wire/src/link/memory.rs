//! Room of an outbox: when a link is full, and how much of a stored backlog is in memory.

use thiserror::Error;

use super::LinkConfig;
use super::credit::Window;
use crate::faults::{Fault, broken};
use crate::frame::Data;

/// The outbox has no room.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the outbox is full: {messages} messages, {bytes} bytes wait")]
pub struct Full {
    /// Number of messages that wait.
    pub messages: usize,
    /// Bytes that wait, Σ(24 + length).
    pub bytes: u64,
}

impl LinkConfig {
    /// Checks whether one more message, of `len` bytes, fits into an outbox with so many `messages`
    /// and `bytes`.
    ///
    /// # Errors
    ///
    /// [`Full`] if it does not.
    pub fn room_for(&self, len: usize, messages: usize, bytes: u64) -> Result<(), Full> {
        let fits = messages < self.outbox_messages && bytes + Data::cost(len) <= self.outbox_bytes;
        if fits || broken(Fault::OutboxUnbounded) { Ok(()) } else { Err(Full { messages, bytes }) }
    }
}

/// Messages of an outbox and the bytes that they take, Σ(24 + length).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Memory {
    messages: usize,
    bytes: u64,
    /// The part of the bytes whose payloads are in memory, and not only in the store.
    loaded: u64,
}

impl Memory {
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a message, whose payload is in memory.
    pub(super) fn add(&mut self, cost: u64) {
        self.add_stored(cost);
        self.loaded += cost;
    }

    /// Adds a message that is in the store only.
    pub(super) fn add_stored(&mut self, cost: u64) {
        self.messages += 1;
        self.bytes += cost;
    }

    /// Removes a message of which `loaded` bytes are in memory.
    pub(super) fn remove(&mut self, cost: u64, loaded: u64) {
        self.messages -= 1;
        self.bytes -= cost;
        self.loaded -= loaded;
    }

    /// Counts a payload that was read from the store.
    pub(super) fn load(&mut self, cost: u64) {
        self.loaded += cost;
    }

    /// Counts a payload that is now in the store only.
    pub(super) fn unload(&mut self, cost: u64) {
        self.loaded -= cost;
    }

    /// Returns whether a stored payload need not stay in memory: of a backlog, two windows are kept
    /// there.
    pub(super) fn has_enough(&self, config: &LinkConfig) -> bool {
        self.loaded > 2 * Window::size(config)
    }
}
