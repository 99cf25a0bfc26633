//! How messages for a peer are accepted.

use std::pin::pin;
use std::time::Duration;

use paddington_wire::{Data, Encoding, MessageId, Text, hex};
use tokio::sync::{SemaphorePermit, oneshot};
use tokio::time::{Instant, sleep};

use super::{Number, Peer, Shared, State, millis, wake};
use crate::SendError;
use crate::store::{NewMessage, StoreError};

/// How many bytes may be on their way into the store.
pub(super) const UNSTORED_BYTES: usize = 64 * 1024 * 1024;

/// For how long somebody waits for room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long at most.
    pub(crate) limit: Option<Duration>,
    /// Whether it is a handler, which may still send while the service shuts down.
    pub(crate) outlasts_shutdown: bool,
}

impl Patience {
    async fn is_over(self, shared: &Shared) {
        let limit = async {
            match self.limit {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = limit => {}
            () = shared.stopping.cancelled(), if !self.outlasts_shutdown => {}
        }
    }
}

/// A message that has a place in the outbox.
struct Placed {
    number: Number,
    /// With a store, when it is stored.
    stored: Option<oneshot::Receiver<Result<(), StoreError>>>,
}

impl Placed {
    /// Waits until it is stored, where it is to be.
    async fn accepted(self) -> Result<Number, SendError> {
        match self.stored {
            None => Ok(self.number),
            Some(stored) => match stored.await {
                Ok(Ok(())) => Ok(self.number),
                Ok(Err(cause)) => Err(SendError::Storage(cause)),
                Err(_) => Err(SendError::ShuttingDown),
            },
        }
    }
}

impl Peer {
    /// Accepts a message for this peer; with a store, once it is stored.
    pub(crate) async fn accept(
        &self,
        mut text: Text,
        ttl: Option<Duration>,
    ) -> Result<Number, SendError> {
        if self.store.is_none() {
            return Ok(self.place(&mut text, ttl)?.number);
        }
        let _room = self.room_to_store(&text).await;
        self.place(&mut text, ttl)?.accepted().await
    }

    /// With a store: the right to have a message on its way into it.
    async fn room_to_store(&self, text: &Text) -> Option<SemaphorePermit<'_>> {
        self.store.as_ref()?;
        let cost = u32::try_from(text.len().min(UNSTORED_BYTES)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.shared.unstored.acquire_many(cost).await.ok()
    }

    /// Accepts a message as soon as there is room for it; first come, first served.
    pub(crate) async fn accept_when_ready(
        &self,
        mut text: Text,
        patience: Patience,
    ) -> Result<Number, SendError> {
        if let (None, Ok(_turn)) = (&self.store, self.turn.try_lock()) {
            match self.place(&mut text, None) {
                Err(SendError::Full { .. }) => {} // it has to wait
                placed => return Ok(placed?.number),
            }
        }
        let began = Instant::now();
        let accepted = self.accept_in_turn(text, patience).await;
        self.lock().counters.send_wait += began.elapsed();
        accepted
    }

    /// Nobody waits for the store before it is the next one's turn, so that all who wait share its
    /// syncs.
    async fn accept_in_turn(
        &self,
        mut text: Text,
        patience: Patience,
    ) -> Result<Number, SendError> {
        let mut over = pin!(patience.is_over(&self.shared));
        let turn = tokio::select! {
            biased;
            turn = self.turn.lock() => Some(turn),
            () = &mut over => None,
        };
        loop {
            let room = self.shared.room.notified();
            let room_to_store = self.room_to_store(&text).await;
            let full = match self.place(&mut text, None) {
                Err(full @ SendError::Full { .. }) => full,
                Err(error) => return Err(error),
                Ok(placed) => {
                    drop(turn);
                    return placed.accepted().await;
                }
            };
            drop(room_to_store);
            let waited = turn.is_some()
                && tokio::select! {
                    biased;
                    () = room => true,
                    () = &mut over => false,
                };
            if !waited {
                let stops = self.shared.stopping.is_cancelled() && !patience.outlasts_shutdown;
                return Err(if stops { SendError::ShuttingDown } else { full });
            }
        }
    }

    /// Gives up what has expired. Returns how long it is to the next time.
    pub(crate) fn expire(&self) -> Option<Duration> {
        let now = self.now();
        let mut state = self.lock();
        if state.link.expire(now) {
            self.settle(&mut state);
        }
        let deadline = state.link.next_deadline()?;
        Some(Duration::from_millis(deadline.saturating_sub(now)))
    }

    /// Takes `text` if there is room for it.
    fn place(&self, text: &mut Text, ttl: Option<Duration>) -> Result<Placed, SendError> {
        let cost = Data::cost(text.len());
        let now = self.now();
        let deadline = ttl.map(|ttl| now.saturating_add(millis(ttl)));
        let mut state = self.lock();
        self.check_length(text, state.link.encoding())?;
        if state.abandoned {
            return Err(SendError::ShuttingDown);
        }
        if state.link.room_for(text.len()).is_err() || !self.shared.budget.take(cost) {
            return Err(self.full(&state));
        }
        let text = std::mem::take(text);
        let copy = self.store.is_some().then(|| text.clone());
        let Ok(number) = state.link.enqueue(text, now, deadline) else {
            self.shared.budget.give(cost);
            return Err(self.full(&state));
        };
        state.charged += cost;
        let stored = copy.and_then(|text| {
            let id = MessageId { stream: self.shared.instance, number };
            self.append(&mut state, NewMessage { id, payload: text.into_bytes(), ttl })
        });
        self.settle(&mut state);
        let waker = state.take_connection_waker();
        drop(state);
        wake(waker);
        if deadline.is_some() {
            self.shared.deadlines.notify_one();
        }
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
            messages: state.link.messages(),
            oldest: self.oldest(state),
        }
    }

    /// For how long the oldest message has been waiting.
    pub(super) fn oldest(&self, state: &State) -> Duration {
        let now = self.now();
        let oldest = state.link.oldest().map_or(0, |oldest| now.saturating_sub(oldest));
        Duration::from_millis(oldest)
    }

    /// Gives back to the common budget what no longer waits, and tells those who wait for it.
    pub(crate) fn settle(&self, state: &mut State) {
        let waiting = state.link.bytes();
        if waiting < state.charged {
            self.shared.budget.give(state.charged - waiting);
            state.charged = waiting;
            self.note_store_work(state);
            self.progress.notify_waiters();
            self.shared.room.notify_waiters();
        }
    }
}
