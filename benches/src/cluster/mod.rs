//! Measurements of replicas over a PostgreSQL of their own.

mod accepting;
mod claiming;
mod database;
mod flow;
mod kills;
mod peers;
mod programs;
mod replica;
mod site;

pub use accepting::accept_rate;
pub use claiming::claim_rate;
pub use database::Database;
pub use flow::{Direction, Flow};
pub use peers::Peers;
pub use programs::{batch_rate, row_rate};
pub use replica::run_replica;
pub use site::Site;
