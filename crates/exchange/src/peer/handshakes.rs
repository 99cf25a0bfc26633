//! The authenticated handshakes of a link, and how many of them are too many.

use std::collections::VecDeque;

use paddington_wire::Instance;
use tokio::time::Instant;

use crate::config::{HANDSHAKE_INSTANCES, HANDSHAKE_PERIOD};
use crate::faults::{Fault, broken};

/// The authenticated handshakes in the last period: their times, and whose they were.
#[derive(Clone, Debug, Default)]
pub(super) struct Handshakes(VecDeque<(Instant, Option<Instance>)>);

impl Handshakes {
    /// Counts one of `instance`. Returns whether it is one too many: of `max` of that instance, or of
    /// all. Somebody who has stolen the keys can make many of other instances, so the one that is
    /// connected is never held back for those.
    pub(super) fn count(
        &mut self,
        instance: Option<Instance>,
        is_connected: bool,
        now: Instant,
        max: usize,
    ) -> bool {
        while self.0.front().is_some_and(|(at, _)| *at + HANDSHAKE_PERIOD <= now) {
            self.0.pop_front();
        }
        let own = self.0.iter().filter(|(_, known)| *known == instance).count();
        let is_known = own > 0 || is_connected;
        let is_crowded = self.0.len() >= max.saturating_mul(HANDSHAKE_INSTANCES);
        let refused =
            (own >= max || (is_crowded && !is_known)) && !broken(Fault::HandshakesUnbounded);
        if !refused {
            self.0.push_back((now, instance));
        }
        refused
    }
}
