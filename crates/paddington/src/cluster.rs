//! The database that several replicas of one service share: `[cluster]` in a configuration. Implements
//! `docs/cluster.md`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use paddington_exchange::store::SharedStore;
#[cfg(feature = "postgres")]
use paddington_store_postgres::{FirstSeal, PostgresConfig, Seal};
use paddington_transport::seconds;
use paddington_wire::Encoding;
use serde::{Deserialize, Serialize};
use thiserror::Error;
#[cfg(feature = "postgres")]
use zeroize::Zeroizing;

#[cfg(feature = "postgres")]
use crate::at_rest::{AtRestError, Vault};
use crate::links::SharedLinkError;
use crate::{ConfigError, ServiceConfig};

/// The shortest time after which a replica may count as dead.
const MIN_LEASE: Duration = Duration::from_secs(4);
/// The longest one.
const MAX_LEASE: Duration = Duration::from_secs(3_600);

/// The databases that several replicas of a service share: `[cluster]` in a configuration.
///
/// ```
/// use paddington::{Cluster, ServiceConfig};
///
/// let mut hub = ServiceConfig::new("hub", "wss://hub.example/", "0.0.0.0", &6501)?;
/// hub.set_cluster(Cluster::new("postgres://paddington@db.example/paddington")?)?;
/// assert!(hub.to_toml()?.contains("[cluster]"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct Cluster {
    databases: Vec<DatabaseUrl>,
    password_file: Option<PathBuf>,
    schema: String,
    lease: Duration,
}

/// The URL of a database. It holds no password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct DatabaseUrl(String);

/// The reason why a database cannot be shared by replicas as it is configured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// There is no database.
    #[error(
        "databases names no database: write for example \"postgres://paddington@db.example/paddington\""
    )]
    NoDatabase,
    /// A URL is not that of PostgreSQL.
    #[error("the URL of a database begins with postgres://")]
    NotPostgres,
    /// A URL holds a password.
    #[error(
        "the URL of a database must not hold a password: write that to a file, and name it in password_file"
    )]
    Password,
    /// The lease is too short or too long.
    #[error("lease must be from {} s to {} s, not {} s", MIN_LEASE.as_secs(), MAX_LEASE.as_secs(), .0.as_secs_f64())]
    Lease(Duration),
    /// The file with the password cannot be read.
    #[error("the file with the password for the database, {path}, cannot be read")]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The password is no text, or has more than one line.
    #[error("the file with the password for the database, {0}, holds more than one line of text")]
    NoPassword(PathBuf),
    /// The program was built without the feature `postgres`.
    #[error(
        "replicas cannot share a database: this program was built without the feature `postgres`"
    )]
    NotBuilt,
    /// The links in the database cannot be read or written.
    #[error(transparent)]
    Links(#[from] SharedLinkError),
    /// A link in the database is not valid, or is another one than in the configuration.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// The database cannot be used.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Open(#[from] paddington_store_postgres::OpenError),
    /// What is in the database was not sealed anew.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Convert(#[from] paddington_store_postgres::ConvertError),
}

/// The settings as they are written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    /// The URLs of the databases, such as `postgres://paddington@db.example/paddington`. Several hosts of one
    /// database are separated by commas. With several databases, each link lives in one of them; their order
    /// and number must stay as they are.
    databases: Vec<DatabaseUrl>,
    /// The file with the password for the databases, if they want one. It must be readable by the service only.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<PathBuf>,
    /// The schema that holds the tables of this service.
    schema: String,
    /// The time after which a replica that has lost its database, or hangs, counts as dead. Its peers go on
    /// elsewhere then.
    #[serde(with = "seconds")]
    lease: Duration,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            databases: Vec::new(),
            password_file: None,
            schema: "paddington".to_owned(),
            lease: Duration::from_secs(10),
        }
    }
}

impl Cluster {
    /// The database at a URL, which holds no password.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if it is not the URL of a PostgreSQL, or holds a password.
    pub fn new(url: &str) -> Result<Self, ClusterError> {
        Self::over(&[url])
    }

    /// Several databases, of which each link lives in one.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if one of them is not the URL of a PostgreSQL, or holds a password.
    pub fn over(urls: &[&str]) -> Result<Self, ClusterError> {
        let urls = urls.iter().map(|url| DatabaseUrl::try_from((*url).to_owned()));
        Table { databases: urls.collect::<Result<_, _>>()?, ..Table::default() }.try_into()
    }

    /// Sets the file with the password.
    #[must_use]
    pub fn with_password_file(self, path: impl Into<PathBuf>) -> Self {
        Self { password_file: Some(path.into()), ..self }
    }

