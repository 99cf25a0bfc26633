//! What both sides of a link know before they meet. Implements `docs/protocol.md` §1.2.

use paddington_crypto::KeyPair;
use paddington_crypto::kdf::{Hash, PreparedPrk, Prk, hash};
use paddington_crypto::{KeyError, SecretKey};

use super::HINT_LEN;
use crate::PeerName;

const PROTOCOL: &[u8] = b"paddington/1 sealed X-Wing HKDF-SHA512 XChaCha20Poly1305";

/// The secrets of one link, derived from the two keys of its invitation and both names. The keys
/// themselves are not needed any more.
#[derive(Debug)]
pub struct Credentials {
    /// The hash that every transcript of this link begins with.
    pub(super) transcript: Hash,
    pub(super) inner: Prk,
    pub(super) outer: Prk,
    /// `outer` once more: a server derives a hint from it for every hello that may be this link's.
    hints: PreparedPrk,
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
        Self::extracted(transcript, extract(invitation.inner()), extract(invitation.outer()))
    }

    /// The secrets of a link that nobody has, for a server to open hellos of strangers with.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn decoy() -> Result<Self, KeyError> {
        let keys = KeyPair::generate()?;
        let extract = |key: &SecretKey| Prk::extract(&[], &[key.expose_bytes()]);
        let transcript = hash(&[keys.inner().expose_bytes(), keys.outer().expose_bytes()]);
        Ok(Self::extracted(transcript, extract(keys.inner()), extract(keys.outer())))
    }

    fn extracted(transcript: Hash, inner: Prk, outer: Prk) -> Self {
        Self { transcript, inner, hints: outer.prepare(), outer }
    }

    /// What lets a server recognise this link's hello among those of other links.
    pub(super) fn hint(&self, challenge: &[u8], client_random: &[u8]) -> [u8; HINT_LEN] {
        *self.hints.derive("hint", &[challenge, client_random])
    }
}

/// Names and the protocol's own are far below 256 bytes.
fn short_len(text: &[u8]) -> u8 {
    text.len() as u8
}
