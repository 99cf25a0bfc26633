//! Links between exchanges, made without files.

use std::sync::Arc;

use paddington::{AddressRange, Encoding, PeerName};
use paddington_crypto::{KeyPair, SecretKey};
use paddington_exchange::{Config, Listen, Server, Setup, Storage};
use paddington_transport::Fallbacks;
use paddington_wire::{Bucket, Credentials, InvitedClient, LinkId, hex, sealed};

use crate::{MemoryNetwork, Random};

/// A link between two exchanges, from which the setups of both are made.
#[derive(Clone, Debug)]
pub struct TestLink {
    /// The service that listens.
    pub server: PeerName,
    /// The service that dials.
    pub client: PeerName,
    /// The identity of the link.
    pub id: LinkId,
    /// The addresses from which the client may connect.
    pub range: AddressRange,
    encoding: Encoding,
    keys: Arc<KeyPair>,
}

impl TestLink {
    /// Founds a link with fresh keys, in the `sealed` encoding, for a client at 127.0.0.1.
    #[must_use]
    pub fn new(server: &str, client: &str) -> Self {
        Self::with_encoding(server, client, Encoding::Sealed)
    }

    /// Founds a link in either encoding.
    #[must_use]
    pub fn with_encoding(server: &str, client: &str, encoding: Encoding) -> Self {
        let (server, client) = (server.parse().unwrap(), client.parse().unwrap());
        let keys = Arc::new(KeyPair::generate().unwrap());
        let id = LinkId::of(&server, &client, &keys);
        Self { server, client, id, range: "127.0.0.1".parse().unwrap(), encoding, keys }
    }

    /// Founds a link with keys that are drawn: the same ones for the same numbers.
    #[must_use]
    pub fn drawn(server: &str, client: &str, random: &mut Random) -> Self {
        let mut key = || {
            let mut bytes = [0; 32];
            random.fill(&mut bytes);
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Arc::new(SecretKey::from_hex(&digits).unwrap())
        };
        let keys = Arc::new(KeyPair::new(key(), key()).unwrap());
        let (server, client) = (server.parse().unwrap(), client.parse().unwrap());
        let id = LinkId::of(&server, &client, &keys);
        let (range, encoding) = ("127.0.0.1".parse().unwrap(), Encoding::Sealed);
        Self { server, client, id, range, encoding, keys }
    }

    /// Returns the same link with fresh keys.
    #[must_use]
    pub fn with_fresh_keys(&self) -> Self {
        Self { keys: Arc::new(KeyPair::generate().unwrap()), ..self.clone() }
    }

    /// Returns another client with the same keys.
    #[must_use]
    pub fn for_client(&self, client: &str) -> Self {
        let client: PeerName = client.parse().unwrap();
        Self { id: LinkId::of(&self.server, &client, &self.keys), client, ..self.clone() }
    }

    /// Returns the secrets of the link.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        match self.encoding {
            Encoding::Hex => Credentials::Hex(Arc::new(hex::Credentials::new(self.keys.clone()))),
            _ => Credentials::Sealed(self.sealed()),
        }
    }

    /// Returns the secrets of a link in the `sealed` encoding.
    #[must_use]
    pub fn sealed(&self) -> Arc<sealed::Credentials> {
        Arc::new(sealed::Credentials::new(&self.server, &self.client, &self.keys))
    }

    /// Returns the client, as the server knows it.
    #[must_use]
    pub fn invited(&self) -> InvitedClient {
        InvitedClient {
            link: self.id,
            name: self.client.clone(),
            range: self.range,
            bucket: (self.encoding == Encoding::Sealed).then_some(Bucket::FIRST),
            credentials: self.credentials(),
        }
    }

    /// Returns the server, as the client knows it, at a port of 127.0.0.1.
    #[must_use]
    pub fn server_at(&self, port: u16) -> Server {
        Server {
            link: self.id,
            name: self.server.clone(),
            endpoint: format!("ws://127.0.0.1:{port}/?b=000").parse().unwrap(),
            fallbacks: Fallbacks::default(),
            credentials: self.credentials(),
            tls: None,
            renewal: None,
        }
    }
}

/// Returns the setup of a service that knows nobody yet, and listens at `port` once it has a client.
#[must_use]
pub fn setup(name: &str, port: u16, network: &MemoryNetwork) -> Setup {
    Setup {
        name: name.parse().unwrap(),
        listen: Some(Listen {
            address: ([127, 0, 0, 1], port).into(),
            path: "/".to_owned(),
            tls: None,
        }),
        clients: Vec::new(),
        servers: Vec::new(),
        network: network.network(),
        store: Storage::Memory,
        key_store: None,
        config: Config::default(),
    }
}
