//! A running exchange gains and loses peers (`docs/delivery.md` §7a).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod adding;
mod changing;
mod churn;
mod handshakes;
mod removing;
mod storing;

use std::time::Duration;

use paddington_exchange::{Exchange, PeerStatus, Setup};
use paddington_test_support::{Inbox, MemoryNetwork, TestLink, setup};
use paddington_wire::Message;
use tokio::time::sleep;

const PORT: u16 = 6501;
const SERVER: &str = "127.0.0.1:6501";
const SECOND: Duration = Duration::from_secs(1);

/// Starts an exchange with an inbox.
async fn start(setup: Setup) -> (Exchange, Inbox) {
    let (inbox, handler) = Inbox::new();
    (Exchange::start(setup, handler).await.unwrap(), inbox)
}

/// Starts `hub`, which knows nobody.
async fn hub(network: &MemoryNetwork) -> (Exchange, Inbox) {
    start(setup("hub", PORT, network)).await
}

/// Starts the client of a link.
async fn client_of(link: &TestLink, network: &MemoryNetwork) -> (Exchange, Inbox) {
    let servers = vec![link.server_at(PORT)];
    start(Setup { servers, ..setup(link.client.as_str(), PORT + 1, network) }).await
}

/// Founds a link of `hub`, adds it there, and starts the client.
async fn joined(
    name: &str,
    hub: &Exchange,
    network: &MemoryNetwork,
) -> (TestLink, Exchange, Inbox) {
    let link = TestLink::new("hub", name);
    hub.add_client(link.invited()).await.unwrap();
    let (client, inbox) = client_of(&link, network).await;
    connected(hub, name).await;
    (link, client, inbox)
}

fn status(exchange: &Exchange, peer: &str) -> Option<PeerStatus> {
    exchange.peers().into_iter().find(|status| status.name.as_str() == peer)
}

async fn connected(exchange: &Exchange, peer: &str) {
    while !status(exchange, peer).unwrap().is_connected() {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Sends a message that has to arrive.
async fn passes(from: &Exchange, to: &str, inbox: &Inbox) {
    from.send(Message::new(to, "passes")).await.unwrap();
    assert_eq!(inbox.text().await, "passes");
}
