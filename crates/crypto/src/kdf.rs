//! SHA-512 and HKDF-SHA-512 (RFC 5869), labelled as `docs/protocol.md` §1.2 defines.

use std::fmt;

use orion::hazardous::hash::sha2::sha512::Sha512;
use orion::hazardous::kdf::hkdf::{Hkdf, SHA512};
use orion::hazardous::mac::hmac::sha512::Tag;
use zeroize::Zeroizing;

use crate::SecretKey;

/// The length of a hash and of a pseudorandom key, in bytes.
pub const HASH_LEN: usize = 64;

/// A SHA-512 hash.
pub type Hash = [u8; HASH_LEN];

/// What every label begins with, so that no other protocol derives our keys.
const LABEL_PREFIX: &[u8] = b"paddington1 ";

/// SHA-512 over the concatenation of `parts`.
///
/// # Panics
///
/// Never: SHA-512 takes 2^125 bytes.
#[must_use]
#[expect(clippy::expect_used, reason = "no input reaches SHA-512's limit")]
pub fn hash(parts: &[&[u8]]) -> Hash {
    let mut state = Sha512::new();
    for part in parts {
        state.update(part).expect("a live state takes input");
    }
    let digest = state.finalize().expect("a live state has a digest");
    let mut hash = [0; HASH_LEN];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// A pseudorandom key of 64 bytes: the only thing that keys are derived from.
///
/// Wiped when dropped; prints as `Prk(..)`.
pub struct Prk(Tag);

impl Prk {
    /// HKDF-Extract over the concatenation of `secrets`.
    ///
    /// # Panics
    ///
    /// Never: HMAC takes any salt and any input.
    #[must_use]
    #[expect(clippy::expect_used, reason = "HMAC takes any salt and any input")]
    pub fn extract(salt: &[u8], secrets: &[&[u8]]) -> Self {
        let joined = Zeroizing::new(secrets.concat());
        Self(Hkdf::<SHA512>::extract(salt, &joined).expect("HKDF-Extract takes any input"))
    }

    /// The key called `label` in the context `ctx` (at most 255 bytes each).
    #[must_use]
    #[expect(clippy::expect_used, reason = "32 random-looking bytes are a key")]
    pub fn derive_key(&self, label: &str, ctx: &[u8]) -> SecretKey {
        let bytes = self.derive::<{ SecretKey::LEN }>(label, ctx);
        SecretKey::from_slice(bytes.as_slice()).expect("HKDF gives no zeros")
    }

    /// The pseudorandom key called `label` in the context `ctx` (at most 255 bytes each).
    #[must_use]
    pub fn derive_prk(&self, label: &str, ctx: &[u8]) -> Self {
        Self(Tag::from(*self.derive::<HASH_LEN>(label, ctx)))
    }

    /// `N` bytes called `label` in the context `ctx` (at most 255 bytes each).
    ///
    /// # Panics
    ///
    /// If `label` or `ctx` is longer than its length byte can say, or `N` above 16 320: all three
    /// are constants of the protocol.
    #[must_use]
    #[expect(clippy::expect_used, reason = "constants of the protocol")]
    pub fn derive<const N: usize>(&self, label: &str, ctx: &[u8]) -> Zeroizing<[u8; N]> {
        let mut info = Vec::with_capacity(4 + LABEL_PREFIX.len() + label.len() + ctx.len());
        info.extend(u16::try_from(N).expect("a short output").to_be_bytes());
        info.push(short_len(LABEL_PREFIX.len() + label.len()));
        info.extend(LABEL_PREFIX);
        info.extend(label.as_bytes());
        info.push(short_len(ctx.len()));
        info.extend(ctx);

        let mut output = Zeroizing::new([0; N]);
        Hkdf::<SHA512>::expand(&self.0, Some(&info), output.as_mut_slice())
            .expect("a short output");
        output
    }

    /// The key's bytes. Every use of this method is a place where a secret leaves its type.
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
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Prk::extract(b"", &[b"x"])), "Prk(..)");
    }
}
