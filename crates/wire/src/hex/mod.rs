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
mod nonces;

pub use handshake::{Authenticated, AwaitReply, Credentials, Initiator, authenticate};
pub use hex_session::HexSession;

/// The maximum length of a hello or a reply, in characters.
pub const MAX_HANDSHAKE_LEN: usize = 4096;
/// The longest frame that the original accepts, in characters.
pub const MAX_MESSAGE_LEN: usize = 16 * 1024 * 1024;

/// Returns whether the original accepts the envelope around `text`: [`MAX_MESSAGE_LEN`] at most.
#[must_use]
pub fn fits(text: &str) -> bool {
    paddington_crypto::hex::sealed_text_len(text) <= MAX_MESSAGE_LEN
}

/// Returns the maximum length of an envelope around `max_payload` bytes of text, in characters.
pub(crate) fn max_message_len(max_payload: u32) -> usize {
    // A JSON escape is at most six times as long as its character.
    paddington_crypto::hex::sealed_len(6 * max_payload as usize + 2)
}
