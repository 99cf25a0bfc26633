//! Plain programs that store messages in PostgreSQL: no numbers without a gap, no bounds, no owners.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Client;

use super::database::Database;
use crate::Numbers;
use crate::durable::payload;
use crate::rate::{Pace, rate};

const TABLE: &str = "CREATE TABLE plain(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
                     peer int NOT NULL, body bytea NOT NULL)";
const ROW: &str = "INSERT INTO plain(peer, body) VALUES ($1, $2)";
const ROWS: &str = "INSERT INTO plain(peer, body) SELECT * FROM unnest($1::int[], $2::bytea[])";

/// The most rows of a batch, as many as those of a replica.
const BATCH: usize = 1_024;

/// A row that waits for a batch.
type Waiting = (i32, Vec<u8>, oneshot::Sender<()>);

/// The obvious program: each sender has a connection, and each message is a row and a transaction. This
/// is what PostgreSQL's own group commit makes of it: transactions that end at the same time share a
/// sync.
///
/// # Errors
///
/// If the database fails.
pub async fn row_rate(database: &Database, senders: usize, lasting: Duration) -> Result<Numbers> {
    database.empty().await?;
    database.run(TABLE).await?;
    let connections = (0..senders).map(|_| async {
        let client = database.connect().await?;
        let insert = client.prepare(ROW).await?;
        Ok::<_, anyhow::Error>((client, insert))
    });
    let connections: Arc<[_]> = try_join_all(connections).await?.into();
    // until the time of the server's processes was read
    let _kept = Arc::clone(&connections);
    database
        .metered(rate(Pace::busy(senders, lasting), move |sender| {
            let connections = Arc::clone(&connections);
            async move {
                let (client, insert) = &connections[sender];
                let (peer, body) = (i32::try_from(sender)?, payload());
                client.execute(insert, &[&peer, &&body[..]]).await?;
                Ok(())
            }
        }))
        .await
}

/// The careful program: one connection, which stores in one transaction what waits at the time, as a replica
/// does.
///
/// # Errors
///
/// If the database fails.
pub async fn batch_rate(database: &Database, senders: usize, lasting: Duration) -> Result<Numbers> {
    database.empty().await?;
    database.run(TABLE).await?;
    let (writer, waiting) = mpsc::channel(BATCH);
    tokio::spawn(write(database.connect().await?, waiting));
    let _kept = writer.clone();
    database
        .metered(rate(Pace::busy(senders, lasting), move |sender| {
            let writer = writer.clone();
            async move {
                let (done, stored) = oneshot::channel();
                let row = (i32::try_from(sender)?, payload().to_vec(), done);
                writer.send(row).await?;
                stored.await.context("a batch was refused")
            }
        }))
        .await
}

/// Stores what waits, batch by batch.
async fn write(client: Client, mut waiting: mpsc::Receiver<Waiting>) -> Result<()> {
    let insert = client.prepare(ROWS).await?;
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let peers: Vec<i32> = batch.iter().map(|(peer, ..)| *peer).collect();
        let bodies: Vec<&[u8]> = batch.iter().map(|(_, body, _)| &body[..]).collect();
        client.execute(&insert, &[&peers, &bodies]).await?;
        for (.., done) in batch.drain(..) {
            let _ = done.send(());
        }
    }
    Ok(())
}
