//! The connection of a peer's link with the store: which messages are stored, read and removed.

use std::collections::VecDeque;

use paddington_wire::link::Link;
use paddington_wire::{MessageId, Payload};
use tracing::error;

use super::Peer;
use super::appends::{Append, Stored};
use super::peer::wake;
use super::state::State;
use crate::Event;
use crate::store::{Answer, NewMessage, StoreError};

/// What the store is asked to do with messages that have ended.
#[derive(Default)]
pub(super) struct Removals {
    /// Whether it has kept the fates of those that were not handled, if there were any.
    pub(super) settled: Option<Answer<()>>,
    /// Whether it has removed everything of a stream up to each of these.
    pub(super) trims: Vec<(MessageId, Answer<()>)>,
}

impl Peer {
    /// Sends a message that the link has accepted to the store. This happens under the peer's lock,
    /// so that the store gets the messages in order.
    pub(super) fn append(&self, state: &mut State, message: NewMessage) -> Option<Stored> {
        let store = self.own_store()?;
        let (number, mark) =
            (message.id.number, state.sealed_link().and_then(Link::take_mark_of_last));
        let answer = store.append(&self.mailbox, NewMessage { mark, ..message });
        let stored = state.push_append(number, mark, answer);
        self.tell_work();
        Some(stored)
    }

    /// Returns whether cursors have moved, or messages may be removed, since the last call.
    pub(super) fn has_store_work(&self) -> bool {
        self.lock().take_store_note()
    }

    pub(super) fn take_appends(&self) -> VecDeque<Append> {
        self.lock().take_appends()
    }

    /// Hands removals to the store, unless what waits may be kept.
    pub(super) fn take_removals(&self) -> Removals {
        let mut state = self.lock();
        if state.changes_store() { self.remove_ended(&mut state) } else { Removals::default() }
    }

    /// Hands fates to the store, and after them the removals of all messages that have ended by now.
    pub(super) fn remove_ended(&self, state: &mut State) -> Removals {
        let (Some(store), fence) = (self.store(), self.fence()) else { return Removals::default() };
        let settled = self.settle_fates(state);
        let ended = state.sealed_link().map(Link::take_trims).unwrap_or_default();
        let trim = |upto| (upto, store.trim(&self.mailbox, upto, fence));
        Removals { settled, trims: ended.into_iter().map(trim).collect() }
    }

    /// Hands a transmission mark to the store, if more messages are to be transmitted. The store
    /// writes it at once.
    pub(super) fn take_mark(&self) -> Option<(MessageId, Answer<()>)> {
        let (store, mut state) = (self.store()?, self.lock());
        if !state.changes_store() {
            return None;
        }
        let mark = state.sealed_link()?.take_mark()?;
        let answer = store.mark(&self.mailbox, mark, self.fence());
        drop(store.sync(&self.mailbox));
        Some((mark, answer))
    }

    /// Tells the link that the store has a transmission mark.
    pub(super) fn marked(&self, mark: MessageId) {
        let mut state = self.lock();
        state.sealed_link().into_iter().for_each(|link| link.marked(mark));
        let waker = state.take_connection_waker();
        drop(state);
        wake(waker);
    }

    /// Hands the cursors that have moved, or have ended, to the store.
    pub(crate) fn commit_cursors(&self) -> Vec<Answer<()>> {
        self.commit_cursors_of(&mut self.lock())
    }

    /// The same under the peer's lock, so that the store gets the states of a cursor in order.
    pub(super) fn commit_cursors_of(&self, state: &mut State) -> Vec<Answer<()>> {
        let (Some(store), fence) = (self.store(), self.fence()) else { return Vec::new() };
        if state.has_ended() {
            return Vec::new();
        }
        let changes = state.take_cursors();
        let moved = changes.moved.into_iter().map(|it| store.commit(&self.mailbox, it, fence));
        let forgotten =
            changes.forgotten.into_iter().map(|it| store.forget(&self.mailbox, it, fence));
        moved.chain(forgotten).collect()
    }

    /// Makes the cursors durable without a delay. The store writes them although nobody waits.
    pub(super) fn sync_cursors(&self, state: &mut State) {
        if let Some(store) = self.store() {
            drop(self.commit_cursors_of(state));
            drop(store.sync(&self.mailbox));
        }
    }

    /// Tells the link that the store has removed everything up to `id`. Messages may wait in streams
    /// that only a new session lists.
    pub(super) fn trimmed(&self, id: MessageId) {
        let mut state = self.lock();
        if let Some(link) = state.sealed_link() {
            link.trimmed(id);
            self.renew_session_if_wanted(&mut state);
        }
    }

    /// Returns the next message that has to be read from the store.
    pub(super) fn wanted(&self) -> Option<MessageId> {
        self.lock().sealed_link()?.wanted()
    }

    /// Hands messages that were read to the connection that waits for them.
    pub(super) fn supply(&self, first: MessageId, payloads: Vec<Payload>) {
        let mut state = self.lock();
        if let Some(link) = state.sealed_link() {
            for (number, payload) in (first.number..).zip(payloads) {
                link.supply(MessageId { number, ..first }, payload);
            }
        }
        let waker = state.take_connection_waker();
        drop(state);
        wake(waker);
    }

    /// Takes the answers of the store to some appends, in order.
    pub(super) fn stored(&self, answered: Vec<(Append, Result<(), StoreError>)>) {
        let mut state = self.lock();
        for (append, answer) in &answered {
            match answer {
                _ if state.has_ended() => {}
                Ok(()) => {
                    if let Some(link) = state.sealed_link() {
                        link.stored(append.number());
                        let mark = |number| MessageId { stream: self.instance, number };
                        append.mark().into_iter().for_each(|number| link.marked(mark(number)));
                    }
                }
                Err(cause) => self.take_back(&mut state, append, cause),
            }
        }
        let waker = state.take_connection_waker();
        drop(state);
        wake(waker);
        answered.into_iter().for_each(|(append, answer)| append.finish(answer));
    }

    /// Takes back a message that the store has refused, and every message after it: none was
    /// accepted.
    fn take_back(&self, state: &mut State, refused: &Append, cause: &StoreError) {
        let Some(freed) = state.take_back(&self.shared.room, refused) else { return };
        error!(peer = %self.name, %cause, "messages are refused because they cannot be stored");
        self.shared.tell(Event::StoreFailed { peer: self.name.clone(), cause: cause.to_string() });
        self.note_freed(state, freed);
    }
}
