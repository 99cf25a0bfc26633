//! Dead letters that are handled once more because a person asks for it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use paddington_wire::{Content, Delivery, Message};
use thiserror::Error;
use tracing::warn;

use super::worker::{panic_text, run_handler, within};
use crate::core::Core;
use crate::current::in_handler;
use crate::escaped::Escaped;
use crate::storage::Storage;
use crate::store::{
    Borrowed, BorrowedLetter, DeadLetter, LetterId, LinkStore, ReplicaId, SharedStore, StoreError,
};
use crate::{Exchange, Handler};

/// The reason why a dead letter was not handled. It is kept.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryError {
    /// There is no such letter.
    #[error("there is no dead letter {}", .0.0)]
    Unknown(LetterId),
    /// Another replica has borrowed the letter: it is handled there.
    #[error("dead letter {} is being handled at replica {replica}", .letter.0)]
    Elsewhere {
        /// The letter.
        letter: LetterId,
        /// The replica.
        replica: ReplicaId,
    },
    /// The service keeps nothing in a store.
    #[error("this service has no store")]
    NoStore,
    /// Another letter is being handled.
    #[error("another dead letter is being handled")]
    Busy,
    /// The letter is bytes, or what is stored is no text, and the handler takes only text.
    #[error("the handler takes only text, and the dead letter is none")]
    TextOnly,
    /// The handler has failed again.
    #[error("the handler has failed again: {0}")]
    Failed(String),
    /// The store failed. The handler may have handled the letter.
    #[error("the store has failed: {0}")]
    Store(#[source] StoreError),
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
}

/// A call of the handler for a dead letter: whether it was handled.
pub(crate) type Retry =
    dyn Fn(Arc<Core>, Message) -> BoxFuture<'static, Result<(), RetryError>> + Send + Sync;

impl Exchange {
    /// Calls the handler with a dead letter, beside the messages that arrive, and removes the letter if
    /// that succeeds. One letter is handled at a time. It is handled to its end if the caller does not
    /// wait; if the process ends meanwhile, the letter is still there, although it may be handled. Of several
    /// replicas, one at a time handles the same letter; the others answer [`RetryError::Elsewhere`].
    ///
    /// # Errors
    ///
    /// [`RetryError`] if the letter is kept.
    pub async fn retry_letter(&self, id: LetterId) -> Result<(), RetryError> {
        let core = Arc::clone(self.core());
        if core.lifecycle.is_ending() {
            return Err(RetryError::ShuttingDown);
        }
        let workers = core.workers.clone();
        let task = workers.spawn(async move { retry(&core, id).await });
        task.await.unwrap_or(Err(RetryError::ShuttingDown))
    }
}

async fn retry(core: &Arc<Core>, id: LetterId) -> Result<(), RetryError> {
    let store = core.store().ok_or(RetryError::NoStore)?;
    let _turn = core.retries.try_lock().map_err(|_| RetryError::Busy)?;
    match &core.storage {
        Storage::Shared(shared) => retry_borrowed(core, &**shared, id).await?,
        Storage::Memory | Storage::Own(_) => handle(core, find(store, id).await?).await?,
    }
    store.take_letter(id).await.map_err(RetryError::Store)?;
    Ok(())
}

/// Returns a letter of a store that nobody else uses.
async fn find(store: &dyn LinkStore, id: LetterId) -> Result<DeadLetter, RetryError> {
    let letters = store.letters().await.map_err(RetryError::Store)?;
    let letter = letters.into_iter().find(|(it, _)| *it == id);
    letter.map(|(_, letter)| letter).ok_or(RetryError::Unknown(id))
}

/// Handles a letter that no other replica handles meanwhile. It stays in the store until it is handled:
/// if this replica ends before, another one may borrow it.
async fn retry_borrowed(
    core: &Arc<Core>,
    store: &dyn SharedStore,
    id: LetterId,
) -> Result<(), RetryError> {
    let BorrowedLetter { letter, turn } =
        match store.borrow_letter(id).await.map_err(RetryError::Store)? {
            Borrowed::Here(borrowed) => borrowed,
            Borrowed::Held(replica) => return Err(RetryError::Elsewhere { letter: id, replica }),
            Borrowed::Unknown => return Err(RetryError::Unknown(id)),
        };
    let shard = store.shard_of(letter.mailbox.link);
    let handled = if store.lease(shard).is_zero() {
        // Another replica may have borrowed it by now (S7).
        Err(RetryError::Store(StoreError::new("the lease of this replica has lapsed")))
    } else {
        handle(core, letter).await
    };
    if handled.is_err()
        && let Err(cause) = store.return_letter(id, turn).await
    {
        warn!(
            letter = id.0, %cause,
            "a dead letter could not be returned: until this replica ends, no other one can handle it"
        );
    }
    handled
}

/// Calls the handler with a letter.
async fn handle(core: &Arc<Core>, letter: DeadLetter) -> Result<(), RetryError> {
    let DeadLetter { mailbox, id: message, payload, .. } = letter;
    let content = Content::try_from(payload).map_err(|_| RetryError::TextOnly)?;
    let delivery = Delivery { id: Some(message), redelivered: true, attempt: 1, fence: None };
    let message = Message::received(mailbox.peer, &core.shared.name, content, delivery);
    (core.retry)(Arc::clone(core), message).await
}

/// Returns the function that calls `handler`; nothing else knows its type.
pub(crate) fn retrier<H: Handler>(handler: Arc<H>) -> Box<Retry> {
    Box::new(move |core, message| {
        let handler = Arc::clone(&handler);
        Box::pin(in_handler(Arc::clone(&core), call(core, handler, message)))
    })
}

async fn call<H: Handler>(
    core: Arc<Core>,
    handler: Arc<H>,
    message: Message,
) -> Result<(), RetryError> {
    if message.is_bytes() && !handler.takes_bytes() {
        return Err(RetryError::TextOnly);
    }
    let called = AssertUnwindSafe(run_handler(&*handler, message)).catch_unwind();
    match within(core.shared.config.handler_limit(), called).await {
        Some(Ok(Ok(()))) => Ok(()),
        Some(Ok(Err(cause))) => Err(RetryError::Failed(Escaped(cause).to_string())),
        Some(Err(panic)) => {
            let cause = format!("it panicked: {}", panic_text(&*panic));
            Err(RetryError::Failed(Escaped(cause).to_string()))
        }
        None => Err(RetryError::Failed("it took too long".to_owned())),
    }
}
