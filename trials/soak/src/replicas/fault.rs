//! What goes wrong.

use paddington_test_support::Random;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A replica is killed, its peers reach another one, and it is started again.
    Kill,
    /// A replica is stopped for longer than its lease, while its peers reach another one.
    LongPause,
    /// A replica is stopped for shorter than its lease; its peers reach another one shortly before it goes on.
    ShortPause,
    /// Some peers reach another replica.
    Move,
    /// All connections break.
    Cut,
    /// The database crashes, and is started again.
    Crash,
}

impl Fault {
    pub(super) const EACH: [Self; 6] =
        [Self::Move, Self::Kill, Self::ShortPause, Self::LongPause, Self::Crash, Self::Cut];

    /// As often as each of them comes in one round.
    const ROUND: [Self; 10] = [
        Self::Kill,
        Self::Kill,
        Self::Kill,
        Self::Move,
        Self::Move,
        Self::Move,
        Self::LongPause,
        Self::ShortPause,
        Self::Cut,
        Self::Crash,
    ];

    /// Draws the order of one round.
    pub(super) fn round(random: &mut Random) -> Vec<Self> {
        let mut round = Self::ROUND.to_vec();
        for last in (1..round.len()).rev() {
            round.swap(last, random.below(last + 1));
        }
        round
    }
}
