//! What a peer's link and the store have to tell each other.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use paddington_wire::MessageId;
use paddington_wire::link::{CursorChanges, Link};
use tokio::sync::oneshot;
use tracing::error;

use super::{Number, Peer, PeerLink, State, wake};
use crate::Event;
use crate::store::{Answer, Fence, NewMessage, Store, StoreError};

/// What waits for the task of a peer.
#[derive(Default)]
pub(crate) struct Storing {
    appends: VecDeque<Append>,
    /// Grows when what could not be stored was taken back.
    generation: u64,
    /// Whether the task knows that cursors have moved, or messages may go.
    noted: bool,
}

/// A message on its way into the store.
pub(crate) struct Append {
    number: Number,
    generation: u64,
    answer: Option<Answer<()>>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Append {
    /// Waits for the store's answer.
    pub(crate) async fn wait(mut self) -> (Self, Result<(), StoreError>) {
        let answer = match self.answer.take() {
            Some(answer) => answer.await,
            None => Ok(()),
        };
        (self, answer)
    }
}

impl Peer {
    /// The store, if messages of this peer are kept in one.
    pub(crate) fn store(&self) -> Option<&Arc<dyn Store>> {
        self.store.as_ref()
    }

    /// Who owns this peer's link: always this process, as long as it has the store open.
    pub(crate) fn fence(&self) -> Fence {
        Fence::default()
    }

    /// Sends a message that the link has accepted to the store. Under the peer's lock, so that the
    /// store gets them in order.
    pub(super) fn append(
        &self,
        state: &mut State,
        message: NewMessage,
    ) -> Option<oneshot::Receiver<Result<(), StoreError>>> {
        let store = self.store.as_ref()?;
        let (done, stored) = oneshot::channel();
        let number = message.id.number;
        let answer = Some(store.append(&self.name, message));
        let generation = state.storing.generation;
        state.storing.appends.push_back(Append { number, generation, answer, done });
        self.work.notify_one();
        Some(stored)
    }

    /// Lets the task know that cursors have moved, or messages may go.
    pub(crate) fn note_store_work(&self, state: &mut State) {
        if self.store.is_some() && !std::mem::replace(&mut state.storing.noted, true) {
            self.work.notify_one();
        }
    }

    /// Whether cursors have moved, or messages may go, since this was last asked.
    pub(crate) fn has_store_work(&self) -> bool {
        std::mem::take(&mut self.lock().storing.noted)
    }

    pub(crate) fn take_appends(&self) -> VecDeque<Append> {
        std::mem::take(&mut self.lock().storing.appends)
    }

    pub(crate) fn take_trims(&self) -> Vec<MessageId> {
        self.with_link(Vec::new(), Link::take_trims)
    }

    pub(crate) fn take_cursors(&self) -> CursorChanges {
        self.with_link(CursorChanges::default(), Link::take_cursors)
    }

    /// The store has forgotten everything up to `id`.
    pub(crate) fn trimmed(&self, id: MessageId) {
        self.with_link((), |link| link.trimmed(id));
    }

    pub(crate) fn wanted(&self) -> Option<MessageId> {
        self.with_link(None, |link| link.wanted())
    }

    pub(crate) fn wants_new_session(&self) -> bool {
        self.with_link(false, |link| link.wants_new_session())
    }

    /// Hands messages that were read to the connection that waits for them.
    pub(crate) fn supply(&self, first: MessageId, payloads: Vec<Bytes>) {
        let mut state = self.lock();
        if let PeerLink::Sealed(link) = &mut state.link {
            for (number, payload) in (first.number..).zip(payloads) {
                link.supply(MessageId { number, ..first }, payload);
            }
        }
        let writer = state.take_connection_waker();
        drop(state);
        wake(writer);
    }

    /// The store has answered some appends, in order.
    pub(crate) fn stored(&self, answered: Vec<(Append, Result<(), StoreError>)>) {
        let mut state = self.lock();
        for (append, answer) in &answered {
            match answer {
                Ok(()) => state.stored(append.number),
                Err(cause) if append.generation == state.storing.generation => {
                    self.take_back(&mut state, cause);
                }
                Err(_) => {} // taken back already
            }
        }
        let writer = state.take_connection_waker();
        drop(state);
        wake(writer);
        for (append, answer) in answered {
            let _ = append.done.send(answer); // who has sent it may not want to know
        }
    }

    /// What the store refused was never accepted, and neither was anything after it.
    fn take_back(&self, state: &mut State, cause: &StoreError) {
        state.storing.generation += 1;
        if let PeerLink::Sealed(link) = &mut state.link {
            link.unstored();
        }
        error!(peer = %self.name, %cause, "messages are refused");
        self.shared.tell(Event::StoreFailed { peer: self.name.clone(), cause: cause.to_string() });
        self.settle(state);
    }

    fn with_link<T>(&self, without: T, ask: impl FnOnce(&mut Link) -> T) -> T {
        match &mut self.lock().link {
            PeerLink::Sealed(link) => ask(link),
            PeerLink::Hex(_) => without,
        }
    }
}

impl State {
    fn stored(&mut self, number: Number) {
        if let PeerLink::Sealed(link) = &mut self.link {
            link.stored(number);
        }
    }
}

impl fmt::Debug for Storing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storing").field("appends", &self.appends.len()).finish_non_exhaustive()
    }
}
