//! Dead letters that are handled once more because a person asks for it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use paddington_wire::{Content, Delivery, Message};
use thiserror::Error;

use super::worker::{panic_text, run_handler, within};
use crate::core::Core;
use crate::current::in_handler;
use crate::escaped::Escaped;
use crate::store::{DeadLetter, LetterId, StoreError};
use crate::{Exchange, Handler};

/// The reason why a dead letter was not handled. It is kept.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryError {
    /// There is no such letter.
    #[error("there is no dead letter {}", .0.0)]
    Unknown(LetterId),
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
    /// wait; if the process ends meanwhile, the letter is still there, although it may be handled.
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
    let letters = store.letters().await.map_err(RetryError::Store)?;
    let letter = letters.into_iter().find(|(it, _)| *it == id);
    let (_, DeadLetter { mailbox, id: message, payload, .. }) =
        letter.ok_or(RetryError::Unknown(id))?;
    let content = Content::try_from(payload).map_err(|_| RetryError::TextOnly)?;
    let delivery = Delivery { id: Some(message), redelivered: true, attempt: 1 };
    let message = Message::received(mailbox.peer, &core.shared.name, content, delivery);
    (core.retry)(Arc::clone(core), message).await?;
    store.take_letter(id).await.map_err(RetryError::Store)?;
    Ok(())
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
