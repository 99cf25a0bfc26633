//! Calls of a link by whoever keeps its messages and cursors in a store.
//! Implements `docs/delivery.md` §6.

use super::Link;
use super::stored::CursorChanges;
use crate::{MessageId, Payload};

impl Link {
    /// Reports that the store has every message of this instance up to `number`: now they may be
    /// transmitted (rule R15).
    pub fn stored(&mut self, number: u64) {
        self.outbound.stored(number, &self.config);
    }

    /// Takes back the messages that were accepted and could not be stored; none of them was
    /// transmitted. Returns their number.
    pub fn unstored(&mut self) -> usize {
        self.outbound.unstored()
    }

    /// Returns the first message that is to be transmitted soon and whose payload is in the store
    /// only.
    #[must_use]
    pub fn wanted(&self) -> Option<MessageId> {
        self.outbound.wanted(&self.session.as_ref()?.ours)
    }

    /// Supplies the payload of a message that was [wanted](Self::wanted).
    pub fn supply(&mut self, id: MessageId, payload: Payload) {
        self.outbound.supply(id, payload);
    }

    /// Returns the last message of each stream that the store may remove, with all before it, if
    /// that has changed since the last call.
    pub fn take_trims(&mut self) -> Vec<MessageId> {
        self.outbound.take_trims()
    }

    /// Reports that the store has durably removed everything up to `id` (rule R14).
    pub fn trimmed(&mut self, id: MessageId) {
        self.outbound.trimmed(id);
    }

    /// Returns the changes of the cursors that the store is to keep, since the last call.
    pub fn take_cursors(&mut self) -> CursorChanges {
        self.inbound.take_changes()
    }
}
