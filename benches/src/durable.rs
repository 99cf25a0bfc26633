//! Messages accepted per second with the outbox in a file, and by the store alone.

use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use paddington::store::{LinkStore, Mailbox, NewMessage, Outbox};
use paddington::{Message, MessageId, Payload, Service, ServiceConfig};
use paddington_store::SqliteStore;

const LEN: usize = 256;

/// The rate, per second, at which `senders` tasks together do `one` in a loop.
async fn rate<F, R>(senders: u64, lasting: Duration, one: F) -> Result<f64>
where
    F: Fn() -> R + Clone + Send + 'static,
    R: Future<Output = Result<()>> + Send,
{
    let count = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let sender = |one: F, count: Arc<AtomicU64>| async move {
        while began.elapsed() < lasting {
            one().await?;
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<(), anyhow::Error>(())
    };
    let tasks: Vec<_> =
        (0..senders).map(|_| tokio::spawn(sender(one.clone(), Arc::clone(&count)))).collect();
    for task in tasks {
        task.await??;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

/// The rate at which the store alone accepts messages of 256 B from `senders` senders, per second.
///
/// # Errors
///
/// If it fails.
pub async fn store_rate(folder: &Path, senders: u64, lasting: Duration) -> Result<f64> {
    let store = Arc::new(SqliteStore::open(folder.join("store"))?);
    let mailbox = Mailbox { peer: "server".parse()?, link: [1; 16].into() };
    let next = Arc::new(Mutex::new(1));
    let shared = Arc::clone(&store);
    let rate = rate(senders, lasting, move || {
        // numbers have to be stored in order
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        let id = MessageId { stream: [1; 16].into(), number: *next };
        *next += 1;
        let payload = Payload::text(vec![b'x'; LEN]);
        let message = NewMessage { id, payload, ttl: None, mark: None };
        let answer = shared.append(&mailbox, message);
        async move { Ok(answer.await?) }
    })
    .await?;
    store.close().await?;
    Ok(rate)
}

/// The rate at which a service with such a store accepts messages, for a peer that handles all of
/// them.
///
/// # Errors
///
/// If it cannot start, or its store fails.
pub async fn service_rate(folder: &Path, senders: u64, lasting: Duration) -> Result<f64> {
    let (server, client) = services(Some(folder)).await?;
    let text = "x".repeat(LEN);
    let sender = client.clone();
    let rate = rate(senders, lasting, move || {
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
        None => Ok(rate),
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
