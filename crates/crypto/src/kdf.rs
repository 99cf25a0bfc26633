//! SHA-512, and HKDF-SHA-512 (RFC 5869) with the labels of `docs/protocol.md` §1.2.

use std::fmt;

use orion::hazardous::hash::sha2::sha512::Sha512;
use orion::hazardous::kdf::hkdf::{Hkdf, SHA512};
use orion::hazardous::mac::hmac::sha512::Tag;
use zeroize::Zeroizing;

use crate::SecretKey;
use crate::stack::cleared;

/// The length of a hash and of a pseudorandom key, in bytes.
pub const HASH_LEN: usize = 64;

/// A SHA-512 hash.
pub type Hash = [u8; HASH_LEN];

/// The prefix of every label, so that no other protocol derives the same keys.
const LABEL_PREFIX: &[u8] = b"paddington1 ";

/// Hashes the concatenation of `parts` with SHA-512.
///
/// # Panics
///
/// Never: SHA-512 accepts 2^125 bytes.
#[must_use]
#[expect(clippy::expect_used, reason = "no input reaches SHA-512's limit")]
pub fn hash(parts: &[&[u8]]) -> Hash {
    let mut state = Sha512::new();
    for part in parts {
        state.update(part).expect("the hash is not finalized yet");
    }
    let digest = state.finalize().expect("the hash is finalized once");
    let mut hash = [0; HASH_LEN];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// A pseudorandom key of 64 bytes, from which keys are derived.
///
/// It stays at its place in memory when it is moved, is wiped when dropped, and printed as `Prk(..)`.
pub struct Prk(Box<Tag>);

impl Prk {
    /// Extracts a key from the concatenation of `secrets` (HKDF-Extract).
    ///
    /// # Panics
    ///
    /// Never: HMAC accepts any salt and any input.
    #[must_use]
    #[expect(clippy::expect_used, reason = "HMAC accepts any salt and any input")]
    pub fn extract(salt: &[u8], secrets: &[&[u8]]) -> Self {
        let joined = Zeroizing::new(secrets.concat());
        cleared(|| Hkdf::<SHA512>::extract(salt, &joined).map(Box::new).map(Self))
            .expect("HKDF-Extract accepts any input")
    }

    /// Reads a key that was stored; `None` if it does not have 64 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        cleared(|| Tag::try_from(bytes).ok().map(Box::new).map(Self))
    }

    /// Derives the key with `label` and the context `ctx` (at most 255 bytes each).
    #[must_use]
    #[expect(clippy::expect_used, reason = "32 pseudorandom bytes are not all zero")]
    pub fn derive_key(&self, label: &str, ctx: &[u8]) -> SecretKey {
        cleared(|| {
            let bytes = self.derive::<{ SecretKey::LEN }>(label, ctx);
            SecretKey::copied(bytes.as_slice()).expect("the output of HKDF is not all zero")
        })
    }

    /// Derives the pseudorandom key with `label` and the context `ctx` (at most 255 bytes each).
    #[must_use]
    pub fn derive_prk(&self, label: &str, ctx: &[u8]) -> Self {
        cleared(|| Self(Box::new(Tag::from(*self.derive::<HASH_LEN>(label, ctx)))))
    }

    /// Derives `N` bytes with `label` and the context `ctx` (HKDF-Expand).
    ///
    /// # Panics
    ///
    /// If the prefixed label or `ctx` is longer than 255 bytes, or `N` above 16 320. The protocol
    /// fixes all three.
    #[must_use]
    #[expect(clippy::expect_used, reason = "constants of the protocol")]
    pub fn derive<const N: usize>(&self, label: &str, ctx: &[u8]) -> Zeroizing<[u8; N]> {
        let info = info::<N>(label, ctx);
        let mut output = Zeroizing::new([0; N]);
        Hkdf::<SHA512>::expand(&self.0, Some(&info), output.as_mut_slice())
            .expect("the output is short enough");
        output
    }

    /// Returns the key's bytes. Wherever this is called, a secret leaves its type.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.0.unprotected_as_ref()
    }
}

impl fmt::Debug for Prk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prk(..)")
    }
}

/// Builds the `info` of HKDF for an output of `N` bytes (`docs/protocol.md` §1.2).
#[expect(clippy::expect_used, reason = "constants of the protocol")]
pub(crate) fn info<const N: usize>(label: &str, ctx: &[u8]) -> Vec<u8> {
    let mut info = Vec::with_capacity(4 + LABEL_PREFIX.len() + label.len() + ctx.len());
    info.extend(u16::try_from(N).expect("the output is short enough").to_be_bytes());
    info.push(short_len(LABEL_PREFIX.len() + label.len()));
    info.extend(LABEL_PREFIX);
    info.extend(label.as_bytes());
    info.push(short_len(ctx.len()));
    info.extend(ctx);
    info
}

#[expect(clippy::expect_used, reason = "labels and contexts are short")]
fn short_len(len: usize) -> u8 {
    u8::try_from(len).expect("at most 255 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_hashed_as_one() {
        assert_eq!(hash(&[b"ab", b"", b"c"]), hash(&[b"abc"]));
        assert!(const_hex::encode(hash(&[b"abc"])).starts_with("ddaf35a193617abacc417349ae204131"));
    }

    #[test]
    fn label_context_and_length_all_matter() {
        let prk = Prk::extract(b"salt", &[b"secret"]);
        let base = prk.derive::<32>("key", b"");
        assert_ne!(base, prk.derive::<32>("next", b""));
        assert_ne!(base, prk.derive::<32>("key", b"ctx"));
        assert_ne!(base[..16], prk.derive::<16>("key", b"")[..]);
        assert_ne!(base, Prk::extract(b"salt", &[b"secre", b""]).derive::<32>("key", b""));
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let prk = Prk::extract(b"", &[b"x"]);
        assert_eq!(format!("{prk:?}"), "Prk(..)");
    }
}
