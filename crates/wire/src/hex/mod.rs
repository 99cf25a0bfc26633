//! The `hex` encoding: the original's protocol, bit for bit. Implements `docs/protocol.md` §11.
//!
//! ```text
//! client                                              server
//!   Initiator ── hello ──▶ env(kc; invitation) ──────▶ authenticate
//!   AwaitReply ◀── env(ks; inner key, kc) ◀── reply ── Authenticated
//!       └─ finish                                        └─┐
//!   HexSession ◀─────── env(payload; ks, kc) ─────────▶ HexSession
//! ```
//!
//! It does not protect against reordering, loss, or a later leak of the invitation, and it cannot
//! acknowledge. One side alone can refuse repeats: of a hello, of a frame, and of a frame that it
//! sent itself, for as long as it remembers them (§11.3).

mod handshake;
mod hex_session;
mod limits;
mod nonces;

pub use handshake::{Authenticated, AwaitReply, Credentials, Initiator, authenticate};
pub use hex_session::HexSession;
pub(crate) use limits::max_message_len;
pub use limits::{MAX_HANDSHAKE_LEN, MAX_MESSAGE_LEN, fits};
