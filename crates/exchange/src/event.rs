//! What happens to the links of an exchange, for whoever watches over it.

use paddington_wire::{MessageId, PeerName, RejectCode};

/// Something that happened. Handlers are told of lives (`Connected`, `Disconnected`); this tells of
/// connections, and of what a person should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A connection to the peer stands.
    Up {
        /// The peer.
        peer: PeerName,
    },
    /// The connection to the peer is gone.
    Down {
        /// The peer.
        peer: PeerName,
        /// Why, in words.
        cause: String,
    },
    /// A second process with the peer's invitation was refused, because the first one lives.
    Duplicate {
        /// The peer.
        peer: PeerName,
    },
    /// The peer has seen messages that this service's store does not know: the store was restored
    /// from a copy, or has lost something.
    StateRegressed {
        /// The peer.
        peer: PeerName,
    },
    /// A message of the peer has become a dead letter.
    DeadLetter {
        /// The peer.
        peer: PeerName,
        /// The message.
        id: MessageId,
        /// Why.
        code: RejectCode,
    },
    /// The peer's messages are not handled any more, because its handler has failed and the policy
    /// is to stop.
    HandlingStopped {
        /// The peer.
        peer: PeerName,
    },
    /// The store refuses messages for the peer.
    StoreFailed {
        /// The peer.
        peer: PeerName,
        /// Why, in words.
        cause: String,
    },
}
