//! The secrets that both sides of a link derive from their invitation. Implements
//! `docs/protocol.md` §1.2.

use std::sync::Arc;

use paddington_crypto::KeyPair;
use paddington_crypto::kdf::{HASH_LEN, Hash, Prk, hash};
use paddington_crypto::{Expansion, KeyError, PreparedPrk, SecretKey, equal};

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
    pub(super) outer: HintKey,
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
        Self { transcript, inner, outer: HintKey::new(outer), keys: KeysId::of(invitation) }
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
        Ok(Self { transcript, inner, outer: HintKey::new(outer), keys: KeysId::of(&keys) })
    }

    /// The identity of the link that begins with these keys.
    #[must_use]
    pub fn link_id(&self) -> LinkId {
        LinkId::from(self.outer.prepared().expand(&Expansion::new("link", &[])))
    }

    /// The identity of the keys that these secrets come from.
    #[must_use]
    pub fn keys_id(&self) -> KeysId {
        self.keys
    }

    /// Returns what recognises the hints of these secrets, and opens nothing.
    #[must_use]
    pub fn hint_key(&self) -> HintKey {
        self.outer.clone()
    }
}

/// What recognises the hints of a link's keys, and opens nothing (`po` of `docs/protocol.md` §1.2). It
/// is wiped when dropped, and compared in constant time.
#[derive(Clone, Debug)]
pub struct HintKey(Arc<(Prk, PreparedPrk)>);

impl HintKey {
    /// The length in bytes.
    pub const LEN: usize = HASH_LEN;

    fn new(outer: Prk) -> Self {
        let prepared = PreparedPrk::new(&outer);
        Self(Arc::new((outer, prepared)))
    }

    /// Reads what [`expose_bytes`](Self::expose_bytes) has returned; `None` if it has another length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Prk::from_slice(bytes).map(Self::new)
    }

    /// Returns the bytes, which are stored. Wherever this is called, a secret leaves its type.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.prk().expose_bytes()
    }

    pub(super) fn prk(&self) -> &Prk {
        &self.0.0
    }

    fn prepared(&self) -> &PreparedPrk {
        &self.0.1
    }

    /// Derives the hint by which a server recognises a hello of these keys.
    pub(super) fn hint(&self, of: &Hinted) -> [u8; HINT_LEN] {
        self.prepared().expand(&of.0)
    }
}

/// The values of one handshake that its hints are made of, whatever the keys are.
pub(super) struct Hinted(Expansion<HINT_LEN>);

impl Hinted {
    pub(super) fn new(challenge: &[u8], client_random: &[u8]) -> Self {
        Self(Expansion::new("hint", &[challenge, client_random].concat()))
    }
}

impl PartialEq for HintKey {
    fn eq(&self, other: &Self) -> bool {
        equal(self.expose_bytes(), other.expose_bytes())
    }
}

impl Eq for HintKey {}

/// Returns the length as one byte: names and `PROTOCOL` are far shorter than 256 bytes.
fn short_len(text: &[u8]) -> u8 {
    text.len() as u8
}
