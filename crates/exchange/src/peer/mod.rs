//! One peer: messages that wait for it, messages that it has sent, the one connection that is its
//! own. All events of one peer go through one lock, one at a time (rule R1 of `docs/delivery.md`).

mod calls;
mod connection;
mod inbox;
mod link;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod peer;
mod send;
mod state;
pub(crate) mod store_task;
mod storing;
mod workers;

pub(crate) use calls::{Call, Ended};
pub(crate) use connection::PeerReservation;
pub(crate) use inbox::Item;
pub(crate) use link::{Number, PeerLink};
pub(crate) use peer::{Peer, Shared, millis, wake};
pub(crate) use send::Patience;
pub(crate) use state::{State, Unresponsive};
pub(crate) use storing::Append;
pub(crate) use workers::{WorkerId, Workers};
