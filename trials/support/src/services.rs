//! Pairs of services that know each other.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use paddington::{Encoding, Handler, Invite, Message, Service, ServiceConfig};
use tokio::sync::{Mutex, mpsc};

use crate::MemoryNetwork;

/// The configurations of a server and a client that know each other.
#[derive(Debug)]
pub struct Pair {
    /// The network of both.
    pub network: MemoryNetwork,
    /// The configuration of `server`, which listens.
    pub server: ServiceConfig,
    /// The configuration of `client`, which dials.
    pub client: ServiceConfig,
    /// The invitation of `server` for `client`.
    pub invite: Invite,
}

/// Makes a server and a client, in the `sealed` encoding.
#[must_use]
pub fn pair() -> Pair {
    pair_with(Encoding::Sealed)
}

/// Makes a server and a client.
#[must_use]
pub fn pair_with(encoding: Encoding) -> Pair {
    let mut server =
        ServiceConfig::new("server", "ws://server.example:6501", "127.0.0.1", &6501).unwrap();
    let mut client =
        ServiceConfig::new("client", "ws://client.example:6502", "127.0.0.1", &6502).unwrap();
    let invite = server.add_client_with("client", "127.0.0.1", encoding).unwrap();
    client.add_server(invite.clone()).unwrap();
    Pair { network: MemoryNetwork::new(), server, client, invite }
}

impl Pair {
    /// Starts the server with an inbox.
    pub async fn start_server(&self) -> (Service, Inbox) {
        self.start(&self.server).await
    }

    /// Starts the client with an inbox.
    pub async fn start_client(&self) -> (Service, Inbox) {
        self.start(&self.client).await
    }

    /// Starts a service on this pair's network with an inbox.
    pub async fn start(&self, config: &ServiceConfig) -> (Service, Inbox) {
        let (inbox, handler) = Inbox::new();
        let service = Service::start_on(self.network.network(), config, handler).await.unwrap();
        (service, inbox)
    }
}

/// Number of messages that an inbox holds.
const INBOX: usize = 1_000_000;

/// Everything that a service was given.
#[derive(Clone, Debug)]
pub struct Inbox {
    messages: Arc<Mutex<mpsc::Receiver<Message>>>,
}

impl Inbox {
    /// Makes an inbox and the handler that fills it.
    pub fn new() -> (Self, impl Handler) {
        let (sender, receiver) = mpsc::channel(INBOX);
        let inbox = Self { messages: Arc::new(Mutex::new(receiver)) };
        (inbox, move |message: Message| std::future::ready(sender.try_send(message)))
    }

    /// Takes the next message of any kind.
    pub async fn next(&self) -> Message {
        let mut messages = self.messages.lock().await;
        tokio::time::timeout(Duration::from_secs(600), messages.recv())
            .await
            .expect("a message")
            .unwrap()
    }

    /// Takes the payload of the next message that is not a control message.
    pub async fn text(&self) -> String {
        loop {
            let message = self.next().await;
            if !message.is_control() {
                return message.payload().to_owned();
            }
        }
    }

    /// Takes the payloads of all messages that are there already, without control messages.
    pub async fn drain_texts(&self) -> Vec<String> {
        let mut messages = self.messages.lock().await;
        let there = std::iter::from_fn(|| messages.try_recv().ok());
        there.filter(|it| !it.is_control()).map(|it| it.payload().to_owned()).collect()
    }

    /// Takes the payloads of everything that is there already, control messages too.
    pub async fn drain(&self) -> Vec<String> {
        let mut messages = self.messages.lock().await;
        let mut texts = Vec::new();
        while let Ok(message) = messages.try_recv() {
            texts.push(message.payload().to_owned());
        }
        texts
    }
}

/// Checks that every message and every request that both services have accepted is accounted for.
pub fn conserved(services: [&Service; 2]) {
    for peer in services.iter().flat_map(|service| service.peers()) {
        assert!(peer.is_conserved(), "{peer:?}");
    }
}

/// Sets shorter delays, for tests on real sockets.
pub fn quick(config: &mut ServiceConfig) {
    let settings = config.settings_mut();
    settings.transport.retry.interval = Duration::from_millis(100);
    settings.transport.retry.good_session = Duration::from_millis(1);
    settings.handshakes = 1_000_000;
    settings.transport.limits.attempts = 1_000_000;
}

/// Waits until `condition` holds.
pub async fn eventually<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let poll = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), poll).await.expect("a condition came true");
}
