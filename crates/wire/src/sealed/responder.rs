//! The server's side of the handshake. Implements `docs/protocol.md` §3.2 and §3.4.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;
use std::sync::Arc;

use paddington_crypto::kdf::Hash;
use paddington_crypto::kem::{self, CIPHERTEXT_LEN, EncapsulationSeed};
use paddington_crypto::sealed::OVERHEAD;
use paddington_crypto::{KeyError, OpenError, SecretKey, equal, random_bytes};
use zeroize::Zeroizing;

use super::await_ready::{AwaitReady, Role};
use super::credentials::{Hinted, Secrets};
use super::initiator::{HelloBody, HelloParts};
use super::schedule::{HelloKeys, SessionSecrets, reply_layers};
use super::{Credentials, Hints, REPLY_LEN};
use crate::keys::{BURNED, GENERATIONS};
use crate::{Bucket, HandshakeError, Instance};

/// The number of hints that are compared before a hello with a matching one is opened.
const AT_ONCE: usize = 64;

/// The challenge of one connection: 32 random bytes on which all keys of its handshake depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge([u8; Challenge::LEN]);

impl Challenge {
    /// The length in bytes.
    pub const LEN: usize = 32;

    /// Draws a challenge from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn random() -> Result<Self, KeyError> {
        random_bytes().map(Self)
    }

    /// Returns the challenge as it is in the HTTP header: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        const_hex::encode(self.0)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; Self::LEN]> for Challenge {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

/// Accepts exactly 64 lower-case hexadecimal digits.
impl FromStr for Challenge {
    type Err = OpenError;

    fn from_str(text: &str) -> Result<Self, OpenError> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !digits {
            return Err(OpenError);
        }
        const_hex::decode_to_array(text).map(Self).map_err(|_| OpenError)
    }
}

/// A server that waits for HELLO on one connection. It answers at most one, because the step
/// consumes it.
#[derive(Debug)]
pub struct Responder {
    challenge: Challenge,
    decoy: Arc<Credentials>,
}

/// A client whose HELLO opened: it knows both keys of its invitation, and the challenge is new.
pub struct Authenticated {
    candidate: usize,
    link: Secrets,
    hello: Opened,
}

/// The contents of HELLO.
struct Opened {
    transcript: Hash,
    client_key: SecretKey,
    instance: Instance,
    encapsulation_key: Box<[u8]>,
}

/// The randomness of REPLY.
pub struct ReplyRandom {
    server_key: SecretKey,
    encapsulation_seed: EncapsulationSeed,
}

impl ReplyRandom {
    /// Draws it from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self::fixed(SecretKey::generate()?, EncapsulationSeed::generate()?))
    }

    /// Uses the given values, for test vectors.
    #[must_use]
    pub fn fixed(server_key: SecretKey, encapsulation_seed: EncapsulationSeed) -> Self {
        Self { server_key, encapsulation_seed }
    }
}

impl Responder {
    /// The number of hints that are computed for a refusal, at least: as many as a full bucket of clients
    /// can take, with all generations of their keys.
    pub const HINTS: usize = Bucket::CLIENTS * (GENERATIONS + BURNED);

    /// Makes a server that has sent `challenge`. A HELLO without a matching hint is opened with
    /// `decoy`.
    #[must_use]
    pub fn new(challenge: Challenge, decoy: Arc<Credentials>) -> Self {
        Self { challenge, decoy }
    }

