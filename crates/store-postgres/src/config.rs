//! The settings of a store.

use std::fmt;
use std::time::Duration;

use paddington_wire::PeerName;
use zeroize::Zeroizing;

use crate::connect::Target;
use crate::error::OpenError;
use crate::seal::Seal;

/// The settings of a [`PostgresStore`](crate::PostgresStore), the same for every replica of a service.
#[derive(Clone)]
pub struct PostgresConfig {
    pub(crate) service: PeerName,
    pub(crate) urls: Vec<String>,
    password: Option<Zeroizing<String>>,
    pub(crate) schema: String,
    pub(crate) lease: Duration,
    pub(crate) seal: Seal,
}

impl PostgresConfig {
    /// The settings for a service with this name and the database at this URL:
    /// `postgres://user:password@host,other/database?sslmode=verify-full`.
    ///
    /// Where TLS is used, the certificate and the name of the server are verified, against the machine's
    /// roots or `sslrootcert`: `require` is as good as `verify-full`. `disable` uses none, `prefer` does
    /// without where the server has none, and without `sslmode`, TLS is required unless every host is a socket or
    /// an address of this machine.
    #[must_use]
    pub fn new(service: PeerName, url: impl Into<String>) -> Self {
        Self {
            service,
            urls: vec![url.into()],
            password: None,
            schema: "paddington".to_owned(),
            lease: Duration::from_secs(10),
            seal: Seal::Plain,
        }
    }

    /// Spreads the links over several databases, each of which has its own (S15). The order and the
    /// number of them must stay as they are once there are links.
    #[must_use]
    pub fn with_databases(mut self, urls: Vec<String>) -> Self {
        self.urls = urls;
        self
    }

    /// Sets the password for all databases, in place of any that a URL holds.
    #[must_use]
    pub fn with_password(mut self, password: Zeroizing<String>) -> Self {
        self.password = Some(password);
        self
    }

    /// Sets the schema that holds the tables: `paddington`, unless set. Only lower-case letters,
    /// digits and `_`.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Sets how long a replica that is cut off counts as living: 10 s, unless set, and at least 4 s.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets under what links and payloads are sealed before they come to a store: [`Seal::Plain`], unless set. The first
    /// store over new databases says it there, and a database in which everything is sealed otherwise is not opened. A
    /// key that is still to be made needs a [`FirstSeal`](crate::FirstSeal).
    #[must_use]
    pub fn with_seal(mut self, seal: Seal) -> Self {
        self.seal = seal;
        self
    }

    /// Returns the databases, in their order.
    pub(crate) fn targets(&self) -> Result<Vec<Target>, OpenError> {
        let password = self.password.as_ref().map(|password| password.as_str());
        self.urls.iter().map(|url| Target::new(url, password, &self.schema)).collect()
    }
}

/// The URLs may contain passwords.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("service", &self.service)
            .field("databases", &self.urls.len())
            .field("schema", &self.schema)
            .field("lease", &self.lease)
            .field("seal", &self.seal)
            .finish()
    }
}
