//! The directory of links: reading, writing, and telling replicas.

use paddington_exchange::store::{LinkEntry, Written};
use paddington_wire::LinkId;
use zeroize::Zeroizing;

use crate::connect::Connection;
use crate::error::Fault;
use crate::row::{self, column, loaded};
use crate::signal;

/// Number of entries that are read at a time.
const PAGE: usize = 500;
/// Number of entries that are written in one transaction.
const WRITTEN: usize = 2_000;

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
    for part in entries.chunks(WRITTEN) {
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
