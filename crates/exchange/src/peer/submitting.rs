//! Messages that are accepted by a store that replicas share, whichever of them owns the link.
//! Implements `docs/cluster.md`, "Rules" S4, S5 and S8.

use std::pin::pin;
use std::time::Duration;

use paddington_wire::{Content, MessageId, Payload};
use tokio::time::{Instant, sleep};

use super::Peer;
use super::send::Patience;
use crate::store::{Accepted, Bounds, Followed, Submission};
use crate::{FullOutbox, SendError};

/// The first pause of a sender that waits for room, and the longest one: it may become free at any
/// replica.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

impl Peer {
    /// Has the store accept a message. It has an id once this returns.
    ///
    /// # Errors
    ///
    /// [`SendError`] if it is not accepted.
    pub(super) async fn submit(
        &self,
        content: Content,
        ttl: Option<Duration>,
    ) -> Result<MessageId, SendError> {
        let Some(term) = self.term() else { return Err(SendError::ShuttingDown) };
        self.check_len(&content)?;
        let _room = self.shared.room.to_store(&content).await;
        let link = self.shared.link(true);
        let own = Bounds { messages: link.outbox_messages as u64, bytes: link.outbox_bytes };
        let bounds = self.shared.room.in_store(own, |floor| term.store.waiting_beyond(floor));
        let payload = Payload::from(content);
        let len = payload.len() as u64;
        let submission = Submission { payload: payload.clone(), ttl, bounds };
        let accepted = {
            // Under the lock, so that messages get their numbers in the order in which they were sent.
            let state = self.lock();
            self.check_standing(&state)?;
            term.store.accept(&self.mailbox, submission)
        };
        match accepted.await {
            Ok(Accepted::Stored(id)) => {
                self.follow_own(id, Followed { payload, ttl });
                Ok(id)
            }
            Ok(Accepted::Full { messages, bytes }) => Err(SendError::Full {
                peer: self.name.clone(),
                outbox: match own.messages > messages && own.bytes >= bytes.saturating_add(len) {
                    true => FullOutbox::All { setting: "stored_bytes_total" },
                    false => FullOutbox::Peer,
                },
                messages: usize::try_from(messages).unwrap_or(usize::MAX),
                oldest: self.lock().oldest(self.now()),
            }),
            Err(cause) if cause.may_be_stored() => Err(SendError::StorageUnsure(cause)),
            Err(cause) => Err(SendError::Storage(cause)),
        }
    }

    /// Has the store accept a message as soon as there is room for it; first come, first served among
    /// the senders of this replica.
    pub(super) async fn submit_when_ready(
        &self,
        content: Content,
        patience: Patience,
    ) -> Result<MessageId, SendError> {
        let began = Instant::now();
        let submitted = self.submit_in_turn(content, patience).await;
        self.lock().counters_mut().send_wait += began.elapsed();
        submitted
    }

    async fn submit_in_turn(
        &self,
        content: Content,
        patience: Patience,
    ) -> Result<MessageId, SendError> {
        let mut over = pin!(patience.is_over(&self.shared));
        let mut pause = PAUSES[0];
        let mut turn = None; // only those that wait for room wait for each other
        loop {
            let full = match self.submit(content.clone(), None).await {
                Err(full @ SendError::Full { .. }) => full,
                other => return other,
            };
            let waited = tokio::select! {
                biased;
                held = self.turn().lock(), if turn.is_none() => {
                    turn = Some(held);
                    true
                }
                () = sleep(pause) => true,
                () = &mut over => false,
            };
            if !waited {
                return Err(self.out_of_patience(full, patience));
            }
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    fn check_len(&self, content: &Content) -> Result<(), SendError> {
        let len = content.len();
        let here = self.shared.config.transport.limits.max_payload;
        let there = self.lock().outbox_mut().link().peer_max_payload().unwrap_or(here);
        let max = here.min(there);
        if len > max as usize { Err(SendError::TooLong { len, max }) } else { Ok(()) }
    }
}
