//! X-Wing, the hybrid of ML-KEM-768 and X25519 (draft-connolly-cfrg-xwing-kem-10), as implemented
//! by orion. Each connection uses its own key pair and then drops it, which protects past sessions
//! from a later leak of the invitation.

use std::fmt;

use orion::KP;
use orion::errors::UnknownCryptoError;
use orion::hazardous::kem::xwing;

use crate::stack::{cleared, cleared_deeply};
use crate::{KeyError, OpenError};

/// The length of an encapsulation key in bytes.
pub const ENCAPSULATION_KEY_LEN: usize = 1216;
/// The length of a ciphertext in bytes.
pub const CIPHERTEXT_LEN: usize = 1120;
/// The length of the seed of a key pair, in bytes.
pub const SEED_LEN: usize = 32;

/// A ciphertext from which the holder of the key pair recovers the shared secret.
pub type Ciphertext = [u8; CIPHERTEXT_LEN];

/// The secret that both sides share: 32 bytes, wiped when dropped.
pub struct SharedSecret(Box<xwing::SharedSecret>);

impl SharedSecret {
    /// Returns the secret's bytes. Wherever this is called, a secret leaves its type.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.0.unprotected_as_ref()
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

/// A key pair for one connection. It keeps the expanded keys: decapsulating with them takes a third
/// less time than from the seed.
pub struct KemKeyPair(Box<xwing::KeyPair>);

impl KemKeyPair {
    /// Draws a key pair from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        cleared_deeply(|| xwing::KeyPair::generate().map(Box::new).map(Self))
            .map_err(|_| KeyError::NoRandomness)
    }

    /// Derives a key pair from a seed, for test vectors.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`] if the seed cannot be expanded.
    pub fn from_seed(seed: &[u8; SEED_LEN]) -> Result<Self, KeyError> {
        cleared_deeply(|| {
            let seed = xwing::DecapsulationKey::try_from(seed)?;
            xwing::KeyPair::try_from(&seed).map(Box::new).map(Self)
        })
        .map_err(|_| KeyError::Malformed)
    }

    /// Returns the public key, [`ENCAPSULATION_KEY_LEN`] bytes.
    #[must_use]
    pub fn encapsulation_key(&self) -> &[u8] {
        self.0.public().as_ref()
    }

    /// Recovers the secret from a ciphertext. A forged one gives another secret and no error, as
    /// FIPS 203 specifies.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for a wrong length or a point of low order.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<SharedSecret, OpenError> {
        let ciphertext = xwing::Ciphertext::try_from(ciphertext).map_err(|_| OpenError)?;
        cleared_deeply(|| self.0.decap(&ciphertext).map(Box::new).map(SharedSecret))
            .map_err(|_| OpenError)
    }
}

/// The randomness of one encapsulation: 64 bytes, wiped when dropped.
pub struct EncapsulationSeed(Box<xwing::Eseed>);

impl EncapsulationSeed {
    /// The length of a seed in bytes.
    pub const LEN: usize = 64;

    /// Draws a seed from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        cleared(|| xwing::Eseed::generate().map(Box::new).map(Self))
            .map_err(|_| KeyError::NoRandomness)
    }

    /// Uses the given bytes, for test vectors.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`] for any other length than [`LEN`](Self::LEN).
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        cleared(|| xwing::Eseed::try_from(bytes).map(Box::new).map(Self))
            .map_err(|_| KeyError::Malformed)
    }
}

impl fmt::Debug for EncapsulationSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncapsulationSeed(..)")
    }
}

impl fmt::Debug for KemKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemKeyPair(..)")
    }
}

/// Makes a shared secret for the holder of `encapsulation_key`. Each `seed` may be used only once,
/// except in a test vector.
///
/// # Errors
///
/// [`OpenError`] if the key fails the checks of FIPS 203 §7.2 or holds a point of low order.
pub fn encapsulate(
    encapsulation_key: &[u8],
    seed: &EncapsulationSeed,
) -> Result<(Ciphertext, SharedSecret), OpenError> {
    let key = xwing::EncapsulationKey::try_from(encapsulation_key).map_err(|_| OpenError)?;
    let mut ciphertext = [0; CIPHERTEXT_LEN];
    let secret = cleared_deeply(|| {
        let (secret, sealed) = key.encap_deterministic(&seed.0)?;
        ciphertext.copy_from_slice(sealed.as_ref());
        Ok(Box::new(secret))
    })
    .map_err(|UnknownCryptoError| OpenError)?;
    Ok((ciphertext, SharedSecret(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> EncapsulationSeed {
        EncapsulationSeed::from_slice(&[9; EncapsulationSeed::LEN]).unwrap()
    }

    /// The first vector of draft-connolly-cfrg-xwing-kem-10, appendix C.
    #[test]
    fn the_vector_of_the_draft_is_reproduced() {
        let seed = "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26";
        let eseed = "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2\
                     35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2";
        let pair = KemKeyPair::from_seed(&const_hex::decode_to_array(seed).unwrap()).unwrap();
        let eseed = EncapsulationSeed::from_slice(&const_hex::decode(eseed).unwrap()).unwrap();
        let (ciphertext, secret) = encapsulate(pair.encapsulation_key(), &eseed).unwrap();
        assert_eq!(
            const_hex::encode(secret.expose_bytes()),
            "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384"
        );
        let opened = pair.decapsulate(&ciphertext).unwrap();
        assert_eq!(opened.expose_bytes(), secret.expose_bytes());
    }

    #[test]
    fn invalid_encapsulation_keys_are_refused() {
        let pair = KemKeyPair::generate().unwrap();
        let good = pair.encapsulation_key();
        assert!(encapsulate(&good[1..], &seed()).is_err());

        let mut above_the_modulus = good.to_vec();
        above_the_modulus[..3].fill(0xff);
        assert!(encapsulate(&above_the_modulus, &seed()).is_err());

        let mut low_order = good.to_vec();
        low_order[1184..].fill(0);
        assert!(encapsulate(&low_order, &seed()).is_err());
    }

    #[test]
    fn a_forged_ciphertext_gives_another_secret() {
        let pair = KemKeyPair::generate().unwrap();
        let (mut ciphertext, secret) = encapsulate(pair.encapsulation_key(), &seed()).unwrap();
        ciphertext[0] ^= 1;
        let opened = pair.decapsulate(&ciphertext).unwrap();
        assert_ne!(opened.expose_bytes(), secret.expose_bytes());
        assert!(pair.decapsulate(&[0; CIPHERTEXT_LEN]).is_err());
        assert!(pair.decapsulate(&ciphertext[1..]).is_err());
    }

    #[test]
    fn debug_does_not_show_the_secrets() {
        let pair = KemKeyPair::generate().unwrap();
        let (_, secret) = encapsulate(pair.encapsulation_key(), &seed()).unwrap();
        assert_eq!(
            format!("{pair:?} {secret:?} {:?}", seed()),
            "KemKeyPair(..) SharedSecret(..) EncapsulationSeed(..)"
        );
    }
}
