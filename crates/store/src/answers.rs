//! Who waits for what: the ways in which the thread answers.

use futures_util::FutureExt;
use paddington_exchange::store::{Answer, StoreError};
use tokio::sync::oneshot;

/// One who waits.
pub(crate) type Waiter<T> = oneshot::Sender<Result<T, StoreError>>;

/// Asks at once, and waits when it is polled.
pub(crate) fn ask<T: Send + 'static>(question: impl FnOnce(Waiter<T>)) -> Answer<T> {
    let (waiter, answer) = oneshot::channel();
    question(waiter);
    async move { answer.await.unwrap_or_else(|_| Err(stopped())) }.boxed()
}

/// What is said when there is no thread to answer.
pub(crate) fn stopped() -> StoreError {
    StoreError::new("the store is closed")
}
