//! The secrets that both sides of a link derive from their invitation. Implements
//! `docs/protocol.md` §1.2.

use paddington_crypto::KeyPair;
use paddington_crypto::kdf::{Hash, Prk, hash};
use paddington_crypto::{KeyError, SecretKey};

use super::HINT_LEN;
use crate::{KeysId, LinkId, PeerName};

const PROTOCOL: &[u8] = b"paddington/1 sealed X-Wing HKDF-SHA512 XChaCha20Poly1305 AES256GCM";

/// The secrets of one link, derived from the two keys of its invitation and both names. The keys
/// are not needed afterwards.
#[derive(Debug)]
pub struct Credentials {
    /// The hash with which every transcript of this link begins.
    pub(super) transcript: Hash,
    pub(super) inner: Prk,
    pub(super) outer: Prk,
    keys: KeysId,
}

impl Credentials {
    /// Derives the secrets of the link between `server` and `client`.
    #[must_use]
    pub fn new(server: &PeerName, client: &PeerName, invitation: &KeyPair) -> Self {
        let transcript = hash(&[
            &[short_len(PROTOCOL)],
            PROTOCOL,
            &[short_len(server.as_str().as_bytes())],
            server.as_str().as_bytes(),
            &[short_len(client.as_str().as_bytes())],
            client.as_str().as_bytes(),
        ]);
        let extract = |key: &SecretKey| Prk::extract(&transcript, &[key.expose_bytes()]);
        let (inner, outer) = (extract(invitation.inner()), extract(invitation.outer()));
        Self { transcript, inner, outer, keys: KeysId::of(invitation) }
    }

    /// Makes random secrets that no peer has. A server tries to open the hellos of strangers with
    /// them, so that a refusal takes the same time.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn decoy() -> Result<Self, KeyError> {
        let keys = KeyPair::generate()?;
        let extract = |key: &SecretKey| Prk::extract(&[], &[key.expose_bytes()]);
        let transcript = hash(&[keys.inner().expose_bytes(), keys.outer().expose_bytes()]);
        let (inner, outer) = (extract(keys.inner()), extract(keys.outer()));
        Ok(Self { transcript, inner, outer, keys: KeysId::of(&keys) })
    }

    /// The identity of the link that begins with these keys.
    #[must_use]
    pub fn link_id(&self) -> LinkId {
        LinkId::from(*self.outer.derive("link", &[]))
    }

    /// The identity of the keys that these secrets come from.
    #[must_use]
    pub fn keys_id(&self) -> KeysId {
        self.keys
    }

    /// Derives the hint by which a server recognises a hello of this link.
    pub(super) fn hint(&self, challenge: &[u8], client_random: &[u8]) -> [u8; HINT_LEN] {
        *self.outer.derive("hint", &[challenge, client_random].concat())
    }
}

/// Returns the length as one byte: names and `PROTOCOL` are far shorter than 256 bytes.
fn short_len(text: &[u8]) -> u8 {
    text.len() as u8
}
