//! The receipt of an accepted message, and its outcome.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use paddington_wire::link::Outcome;
use paddington_wire::{Encoding, MessageId, RejectCode};

use crate::peer::{Number, Peer};

/// Receipt for an accepted message. Await it for the outcome; dropping it changes nothing.
#[derive(Clone)]
pub struct Receipt {
    peer: Arc<Peer>,
    number: Number,
}

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
    /// The service was shut down; the message is in the store and is delivered after the next
    /// start.
    LeftInStore,
}

impl Receipt {
    pub(crate) fn new(peer: Arc<Peer>, number: Number) -> Self {
        Self { peer, number }
    }

    /// Returns the message's id. `None` on `hex` links, where messages have no numbers.
    #[must_use]
    pub fn id(&self) -> Option<MessageId> {
        let sealed = self.peer.encoding() == Encoding::Sealed;
        sealed.then_some(MessageId { stream: self.peer.shared.instance, number: self.number })
    }

    async fn delivered(self) -> Delivered {
        loop {
            let progress = self.peer.progress();
            if let Some(delivered) = self.now() {
                return delivered;
            }
            progress.await;
        }
    }

    /// Returns the outcome of the message, if it has one.
    fn now(&self) -> Option<Delivered> {
        let (outcome, ended) = self.peer.outcome(self.number);
        Some(match outcome {
            Outcome::Waiting if ended && self.peer.store().is_some() => Delivered::LeftInStore,
            Outcome::Waiting if ended => Delivered::Abandoned,
            Outcome::Waiting => return None,
            Outcome::Rejected(code) => Delivered::Rejected(code),
            Outcome::Expired => Delivered::Expired,
            Outcome::TooLong => Delivered::TooLong,
            _ if self.peer.encoding() == Encoding::Hex => Delivered::Sent,
            _ => Delivered::Handled,
        })
    }
}

impl IntoFuture for Receipt {
    type Output = Delivered;
    type IntoFuture = Pin<Box<dyn Future<Output = Delivered> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.delivered())
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("peer", &self.peer.name)
            .field("number", &self.number)
            .finish()
    }
}
