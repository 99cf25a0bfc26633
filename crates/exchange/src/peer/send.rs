//! Sending: how a message is accepted, and how senders wait for room. Whether there is room is
//! decided in `room.rs`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use paddington_wire::{Content, Message, MessageId};
use tokio::time::{Instant, sleep};

use super::appends::Stored;
use super::outbox::Accepted;
use super::peer::wake;
use super::room::NoRoom;
use super::shared::millis;
use super::state::State;
use super::{Peer, Shared};
use crate::current::is_handler_of;
use crate::store::{NewMessage, StoreError};
use crate::{Exchange, FullOutbox, Receipt, SendError};

/// Options for sending one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// Time within which the message has to be transmitted; after that it expires.
    pub ttl: Option<Duration>,
}

impl Exchange {
    /// Queues a message and returns at once: `Ok` means that it is accepted, and that it will be
    /// delivered or its loss reported.
    ///
    /// # Errors
    ///
    /// [`SendError`] if it is not accepted; nothing of it is kept then. This never waits for room,
    /// because two services whose handlers wait for each other's room would deadlock.
    pub async fn send(&self, message: Message) -> Result<Receipt, SendError> {
        self.send_with(message, SendOptions::default()).await
    }

    /// Sends a message as [`send`](Self::send) does, with options.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use paddington_exchange::SendOptions;
    /// use paddington_wire::Message;
    ///
    /// # use paddington_exchange::{Config, Exchange, Setup, Storage};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let setup = Setup {
    /// #     name: "hub".parse()?,
    /// #     listen: None,
    /// #     clients: Vec::new(),
    /// #     servers: Vec::new(),
    /// #     network: paddington_transport::system(),
    /// #     store: Storage::Memory,
    /// #     key_store: None,
    /// #     config: Config::default(),
    /// # };
    /// # let exchange = Exchange::start(setup, async |_| Ok::<(), std::io::Error>(())).await?;
    /// let options = SendOptions { ttl: Some(Duration::from_secs(10)) };
    /// match exchange.send_with(Message::new("sensor", "report"), options).await {
    ///     Ok(receipt) => println!("the outcome: {:?}", receipt.await),
    ///     Err(error) => println!("not accepted: {error}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_with(
        &self,
        message: Message,
        options: SendOptions,
    ) -> Result<Receipt, SendError> {
        let peer = self.recipient(&message)?;
        let content = message.into_content();
        if let Some(cluster) = &self.core().cluster {
            let id = peer.submit(content, options.ttl).await?;
            return Ok(Receipt::shared(peer, id, cluster.receipts()));
        }
        let accepted = peer.accept(content, options.ttl).await?;
        Ok(Receipt::new(peer, accepted))
    }

    /// Sends a message as [`send`](Self::send) does, but waits for room; first come, first served.
    /// It is meant for producers outside handlers: inside one it waits for
    /// [`Config::patience`](crate::Config::patience) at most, and then fails with
    /// [`SendError::Full`].
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_when_ready(&self, message: Message) -> Result<Receipt, SendError> {
        let patience = is_handler_of(self.core()).then_some(self.core().shared.config.patience);
        self.send_within(message, patience).await
    }

    /// Sends a message as [`send_when_ready`](Self::send_when_ready) does, but waits for room no
    /// longer than `limit`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_timeout(
        &self,
        message: Message,
        limit: Duration,
    ) -> Result<Receipt, SendError> {
        let patience = self.core().shared.config.patience;
        let limit = if is_handler_of(self.core()) { limit.min(patience) } else { limit };
        self.send_within(message, Some(limit)).await
    }

    async fn send_within(
        &self,
        message: Message,
        limit: Option<Duration>,
    ) -> Result<Receipt, SendError> {
        let peer = self.recipient(&message)?;
        let patience = Patience { limit, outlasts_shutdown: is_handler_of(self.core()) };
        let content = message.into_content();
        if let Some(cluster) = &self.core().cluster {
            let id = peer.submit_when_ready(content, patience).await?;
            return Ok(Receipt::shared(peer, id, cluster.receipts()));
        }
        let accepted = peer.accept_when_ready(content, patience).await?;
        Ok(Receipt::new(peer, accepted))
    }

    fn recipient(&self, message: &Message) -> Result<Arc<Peer>, SendError> {
        if !self.core().lifecycle.accepts(|| is_handler_of(self.core())) {
            return Err(SendError::ShuttingDown);
        }
        self.known(message.recipient())
    }
}

/// Patience of a sender that waits for room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Longest time to wait; `None` for no limit.
    limit: Option<Duration>,
    /// Whether the sender is a handler, which may still send while the service shuts down.
    outlasts_shutdown: bool,
}

