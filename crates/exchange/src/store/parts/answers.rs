//! Answers of a store's thread or task to its callers.

use futures_util::FutureExt;
use tokio::sync::oneshot;

use crate::store::{Answer, StoreError};

/// The sender of one caller's answer.
pub type Waiter<T> = oneshot::Sender<Result<T, StoreError>>;

/// The failure of a store that has ended.
const STOPPED: &str = "the store is closed";

/// Asks at once, and returns a future that waits for the answer.
pub fn ask<T: Send + 'static>(question: impl FnOnce(Waiter<T>)) -> Answer<T> {
    let (waiter, answer) = oneshot::channel();
    question(waiter);
    // Without an answer, it is not known what was written.
    async move { answer.await.unwrap_or_else(|_| Err(StoreError::unsure(STOPPED))) }.boxed()
}

/// Fails at once.
#[must_use]
pub fn failed<T: Send + 'static>(error: StoreError) -> Answer<T> {
    std::future::ready(Err(error)).boxed()
}

/// Returns the answer of a store that takes nothing more.
#[must_use]
pub fn stopped() -> StoreError {
    StoreError::new(STOPPED)
}
