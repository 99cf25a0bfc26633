//! The key schedule of handshake and session. Implements `docs/protocol.md` §3.1 to §3.3.

use paddington_crypto::SecretKey;
use paddington_crypto::kdf::{Hash, Prk, hash};
use paddington_crypto::kem::SharedSecret;
use paddington_crypto::sealed::Layers;

use super::Exporter;
use super::credentials::Secrets;
use super::sealed_session::Chain;

/// The transcript and the keys of HELLO, which both sides compute.
pub(super) struct HelloKeys {
    pub(super) transcript: Hash,
    pub(super) layers: Layers,
}

impl HelloKeys {
    /// Derives the keys (§3.1).
    pub(super) fn new(link: &Secrets, challenge: &[u8], random: &[u8], hint: &[u8]) -> Self {
        let transcript = hash(&[&link.transcript, challenge, random, hint]);
        let inner = link.inner.derive_key("hello inner", &transcript);
        let outer = link.outer.derive_key("hello outer", &transcript);
        Self { transcript, layers: Layers::new(&inner, &outer) }
    }

    /// Returns the transcript including the sealed part of HELLO.
    pub(super) fn after(&self, sealed: &[u8]) -> Hash {
        hash(&[&self.transcript, sealed])
    }
}

/// Derives the layers of REPLY (§3.2): one key is from the invitation, the other from the client.
pub(super) fn reply_layers(link: &Secrets, transcript: &Hash, client_key: &SecretKey) -> Layers {
    let inner = link.inner.derive_key("reply inner", transcript);
    let outer = Prk::extract(transcript, &[client_key.expose_bytes()])
        .derive_key("reply outer", transcript);
    Layers::new(&inner, &outer)
}

/// The secrets of a session: one chain for each direction, and those of the link's next keys.
pub(super) struct SessionSecrets {
    pub(super) client_to_server: Chain,
    pub(super) server_to_client: Chain,
    pub(super) exporter: Exporter,
}

impl SessionSecrets {
    /// Derives the secrets (§3.3). `transcript` does not include REPLY yet.
    pub(super) fn new(
        link: &Secrets,
        transcript: &Hash,
        reply: &[u8],
        client_key: &SecretKey,
        server_key: &SecretKey,
        shared: &SharedSecret,
    ) -> Self {
        let transcript = hash(&[transcript, reply]);
        let extract = |tag: u8, key: &SecretKey| {
            Prk::extract(
                &transcript,
                &[
                    &[tag],
                    key.expose_bytes(),
                    shared.expose_bytes(),
                    link.inner.expose_bytes(),
                    link.outer.expose_bytes(),
                ],
            )
        };
        let (inner, outer) = (extract(1, server_key), extract(2, client_key));
        let chain = |direction: &str| {
            Chain::new(
                inner.derive_prk(direction, &transcript),
                outer.derive_prk(direction, &transcript),
            )
        };
        let exporter = Exporter::new(
            inner.derive_prk("renew", &transcript),
            outer.derive_prk("renew", &transcript),
        );
        Self { client_to_server: chain("c2s"), server_to_client: chain("s2c"), exporter }
    }
}
