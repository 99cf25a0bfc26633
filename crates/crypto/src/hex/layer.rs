//! One layer: `nonce ‖ text ‖ tag` in a buffer of its own, sealed and opened in place.

use crate::aead::{ActiveCipher, Cipher, NONCE_LEN, TAG_LEN, Tag, split_nonce};
use crate::{OpenError, SealError, SecretKey};

/// What a layer adds to its text, in bytes.
pub(super) const OVERHEAD: usize = NONCE_LEN + TAG_LEN;
/// Where the text begins in a layer.
pub(super) const TEXT_START: usize = NONCE_LEN;

/// Seals the text that stands in `layer` between the room for the nonce and the room for the tag.
pub(super) fn seal(
    key: &SecretKey,
    nonce: &[u8; NONCE_LEN],
    layer: &mut [u8],
) -> Result<(), SealError> {
    let (prefix, suffix) = split_nonce(nonce);
    let text_end = layer.len() - TAG_LEN;
    layer[..TEXT_START].copy_from_slice(nonce);
    let tag =
        ActiveCipher::new(key, &prefix).seal(suffix, &[], &mut layer[TEXT_START..text_end])?;
    layer[text_end..].copy_from_slice(&tag);
    Ok(())
}

/// Opens `text` in place.
pub(super) fn open(
    key: &SecretKey,
    nonce: &[u8; NONCE_LEN],
    text: &mut [u8],
    tag: &Tag,
) -> Result<(), OpenError> {
    let (prefix, suffix) = split_nonce(nonce);
    ActiveCipher::new(key, &prefix).open(suffix, &[], text, tag)
}
