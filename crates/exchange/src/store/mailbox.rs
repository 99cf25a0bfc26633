//! The mailbox of a link: the name under which everything is stored that belongs to it.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::SystemTime;

use paddington_wire::{LinkId, PeerName};

/// The mailbox of a link: whatever a store keeps for it. A clone shares the name.
///
/// The link alone decides which mailbox this is: two of them are equal if their links are. The name
/// tells people whose it is. A new link between the same two names has another mailbox
/// (`docs/protocol.md` §1.4).
#[derive(Clone)]
pub struct Mailbox {
    /// The name of the peer, for people.
    pub peer: PeerName,
    /// The link that everything in it belongs to.
    pub link: LinkId,
}

/// What a mailbox holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailboxStatus {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// Number of messages that wait for the peer's acknowledgement.
    pub messages: u64,
    /// Number of bytes of their payload.
    pub bytes: u64,
    /// Number of dead letters from the peer.
    pub letters: u64,
    /// The time at which the oldest of its streams was begun, by the clock of that time: no message
    /// waits for longer. `None` if no message waits.
    pub since: Option<SystemTime>,
}

impl MailboxStatus {
    /// Creates the status of a mailbox in which nothing is counted yet.
    #[must_use]
    pub fn new(mailbox: Mailbox) -> Self {
        Self { mailbox, messages: 0, bytes: 0, letters: 0, since: None }
    }
}

/// What a purge has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Number of messages that waited for the peer's acknowledgement.
    pub messages: u64,
    /// Number of bytes of their payload.
    pub bytes: u64,
    /// Number of dead letters from the peer.
    pub letters: u64,
}

impl PartialEq for Mailbox {
    fn eq(&self, other: &Self) -> bool {
        self.link == other.link
    }
}

impl Eq for Mailbox {}

impl PartialOrd for Mailbox {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Mailbox {
    fn cmp(&self, other: &Self) -> Ordering {
        self.link.cmp(&other.link)
    }
}

impl Hash for Mailbox {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.link.hash(state);
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (link {})", self.peer, self.link)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_decides_and_the_name_is_for_people() {
        let mailbox = |peer: &str, link: u8| Mailbox {
            peer: peer.parse().unwrap(),
            link: [link; LinkId::LEN].into(),
        };
        assert_ne!(mailbox("sensor", 1), mailbox("sensor", 2));
        assert_eq!(mailbox("sensor", 1), mailbox("renamed", 1));
        assert!(mailbox("b", 1) < mailbox("a", 2));
        let text = format!("sensor (link {})", "01".repeat(16));
        assert_eq!(mailbox("sensor", 1).to_string(), text);
    }
}
