//! Two keys under a passphrase: Argon2id (RFC 9106) makes the key of one layer of XChaCha20-Poly1305.
//! Implements the sealed invitation of `docs/protocol.md` §1.1.

use orion::hazardous::kdf::argon2::{Argon2, CostParams, ID, Sequential};
use zeroize::Zeroizing;

use crate::aead::{Cipher, TAG_LEN, XChaCha20Poly1305};
use crate::stack::cleared;
use crate::{KeyError, KeyPair, OpenError, SealError, SecretKey};

/// The length of a salt in bytes.
pub const SALT_LEN: usize = 16;
/// The length of two sealed keys in bytes.
pub const SEALED_KEYS_LEN: usize = KEYS_LEN + TAG_LEN;

const KEYS_LEN: usize = 2 * SecretKey::LEN;
const MAX_ITERATIONS: u32 = 64;
const MIN_MEMORY: u32 = 8;
const MAX_MEMORY: u32 = 1024 * 1024;

/// What one guess at a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    iterations: u32,
    memory: u32,
}

impl PassphraseCost {
    /// A cost of `iterations` passes over `memory` KiB, in one lane.
    ///
    /// # Errors
    ///
    /// [`KeyError::Cost`] unless there are 1 to 64 iterations, over 8 KiB to 1 GiB: whoever reads a
    /// sealed invitation pays what its writer chose.
    pub fn new(iterations: u32, memory: u32) -> Result<Self, KeyError> {
        let is_payable = (1..=MAX_ITERATIONS).contains(&iterations)
            && (MIN_MEMORY..=MAX_MEMORY).contains(&memory);
        if is_payable { Ok(Self { iterations, memory }) } else { Err(KeyError::Cost) }
    }

    /// Returns the number of passes.
    #[must_use]
    pub fn iterations(self) -> u32 {
        self.iterations
    }

    /// Returns the memory in KiB.
    #[must_use]
    pub fn memory(self) -> u32 {
        self.memory
    }
}

impl Default for PassphraseCost {
    /// Three passes over 64 MiB, the second choice of RFC 9106.
    fn default() -> Self {
        Self { iterations: 3, memory: 64 * 1024 }
    }
}

/// Seals both keys of `keys` with a passphrase. A salt is random and used once.
///
/// # Errors
///
/// [`SealError`] if the cost cannot be paid.
pub fn seal_keys(
    keys: &KeyPair,
    passphrase: &str,
    salt: &[u8; SALT_LEN],
    cost: PassphraseCost,
    ad: &[u8],
) -> Result<[u8; SEALED_KEYS_LEN], SealError> {
    let cipher = cipher(passphrase, salt, cost).ok_or(SealError)?;
    let mut sealed = Zeroizing::new([0; SEALED_KEYS_LEN]);
    sealed[..SecretKey::LEN].copy_from_slice(keys.inner().expose_bytes());
    sealed[SecretKey::LEN..KEYS_LEN].copy_from_slice(keys.outer().expose_bytes());
    let tag = cipher.seal([0; 8], ad, &mut sealed[..KEYS_LEN])?;
    sealed[KEYS_LEN..].copy_from_slice(&tag);
    Ok(*sealed)
}

/// Opens two keys that were sealed with a passphrase.
///
/// # Errors
///
/// [`OpenError`] if the passphrase is another one, or anything was changed.
pub fn open_keys(
    sealed: &[u8],
    passphrase: &str,
    salt: &[u8; SALT_LEN],
    cost: PassphraseCost,
    ad: &[u8],
) -> Result<KeyPair, OpenError> {
    let (text, tag) = sealed.split_at_checked(KEYS_LEN).ok_or(OpenError)?;
    let tag = tag.try_into().map_err(|_| OpenError)?;
    let cipher = cipher(passphrase, salt, cost).ok_or(OpenError)?;
    let mut text = Zeroizing::new(text.to_vec());
    cipher.open([0; 8], ad, &mut text, tag)?;
    let (inner, outer) = text.split_at(SecretKey::LEN);
    let key = |bytes| SecretKey::from_slice(bytes).map(Into::into).map_err(|_| OpenError);
    KeyPair::new(key(inner)?, key(outer)?).map_err(|_| OpenError)
}

fn cipher(
    passphrase: &str,
    salt: &[u8; SALT_LEN],
    cost: PassphraseCost,
) -> Option<Box<XChaCha20Poly1305>> {
    cleared(|| {
        let key = derive(passphrase.as_bytes(), salt, cost)?;
        Some(Box::new(XChaCha20Poly1305::new(&key, &[0; 16])))
    })
}

/// Makes a key from a passphrase, and leaves the stack to the caller.
pub(crate) fn derive(
    passphrase: &[u8],
    salt: &[u8; SALT_LEN],
    cost: PassphraseCost,
) -> Option<SecretKey> {
    let cost = CostParams::new(cost.iterations, cost.memory, 1).ok()?;
    let mut key = Zeroizing::new([0; SecretKey::LEN]);
    Argon2::<ID, Sequential>::derive_key(passphrase, salt, &cost, None, None, &mut *key).ok()?;
    SecretKey::from_slice(&*key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: PassphraseCost = PassphraseCost { iterations: 1, memory: 64 };

    #[test]
    fn keys_come_back_with_the_passphrase_and_with_nothing_else() {
        let keys = KeyPair::generate().unwrap();
        let sealed = seal_keys(&keys, "correct horse", &[7; 16], CHEAP, b"hub").unwrap();
        let opened = open_keys(&sealed, "correct horse", &[7; 16], CHEAP, b"hub");
        assert_eq!(opened.unwrap(), keys);
        let other = PassphraseCost { iterations: 2, ..CHEAP };
        for (passphrase, salt, cost, ad) in [
            ("correct house", [7; 16], CHEAP, &b"hub"[..]),
            ("", [7; 16], CHEAP, b"hub"),
            ("correct horse", [8; 16], CHEAP, b"hub"),
            ("correct horse", [7; 16], other, b"hub"),
            ("correct horse", [7; 16], CHEAP, b"hob"),
        ] {
            let opened = open_keys(&sealed, passphrase, &salt, cost, ad);
            assert_eq!(opened, Err(OpenError), "{passphrase}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed;
            changed[at] ^= 1;
            let opened = open_keys(&changed, "correct horse", &[7; 16], CHEAP, b"hub");
            assert!(opened.is_err(), "{at}");
        }
        for len in [0, 63, 64, 79, 81] {
            let cut = [&sealed[..], &[0]].concat();
            assert!(
                open_keys(&cut[..len], "correct horse", &[7; 16], CHEAP, b"hub").is_err(),
                "{len}"
            );
        }
    }

    #[test]
    fn a_cost_that_would_stop_the_reader_is_refused() {
        assert_eq!(PassphraseCost::new(3, 65_536), Ok(PassphraseCost::default()));
        for (iterations, memory) in
            [(0, 64), (65, 64), (1, 7), (1, 1024 * 1024 + 1), (u32::MAX, 64)]
        {
            assert_eq!(PassphraseCost::new(iterations, memory), Err(KeyError::Cost));
        }
    }
}
