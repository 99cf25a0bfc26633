//! The error of a store.

use std::sync::Arc;

use thiserror::Error;

/// The reason why a store failed. It may work again later; whatever failed is not stored.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the store failed: {0}")]
pub struct StoreError(Arc<str>);

impl StoreError {
    /// Creates an error from its cause, in words for an operator. They must not contain payload.
    pub fn new(cause: impl Into<Arc<str>>) -> Self {
        Self(cause.into())
    }
}
