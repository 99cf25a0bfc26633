//! Several replicas of one service over a store that they share, in paused time: whatever fails, what
//! `docs/cluster.md` promises is kept. Everything is drawn from a seed.

mod balancer;
mod calls;
mod drive;
mod ledger;
mod peers;
mod plan;
mod replica;
mod requests;
mod run;
mod seeds;
mod world;

pub(crate) use run::elapsed;
pub(crate) use seeds::Seeds;
#[cfg(feature = "faults")]
pub(crate) use seeds::checked;
