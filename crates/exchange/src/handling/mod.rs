//! Calls of the handler: in order for each peer, in parallel for different peers.

mod dead_letter;
mod handler;
mod on_error;
pub(crate) mod request_worker;
pub(crate) mod retry;
pub(crate) mod watchdog;
pub(crate) mod worker;

pub use handler::{Handler, Unhandled, accept_bytes};
pub use on_error::OnError;
pub use retry::RetryError;
