//! The secrets that both sides of a link derive from their invitation. Implements
//! `docs/protocol.md` §1.2.

use std::sync::Arc;

use paddington_crypto::KeyPair;
use paddington_crypto::kdf::{HASH_LEN, Hash, Prk, hash};
use paddington_crypto::{Expansion, KeyError, PreparedPrk, SecretKey, equal};

use super::HINT_LEN;
use crate::{KeysId, LinkId, PeerName};

const PROTOCOL: &[u8] = b"paddington/1 sealed X-Wing HKDF-SHA512 XChaCha20Poly1305 AES256GCM";

/// The secrets of one link, which follow from the two keys of its invitation and both names. What recognises
/// a hint is derived at once, for it is compared with every HELLO, and the rest for each handshake: most
/// links of a large server have none.
#[derive(Debug)]
pub struct Credentials {
    server: PeerName,
    client: PeerName,
    inner: Arc<SecretKey>,
    outer: Arc<SecretKey>,
    prepared: PreparedPrk,
    keys: KeysId,
}

/// The secrets of a link that a handshake takes.
#[derive(Debug)]
pub(super) struct Secrets {
    /// The hash with which every transcript of this link begins.
    pub(super) transcript: Hash,
    pub(super) inner: Prk,
    pub(super) outer: Prk,
}

impl Credentials {
    /// Makes the secrets of the link between `server` and `client`, which share the keys.
    #[must_use]
    pub fn new(server: &PeerName, client: &PeerName, invitation: &KeyPair) -> Self {
        let outer = extract(&transcript(server, client), invitation.outer());
        Self {
            server: server.clone(),
            client: client.clone(),
            inner: Arc::clone(invitation.inner()),
            outer: Arc::clone(invitation.outer()),
            prepared: PreparedPrk::new(&outer),
            keys: KeysId::of(invitation),
        }
    }

    /// Makes random secrets that no peer has. A server tries to open the hellos of strangers with
    /// them, so that a refusal takes the same time.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn decoy() -> Result<Self, KeyError> {
        let nobody = PeerName::of_nobody();
        KeyPair::generate().map(|keys| Self::new(&nobody, &nobody, &keys))
    }

    /// The identity of the link that begins with these keys.
    #[must_use]
    pub fn link_id(&self) -> LinkId {
        LinkId::from(self.prepared.expand(&Expansion::new("link", &[])))
    }

    /// The identity of the keys that these secrets come from.
    #[must_use]
    pub fn keys_id(&self) -> KeysId {
        self.keys
    }

    /// Returns what recognises the hints of these secrets.
    pub(crate) fn hints(&self) -> Hints<'_> {
        Hints(&self.prepared)
    }

    /// Returns what recognises the hints of these secrets once the keys are gone, and opens nothing.
    #[must_use]
    pub fn hint_key(&self) -> HintKey {
        HintKey::new(extract(&transcript(&self.server, &self.client), &self.outer))
    }

    /// Derives the secrets of a handshake.
    pub(super) fn secrets(&self) -> Secrets {
        let transcript = transcript(&self.server, &self.client);
        let (inner, outer) = (extract(&transcript, &self.inner), extract(&transcript, &self.outer));
        Secrets { transcript, inner, outer }
    }
}

/// Returns the hash with which every transcript of the link between `server` and `client` begins.
fn transcript(server: &PeerName, client: &PeerName) -> Hash {
    hash(&[
        &[short_len(PROTOCOL)],
        PROTOCOL,
        &[short_len(server.as_str().as_bytes())],
        server.as_str().as_bytes(),
        &[short_len(client.as_str().as_bytes())],
        client.as_str().as_bytes(),
    ])
}

fn extract(transcript: &Hash, key: &SecretKey) -> Prk {
    Prk::extract(transcript, &[key.expose_bytes()])
}

/// What recognises the hints of a link's keys that are no longer valid, and opens nothing (`po` of
/// `docs/protocol.md` §1.2). It is wiped when dropped, and compared in constant time.
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
        self.0.0.expose_bytes()
    }

    /// Returns what recognises the hints.
    pub(crate) fn hints(&self) -> Hints<'_> {
        Hints(&self.0.1)
    }
}

/// What recognises the hints of a link's keys.
#[derive(Clone, Copy, Debug)]
pub struct Hints<'a>(&'a PreparedPrk);

impl Hints<'_> {
    /// Derives the hint by which a server recognises a hello of these keys.
    pub(super) fn of(self, handshake: &Hinted) -> [u8; HINT_LEN] {
        self.0.expand(&handshake.0)
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
