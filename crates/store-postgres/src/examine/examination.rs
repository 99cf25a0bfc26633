//! The order in which databases are looked at.

use std::time::Duration;

use futures_util::future::join_all;

use super::report::{Access, DatabaseFault, DatabaseFaultKind, DatabaseReport, DatabaseState};
use super::{hosts, schema, server};
use crate::config::PostgresConfig;
use crate::connect::{Connection, Target};
use crate::error::{Fault, OpenError};
use crate::server::is_pooled;

/// Time within which everything about one database has to be known.
const TIME: Duration = Duration::from_secs(20);

/// Looks at the databases of a service, all at the same time. Nothing in them is changed, and this process does not
/// become a replica. It needs two connections to each host, for a moment.
///
/// # Errors
///
/// [`OpenError`] if the settings cannot be used; whatever is wrong with a database is in its report.
pub async fn examine(config: &PostgresConfig) -> Result<Vec<DatabaseReport>, OpenError> {
    let targets = config.targets()?;
    if targets.is_empty() {
        return Err(OpenError::NoUrl);
    }
    Ok(join_all(targets.iter().map(|target| examined(config, target))).await)
}

async fn examined(config: &PostgresConfig, target: &Target) -> DatabaseReport {
    let (mut hosts, connections) = hosts::reach(target).await;
    // A replica takes the first one that writes.
    let writes = hosts.iter().position(|host| host.found == Ok(Access::Writes));
    let used = writes.or_else(|| hosts.iter().position(|host| host.found.is_ok()));
    let mut state = None;
    if let Some(host) = used
        && let Some((target, connection)) = connections.into_iter().nth(host).flatten()
    {
        let looking = looked_at(config, &target, &connection, host);
        let late = |_| DatabaseFault {
            kind: DatabaseFaultKind::NoAnswer,
            why: format!("it does not answer within {} s", TIME.as_secs()),
        };
        let found = tokio::time::timeout(TIME, looking).await.map_err(late);
        match found.and_then(|found| found.map_err(|fault| hosts::refused(&fault))) {
            Ok(found) => state = Some(found),
            Err(fault) => hosts[host].found = Err(fault),
        }
    }
    DatabaseReport { place: target.url.place.clone(), hosts, state }
}

async fn looked_at(
    config: &PostgresConfig,
    target: &Target,
    connection: &Connection,
    host: usize,
) -> Result<DatabaseState, Fault> {
    let is_pooled = is_pooled(target, connection).await?;
    let server = server::state(connection).await?;
    // What comes next is more than one transaction of one session.
    let schema = match is_pooled {
        true => None,
        false => Some(schema::state(config, target, connection).await?),
    };
    Ok(DatabaseState { host, server, is_pooled, schema })
}