    /// Sets the schema that holds the tables of this service.
    #[must_use]
    pub fn with_schema(self, schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), ..self }
    }

    /// Sets the time after which a replica may count as dead.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Lease`] if it is too short or too long.
    pub fn with_lease(self, lease: Duration) -> Result<Self, ClusterError> {
        let is_possible = (MIN_LEASE..=MAX_LEASE).contains(&lease);
        if is_possible { Ok(Self { lease, ..self }) } else { Err(ClusterError::Lease(lease)) }
    }

    /// Returns the URLs of the databases, which hold no passwords.
    pub fn databases(&self) -> impl Iterator<Item = &str> {
        self.databases.iter().map(|url| &*url.0)
    }

    /// Returns the file with the password.
    #[must_use]
    pub fn password_file(&self) -> Option<&Path> {
        self.password_file.as_deref()
    }

    /// Returns the schema that holds the tables of this service.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Returns the time after which a replica may count as dead.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease
    }
}

#[cfg(feature = "postgres")]
impl Cluster {
    /// Checks that the file with the password, if there is one, can be read and holds one.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if it cannot be read, or holds something else.
    pub fn check_password_file(&self) -> Result<(), ClusterError> {
        self.password().map(drop)
    }

    /// Returns the settings of the store of a service.
    pub(crate) fn of(&self, config: &ServiceConfig) -> Result<PostgresConfig, ClusterError> {
        let store = PostgresConfig::new(config.name.clone(), "")
            .with_databases(self.databases().map(str::to_owned).collect())
            .with_schema(&self.schema)
            .with_lease(self.lease);
        Ok(match self.password()? {
            Some(password) => store.with_password(password),
            None => store,
        })
    }

    fn password(&self) -> Result<Option<Zeroizing<String>>, ClusterError> {
        let Some(path) = &self.password_file else { return Ok(None) };
        let read = std::fs::read_to_string(path).map(Zeroizing::new);
        let text =
            read.map_err(|source| ClusterError::PasswordFile { path: path.clone(), source })?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        if line.is_empty() || line.contains(['\n', '\r', '\0']) {
            return Err(ClusterError::NoPassword(path.clone()));
        }
        Ok(Some(Zeroizing::new(line.to_owned())))
    }
}

impl ServiceConfig {
    /// Returns the database that several replicas of this service share, if they do.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Makes the service one of several replicas, over a database that they share.
    ///
    /// # Errors
    ///
    /// [`ConfigError::WithCluster`] if the configuration has something that replicas cannot have.
    pub fn set_cluster(&mut self, cluster: Cluster) -> Result<(), ConfigError> {
        let before = self.cluster.replace(cluster);
        let checked = self.check_cluster();
        if checked.is_err() {
            self.cluster = before;
        }
        checked
    }

    /// Checks that nothing is configured that replicas cannot have.
    pub(crate) fn check_cluster(&self) -> Result<(), ConfigError> {
        if self.cluster.is_none() {
            return Ok(());
        }
        let conflicts = [
            (
                self.known.encodings().any(|it| it == Encoding::Hex),
                "a hex link",
                "it acknowledges nothing",
            ),
            (self.outbox.is_some(), "outbox", "its messages would be those of one replica only"),
            (self.links.is_some(), "links", "replicas keep their links in the database"),
        ];
        let conflict = conflicts.into_iter().find(|(is_set, ..)| *is_set);
        conflict.map_or(Ok(()), |(_, setting, why)| Err(ConfigError::WithCluster { setting, why }))
    }
}

#[cfg(feature = "postgres")]
impl ClusterError {
    /// Returns whether a replica runs, or somebody else seals anew what is there.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        use paddington_store_postgres::ConvertError;
        matches!(self, Self::Convert(ConvertError::InUse { .. }))
    }
}

#[cfg(feature = "postgres")]
impl ServiceConfig {
    /// Opens the databases of the configuration, so that this process is a replica of the service.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if one of them cannot be used.
    pub(crate) async fn open_cluster(&self) -> Result<Option<Arc<dyn SharedStore>>, ClusterError> {
        let Some(cluster) = self.cluster() else { return Ok(None) };
        let config = cluster.of(self)?;
        let seal = self.seal(&config).await?;
        let store = paddington_store_postgres::PostgresStore::open(&config.with_seal(seal)).await?;
        Ok(Some(store))
    }

    /// Returns under what this replica seals.
    async fn seal(&self, config: &PostgresConfig) -> Result<Seal, ClusterError> {
        let Some(vault) = &self.vault else { return Ok(Seal::Plain) };
        let present = vault.present_keyring().map_err(SharedLinkError::from)?;
        let Some(keyring) = present else { return first_seal(vault, config).await };
        match &keyring.ids()[..] {
            [key] => Ok(Seal::Key(*key)),
            // What is in the database may be under any of them.
            _ => Err(SharedLinkError::from(AtRestError::Interrupted { command: "seal" }).into()),
        }
    }

    /// Makes the tables of the service in its databases, or brings them up to date.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if one of them cannot be used, or the role may not make tables.
    pub async fn migrate_cluster(&self) -> Result<(), ClusterError> {
        let Some(cluster) = self.cluster() else { return Ok(()) };
        Ok(paddington_store_postgres::migrate(&cluster.of(self)?).await?)
    }

