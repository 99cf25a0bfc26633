//! Stored messages whose time to live shows that the clock was set, as far as the log tells.

use tracing::warn;

use crate::row::Expiry;

/// Numbers of messages whose remaining time shows that the clock was set, or may do so.
#[derive(Debug, Default)]
pub(crate) struct Expiries {
    capped: u64,
    over: u64,
}

impl Expiries {
    /// Counts a message. The salvage has reported those that take the place of lost ones.
    pub(crate) fn count(&mut self, expiry: Option<Expiry>, now: i64) {
        let expiry = expiry.filter(|expiry| *expiry != Expiry::LOST);
        self.capped += u64::from(expiry.is_some_and(|expiry| expiry.is_clock_back(now)));
        self.over += u64::from(expiry.is_some_and(|expiry| expiry.deadline <= now));
    }

    /// Logs what was counted.
    pub(crate) fn log(&self) {
        if self.capped > 0 {
            warn!(
                messages = self.capped,
                "the clock was set back while messages were stored: their time to live begins again"
            );
        }
        if self.over > 0 {
            warn!(
                messages = self.over,
                "the time to live of stored messages is over, by the clock of this machine"
            );
        }
    }
}
