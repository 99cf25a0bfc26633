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
//! It has no protection against reordering, loss, or a later leak of the invitation, and it cannot
//! acknowledge. What can be done on one side alone is: a hello, a frame, or a frame of our own that
//! comes a second time is refused while it is remembered (§11.3).

mod handshake;
mod nonces;
mod session;

pub use handshake::{Authenticated, AwaitReply, Credentials, Initiator, authenticate};
pub use session::HexSession;

/// The longest hello or reply, in characters.
pub const MAX_HANDSHAKE_LEN: usize = 4096;
/// The longest message of the original, in characters: it refuses larger frames.
pub const MAX_MESSAGE_LEN: usize = 16 * 1024 * 1024;

/// Whether the original would take `text`: it refuses envelopes above [`MAX_MESSAGE_LEN`].
#[must_use]
pub fn fits(text: &str) -> bool {
    paddington_crypto::hex::sealed_text_len(text) <= MAX_MESSAGE_LEN
}

/// The longest envelope around a message of `max_payload` bytes, in characters.
pub(crate) fn max_message_len(max_payload: u32) -> usize {
    // In JSON a character takes at most six times its length.
    paddington_crypto::hex::sealed_len(6 * max_payload as usize + 2)
}
