//! The state of a service as the types of the API. Only this module makes these types of it.

mod event;
mod outbox;
mod peers;
mod service;

pub(crate) use event::event;
pub(crate) use outbox::{orphans, outbox};
pub(crate) use peers::{is_known, peer, peers};
pub(crate) use service::{refusals, status};

/// A number of something. Numbers that do not fit do not occur.
pub(crate) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
