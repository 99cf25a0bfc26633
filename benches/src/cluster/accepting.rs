//! Messages accepted by the store of replicas.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use paddington::store::{Accepted, Bounds, LinkStore, Mailbox, SharedStore, Submission};
use paddington_store_postgres::{PostgresConfig, PostgresStore};

use super::database::{Database, SCHEMA};
use crate::Numbers;
use crate::durable::{mailbox, payload};
use crate::rate::{Pace, rate};

/// Lets `senders` senders have messages of 256 B accepted by one replica, for so many peers in turn.
///
/// # Errors
///
/// If the database fails.
pub async fn accept_rate(
    database: &Database,
    senders: usize,
    peers: usize,
    lasting: Duration,
) -> Result<Numbers> {
    database.empty().await?;
    let store = open(database).await?;
    let peers: Arc<[_]> = (0..peers).map(mailbox).collect::<Result<_>>()?;
    for peer in &*peers {
        accept(&store, peer).await?;
    }
    let shared = Arc::clone(&store);
    let rate = rate(Pace::busy(senders, lasting), move |sender| {
        let (store, peers) = (Arc::clone(&shared), Arc::clone(&peers));
        async move { accept(&store, &peers[sender % peers.len()]).await }
    });
    let numbers = database.metered(rate).await?;
    store.close().await?;
    Ok(numbers)
}

/// Makes this process a replica.
pub(super) async fn open(database: &Database) -> Result<Arc<PostgresStore>> {
    let config = PostgresConfig::new("hub".parse()?, database.url()).with_schema(SCHEMA);
    Ok(PostgresStore::open(&config).await?)
}

async fn accept(store: &PostgresStore, peer: &Mailbox) -> Result<()> {
    let bounds = Bounds { messages: u64::MAX, bytes: u64::MAX };
    match store.accept(peer, Submission { payload: payload(), ttl: None, bounds }).await? {
        Accepted::Stored(_) => Ok(()),
        Accepted::Full { messages, .. } => bail!("{messages} messages are too many"),
    }
}