    /// Looks at the databases without becoming a replica and without changing anything; finds nothing for a service
    /// that has none.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if the settings cannot be used; what is wrong with a database is in its report.
    pub async fn examine_cluster(
        &self,
    ) -> Result<Vec<paddington_store_postgres::report::DatabaseReport>, ClusterError> {
        let Some(cluster) = self.cluster() else { return Ok(Vec::new()) };
        Ok(paddington_store_postgres::examine(&cluster.of(self)?).await?)
    }

    /// Tells the databases that they were restored from a copy of their disks: what was accepted since that
    /// copy was made may be lost, and nothing that is accepted from now on is.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if one of them cannot be used.
    pub async fn restored_cluster(&self) -> Result<(), ClusterError> {
        let Some(cluster) = self.cluster() else { return Ok(()) };
        Ok(paddington_store_postgres::restored(&cluster.of(self)?).await?)
    }
}

/// Makes the keyring of databases that are new, before which whoever was faster has refused this replica.
#[cfg(feature = "postgres")]
async fn first_seal(vault: &Vault, config: &PostgresConfig) -> Result<Seal, ClusterError> {
    let first = FirstSeal::begin(config).await?;
    // On the disk first: a database that names a key which nobody has could not be used.
    let keyring = vault.keyring_or_new(|| first.is_some()).map_err(SharedLinkError::from)?;
    let key = keyring.newest().id();
    if let Some(first) = first {
        first.claim(key).await?;
    }
    Ok(Seal::Key(key))
}

#[cfg(not(feature = "postgres"))]
impl ServiceConfig {
    /// Says that this cannot be done, if the configuration has databases.
    pub(crate) async fn open_cluster(&self) -> Result<Option<Arc<dyn SharedStore>>, ClusterError> {
        if self.cluster.is_none() { Ok(None) } else { Err(ClusterError::NotBuilt) }
    }
}

impl From<ConfigError> for ClusterError {
    fn from(error: ConfigError) -> Self {
        Self::Config(Box::new(error))
    }
}

impl TryFrom<Table> for Cluster {
    type Error = ClusterError;

    fn try_from(table: Table) -> Result<Self, ClusterError> {
        let Table { databases, password_file, schema, lease } = table;
        if databases.is_empty() {
            return Err(ClusterError::NoDatabase);
        }
        let cluster = Self { databases, password_file, schema, lease: MIN_LEASE };
        cluster.with_lease(lease)
    }
}

impl From<Cluster> for Table {
    fn from(cluster: Cluster) -> Self {
        let Cluster { databases, password_file, schema, lease } = cluster;
        Self { databases, password_file, schema, lease }
    }
}

impl TryFrom<String> for DatabaseUrl {
    type Error = ClusterError;

    fn try_from(url: String) -> Result<Self, ClusterError> {
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or(ClusterError::NotPostgres)?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority.split('/').next().unwrap_or_default();
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        let in_query = query.split('&').any(|field| field.starts_with("password="));
        if user.contains(':') || in_query { Err(ClusterError::Password) } else { Ok(Self(url)) }
    }
}

impl From<DatabaseUrl> for String {
    fn from(url: DatabaseUrl) -> Self {
        url.0
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replicas_cannot_have_is_refused_by_its_name() {
        type Change = fn(&mut ServiceConfig);
        let changes: [(Change, &str); 3] = [
            (|config| config.set_outbox("outbox.db"), "outbox and [cluster]"),
            (|config| config.set_links("links").unwrap(), "links and [cluster]"),
            (
                |config| {
                    config.add_client_with("old", "127.0.0.1", Encoding::Hex).unwrap();
                },
                "a hex link and [cluster]",
            ),
        ];
        for (change, expected) in changes {
            let mut config =
                ServiceConfig::new("hub", "ws://127.0.0.1:1", "127.0.0.1", &0).unwrap();
            change(&mut config);
            let refused = config.set_cluster(Cluster::new("postgres:///x").unwrap()).unwrap_err();
            assert!(refused.to_string().starts_with(expected), "{refused}");
            assert!(config.cluster().is_none(), "nothing has changed");
        }
    }

    #[test]
    fn urls_are_those_of_postgresql_and_hold_no_password() {
        for (url, error) in [
            ("mysql://db/x", "postgres://"),
            ("postgres://me:secret@db/x", "password_file"),
            ("postgres://me@db/x?sslmode=require&password=secret", "password_file"),
        ] {
            let refused = Cluster::new(url).unwrap_err().to_string();
            assert!(refused.contains(error) && !refused.contains("secret"), "{url}: {refused}");
        }
        assert!(Cluster::over(&[]).is_err());
        assert!(
            Cluster::new("postgresql://me@a:5432,b:5432/x?target_session_attrs=read-write").is_ok()
        );
        let short = Cluster::new("postgres:///x").unwrap().with_lease(Duration::from_secs(3));
        assert_eq!(short.unwrap_err().to_string(), "lease must be from 4 s to 3600 s, not 3 s");
    }
}
