//! Access to the plaintexts of hellos and frames, for fuzzers, tests of hostile peers, and
//! benchmarks.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use paddington_crypto::kdf::Prk;
use paddington_crypto::kem::EncapsulationSeed;
use paddington_crypto::sealed::OVERHEAD;
use paddington_crypto::{KeyPair, SecretKey};

use super::credentials::Hinted;
use super::initiator::HelloParts;
use super::schedule::HelloKeys;
use super::{
    AwaitReady, Challenge, Credentials, Exporter, HELLO_LEN, HINT_LEN, Padding, RANDOM_LEN,
    ReplyRandom, Responder, SealedSession, codec,
};
use crate::{Frame, HandshakeError, TransmitError, Violation};

/// Reads a plaintext as a frame.
///
/// # Errors
///
/// The violation for which a session would refuse the frame.
pub fn decode(plaintext: &[u8], max_payload: u32) -> Result<Frame, Violation> {
    codec::decode(Bytes::copy_from_slice(plaintext), max_payload)
}

/// Writes the plaintext of a frame, followed by room for the layers, into the empty `buffer`.
///
/// # Errors
///
/// The error with which a session would refuse the frame.
pub fn encode(frame: &Frame, buffer: &mut BytesMut) -> Result<(), TransmitError> {
    codec::encode(frame, Padding::default(), OVERHEAD, buffer)
}

/// A server with one link that has sent a challenge.
#[derive(Debug)]
pub struct Target {
    link: Arc<Credentials>,
    challenge: Challenge,
}

impl Target {
    /// Makes the target, which is always the same.
    ///
    /// # Panics
    ///
    /// Never: its keys and names are constant.
    #[must_use]
    #[expect(clippy::expect_used, reason = "constants")]
    pub fn new() -> Self {
        let key = |byte| Arc::new(SecretKey::from_slice(&[byte; 32]).expect("a constant key"));
        let keys = KeyPair::new(key(1), key(2)).expect("two constant keys");
        let name = |text: &str| text.parse().expect("a constant name");
        let link = Arc::new(Credentials::new(&name("server"), &name("client"), &keys));
        Self { link, challenge: Challenge::from([3; Challenge::LEN]) }
    }

    /// Seals any body of the right length as a HELLO of the link.
    #[must_use]
    pub fn seal_hello(&self, body: &[u8; HELLO_LEN - HINT_LEN - RANDOM_LEN - OVERHEAD]) -> Vec<u8> {
        seal_hello(&self.link, &self.challenge, body)
    }

    /// Answers a HELLO as the server.
    ///
    /// # Errors
    ///
    /// As [`Responder::authenticate`] and [`super::Authenticated::reply`].
    pub fn answer(&self, hello: &[u8]) -> Result<AwaitReady, HandshakeError> {
        HelloParts::split(hello)?;
        let responder = Responder::new(self.challenge, Arc::clone(&self.link));
        let client = responder.authenticate(hello, &[Arc::clone(&self.link)])?;
        let random = ReplyRandom::fixed(
            SecretKey::from_slice(&[4; 32])?,
            EncapsulationSeed::from_slice(&[5; EncapsulationSeed::LEN])?,
        );
        Ok(client.reply(&random)?.0)
    }
}

impl Default for Target {
    fn default() -> Self {
        Self::new()
    }
}

/// Seals any body of the right length as a HELLO of `link`.
#[must_use]
pub fn seal_hello(
    link: &Credentials,
    challenge: &Challenge,
    body: &[u8; HELLO_LEN - HINT_LEN - RANDOM_LEN - OVERHEAD],
) -> Vec<u8> {
    let client_random = [6; RANDOM_LEN];
    let hint = link.hints().of(&Hinted::new(challenge.as_bytes(), &client_random));
    let keys = HelloKeys::new(&link.secrets(), challenge.as_bytes(), &client_random, &hint);
    let mut sealed = [body.as_slice(), &[0; OVERHEAD]].concat();
    // Cannot fail: the buffer has room for the layers.
    let _ = keys.layers.seal(0, &keys.transcript, &mut sealed);
    [&hint[..], &client_random, &sealed].concat()
}

/// Makes the secrets of the next keys as a session would that nobody else has, from a seed.
#[must_use]
pub fn exporter(seed: &[u8]) -> Exporter {
    Exporter::new(Prk::extract(b"inner", &[seed]), Prk::extract(b"outer", &[seed]))
}

impl SealedSession {
    /// Seals any plaintext as the next frame.
    ///
    /// # Errors
    ///
    /// As [`SealedSession::encode`].
    pub fn encode_raw(&mut self, plaintext: &[u8]) -> Result<Bytes, TransmitError> {
        let mut frame = [plaintext, &[0; OVERHEAD]].concat();
        self.seal_raw(&mut frame)?;
        Ok(frame.into())
    }
}
