//! A hostile peer: it has the right keys and says whatever it likes, at any moment.
//!
//! Its frames go through the real decoder into the real link, whose own application, store and
//! connection behave as they do in the product. The link must neither panic nor take in more than
//! its window, nor send more than it was allowed, and its counts must add up.

mod forge;
mod script;
mod target;

use std::ops::AddAssign;

use paddington_wire::Instance;

use self::script::Script;
use self::target::Target;

/// The window of the link, in bytes.
const WINDOW: u64 = 200;
/// The longest message that it accepts, in bytes.
const LONGEST: u32 = 60;

/// Counts of how far an attacker got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Steps, its own and those of the service.
    pub steps: u64,
    /// Sessions that it could begin.
    pub sessions: u64,
    /// Messages from it that were delivered.
    pub delivered: u64,
    /// Messages that were transmitted to it.
    pub obtained: u64,
    /// Of these, those that it has rejected.
    pub rejected: u64,
    /// Requests from it that arrived.
    pub asked: u64,
    /// Requests to it that it has replied to.
    pub answered: u64,
    /// Violations that were noticed.
    pub violations: u64,
}

/// Runs the attack that `bytes` describe.
///
/// # Panics
///
/// If the link breaks a promise.
#[must_use]
pub fn attack(bytes: &[u8]) -> Attempt {
    let mut script = Script::new(bytes);
    let mut target = Target::new(&mut script);
    while !script.is_over() {
        target.step(&mut script);
        target.assert_sound();
    }
    target.attempt()
}

impl AddAssign for Attempt {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.sessions += other.sessions;
        self.delivered += other.delivered;
        self.obtained += other.obtained;
        self.rejected += other.rejected;
        self.asked += other.asked;
        self.answered += other.answered;
        self.violations += other.violations;
    }
}

/// An instance of the service under attack; the last one is the present one.
fn ours(number: u8) -> Instance {
    Instance::from([0x10 + number; Instance::LEN])
}

/// An instance that the attacker claims to be.
fn theirs(number: u8) -> Instance {
    Instance::from([0x20 + number; Instance::LEN])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// An attacker that is refused at once finds nothing.
    #[test]
    fn random_attacks_get_as_far_as_there_is_something_to_break() {
        let mut sum = Attempt::default();
        for seed in 0..500 {
            let mut bytes = [0; 800];
            Random::new(seed).fill(&mut bytes);
            sum += attack(&bytes);
        }
        let Attempt { sessions, violations, delivered, obtained, rejected, asked, .. } = sum;
        for count in [sessions, violations, delivered, obtained] {
            assert!(count >= 500, "{sum:?}");
        }
        // An answer to the service's own request is rarer: the seeds of the fuzzer have some.
        assert!(rejected >= 10 && asked >= 20, "{sum:?}");
    }
}