impl Patience {
    pub(super) async fn is_over(self, shared: &Shared) {
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

/// A message that is in the outbox.
struct Queued {
    accepted: Accepted,
    /// Resolves when the message is stored; `None` without a store.
    stored: Option<Stored>,
}

impl Queued {
    /// Waits until the message is stored, if there is a store.
    async fn accepted(self) -> Result<Accepted, SendError> {
        match self.stored {
            None => Ok(self.accepted),
            Some(stored) => match stored.await {
                Ok(Ok(())) => Ok(self.accepted),
                Ok(Err(cause)) if cause.may_be_stored() => Err(SendError::StorageUnsure(cause)),
                Ok(Err(cause)) => Err(SendError::Storage(cause)),
                Err(_) => {
                    let cause = StoreError::unsure("the service ended before the store answered");
                    Err(SendError::StorageUnsure(cause))
                }
            },
        }
    }
}

impl Peer {
    /// Accepts a message for this peer; with a store, once it is stored.
    async fn accept(
        &self,
        mut content: Content,
        ttl: Option<Duration>,
    ) -> Result<Accepted, SendError> {
        if self.store().is_none() {
            return Ok(self.enqueue(&mut content, ttl)?.accepted);
        }
        let _room = self.shared.room.to_store(&content).await;
        self.enqueue(&mut content, ttl)?.accepted().await
    }

    /// Accepts a message as soon as there is room for it; first come, first served.
    async fn accept_when_ready(
        &self,
        mut content: Content,
        patience: Patience,
    ) -> Result<Accepted, SendError> {
        if let (None, Ok(_turn)) = (self.store(), self.turn().try_lock()) {
            match self.enqueue(&mut content, None) {
                Err(SendError::Full { .. }) => {} // it has to wait
                queued => return Ok(queued?.accepted),
            }
        }
        let began = Instant::now();
        let accepted = self.accept_in_turn(content, patience).await;
        self.lock().counters_mut().send_wait += began.elapsed();
        accepted
    }

    /// Accepts a message when it is this sender's turn. The turn ends before the message is stored,
    /// so that all senders that wait share the syncs of the store.
    async fn accept_in_turn(
        &self,
        mut content: Content,
        patience: Patience,
    ) -> Result<Accepted, SendError> {
        let mut over = pin!(patience.is_over(&self.shared));
        let turn = tokio::select! {
            biased;
            turn = self.turn().lock() => Some(turn),
            () = &mut over => None,
        };
        loop {
            let freed = self.shared.room.freed();
            let room_to_store = match self.store() {
                Some(_) => self.shared.room.to_store(&content).await,
                None => None,
            };
            let full = match self.enqueue(&mut content, None) {
                Err(full @ SendError::Full { .. }) => full,
                Err(error) => return Err(error),
                Ok(queued) => {
                    drop(turn);
                    return queued.accepted().await;
                }
            };
            drop(room_to_store);
            let waited = turn.is_some()
                && tokio::select! {
                    biased;
                    () = freed => true,
                    () = &mut over => false,
                };
            if !waited {
                return Err(self.out_of_patience(full, patience));
            }
        }
    }

    /// Returns why a sender has waited in vain, if what it waits for is `full`.
    pub(super) fn out_of_patience(&self, full: SendError, patience: Patience) -> SendError {
        let stops = self.shared.stopping.is_cancelled() && !patience.outlasts_shutdown;
        if stops { SendError::ShuttingDown } else { full }
    }

    /// Removes messages that have expired. Returns the time until the next one does.
    pub(crate) fn expire(&self) -> Option<Duration> {
        let now = self.now();
        let mut state = self.lock_if_active()?;
        let (_, freed) = state.outbox_mut().change(&self.shared.room, |link| link.expire(now));
        self.note_freed(&mut state, freed);
        let deadline = state.next_deadline()?;
        Some(Duration::from_millis(deadline.saturating_sub(now)))
    }

    /// Queues a message if there is room for it.
    fn enqueue(&self, content: &mut Content, ttl: Option<Duration>) -> Result<Queued, SendError> {
        let now = self.now();
        let deadline = ttl.map(|ttl| now.saturating_add(millis(ttl)));
        let copy = self.store().is_some().then(|| content.clone());
        let mut state = self.lock();
        self.check_standing(&state)?;
        let queued = state.outbox_mut().enqueue(&self.shared.room, content, now, deadline);
        let (number, page) = queued.map_err(|why| self.refusal(why, &state, content))?;
        let stored = copy.and_then(|content| {
            let id = MessageId { stream: self.instance, number };
            self.append(&mut state, NewMessage { id, payload: content.into(), ttl, mark: None })
        });
        let waker = state.take_connection_waker();
        drop(state);
        wake(waker);
        if deadline.is_some() {
            self.shared.deadlines.notify_one();
        }
        Ok(Queued { accepted: (number, page), stored })
    }

    fn refusal(&self, why: NoRoom, state: &State, content: &Content) -> SendError {
        let max = self.shared.config.transport.limits.max_payload;
        match why {
            NoRoom::TextOnly => SendError::TextOnly(self.name.clone()),
            NoRoom::TooLong => SendError::TooLong { len: content.len(), max },
            NoRoom::TooLongForPeer(max) => SendError::TooLong { len: content.len(), max },
            NoRoom::Full => SendError::Full {
                peer: self.name.clone(),
                outbox: match (state.has_room_for(content.len()), self.store()) {
                    (false, _) => FullOutbox::Peer,
                    (true, None) => FullOutbox::All { setting: "outbox_bytes_total" },
                    (true, Some(_)) => FullOutbox::All { setting: "stored_bytes_total" },
                },
                messages: state.outbox_messages(),
                oldest: state.oldest(self.now()),
            },
        }
    }
}
