//! What goes wrong in the demo.

use clap::ValueEnum;

/// Which faults there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Faults {
    /// Replicas are killed.
    Kills,
    /// Also, they are stopped for longer and shorter than their lease, connections break, and the database
    /// crashes.
    All,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A replica is killed, and started again a second later.
    Kill,
    /// A replica is stopped for longer than its lease.
    LongPause,
    /// A replica is stopped for a moment.
    ShortPause,
    /// The peer's connection breaks, and it comes back to another replica if it can.
    Move,
    /// The database crashes, and is started again.
    Database,
}

impl Fault {
    /// Returns whether a replica is lost by it: it ends, or is away for longer than its lease.
    pub(crate) fn is_loss(self) -> bool {
        matches!(self, Self::Kill | Self::LongPause)
    }
}

impl Faults {
    /// Returns the faults, one after another, for ever.
    pub(crate) fn all(self) -> impl Iterator<Item = Fault> {
        let faults: &[Fault] = match self {
            Self::Kills => &[Fault::Kill],
            Self::All => &[
                Fault::Kill,
                Fault::Move,
                Fault::ShortPause,
                Fault::Move,
                Fault::Database,
                Fault::Kill,
                Fault::Move,
                Fault::LongPause,
            ],
        };
        faults.iter().copied().cycle()
    }
}
