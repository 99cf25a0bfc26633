//! The state of a service that runs as the types of the API.

mod count;
mod event;
mod outbox;
mod peers;
mod service;

pub(crate) use count::count;
pub(crate) use event::event;
pub(crate) use outbox::{orphans, outbox};
pub(crate) use peers::{peer, peers};
pub(crate) use service::{refusals, status};
