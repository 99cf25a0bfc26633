//! The client's side of the handshake. Implements `docs/protocol.md` §3.1, §3.2 and §3.5.

use std::fmt;
use std::sync::Arc;

use paddington_crypto::kdf::Hash;
use paddington_crypto::kem::{ENCAPSULATION_KEY_LEN, KemKeyPair};
use paddington_crypto::sealed::OVERHEAD;
use paddington_crypto::{KeyError, OpenError, SecretKey, random_bytes};
use zeroize::Zeroizing;

use super::await_ready::{AwaitReady, Role};
use super::credentials::{Hinted, Secrets};
use super::schedule::{HelloKeys, SessionSecrets, reply_layers};
use super::{Challenge, Credentials, HELLO_LEN, HINT_LEN, RANDOM_LEN, REPLY_LEN};
use crate::{HandshakeError, Instance};

/// The offset of the sealed part in HELLO.
const SEALED_START: usize = HINT_LEN + RANDOM_LEN;

/// A client that has not sent HELLO yet.
#[derive(Debug)]
pub struct Initiator {
    link: Arc<Credentials>,
    instance: Instance,
}

/// The randomness of HELLO.
pub struct HelloRandom {
    client_random: [u8; RANDOM_LEN],
    client_key: SecretKey,
    kem: KemKeyPair,
}

/// A client that has sent HELLO.
pub struct AwaitReply {
    link: Secrets,
    transcript: Hash,
    client_key: SecretKey,
    kem: KemKeyPair,
}

impl HelloRandom {
    /// Draws it from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self {
            client_random: random_bytes()?,
            client_key: SecretKey::generate()?,
            kem: KemKeyPair::generate()?,
        })
    }

    /// Uses the given values, for test vectors.
    #[must_use]
    pub fn fixed(client_random: [u8; RANDOM_LEN], client_key: SecretKey, kem: KemKeyPair) -> Self {
        Self { client_random, client_key, kem }
    }
}

impl Initiator {
    /// Makes a client with the secrets of `link` and this service's `instance`.
    #[must_use]
    pub fn new(link: Arc<Credentials>, instance: Instance) -> Self {
        Self { link, instance }
    }

    /// Seals HELLO for the server's challenge.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Seal`], which cannot happen with the fixed length.
    pub fn hello(
        self,
        challenge: &Challenge,
        random: HelloRandom,
    ) -> Result<(AwaitReply, [u8; HELLO_LEN]), HandshakeError> {
        let HelloRandom { client_random, client_key, kem } = random;
        let challenge = challenge.as_bytes();
        let hint = self.link.hints().of(&Hinted::new(challenge, &client_random));
        let link = self.link.secrets();
        let keys = HelloKeys::new(&link, challenge, &client_random, &hint);

        let mut hello = [0; HELLO_LEN];
        hello[..HINT_LEN].copy_from_slice(&hint);
        hello[HINT_LEN..SEALED_START].copy_from_slice(&client_random);
        let sealed = &mut hello[SEALED_START..];
        let body = HelloBody {
            client_key: client_key.expose_bytes(),
            instance: self.instance.as_bytes(),
            encapsulation_key: kem.encapsulation_key(),
        };
        body.write(sealed);
        keys.layers.seal(0, &keys.transcript, sealed)?;
        let transcript = keys.after(sealed);
        Ok((AwaitReply { link, transcript, client_key, kem }, hello))
    }
}

impl AwaitReply {
    /// Opens REPLY and derives the session. The server is authenticated by the next step, in which
    /// its first frame opens.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Unauthenticated`] if anything is wrong with it.
    pub fn finish(self, reply: &[u8]) -> Result<AwaitReady, HandshakeError> {
        if reply.len() != REPLY_LEN {
            return Err(OpenError.into());
        }
        let mut body = Zeroizing::new(reply.to_vec());
        let layers = reply_layers(&self.link, &self.transcript, &self.client_key);
        let body = layers.open(0, &self.transcript, &mut body)?;
        let (server_key, ciphertext) = body.split_at(SecretKey::LEN);
        let server_key = SecretKey::from_slice(server_key).map_err(|_| OpenError)?;
        let shared = self.kem.decapsulate(ciphertext)?;
        let secrets = SessionSecrets::new(
            &self.link,
            &self.transcript,
            reply,
            &self.client_key,
            &server_key,
            &shared,
        );
        Ok(AwaitReady::new(Role::Client, secrets))
    }
}

impl fmt::Debug for HelloRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HelloRandom(..)")
    }
}

impl fmt::Debug for AwaitReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwaitReply(..)")
    }
}

/// The parts of HELLO, still sealed.
pub(super) struct HelloParts<'a> {
    pub(super) hint: &'a [u8],
    pub(super) client_random: &'a [u8],
    pub(super) sealed: &'a [u8],
}

impl<'a> HelloParts<'a> {
    pub(super) fn split(hello: &'a [u8]) -> Result<Self, OpenError> {
        if hello.len() != HELLO_LEN {
            return Err(OpenError);
        }
        let (hint, rest) = hello.split_at(HINT_LEN);
        let (client_random, sealed) = rest.split_at(RANDOM_LEN);
        Ok(Self { hint, client_random, sealed })
    }
}

/// The plaintext of HELLO.
pub(super) struct HelloBody<'a> {
    pub(super) client_key: &'a [u8],
    pub(super) instance: &'a [u8; Instance::LEN],
    pub(super) encapsulation_key: &'a [u8],
}

impl<'a> HelloBody<'a> {
    const LEN: usize = SecretKey::LEN + Instance::LEN + ENCAPSULATION_KEY_LEN;

    fn write(&self, buffer: &mut [u8]) {
        let (client_key, rest) = buffer.split_at_mut(SecretKey::LEN);
        let (instance, rest) = rest.split_at_mut(Instance::LEN);
        client_key.copy_from_slice(self.client_key);
        instance.copy_from_slice(self.instance);
        rest[..ENCAPSULATION_KEY_LEN].copy_from_slice(self.encapsulation_key);
    }

    pub(super) fn read(body: &'a [u8]) -> Result<Self, OpenError> {
        let (client_key, rest) = body.split_at_checked(SecretKey::LEN).ok_or(OpenError)?;
        let (instance, encapsulation_key) = rest.split_first_chunk().ok_or(OpenError)?;
        Ok(Self { client_key, instance, encapsulation_key })
    }
}

const _: () = assert!(SEALED_START + HelloBody::LEN + OVERHEAD == HELLO_LEN);
