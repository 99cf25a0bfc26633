//! One peer: the messages that wait for it, the messages that it has sent, and its one session. All
//! events of one peer go through one lock, one at a time (rule R1 of `docs/delivery.md`).

mod active;
mod answering;
mod appends;
mod asked;
mod asking;
mod attempts;
mod budget;
mod calls;
mod connection;
mod handling;
mod handshakes;
mod hex_outbox;
mod inbox;
mod inbox_room;
mod keeping;
mod key_task;
mod keys;
mod leaving;
mod outbox;
mod outcomes;
mod overview;
mod owning;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod peer;
mod pinging;
pub(crate) mod pings;
mod presence;
mod prospect;
mod reports;
mod request_room;
mod room;
pub(crate) mod send;
mod shared;
mod state;
pub(crate) mod store_task;
mod storing;
mod submitting;
mod workers;

pub(crate) use asked::{Needed, Request};
pub(crate) use connection::PeerReservation;
pub(crate) use hex_outbox::Number;
pub(crate) use inbox::{Call, Ended, Failure};
pub(crate) use inbox_room::HELD_OVERHEAD;
pub(crate) use keeping::{Keeping, Term};
pub(crate) use keys::{Asked, KeyMatters, LinkKeys};
pub(crate) use leaving::{Backlog, Removal, Standing};
pub(crate) use outbox::PeerLink;
pub(crate) use outcomes::Page;
pub(crate) use peer::{Peer, RequestHandler};
pub(crate) use prospect::Prospect;
pub(crate) use shared::Shared;
pub(crate) use workers::WorkerId;
