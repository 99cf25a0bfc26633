//! The memory that messages of the peer take until they are handled.
//! Implements `docs/protocol.md` §5.3 for the receiver.

use super::Link;

impl Link {
    /// Returns the bytes that were received and are not handled, Σ(overhead + length).
    #[must_use]
    pub fn held(&self) -> u64 {
        self.inbound.held()
    }

    /// Returns the bytes that this side has to be ready to hold: the window of the session, or what
    /// it holds.
    #[must_use]
    pub fn committed(&self) -> u64 {
        let window = self.session.as_ref().map_or(0, |session| session.window.whole());
        window.max(self.inbound.held())
    }

    /// Doubles the window of the session, up to the one that is configured, if the peer is short of
    /// credit although what it sends is handled, and if `has_room` for that.
    pub fn widen(&mut self, has_room: impl FnOnce(u64) -> bool) {
        let Some(session) = &mut self.session else { return };
        if let Some(window) = session.window.wanted(self.inbound.held())
            && has_room(window)
        {
            session.window.widen(window);
        }
    }

    /// Returns whether the messages that the peer has sent take so much more than the credit that
    /// they used that the session has to end: nothing else takes back credit. What was held when the
    /// session began is no reason: it came with other credit, and a new session would not help.
    #[must_use]
    pub fn holds_too_much(&self) -> bool {
        let Some(session) = &self.session else { return false };
        let covered = session.window.whole().max(session.held_before);
        self.inbound.held() > covered + self.config.allowance()
    }

    /// Returns whether everything that was received is handled.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.inbound.held() == 0
    }
}
