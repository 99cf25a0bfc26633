//! The events that an exchange reports to whoever monitors it.

use std::net::IpAddr;

use paddington_wire::{MessageId, PeerName, RejectCode};

use crate::Delivered;

/// An event for a monitor. Events report single connections, and everything that a person should
/// look at; a handler is told of instances only, with `Connected` and `Disconnected`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer was added to this service, which runs.
    PeerAdded {
        /// The peer.
        peer: PeerName,
    },
    /// The peer was removed from this service, which goes on running.
    PeerRemoved {
        /// The peer.
        peer: PeerName,
    },
    /// A connection to the peer was established.
    Up {
        /// The peer.
        peer: PeerName,
    },
    /// The connection to the peer has ended.
    Down {
        /// The peer.
        peer: PeerName,
        /// The cause, in words.
        cause: String,
    },
    /// A second process with the peer's invitation was refused: the first one is still connected.
    Duplicate {
        /// The peer.
        peer: PeerName,
    },
    /// Somebody was refused who used keys of the link with the peer that are not valid any more: an
    /// invitation that was used before, or a stolen or an old copy. It is told at most once in 10 s
    /// for each peer.
    BurnedKeys {
        /// The peer.
        peer: PeerName,
        /// The address that they came from.
        address: IpAddr,
        /// The generation of the keys.
        generation: u64,
    },
    /// The peer has received messages that this service's store does not know: the store was
    /// restored from an older copy, or has lost something.
    StateRegressed {
        /// The peer.
        peer: PeerName,
    },
    /// Messages that were accepted for the peer have ended without being handled.
    Undelivered {
        /// The peer.
        peer: PeerName,
        /// Their outcome: rejected, expired, or too long.
        outcome: Delivered,
        /// Number of messages.
        messages: u64,
        /// The words of the peer about one of those that were rejected, if it has, with control
        /// characters escaped.
        text: Option<String>,
    },
    /// A message of the peer has become a dead letter.
    DeadLetter {
        /// The peer.
        peer: PeerName,
        /// The message.
        id: MessageId,
        /// The reason for the rejection.
        code: RejectCode,
    },
    /// The peer's messages are not handled any more: the handler has failed, and the policy is
    /// [`OnError::Stop`](crate::OnError::Stop).
    HandlingStopped {
        /// The peer.
        peer: PeerName,
    },
    /// This replica has given the link with the peer up to another one, at which the peer is.
    Yielded {
        /// The peer.
        peer: PeerName,
    },
    /// Another replica has become the owner of the link with the peer, while this one counted as dead.
    Deposed {
        /// The peer.
        peer: PeerName,
    },
    /// This replica has become the owner of the link with the peer.
    Claimed {
        /// The peer.
        peer: PeerName,
    },
    /// The lease of this replica has lapsed: the others may count it as dead, so it calls no handler
    /// until the store has answered again.
    LeaseLapsed {
        /// Where the links are spread over several databases, the number of the one for whose links that is so,
        /// from 1 in the order of the configuration.
        database: Option<usize>,
    },
    /// The store does not accept messages for the peer.
    StoreFailed {
        /// The peer.
        peer: PeerName,
        /// The cause, in words.
        cause: String,
    },
}
