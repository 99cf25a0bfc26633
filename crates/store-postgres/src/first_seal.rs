//! The first key of new databases. Replicas that begin at the same time would make one each, and could not read what the
//! others write.

use std::fmt;
use std::sync::Arc;

use crate::config::PostgresConfig;
use crate::connect::{Connection, Target};
use crate::error::{Fault, OpenError};
use crate::migrate::{self, refused};
use crate::open::{self, Checked};
use crate::seal::{self, Seal};

/// The right to make the first key of a service whose databases are new: as long as it is held, nobody else says how
/// they are sealed. Where it is dropped, nothing was said.
pub struct FirstSeal {
    databases: Vec<(Target, Arc<Connection>)>,
}

impl FirstSeal {
    /// Waits for whoever has this right, and takes it. Returns `None` if something is kept in a database that does not say
    /// how it is sealed. Tables are created if they are not there and the role may do that.
    ///
    /// # Errors
    ///
    /// [`OpenError::OtherSeal`] if a database says how everything is sealed, or else as
    /// [`PostgresStore::open`](crate::PostgresStore::open).
    pub async fn begin(config: &PostgresConfig) -> Result<Option<Self>, OpenError> {
        let mut databases = Vec::new();
        for Checked { target, connection, .. } in open::checked(config, None).await? {
            let begun = async {
                migrate::begin(&target, &connection).await?;
                // Whoever had the right may have said it by now.
                let checked = seal::check(None, &target, &connection).await?;
                Ok::<_, Fault>((checked, seal::is_new(&connection).await?))
            };
            let (checked, is_new) = begun.await.map_err(|fault| refused(&target, &fault))?;
            checked?;
            if !is_new {
                return Ok(None);
            }
            databases.push((target, connection));
        }
        Ok(Some(Self { databases }))
    }

    /// Says that everything is sealed under the key with this id, which has to be durable by now: replicas with another
    /// one, or with none, are refused.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if a database does not answer. It may have been said all the same.
    pub async fn claim(self, key: u64) -> Result<(), OpenError> {
        for (target, connection) in &self.databases {
            let claimed = async {
                seal::claim(connection, Seal::Key(key)).await?;
                Ok::<_, Fault>(connection.client.batch_execute("COMMIT").await?)
            };
            claimed.await.map_err(|fault| refused(target, &fault))?;
        }
        Ok(())
    }
}

impl fmt::Debug for FirstSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstSeal")
            .field("databases", &self.databases.len())
            .finish_non_exhaustive()
    }
}
