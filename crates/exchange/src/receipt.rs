//! The receipt of an accepted message, and its outcome.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use paddington_wire::link::Outcome;
use paddington_wire::{Encoding, MessageId};

use crate::Delivered;
use crate::escaped::escaped;
use crate::peer::{Number, Page, Peer, Standing};

/// Receipt for an accepted message. Await it for the outcome; dropping it changes nothing.
#[derive(Clone)]
pub struct Receipt {
    peer: Arc<Peer>,
    number: Number,
    /// Outcomes of this message and its neighbours that were not handled.
    page: Arc<Page>,
}

impl Receipt {
    pub(crate) fn new(peer: Arc<Peer>, (number, page): (Number, Arc<Page>)) -> Self {
        Self { peer, number, page }
    }

    /// Returns the message's id. `None` on `hex` links, where messages have no numbers.
    #[must_use]
    pub fn id(&self) -> Option<MessageId> {
        let sealed = self.peer.encoding() == Encoding::Sealed;
        sealed.then_some(MessageId { stream: self.peer.instance, number: self.number })
    }

    /// Returns what the peer has said about the error for which it has rejected the message, if it has
    /// and the outcome is known: the first 255 bytes of it, with control characters escaped.
    ///
    /// ```
    /// use paddington_exchange::{Delivered, Receipt};
    ///
    /// async fn explain(receipt: Receipt) {
    ///     if let Delivered::Rejected(code) = receipt.clone().await {
    ///         println!("{code}: {}", receipt.error_text().unwrap_or_default());
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn error_text(&self) -> Option<String> {
        escaped(&self.page.text(self.number))
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
        let (outcome, standing) = self.peer.outcome(self.number);
        if let Some(unhandled) = self.page.get(self.number).and_then(Delivered::unhandled) {
            return Some(unhandled);
        }
        Some(match outcome {
            Outcome::Waiting => match standing {
                Standing::Here | Standing::Leaving => return None,
                Standing::Removed => Delivered::Removed,
                Standing::Abandoned if self.peer.store().is_some() => Delivered::LeftInStore,
                Standing::Abandoned => Delivered::Abandoned,
            },
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
