//! The error of a store.

use std::sync::Arc;

use thiserror::Error;

/// The reason why a store failed. It may work again later.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the store failed: {cause}")]
pub struct StoreError {
    cause: Arc<str>,
    may_be_stored: bool,
    stale: bool,
}

impl StoreError {
    /// Creates the error of a write that is certainly not stored, from its cause, in words for an
    /// operator. They must not contain payload.
    pub fn new(cause: impl Into<Arc<str>>) -> Self {
        Self { cause: cause.into(), may_be_stored: false, stale: false }
    }

    /// Creates the error of a write that may be stored all the same, for example because it was
    /// written and its sync failed.
    pub fn unsure(cause: impl Into<Arc<str>>) -> Self {
        Self { cause: cause.into(), may_be_stored: true, stale: false }
    }

    /// Creates the error of a write by an owner of a link that was replaced. Nothing of it is stored.
    #[must_use]
    pub fn stale() -> Self {
        let cause = "the link has another owner by now".into();
        Self { cause, may_be_stored: false, stale: true }
    }

    /// Makes one error of those of several shards; `None` if there is none.
    #[must_use]
    pub fn joined(errors: impl IntoIterator<Item = Self>) -> Option<Self> {
        errors.into_iter().reduce(|one, other| Self {
            cause: format!("{}; {}", one.cause, other.cause).into(),
            may_be_stored: one.may_be_stored || other.may_be_stored,
            stale: one.stale && other.stale,
        })
    }

    /// Returns whether the write was refused because the link has another owner by now.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Returns whether what was to be written may be found in the store after a restart.
    #[must_use]
    pub fn may_be_stored(&self) -> bool {
        self.may_be_stored
    }

    /// Returns the error of a later write, which was not tried for the same reason.
    #[must_use]
    pub fn for_others(&self) -> Self {
        Self { cause: Arc::clone(&self.cause), may_be_stored: false, stale: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_errors_none_is_left_out() {
        let [one, other] = [StoreError::stale(), StoreError::unsure("the disk is full")];
        assert_eq!(StoreError::joined([]), None);
        assert_eq!(StoreError::joined([one.clone()]), Some(one.clone()), "it stays as it is");
        let both = StoreError::joined([one, other]).unwrap();
        assert!(both.may_be_stored() && !both.is_stale());
        let text = "the store failed: the link has another owner by now; the disk is full";
        assert_eq!(both.to_string(), text);
    }
}
