//! Several replicas of one service over a store that they share: who owns which link, and what becomes
//! of it. Implements `docs/cluster.md`, "Rules".

#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod cluster;
mod dialing;
mod hand_over;
mod lease;
mod owners;
mod owning;
mod receipts;
mod relay;
mod signals;
mod tasks;

pub(crate) use cluster::Cluster;
pub(crate) use lease::PATIENCE;
pub(crate) use owners::unanswered;
pub(crate) use owning::NotOwned;
pub(crate) use receipts::{Known, Receipts};
pub(crate) use tasks::spawn;
