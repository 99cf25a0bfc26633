//! How messages for a peer are accepted.

use std::time::Duration;

use paddington_wire::{Data, Encoding, MessageId, Text, hex};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Peer, State, millis, wake};
use crate::SendError;
use crate::courier::Number;
use crate::store::{NewMessage, StoreError};

/// How often those who wait for room look whether something has expired.
const EXPIRY_CHECK: Duration = Duration::from_secs(1);
/// How many bytes may be on their way into the store.
pub(super) const UNSTORED_BYTES: usize = 64 * 1024 * 1024;

/// A message that has a place in the outbox.
struct Placed {
    number: Number,
    /// With a store, when it is stored.
    stored: Option<oneshot::Receiver<Result<(), StoreError>>>,
}

impl Peer {
    /// Accepts a message for this peer; with a store, once it is stored.
    pub(crate) async fn accept(
        &self,
        text: Text,
        ttl: Option<Duration>,
    ) -> Result<Number, SendError> {
        if self.store.is_none() {
            return Ok(self.place(text, ttl)?.number);
        }
        let cost = u32::try_from(text.len().min(UNSTORED_BYTES)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let _room = self.shared.unstored.acquire_many(cost).await;
        let Placed { number, stored } = self.place(text, ttl)?;
        match stored {
            None => Ok(number),
            Some(stored) => match stored.await {
                Ok(Ok(())) => Ok(number),
                Ok(Err(cause)) => Err(SendError::Storage(cause)),
                Err(_) => Err(SendError::ShuttingDown),
            },
        }
    }

    /// Accepts a message as soon as there is room for it; first come, first served.
    pub(crate) async fn accept_when_ready(
        &self,
        text: Text,
        ttl: Option<Duration>,
    ) -> Result<Number, SendError> {
        let _turn = self.turn.lock().await;
        loop {
            let room = self.shared.room.notified();
            match self.accept(text.clone(), ttl).await {
                Err(SendError::Full { .. }) => {}
                answered => return answered,
            }
            // What expires makes room without anybody saying so.
            let _ = timeout(EXPIRY_CHECK, room).await;
        }
    }

    fn place(&self, text: Text, ttl: Option<Duration>) -> Result<Placed, SendError> {
        let cost = Data::cost(text.len());
        let now = self.now();
        let deadline = ttl.map(|ttl| now.saturating_add(millis(ttl)));
        let mut state = self.lock();
        self.check_length(&text, state.courier.encoding())?;
        if !self.shared.budget.take(cost) {
            return Err(self.full(&state));
        }
        let mut accepted = state.courier.enqueue(text.clone(), now, deadline);
        if accepted.is_err() && state.courier.expire(now) {
            accepted = state.courier.enqueue(text.clone(), now, deadline);
        }
        let Ok(number) = accepted else {
            self.shared.budget.give(cost);
            return Err(self.full(&state));
        };
        state.charged += cost;
        let id = MessageId { stream: self.shared.instance, number };
        let message = NewMessage { id, payload: text.into_bytes(), ttl };
        let stored = self.append(&mut state, message);
        self.settle(&mut state);
        let waker = state.writer();
        drop(state);
        wake(waker);
        Ok(Placed { number, stored })
    }

    fn check_length(&self, text: &Text, encoding: Encoding) -> Result<(), SendError> {
        let max = self.shared.config.transport.limits.max_payload;
        let fits = text.len() <= max as usize && (encoding != Encoding::Hex || hex::fits(text));
        if fits { Ok(()) } else { Err(SendError::TooLong { len: text.len(), max }) }
    }

    fn full(&self, state: &State) -> SendError {
        SendError::Full {
            peer: self.name.clone(),
            messages: state.courier.messages(),
            oldest: self.oldest(state),
        }
    }

    /// For how long the oldest message has been waiting.
    pub(super) fn oldest(&self, state: &State) -> Duration {
        let now = self.now();
        let oldest = state.courier.oldest().map_or(0, |oldest| now.saturating_sub(oldest));
        Duration::from_millis(oldest)
    }

    /// Gives back to the common budget what no longer waits, and tells those who wait for it.
    pub(crate) fn settle(&self, state: &mut State) {
        let waiting = state.courier.bytes();
        if waiting < state.charged {
            self.shared.budget.give(state.charged - waiting);
            state.charged = waiting;
            self.note_store_work(state);
            self.progress.notify_waiters();
            self.shared.room.notify_waiters();
        }
    }
}
