//! Rules that a test build can break, one at a time: the models have to notice each of them.
//! Only a build with `--cfg paddington_faults` has the switch; of any other it is no part.

#[cfg(all(paddington_faults, not(debug_assertions)))]
compile_error!("rules are broken in test builds only: faults need debug assertions");

/// The list of faults, public only where the switch is.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A rule of `docs/delivery.md` that every link of the process breaks.
        #[cfg(paddington_faults)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        #[cfg(paddington_faults)]
        impl Fault {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }

        #[cfg(not(paddington_faults))]
        #[derive(Clone, Copy)]
        pub(super) enum Fault {
            $($name,)*
        }
    };
}

faults! {
    /// What arrives is acknowledged before it is handled.
    AcknowledgeOnArrival,
    /// An unknown stream starts at 0 instead of where its sender says.
    UnknownStreamFromZero,
    /// What was received is forgotten with the connection.
    CursorDroppedWithSession,
    /// Frames of a session that is over are taken in.
    DeadSessionHeard,
    /// Acknowledgements that were due when a session starts are not sent any more.
    DueAcknowledgementsDropped,
    /// A connection may take the place although a newer one waits or has had it.
    TicketsInAnyOrder,
    /// A peer that has seen more of an earlier life than this store knows is refused.
    RegressionRefused,
    /// What a dead life of the peer has left in the inbox does not count against the window.
    WindowForgetsTheDead,
    /// A stream is not declared any more as soon as it is empty.
    UnlistedBeforeRemoved,
    /// A stream is not declared any more once any of its removals is durable.
    UnlistedByAnyRemoval,
    /// A message may leave before it is stored.
    TransmittedBeforeStored,
    /// The sender goes on after what is completed, the receiver takes everything for new.
    RepeatsTakenForNew,
    /// A connection that ends frees the place whoever holds it.
    CleanUpByName,
    /// A restarted peer is not told of a gap that its last life has acknowledged.
    LateGapNotTold,
    /// A gap hides that what comes before it was finished out of order.
    GapHidesFinished,
    /// What was finished out of order is not remembered.
    FinishedForgotten,
    /// A batch that begins with a repeat is taken for one from end to end.
    BatchDroppedForItsFirst,
}

/// Whether a rule is broken: never.
#[cfg(not(paddington_faults))]
pub(super) const fn broken(_: Fault) -> bool {
    false
}

#[cfg(paddington_faults)]
pub(super) use switch::broken;

#[cfg(paddington_faults)]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use super::Fault;

    /// The broken rule, counted from 1; 0 is none.
    static BROKEN: AtomicU8 = AtomicU8::new(0);

    impl Fault {
        /// Breaks this rule and no other.
        pub fn inject(self) {
            BROKEN.store(self as u8 + 1, Relaxed);
        }

        /// Keeps all rules again.
        pub fn heal() {
            BROKEN.store(0, Relaxed);
        }
    }

    pub(in crate::link) fn broken(fault: Fault) -> bool {
        BROKEN.load(Relaxed) == fault as u8 + 1
    }
}
