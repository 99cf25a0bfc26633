//! Messages for the consumers of the local API.

mod claim;
mod consumer;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod inbox;
mod leases;
mod queue;

pub use claim::{CONCURRENCY, HANDLERS};
pub use inbox::Inbox;

pub(crate) use claim::Failed;
pub(crate) use consumer::{Consumer, Wanted};
pub(crate) use inbox::Answered;
pub(crate) use queue::{Given, LEASE};
