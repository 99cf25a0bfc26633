//! Links claimed by a replica after their owner has died.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use futures_util::future::try_join_all;
use paddington::store::{Claimed, Fence, LinkStore, Mailbox, SharedStore};
use paddington_store_postgres::PostgresStore;

use super::accepting::open;
use super::database::Database;
use crate::durable::mailbox;
use crate::{Latencies, Numbers};

/// Number of claims at a time: those of many peers that come back at once.
const AT_ONCE: usize = 64;

/// Lets a replica claim so many links, whose owner has died.
///
/// # Errors
///
/// If the database fails.
pub async fn claim_rate(database: &Database, links: usize) -> Result<Numbers> {
    database.empty().await?;
    let links: Arc<[_]> = (0..links).map(mailbox).collect::<Result<_>>()?;
    let first = open(database).await?;
    claim_all(&first, &links).await?;
    // it ends without giving them up, and so is dead
    first.close().await?;
    let second = open(database).await?;
    let numbers = database
        .metered(async {
            let began = std::time::Instant::now();
            Ok(claim_all(&second, &links).await?.sample(began.elapsed()))
        })
        .await?;
    second.close().await?;
    Ok(numbers)
}

async fn claim_all(store: &Arc<PostgresStore>, links: &Arc<[Mailbox]>) -> Result<Latencies> {
    let next = Arc::new(AtomicUsize::new(0));
    let tasks = (0..AT_ONCE).map(|_| {
        let (store, links, next) = (Arc::clone(store), Arc::clone(links), Arc::clone(&next));
        tokio::spawn(async move {
            let mut latencies = Latencies::new()?;
            while let Some(link) = links.get(next.fetch_add(1, Ordering::Relaxed)) {
                let asked = std::time::Instant::now();
                if let Claimed::Held(replica) = store.claim(link, Fence::default()).await? {
                    bail!("replica {replica} still lives");
                }
                latencies.record(asked.elapsed());
            }
            Ok(latencies)
        })
    });
    let mut all = Latencies::new()?;
    for latencies in try_join_all(tasks).await? {
        all.add(&latencies?)?;
    }
    Ok(all)
}
