//! Replicas of one service over a PostgreSQL (`docs/cluster.md` §2), as processes that are killed, stopped for
//! shorter and longer than their lease, and lose their peers and their database; and the same without one of
//! the rules that replicas keep, which has to be seen.

mod control;
mod fault;
mod peer;
mod replica;
mod rule;
mod trial;
mod verdict;

pub(crate) use control::run as control;
pub(crate) use replica::run as replica;
pub(crate) use trial::run;
