//! How long messages of the `hex` encoding may be.

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
