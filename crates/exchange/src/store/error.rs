//! Why a store failed.

use std::sync::Arc;

use thiserror::Error;

/// Why a store failed. It may work again later; what failed is not stored.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the store failed: {0}")]
pub struct StoreError(Arc<str>);

impl StoreError {
    /// A failure, in words for an operator. They name no payload.
    pub fn new(cause: impl Into<Arc<str>>) -> Self {
        Self(cause.into())
    }
}
