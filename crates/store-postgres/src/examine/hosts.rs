//! The hosts of a database: whether each can be reached, and which step fails.

use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpStream, lookup_host};
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;

use super::report::{Access, DatabaseFault, DatabaseFaultKind, HostReport};
use crate::connect::{Connection, Target};
use crate::error::Fault;
use crate::row::column;

/// Time for looking a name up, and for connecting to an address.
const STEP: Duration = Duration::from_secs(5);

/// A host that can be used, and a connection to it.
pub(super) type Reached = (Target, Connection);

/// Tries each host of a database, at the same time.
pub(super) async fn reach(target: &Target) -> (Vec<HostReport>, Vec<Option<Reached>>) {
    let each = (0..target.url.hosts()).map(|at| async move {
        let target = target.at_host(at);
        let (found, reached) = match one(&target).await {
            Ok((access, connection)) => (Ok(access), Some(connection)),
            Err(fault) => (Err(fault), None),
        };
        let report = HostReport { host: shown(&target), found };
        (report, reached.map(|connection| (target, connection)))
    });
    join_all(each).await.into_iter().unzip()
}

/// The fault of a statement.
pub(super) fn refused(fault: &Fault) -> DatabaseFault {
    DatabaseFault { kind: DatabaseFaultKind::Other, why: fault.why().to_owned() }
}

async fn one(target: &Target) -> Result<(Access, Connection), DatabaseFault> {
    const ACCESS: &str =
        "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'";
    accepts(target).await?;
    let late = |_| DatabaseFault {
        kind: DatabaseFaultKind::NoAnswer,
        why: "it accepts the connection, and does not answer".to_owned(),
    };
    let connection = target.dial(None).await.map_err(late)?.map_err(|error| fault(&error))?;
    let asked = tokio::time::timeout(STEP, connection.ask(ACCESS)).await.map_err(late)?;
    let row = asked.map_err(|fault| refused(&fault))?;
    let reads_only = column(&row, 0).map_err(|fault| refused(&fault))?;
    Ok((if reads_only { Access::ReadsOnly } else { Access::Writes }, connection))
}

/// Looks the name up, and connects to one of its addresses. A socket of this machine needs neither.
async fn accepts(target: &Target) -> Result<(), DatabaseFault> {
    let config = &target.url.config;
    let port = config.get_ports().first().copied().unwrap_or(DEFAULT_PORT);
    let name = match (config.get_hostaddrs().first(), config.get_hosts().first()) {
        (Some(address), _) => address.to_string(),
        (None, Some(Host::Tcp(name))) => name.clone(),
        _ => return Ok(()),
    };
    let is_late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let of = |kind| move |error: io::Error| DatabaseFault { kind, why: error.to_string() };
    let looked_up = tokio::time::timeout(STEP, lookup_host((&*name, port))).await;
    let looked_up = looked_up.map_err(is_late).and_then(|found| found);
    let mut failure = io::Error::other("the name has no address");
    for address in looked_up.map_err(of(DatabaseFaultKind::Name))? {
        let connected = tokio::time::timeout(STEP, TcpStream::connect(address)).await;
        match connected.map_err(is_late).and_then(|connected| connected) {
            Ok(_) => return Ok(()),
            Err(error) => failure = error,
        }
    }
    Err(of(DatabaseFaultKind::Connection)(failure))
}

const DEFAULT_PORT: u16 = 5432;

/// The fault of a connection to a server that accepts some.
fn fault(error: &tokio_postgres::Error) -> DatabaseFault {
    let code = error.code();
    let is = |codes: &[SqlState]| code.is_some_and(|code| codes.contains(code));
    // The library has no other way of telling these apart than its words.
    let words = error.to_string();
    let kind = if is(&[SqlState::INVALID_PASSWORD]) || words.starts_with("invalid configuration") {
        DatabaseFaultKind::Password
    } else if is(&[SqlState::INVALID_AUTHORIZATION_SPECIFICATION]) {
        DatabaseFaultKind::Role
    } else if is(&[SqlState::INVALID_CATALOG_NAME]) {
        DatabaseFaultKind::Database
    } else if is(&[SqlState::TOO_MANY_CONNECTIONS]) {
        DatabaseFaultKind::Connections
    } else if is(&[SqlState::CANNOT_CONNECT_NOW]) {
        DatabaseFaultKind::Starting
    } else if words.starts_with("error performing TLS") {
        DatabaseFaultKind::Tls
    } else if words.starts_with("authentication error") {
        DatabaseFaultKind::Password
    } else if words.starts_with("error connecting") {
        DatabaseFaultKind::Connection
    } else {
        DatabaseFaultKind::Other
    };
    DatabaseFault { kind, why: Fault::chain(error) }
}

/// The host and the port, for people.
fn shown(target: &Target) -> String {
    let config = &target.url.config;
    let port = config.get_ports().first().copied().unwrap_or(DEFAULT_PORT);
    match (config.get_hosts().first(), config.get_hostaddrs().first()) {
        (Some(Host::Tcp(name)), _) if name.contains(':') => format!("[{name}]:{port}"),
        (Some(Host::Tcp(name)), _) => format!("{name}:{port}"),
        #[cfg(unix)]
        (Some(Host::Unix(path)), _) => path.display().to_string(),
        (None, Some(address)) => format!("{address}:{port}"),
        (None, None) => target.url.place.clone(),
    }
}
