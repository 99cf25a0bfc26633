//! Which message is sent, delivered, repeated, acknowledged. Implements `docs/protocol.md` §5 and
//! §8 and the numbered rules of `docs/delivery.md`.
//!
//! A [`Link`] is everything that one service remembers of its exchange with one peer, in both
//! directions, across connections. It does no IO, reads no clock and draws no random numbers: the
//! same type runs in the product, under the model checker, in the simulator and under the fuzzer.
//!
//! **Contract.** Feed it every event of one peer, one at a time: [`enqueue`](Link::enqueue) what
//! the application sends; [`start`](Link::start) a session with both READYs;
//! [`receive`](Link::receive) every frame of it; [`handled`](Link::handled) every message that it
//! delivered, once the handler is done; [`end`](Link::end) the session. After each, ask it with
//! [`transmit`](Link::transmit) until there is nothing to transmit.
//!
//! The result: messages arrive in order, exactly once while the receiver lives, at least once if
//! it restarts.

mod config;
mod faults;
mod inbound;
mod outbound;
mod restore;
mod session;
mod slot;
mod state;
mod stream;

pub use config::LinkConfig;
#[cfg(paddington_faults)]
pub use faults::Fault;
pub use inbound::Incoming;
pub use outbound::{Counts, Full, Outcome};
pub use restore::{Restored, RestoredCursor, RestoredMessage, RestoredStream};
pub use session::{AckDue, SessionId};
pub use slot::{Slot, Ticket, Verdict};
pub use state::{CursorChanges, Link, Millis, Started};
