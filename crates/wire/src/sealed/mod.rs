//! The `sealed` encoding: handshake, key schedule, frames. Implements `docs/protocol.md` §3 and §4.
//!
//! ```text
//! client                                                  server
//!   Initiator ── hello ──▶ HELLO ────────────────────▶ Responder
//!   AwaitReply ◀────────── REPLY ◀──────── reply ── Authenticated
//!   AwaitReady ◀────────── READY or CLOSE ◀──────────  AwaitReady
//!       └─ finish ──────── READY ────────────────────▶ finish ─┘
//!   Session                                               Session
//! ```
//!
//! Every state is a type and every step consumes it, so steps in the wrong order do not compile. No
//! state does IO. Randomness is passed in, so that test vectors can fix it.

mod ack;
mod await_ready;
mod codec;
mod credentials;
mod exporter;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod initiator;
mod padding;
mod ready;
mod responder;
mod schedule;
mod sealed_session;

pub use await_ready::{AwaitReady, Greeting};
pub use credentials::{Credentials, HintKey, Hints};
pub use exporter::Exporter;
pub use initiator::{AwaitReply, HelloRandom, Initiator};
pub use padding::Padding;
pub use responder::{Authenticated, Challenge, Refused, ReplyRandom, Responder};
pub use sealed_session::SealedSession;

/// The length of HELLO in bytes.
pub const HELLO_LEN: usize = 1344;
/// The length of REPLY in bytes.
pub const REPLY_LEN: usize = 1184;
/// The length of the client's random value in bytes.
const RANDOM_LEN: usize = 32;
/// The length of a hint in bytes.
const HINT_LEN: usize = 16;
