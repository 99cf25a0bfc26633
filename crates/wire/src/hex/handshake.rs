//! Both sides of the `hex` handshake. Implements `docs/protocol.md` §11.1.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use paddington_crypto::hex::{self, Nonces};
use paddington_crypto::{KeyPair, OpenError, SecretKey};

use super::MAX_HANDSHAKE_LEN;
use super::hex_session::HexSession;
use super::nonces::NonceMemory;
use crate::{HandshakeError, KeysId};

/// The keys of one link, and a memory of the hellos that they have opened.
#[derive(Debug)]
pub struct Credentials {
    invitation: Arc<KeyPair>,
    hellos: Mutex<NonceMemory>,
}

impl Credentials {
    /// Makes the credentials of a link from the keys of its invitation.
    #[must_use]
    pub fn new(invitation: Arc<KeyPair>) -> Self {
        Self { invitation, hellos: Mutex::default() }
    }

    /// The identity of the keys of the invitation.
    #[must_use]
    pub fn keys_id(&self) -> KeysId {
        KeysId::of(&self.invitation)
    }

    /// Remembers a hello. Returns whether it is new.
    fn remember(&self, hello: &str) -> Result<bool, OpenError> {
        let nonce = hex::outer_nonce(hello)?;
        Ok(self.hellos.lock().unwrap_or_else(PoisonError::into_inner).insert(&nonce))
    }
}

/// A client that has not sent its hello yet.
#[derive(Debug)]
pub struct Initiator {
    link: Arc<Credentials>,
}

/// A client that has sent its hello.
pub struct AwaitReply {
    link: Arc<Credentials>,
    client_key: Arc<SecretKey>,
}

impl Initiator {
    /// Makes a client with the keys of `link`.
    #[must_use]
    pub fn new(link: Arc<Credentials>) -> Self {
        Self { link }
    }

    /// Seals the hello, which holds a new key for the session.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] if the operating system gives no random bytes.
    pub fn hello(self) -> Result<(AwaitReply, String), HandshakeError> {
        self.hello_with(SecretKey::generate()?, &Nonces::random()?)
    }

    /// As [`hello`](Self::hello), with randomness from the caller, for test vectors.
    ///
    /// # Errors
    ///
    /// As [`hello`](Self::hello).
    pub fn hello_with(
        self,
        client_key: SecretKey,
        nonces: &Nonces,
    ) -> Result<(AwaitReply, String), HandshakeError> {
        let hello = hex::seal_key(&self.link.invitation, &client_key, nonces)?;
        let client_key = Arc::new(client_key);
        Ok((AwaitReply { link: self.link, client_key }, hello))
    }
}

impl AwaitReply {
    /// Opens the reply. Only the server can have sealed it, so the server is then authenticated.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Unauthenticated`] if anything is wrong with it.
    pub fn finish(self, reply: &str) -> Result<HexSession, HandshakeError> {
        if reply.len() > MAX_HANDSHAKE_LEN {
            return Err(OpenError.into());
        }
        let keys = reply_keys(&self.link.invitation, &self.client_key)?;
        let server_key = Arc::new(hex::open_key(&keys, reply)?);
        HexSession::new(server_key, self.client_key)
    }
}

/// A client whose hello opened, so that it was sealed with both keys of the invitation. It may
/// still be a replay of a hello from before this service started.
pub struct Authenticated {
    candidate: usize,
    link: Arc<Credentials>,
    client_key: Arc<SecretKey>,
}

/// Finds the candidate whose keys open `hello`.
///
/// # Errors
///
/// [`HandshakeError::Unauthenticated`] if none does, [`HandshakeError::Replayed`] if the hello was
/// seen before.
pub fn authenticate<'a>(
    hello: &str,
    candidates: impl IntoIterator<Item = &'a Arc<Credentials>>,
) -> Result<Authenticated, HandshakeError> {
    if hello.len() > MAX_HANDSHAKE_LEN {
        return Err(OpenError.into());
    }
    for (candidate, link) in candidates.into_iter().enumerate() {
        if let Ok(client_key) = hex::open_key(&link.invitation, hello) {
            if !link.remember(hello)? {
                return Err(HandshakeError::Replayed);
            }
            let (link, client_key) = (Arc::clone(link), Arc::new(client_key));
            return Ok(Authenticated { candidate, link, client_key });
        }
    }
    Err(OpenError.into())
}

impl Authenticated {
    /// Returns the index of the client among the candidates.
    #[must_use]
    pub fn candidate(&self) -> usize {
        self.candidate
    }

    /// Seals the reply, which holds this side's new key for the session.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] if the operating system gives no random bytes.
    pub fn reply(self) -> Result<(HexSession, String), HandshakeError> {
        self.reply_with(SecretKey::generate()?, &Nonces::random()?)
    }

    /// As [`reply`](Self::reply), with randomness from the caller, for test vectors.
    ///
    /// # Errors
    ///
    /// As [`reply`](Self::reply).
    pub fn reply_with(
        self,
        server_key: SecretKey,
        nonces: &Nonces,
    ) -> Result<(HexSession, String), HandshakeError> {
        let keys = reply_keys(&self.link.invitation, &self.client_key)?;
        let reply = hex::seal_key(&keys, &server_key, nonces)?;
        Ok((HexSession::new(Arc::new(server_key), self.client_key)?, reply))
    }
}

/// Returns the keys of the reply: the invitation's inner key and the client's new key.
fn reply_keys(
    invitation: &KeyPair,
    client_key: &Arc<SecretKey>,
) -> Result<KeyPair, HandshakeError> {
    Ok(KeyPair::new(Arc::clone(invitation.inner()), Arc::clone(client_key))?)
}

impl fmt::Debug for AwaitReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwaitReply(..)")
    }
}

impl fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated").field("candidate", &self.candidate).finish_non_exhaustive()
    }
}
