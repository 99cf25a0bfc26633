//! The outcome of an accepted message, as its sender is told.

use paddington_wire::RejectCode;
use paddington_wire::link::Outcome;

/// Outcome of an accepted message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivered {
    /// The peer's handler has handled it.
    Handled,
    /// It was handed to a connection; a `hex` link reports nothing more.
    Sent,
    /// The peer has rejected it.
    Rejected(RejectCode),
    /// Its time ran out before it was transmitted to the peer's current instance.
    Expired,
    /// It is longer than the peer accepts.
    TooLong,
    /// The service was shut down before the peer had acknowledged it.
    Abandoned,
    /// The peer was removed before it had acknowledged it. It may have handled it.
    Removed,
    /// The service was shut down; the message is in the store and is delivered after the next
    /// start.
    LeftInStore,
}

impl Delivered {
    /// Returns the outcome of a message that was not handled.
    pub(crate) fn unhandled(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Rejected(code) => Some(Self::Rejected(code)),
            Outcome::Expired => Some(Self::Expired),
            Outcome::TooLong => Some(Self::TooLong),
            _ => None,
        }
    }
}
