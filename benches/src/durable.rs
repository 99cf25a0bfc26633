//! Messages accepted per second with the outbox in a file, and by the store alone.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use paddington::store::{LinkStore, Mailbox, NewMessage, Outbox};
use paddington::{LinkId, Message, MessageId, Payload, Service, ServiceConfig};
use paddington_store::SqliteStore;

use crate::Sample;
use crate::rate::{Pace, rate};

/// The length of a message.
pub(crate) const LEN: usize = 256;

/// Lets `senders` senders have messages of 256 B accepted by the store alone, for so many peers in turn.
///
/// # Errors
///
/// If it fails.
pub async fn store_rate(
    folder: &Path,
    senders: usize,
    peers: usize,
    lasting: Duration,
) -> Result<Sample> {
    let store = Arc::new(SqliteStore::open(folder.join("store"))?);
    let links: Arc<[_]> =
        (0..peers).map(|at| Ok((mailbox(at)?, Mutex::new(1)))).collect::<Result<_>>()?;
    let shared = Arc::clone(&store);
    let sample = rate(Pace::busy(senders, lasting), move |sender| {
        let (mailbox, next) = &links[sender % peers];
        // numbers have to be stored in order
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        let id = MessageId { stream: [1; 16].into(), number: *next };
        *next += 1;
        let message = NewMessage { id, payload: payload(), ttl: None, mark: None };
        let answer = shared.append(mailbox, message);
        async move { Ok(answer.await?) }
    })
    .await?;
    store.close().await?;
    Ok(sample)
}

/// The mailbox of a peer.
pub(crate) fn mailbox(number: usize) -> Result<Mailbox> {
    let mut link = [1; LinkId::LEN];
    let [.., high, low] = number.to_be_bytes();
    (link[LinkId::LEN - 2], link[LinkId::LEN - 1]) = (high, low);
    Ok(Mailbox { peer: format!("peer-{number}").parse()?, link: link.into() })
}

/// The payload of a message.
pub(crate) fn payload() -> Payload {
    Payload::text(vec![b'x'; LEN])
}

/// Lets senders have messages accepted by a service with such a store, for a peer that handles all of
/// them.
///
/// # Errors
///
/// If it cannot start, or its store fails.
pub async fn service_rate(folder: &Path, senders: usize, lasting: Duration) -> Result<Sample> {
    let (server, client) = services(Some(folder)).await?;
    let text = "x".repeat(LEN);
    let sender = client.clone();
    let sample = rate(Pace::busy(senders, lasting), move |_| {
        let (sender, text) = (sender.clone(), text.clone());
        async move {
            // if the outbox is full, the receiver is the limit, and the rate has to show it
            sender.exchange().send_when_ready(Message::new("server", text)).await?;
            Ok(())
        }
    })
    .await?;
    let report = client.shutdown().await;
    server.shutdown().await;
    match report.store {
        None => Ok(sample),
        Some(cause) => bail!("the store has failed: {cause}"),
    }
}

/// Starts two services that are connected, the client with an outbox in a folder, if there is one.
pub(crate) async fn services(folder: Option<&Path>) -> Result<(Service, Service)> {
    let handler = async |_: Message| Ok::<(), paddington::Error>(());
    let mut server = ServiceConfig::new("server", "ws://localhost:1", "127.0.0.1", &0)?;
    let invite = server.add_client("client", "127.0.0.1")?;
    let server = Service::start(&server, handler).await?;
    let address = server.address().context("the server does not listen")?;
    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &0)?;
    client.add_server(invite.at(&format!("ws://{address}"))?)?;
    if let Some(folder) = folder {
        client.set_outbox(folder.join("outbox"));
    }
    let client = Service::start(&client, handler).await?;
    client.send(Message::new("server", "connected")).await?.await;
    Ok((server, client))
}
