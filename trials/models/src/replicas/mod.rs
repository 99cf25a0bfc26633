//! Two replicas of a service, one peer, and the database that they share, through every order of claims,
//! hand-overs, lost leases, moved and broken connections, undecided commits and failovers.
//!
//! Both ends are the real `Link` and `Slot`. What an exchange does around them (`cluster/` and
//! `peer/owning.rs` in `paddington-exchange`) are tasks and timers, whose states cannot be told apart, so
//! that is a model of its own here: `term` in a small form of that code, `database` with the rules of the
//! store that the simulation of replicas has. Each rule of `docs/cluster.md`, "Rules", can be [left
//! out](Rule): then a promise has to break. What is left out here: the peer's handler, which ends at once; a
//! second process of the peer (S11); servers that are dialled (S12); more than one link (S15).

mod act;
mod database;
mod explore;
mod follow;
mod judge;
mod lease;
mod session;
mod term;
mod world;

pub use act::{Act, Budget, Rule};
pub use explore::{Found, Situation, explore, hunt, situations};
pub use judge::Breach;
