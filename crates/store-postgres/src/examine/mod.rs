//! Looking at the databases of a service without becoming a replica and without changing anything.

mod examination;
mod hosts;
pub mod report;
mod schema;
mod server;

pub use examination::examine;
