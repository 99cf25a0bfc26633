//! The bounds of `docs/limits.md` that a link has, and whether a state of the model has reached them: a
//! scenario that is meant for a bound and never reaches it would prove nothing.

use crate::scenario::Scenario;
use crate::side::{COST, Side};
use crate::world::World;

/// A bound of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// The outbox is full.
    Outbox,
    /// No more messages may be under way.
    Flight,
    /// The window is full.
    Window,
    /// More streams wait than READY lists.
    Streams,
    /// More messages are rejected than are remembered at a time.
    Rejections,
    /// A request waits for the answer of another one.
    Places,
    /// A second process has taken the place of the first one, which is remembered.
    Ended,
}

impl Bound {
    /// Returns whether either side has reached it.
    #[must_use]
    pub fn is_reached(self, world: &World, scenario: &Scenario) -> bool {
        if self == Self::Ended {
            return world.away.is_some();
        }
        world.sides.iter().any(|side| self.is_reached_by(side, scenario))
    }

    fn is_reached_by(self, side: &Side, scenario: &Scenario) -> bool {
        match self {
            Self::Outbox => side.link.room_for(1).is_err(),
            Self::Flight => {
                let waits = side.link.outbox_messages() as u64;
                side.link.in_flight() == scenario.in_flight && waits > scenario.in_flight
            }
            Self::Window => side.held() + COST > scenario.window(),
            // Either makes a new session necessary, and a scenario has only one of them.
            Self::Streams | Self::Rejections => side.link.wants_new_session(),
            Self::Places => side.link.requests() > usize::from(scenario.requests),
            Self::Ended => false,
        }
    }
}
