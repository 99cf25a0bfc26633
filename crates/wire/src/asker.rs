//! The way from a request that a handler was called with to whoever waits for the reply.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::payload::Content;

/// Takes the reply to one request. The exchange implements it.
pub trait Asker: Send + Sync {
    /// Takes the reply.
    ///
    /// # Errors
    ///
    /// [`ReplyError`] if the requester gets no reply by this, or another one.
    fn reply(&self, reply: Content) -> Result<(), ReplyError>;

    /// Returns the time until nobody waits for the reply any more; `None` for no limit.
    fn time_left(&self) -> Option<Duration>;
}

/// The reason why a reply was not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// Nobody waits for a reply to this message.
    #[error("the message is not a request")]
    NotARequest,
    /// The request has an answer already, or its requester has given up, or is gone.
    #[error("the request has an answer already, or nobody waits for it any more")]
    Over,
    /// The reply is longer than the requester accepts, which is told so.
    #[error("the reply has {len} bytes, but the requester accepts at most {max}")]
    TooLong {
        /// Length of the reply in bytes.
        len: usize,
        /// Limit in bytes.
        max: u32,
    },
    /// Too many replies wait for the requester, which is told so.
    #[error("too many replies wait for the requester: {bytes} bytes")]
    NoRoom {
        /// Bytes of replies that wait.
        bytes: u64,
    },
}

/// An [`Asker`] of a message; equal only to itself.
#[derive(Clone)]
pub(crate) struct AskerRef(pub(crate) Arc<dyn Asker>);

impl PartialEq for AskerRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AskerRef {}

impl fmt::Debug for AskerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asker(..)")
    }
}
