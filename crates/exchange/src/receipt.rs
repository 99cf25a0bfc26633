//! The receipt of an accepted message, and its outcome.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use paddington_wire::link::Outcome;
use paddington_wire::{Encoding, MessageId};

use crate::Delivered;
use crate::cluster::{Known, Receipts};
use crate::escaped::escaped;
use crate::peer::{Number, Page, Peer, Standing};

/// Receipt for an accepted message. Await it for the outcome; dropping it changes nothing.
#[derive(Clone)]
pub struct Receipt {
    peer: Arc<Peer>,
    accepted: Accepted,
}

/// What tells the outcome of a message.
#[derive(Clone)]
enum Accepted {
    /// The link of this exchange, and the page with the outcomes of this message and its neighbours that
    /// were not handled.
    Here(Number, Arc<Page>),
    /// The store that replicas share, whichever of them owns the link.
    Shared { id: MessageId, receipts: Arc<Receipts>, known: Arc<OnceLock<Known>> },
}

impl Receipt {
    pub(crate) fn new(peer: Arc<Peer>, (number, page): (Number, Arc<Page>)) -> Self {
        Self { peer, accepted: Accepted::Here(number, page) }
    }

    /// Creates the receipt of a message that a store has accepted that replicas share.
    pub(crate) fn shared(peer: Arc<Peer>, id: MessageId, receipts: &Arc<Receipts>) -> Self {
        let (receipts, known) = (Arc::clone(receipts), Arc::default());
        Self { peer, accepted: Accepted::Shared { id, receipts, known } }
    }

    /// Returns the message's id. `None` on `hex` links, where messages have no numbers.
    #[must_use]
    pub fn id(&self) -> Option<MessageId> {
        let number = match &self.accepted {
            Accepted::Here(number, _) => *number,
            Accepted::Shared { id, .. } => return Some(*id),
        };
        let sealed = self.peer.encoding() == Encoding::Sealed;
        sealed.then_some(MessageId { stream: self.peer.instance, number })
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
        match &self.accepted {
            Accepted::Here(number, page) => escaped(&page.text(*number)),
            Accepted::Shared { known, .. } => escaped(&known.get()?.text),
        }
    }

    async fn delivered(self) -> Delivered {
        let (number, page) = match &self.accepted {
            Accepted::Here(number, page) => (*number, page),
            Accepted::Shared { id, receipts, known } => {
                if known.get().is_none() {
                    let told = receipts.wait(&self.peer.mailbox, *id).await;
                    let _ = known.set(told); // a clone may have been told the same
                }
                return known.get().map_or(Delivered::LeftInStore, |known| known.delivered);
            }
        };
        loop {
            let progress = self.peer.progress();
            if let Some(delivered) = self.now(number, page) {
                return delivered;
            }
            progress.await;
        }
    }

    /// Returns the outcome of the message, if it has one.
    fn now(&self, number: Number, page: &Page) -> Option<Delivered> {
        let (outcome, standing) = self.peer.outcome(number);
        if let Some(unhandled) = page.get(number).and_then(Delivered::unhandled) {
            return Some(unhandled);
        }
        Some(match outcome {
            Outcome::Waiting => match standing {
                Standing::Here | Standing::Leaving | Standing::Yielding | Standing::Away => {
                    return None;
                }
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
        f.debug_struct("Receipt").field("peer", &self.peer.name).field("id", &self.id()).finish()
    }
}
