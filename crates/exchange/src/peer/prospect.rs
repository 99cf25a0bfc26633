//! Whether what waits for a peer can still reach it during a shutdown.

use super::outbox::PeerLink;

/// Prospect of messages, or of answers, that wait for a peer during a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// The peer takes messages, or is being dialled.
    Good,
    /// The peer may be shutting down too, and may or may not take the messages under way.
    Doubtful,
    /// The peer has shut down, and may come back at once or never.
    Left,
    /// Nothing waits, or nothing can reach the peer.
    None,
}

impl Prospect {
    /// Returns the prospect of what waits for a peer that is `connected` or not, has `left` or not,
    /// and is being `dialled` or not.
    pub(super) fn of(link: &PeerLink, connected: bool, left: bool, dialled: bool) -> Self {
        if link.messages() == 0 {
            return Self::of_answers(link, connected);
        }
        match (connected, link) {
            (true, PeerLink::Sealed(link)) if !link.peer_drains() => Self::Good,
            (true, PeerLink::Sealed(link)) if link.in_flight() > 0 => Self::Doubtful,
            (true, PeerLink::Hex(_)) => Self::Doubtful,
            (false, _) if dialled && left => Self::Left,
            (false, _) if dialled => Self::Good,
            _ => Self::None,
        }
    }

    fn of_answers(link: &PeerLink, connected: bool) -> Self {
        match link {
            PeerLink::Sealed(link) if connected && link.unanswered() > 0 => {
                if link.peer_drains() {
                    Self::Doubtful
                } else {
                    Self::Good
                }
            }
            _ => Self::None,
        }
    }
}
