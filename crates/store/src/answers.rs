//! Answers of the store's thread to its callers.

use futures_util::FutureExt;
use paddington_exchange::store::{Answer, StoreError};
use tokio::sync::oneshot;

/// The sender of one caller's answer.
pub(crate) type Waiter<T> = oneshot::Sender<Result<T, StoreError>>;

/// The failure of a store whose thread has ended.
const STOPPED: &str = "the store is closed";

/// Asks at once, and returns a future that waits for the answer.
pub(crate) fn ask<T: Send + 'static>(question: impl FnOnce(Waiter<T>)) -> Answer<T> {
    let (waiter, answer) = oneshot::channel();
    question(waiter);
    // Without an answer, it is not known what was written.
    async move { answer.await.unwrap_or_else(|_| Err(StoreError::unsure(STOPPED))) }.boxed()
}

/// The answer of a store that takes nothing more.
pub(crate) fn stopped() -> StoreError {
    StoreError::new(STOPPED)
}
