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

    /// Returns the transmission mark of a stream that the store has to make durable before more of
    /// its stored messages are transmitted. Each is returned once.
    pub fn take_mark(&mut self) -> Option<MessageId> {
        self.outbound.take_mark(&self.session.as_ref()?.ours, self.config.mark_step)
    }

    /// Returns the transmission mark of this instance's stream that the store has to keep together
    /// with the message that was accepted last, if that is to be transmitted soon and needs one.
    pub fn take_mark_of_last(&mut self) -> Option<u64> {
        self.outbound.take_mark_of_last(&self.session.as_ref()?.ours, self.config.mark_step)
    }

    /// Returns whether there is a mark to [take](Self::take_mark).
    #[must_use]
    pub fn wants_mark(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|it| self.outbound.wants_mark(&it.ours, self.config.mark_step))
    }

    /// Records that the store has made a transmission mark durable.
    pub fn marked(&mut self, mark: MessageId) {
        self.outbound.marked(mark);
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
