//! Answers of the store's thread to its callers.

use futures_util::FutureExt;
use paddington_exchange::store::{Answer, StoreError};
use tokio::sync::oneshot;

/// The sender of one caller's answer.
pub(crate) type Waiter<T> = oneshot::Sender<Result<T, StoreError>>;

/// Asks at once, and returns a future that waits for the answer.
pub(crate) fn ask<T: Send + 'static>(question: impl FnOnce(Waiter<T>)) -> Answer<T> {
    let (waiter, answer) = oneshot::channel();
    question(waiter);
    async move { answer.await.unwrap_or_else(|_| Err(stopped())) }.boxed()
}

/// The answer of a store whose thread has ended.
pub(crate) fn stopped() -> StoreError {
    StoreError::new("the store is closed")
}
