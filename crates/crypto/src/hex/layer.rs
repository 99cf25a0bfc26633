//! One layer of an envelope, `nonce ‖ text ‖ tag`, sealed and opened in place.

use crate::aead::{Cipher, NONCE_LEN, TAG_LEN, Tag, XChaCha20Poly1305, split_nonce};
use crate::{OpenError, SealError, SecretKey};

/// The number of bytes that a layer adds to its text.
pub(super) const OVERHEAD: usize = NONCE_LEN + TAG_LEN;
/// The offset of the text in a layer.
pub(super) const TEXT_START: usize = NONCE_LEN;

/// Seals `layer`, which has room for the nonce before the text and for the tag after it.
pub(super) fn seal(
    key: &SecretKey,
    nonce: &[u8; NONCE_LEN],
    layer: &mut [u8],
) -> Result<(), SealError> {
    let (prefix, suffix) = split_nonce(nonce);
    let text_end = layer.len() - TAG_LEN;
    layer[..TEXT_START].copy_from_slice(nonce);
    let tag =
        XChaCha20Poly1305::new(key, &prefix).seal(suffix, &[], &mut layer[TEXT_START..text_end])?;
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
    XChaCha20Poly1305::new(key, &prefix).open(suffix, &[], text, tag)
}