    /// Opens HELLO with the secrets of the candidate that matches its hint. Every refusal takes the
    /// same work: see [`authenticate_or_recognise`](Self::authenticate_or_recognise).
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Unauthenticated`] if anything is wrong with it.
    pub fn authenticate<'a>(
        self,
        hello: &[u8],
        candidates: impl IntoIterator<Item = &'a Arc<Credentials>>,
    ) -> Result<Authenticated, HandshakeError> {
        self.authenticate_or_recognise(hello, candidates, []).map_err(|refused| refused.error)
    }

    /// Opens HELLO with the secrets of the candidate that matches its hint, or finds out which of the
    /// `worthless` keys made it. Every refusal takes the same work: the hints of all candidates and of
    /// all worthless keys are compared, and of the decoy until there are 160 in all, and HELLO is opened
    /// once, with the decoy's secrets if no hint matches.
    ///
    /// # Errors
    ///
    /// [`Refused`] if anything is wrong with it.
    pub fn authenticate_or_recognise<'a, 'b>(
        self,
        hello: &[u8],
        candidates: impl IntoIterator<Item = &'a Arc<Credentials>>,
        worthless: impl IntoIterator<Item = Hints<'b>>,
    ) -> Result<Authenticated, Refused> {
        let parts = HelloParts::split(hello)?;
        let challenge = self.challenge.as_bytes();
        let hinted = Hinted::new(challenge, parts.client_random);
        let is_made_by = |hints: Hints<'_>| equal(&hints.of(&hinted), parts.hint);
        let mut candidates = candidates.into_iter().enumerate();
        let (mut tried, mut all, mut opened) = (AT_ONCE, 0_usize, false);
        while tried == AT_ONCE {
            let mut matching = None;
            tried = 0;
            for (candidate, link) in candidates.by_ref().take(AT_ONCE) {
                tried += 1;
                if is_made_by(link.hints()) {
                    matching = Some((candidate, link));
                }
            }
            all = all.saturating_add(tried);
            if opened || (matching.is_none() && tried == AT_ONCE) {
                continue;
            }
            opened = true;
            let link = matching.map_or(&self.decoy, |(_, link)| link).secrets();
            let hello = open(&link, challenge, &parts);
            if let (Ok(hello), Some((candidate, _))) = (hello, matching) {
                return Ok(Authenticated { candidate, link, hello });
            }
        }
        let mut recognised = None;
        for (index, key) in worthless.into_iter().enumerate() {
            all = all.saturating_add(1);
            if is_made_by(key) {
                recognised = Some(index);
            }
        }
        for _ in all..Self::HINTS {
            black_box(is_made_by(self.decoy.hints())); // as little is made of it as of the others
        }
        Err(Refused { error: OpenError.into(), recognised })
    }
}

/// The refusal of a HELLO. Whoever sent it learns none of this.
#[derive(Debug)]
pub struct Refused {
    /// Why it was refused.
    pub error: HandshakeError,
    /// Index of the worthless keys that made its hint, if any did.
    pub recognised: Option<usize>,
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        Self { error: error.into(), recognised: None }
    }
}

/// Opens HELLO with the secrets of `link`.
fn open(link: &Secrets, challenge: &[u8], parts: &HelloParts<'_>) -> Result<Opened, OpenError> {
    let keys = HelloKeys::new(link, challenge, parts.client_random, parts.hint);
    let mut body = Zeroizing::new(parts.sealed.to_vec());
    let body = keys.layers.open(0, &keys.transcript, &mut body)?;
    let body = HelloBody::read(body)?;
    Ok(Opened {
        transcript: keys.after(parts.sealed),
        client_key: SecretKey::from_slice(body.client_key).map_err(|_| OpenError)?,
        instance: Instance::from(*body.instance),
        encapsulation_key: body.encapsulation_key.into(),
    })
}

impl Authenticated {
    /// Returns the index of the client among the candidates.
    #[must_use]
    pub fn candidate(&self) -> usize {
        self.candidate
    }

    /// Returns the client's instance.
    #[must_use]
    pub fn instance(&self) -> Instance {
        self.hello.instance
    }

    /// Seals REPLY and derives the session.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Unauthenticated`] if the client's encapsulation key fails its checks.
    pub fn reply(
        self,
        random: &ReplyRandom,
    ) -> Result<(AwaitReady, [u8; REPLY_LEN]), HandshakeError> {
        let Opened { transcript, client_key, instance, encapsulation_key } = self.hello;
        let (ciphertext, shared) =
            kem::encapsulate(&encapsulation_key, &random.encapsulation_seed)?;
        let mut reply = [0; REPLY_LEN];
        reply[..SecretKey::LEN].copy_from_slice(random.server_key.expose_bytes());
        reply[SecretKey::LEN..][..CIPHERTEXT_LEN].copy_from_slice(&ciphertext);
        reply_layers(&self.link, &transcript, &client_key).seal(0, &transcript, &mut reply)?;
        let secrets = SessionSecrets::new(
            &self.link,
            &transcript,
            &reply,
            &client_key,
            &random.server_key,
            &shared,
        );
        Ok((AwaitReady::new(Role::Server { client: instance }, secrets), reply))
    }
}

impl fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated")
            .field("candidate", &self.candidate)
            .field("instance", &self.hello.instance)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ReplyRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyRandom(..)")
    }
}

const _: () = assert!(SecretKey::LEN + CIPHERTEXT_LEN + OVERHEAD == REPLY_LEN);
