//! The databases that the replicas of a service share, and the replicas: `[cluster]` in a configuration.

mod checks;
mod reach;
mod replicas;
mod schema;
mod seal;
mod server;

pub(super) use checks::checks;
pub(super) use replicas::elsewhere;
