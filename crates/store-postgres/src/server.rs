//! What a server says of itself, and whether a pooler is in front of it.

use crate::connect::{Connection, Target};
use crate::error::Fault;
use crate::row::column;

/// Settings of a server that decide whether it can be trusted.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) version: String,
    /// `server_version_num`.
    pub(crate) version_number: i32,
    pub(crate) fsync: bool,
    pub(crate) full_page_writes: bool,
    /// `synchronous_standby_names`.
    pub(crate) standby_names: String,
    pub(crate) is_standby: bool,
}

/// Reads the settings of a server.
pub(crate) async fn settings(connection: &Connection) -> Result<Settings, Fault> {
    const SETTINGS: &str = "SELECT current_setting('server_version'), current_setting('server_version_num')::int, \
         current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on', \
         current_setting('synchronous_standby_names'), pg_is_in_recovery()";
    let row = connection.ask(SETTINGS).await?;
    Ok(Settings {
        version: column(&row, 0)?,
        version_number: column(&row, 1)?,
        fsync: column(&row, 2)?,
        full_page_writes: column(&row, 3)?,
        standby_names: column(&row, 4)?,
        is_standby: column(&row, 5)?,
    })
}

/// Returns whether a pooler in transaction mode is in front of the server: it lends the same session to
/// several connections.
pub(crate) async fn is_pooled(target: &Target, one: &Connection) -> Result<bool, Fault> {
    let before = session(one).await?;
    let other = target.connect(None).await?;
    // The session that `other` uses is taken until its transaction ends.
    other.client.batch_execute("BEGIN").await?;
    let of_other = session(&other).await?;
    let after = session(one).await?;
    Ok(before == of_other || before != after)
}

/// Returns the session that a connection uses at the moment.
async fn session(connection: &Connection) -> Result<i32, Fault> {
    column(&connection.ask("SELECT pg_backend_pid()").await?, 0)
}
