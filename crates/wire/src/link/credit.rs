//! Credit and window: how many bytes each side may send. Implements `docs/protocol.md` §5.3.
//!
//! Both are totals for a session, Σ(24 + length) over its messages, that only grow.

use super::LinkConfig;
use crate::Violation;

/// Bytes that the peer lets this side send.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Credit {
    granted: u64,
    spent: u64,
}

impl Credit {
    /// Creates the credit of a new session: the window in the peer's READY.
    pub(super) fn new(window: u32) -> Self {
        Self { granted: u64::from(window), spent: 0 }
    }

    pub(super) fn left(&self) -> u64 {
        self.granted.saturating_sub(self.spent)
    }

    pub(super) fn spend(&mut self, cost: u64) {
        self.spent += cost;
        debug_assert!(self.spent <= self.granted, "nothing is sent beyond the credit");
    }

    /// Takes the total that the peer has granted. A lower one than before is outdated and ignored.
    pub(super) fn raise(&mut self, granted: u64) {
        self.granted = self.granted.max(granted);
    }
}

/// Bytes that this side lets the peer send.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Window {
    /// Bytes that may be granted or held at present.
    limit: u64,
    /// Bytes to which the limit may be raised.
    size: u64,
    /// Cost of a longest message.
    longest: u64,
    granted: u64,
    arrived: u64,
}

impl Window {
    /// Returns the size of the window in bytes; at least one longest message fits.
    pub(super) fn size(config: &LinkConfig) -> u64 {
        u64::from(config.window).max(config.longest())
    }

    /// Returns the bytes that a READY grants while `held` bytes are not handled.
    pub(super) fn first(config: &LinkConfig, held: u64) -> u32 {
        u32::try_from(Self::first_limit(config).saturating_sub(held)).unwrap_or(u32::MAX)
    }

    /// Returns the limit with which a session begins; at least one longest message fits.
    fn first_limit(config: &LinkConfig) -> u64 {
        Self::size(config).min(u64::from(config.first_window).max(config.longest()))
    }

    /// Creates the window of a session whose READY granted `first` bytes.
    pub(super) fn new(config: &LinkConfig, first: u32) -> Self {
        Self {
            // the limits may have changed since READY was made
            limit: Self::first_limit(config).max(u64::from(first)),
            size: Self::size(config),
            longest: config.longest(),
            granted: u64::from(first),
            arrived: 0,
        }
    }

    /// Counts a message that arrived.
    ///
    /// # Errors
    ///
    /// [`Violation::BeyondCredit`] if the peer was not allowed to send it.
    pub(super) fn take(&mut self, cost: u64) -> Result<(), Violation> {
        if cost > self.granted - self.arrived {
            return Err(Violation::BeyondCredit);
        }
        self.arrived += cost;
        Ok(())
    }

    /// Returns the bytes that can be granted beyond those that were.
    pub(super) fn gain(&self, held: u64) -> u64 {
        self.grantable(held) - self.granted
    }

    /// Returns whether the peer may soon be unable to send a longest message, and more can be
    /// granted.
    pub(super) fn runs_low(&self, held: u64) -> bool {
        let left = self.granted.saturating_sub(self.arrived);
        self.gain(held) > 0 && left < self.longest.max(self.limit / 2)
    }

    /// Returns the limit that would help a peer that uses up its credit faster than it is granted,
    /// although what arrives is handled.
    pub(super) fn wanted(&self, held: u64) -> Option<u64> {
        let short = self.limit < self.size
            && self.granted - self.arrived < self.limit / 2
            && held <= self.limit / 2;
        short.then(|| self.size.min(2 * self.limit))
    }

    /// Raises the limit.
    pub(super) fn widen(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Grants all that there is room for. Returns the total, for an ACK.
    pub(super) fn grant(&mut self, held: u64) -> u64 {
        self.granted = self.grantable(held);
        self.granted
    }

    pub(super) fn whole(&self) -> u64 {
        self.limit
    }

    /// Returns the total that can be granted: all that arrived plus the room that is left, and
    /// never less than was granted (rule R13).
    fn grantable(&self, held: u64) -> u64 {
        self.granted.max(self.arrived + self.limit.saturating_sub(held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_only_grows_and_is_never_exceeded() {
        let mut credit = Credit::new(100);
        credit.spend(70);
        credit.raise(90);
        assert_eq!(credit.left(), 30);
        credit.raise(170);
        assert_eq!(credit.left(), 100);
    }

    #[test]
    fn a_window_grants_what_is_handled_and_takes_no_more_than_it_granted() {
        let config = LinkConfig { window: 1_000, max_payload: 176, ..LinkConfig::default() };
        assert_eq!(Window::first(&config, 400), 600);
        let mut window = Window::new(&config, 600);
        window.take(600).unwrap();
        assert_eq!(window.take(1), Err(Violation::BeyondCredit));
        assert_eq!((window.gain(1_000), window.runs_low(1_000)), (0, false));
        assert_eq!((window.gain(900), window.runs_low(900)), (100, true));
        assert_eq!(window.grant(900), 700);
        assert_eq!(window.grant(1_000), 700, "never less than was granted");
    }

    #[test]
    fn a_window_grows_for_a_peer_that_is_short_of_credit_while_its_messages_are_handled() {
        let config = LinkConfig {
            window: 1_000,
            first_window: 300,
            max_payload: 176,
            ..LinkConfig::default()
        };
        assert_eq!((Window::first(&config, 0), Window::first(&config, 301)), (300, 0));
        let mut window = Window::new(&config, 300);
        assert_eq!(window.wanted(0), None, "it has used none of it");
        window.take(200).unwrap();
        assert_eq!((window.wanted(200), window.gain(200)), (None, 0), "nothing is handled");
        assert_eq!((window.wanted(0), window.gain(0), window.whole()), (Some(600), 200, 300));
        window.widen(600);
        assert_eq!((window.grant(0), window.whole()), (800, 600));
        window.take(600).unwrap();
        window.widen(window.wanted(0).unwrap());
        assert_eq!((window.grant(0), window.whole()), (1_800, 1_000));
        window.take(1_000).unwrap();
        assert_eq!(window.wanted(0), None, "it is at its full size");
    }

    #[test]
    fn a_longest_message_always_fits() {
        let config = LinkConfig { window: 10, max_payload: 1_000, ..LinkConfig::default() };
        assert_eq!(Window::first(&config, 0), 1_024);
        let config = LinkConfig { first_window: 10, window: 9_000, ..config };
        assert_eq!(Window::first(&config, 0), 1_024);
    }
}
