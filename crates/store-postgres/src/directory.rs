//! The directory of links: reading, writing, and telling replicas.

use std::sync::Arc;

use futures_util::FutureExt;
use paddington_exchange::store::{Answer, Directory, DirectoryNews, LinkEntry, Written};
use paddington_wire::LinkId;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::config::PostgresConfig;
use crate::connect::Connection;
use crate::error::{Fault, OpenError};
use crate::row::{self, column, loaded};
use crate::{open, signal};

/// Number of entries that are read or written at a time.
const PAGE: usize = 500;

const ENTRIES: &str =
    "SELECT link, name, version, body FROM directory WHERE version > $1 ORDER BY version LIMIT $2";
const VERSIONS: &str = "SELECT link, version FROM directory";
const WRITE: &str = "SELECT write_links($1, $2, $3, $4, $5)";
/// Tells every replica the greatest version.
const TELL: &str = "SELECT pg_notify('paddington_' || to_hex(l.value) || '_' || r.n, $1 || d.value) \
     FROM replica r, meta l, meta d WHERE l.key = 'lock' AND d.key = 'directory'";

pub(crate) async fn entries(connection: &Connection, after: u64) -> Result<Vec<LinkEntry>, Fault> {
    let rows =
        connection.rows(ENTRIES, &[&row::at_most(after), &row::at_most(PAGE as u64)]).await?;
    let entry = |row: &tokio_postgres::Row| {
        let mailbox = row::mailbox(column(row, 0)?, column(row, 1)?)?;
        let (version, text) = (loaded(column(row, 2)?)?, column::<Option<String>>(row, 3)?);
        Ok(LinkEntry {
            link: mailbox.link,
            peer: mailbox.peer,
            version,
            text: text.map(Zeroizing::new),
        })
    };
    rows.iter().map(entry).collect()
}

pub(crate) async fn versions(connection: &Connection) -> Result<Vec<(LinkId, u64)>, Fault> {
    let rows = connection.rows(VERSIONS, &[]).await?;
    let version =
        |row: &tokio_postgres::Row| Ok((row::link(column(row, 0)?)?, loaded(column(row, 1)?)?));
    rows.iter().map(version).collect()
}

/// Writes entries, and tells all replicas once they are durable. What is not told is found with the next
/// beat.
pub(crate) async fn write(
    connection: &Connection,
    entries: &[LinkEntry],
) -> Result<Vec<Written>, Fault> {
    let mut written = Vec::with_capacity(entries.len());
    for part in entries.chunks(PAGE) {
        let links: Vec<_> = part.iter().map(|entry| &entry.link.as_bytes()[..]).collect();
        let names: Vec<_> = part.iter().map(|entry| entry.peer.as_str()).collect();
        let before: Vec<_> = part.iter().map(|entry| row::at_most(entry.version)).collect();
        let texts: Vec<_> =
            part.iter().map(|entry| entry.text.as_ref().map(|text| text.as_str())).collect();
        let arguments: crate::connect::Arguments<'_> =
            &[&links, &names, &before, &texts, &connection.timeline];
        let versions: Vec<Option<i64>> = column(&connection.row(WRITE, arguments).await?, 0)?;
        for version in versions {
            written.push(match version {
                Some(version) => Written::Done(loaded(version)?),
                None => Written::Conflict,
            });
        }
    }
    if let Err(fault) = connection.rows(TELL, &[&signal::DIRECTORY]).await {
        tracing::debug!(why = fault.why(), "replicas are not told of a change of a link");
    }
    Ok(written)
}

/// The directory of a service for a tool: it becomes no replica, and is told nothing.
pub struct PostgresDirectory {
    connection: Arc<Connection>,
}

impl PostgresDirectory {
    /// Connects to the database that has the directory, the first one. Its tables are made if the role may
    /// do that.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the database cannot be reached or trusted, or belongs to something else.
    pub async fn open(config: &PostgresConfig) -> Result<Arc<Self>, OpenError> {
        let connection = open::first(config).await?;
        Ok(Arc::new(Self { connection }))
    }
}

impl Directory for PostgresDirectory {
    fn entries(&self, after: u64) -> Answer<Vec<LinkEntry>> {
        let connection = Arc::clone(&self.connection);
        async move { entries(&connection, after).await.map_err(Fault::into_error) }.boxed()
    }

    fn versions(&self) -> Answer<Vec<(LinkId, u64)>> {
        let connection = Arc::clone(&self.connection);
        async move { versions(&connection).await.map_err(Fault::into_error) }.boxed()
    }

    fn write(&self, entries: Vec<LinkEntry>) -> Answer<Vec<Written>> {
        let connection = Arc::clone(&self.connection);
        async move { write(&connection, &entries).await.map_err(Fault::into_unsure) }.boxed()
    }

    fn news(&self) -> watch::Receiver<DirectoryNews> {
        watch::Sender::default().subscribe()
    }
}

impl std::fmt::Debug for PostgresDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresDirectory").finish_non_exhaustive()
    }
}
