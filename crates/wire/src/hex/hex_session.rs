//! An established session of the `hex` encoding. Implements `docs/protocol.md` §11.1 and §11.3.

use std::fmt;
use std::sync::Arc;

use paddington_crypto::hex::{self, Nonces};
use paddington_crypto::{KeyPair, SecretKey};

use super::nonces::NonceMemory;
use crate::{HandshakeError, ReceiveError, Text, TransmitError};

/// An established session, which turns texts into envelopes and back.
///
/// It has no public constructor, so having one proves that the other side knows both keys.
pub struct HexSession {
    keys: KeyPair,
    seen: NonceMemory,
}

impl HexSession {
    pub(super) fn new(
        server_key: Arc<SecretKey>,
        client_key: Arc<SecretKey>,
    ) -> Result<Self, HandshakeError> {
        let keys = KeyPair::new(server_key, client_key)?;
        Ok(Self { keys, seen: NonceMemory::default() })
    }

    /// Seals a message.
    ///
    /// # Errors
    ///
    /// [`TransmitError`] if the operating system gives no random bytes.
    pub fn encode(&mut self, payload: &str) -> Result<String, TransmitError> {
        let nonces = Nonces::random()?;
        self.seen.insert(nonces.outer());
        Ok(hex::seal(&self.keys, payload, &nonces)?)
    }

    /// Opens a message.
    ///
    /// # Errors
    ///
    /// [`ReceiveError::Unopenable`] if it does not open, [`ReceiveError::Replayed`] if it was seen
    /// before or is one of this side's own.
    pub fn decode(&mut self, envelope: &str) -> Result<Text, ReceiveError> {
        let mut payload = hex::open(&self.keys, envelope)?;
        if !self.seen.insert(&hex::outer_nonce(envelope)?) {
            return Err(ReceiveError::Replayed);
        }
        // The text is in the buffer of its envelope, which is more than four times as long.
        payload.shrink_to_fit();
        Ok(payload.into())
    }
}

impl fmt::Debug for HexSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HexSession(..)")
    }
}
