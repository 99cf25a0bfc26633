//! The configuration of a service: its name, its addresses, its peers and its settings.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use paddington_crypto::{KeyError, KeyPair};
use paddington_exchange::store::Store;
use paddington_exchange::{Config, Listen, Setup, StartError};
use paddington_transport::{Endpoint, EndpointError, Network, TlsError};
use paddington_wire::{Encoding, NameError, PeerName, RangeError};
use thiserror::Error;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::format::{Form, ServiceFile};
use crate::known::{Known, KnownClient, KnownServer};
use crate::renewal::InvitationFile;
use crate::{FileError, Invite, file};

mod stored;

/// The configuration of a service: its name, its URL, its clients and its servers.
///
/// ```
/// use paddington::ServiceConfig;
///
/// let mut config = ServiceConfig::new("hub", "https://hub.example/paddington", "0.0.0.0", &6501)?;
/// let invite = config.add_client("sensor", "192.0.2.0/24")?;
/// assert_eq!(invite.name(), "hub");
/// assert!(invite.url().to_string().starts_with("wss://hub.example:443/paddington?b="));
/// # Ok::<(), paddington::ConfigError>(())
/// ```
///
/// Copies of a configuration share its keys.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    name: PeerName,
    url: Endpoint,
    ip: IpAddr,
    port: u16,
    outbox: Option<PathBuf>,
    settings: Config,
    known: Known,
}

/// The reason why a configuration is not valid, or could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The name is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The URL is not valid.
    #[error(transparent)]
    Url(#[from] EndpointError),
    /// The address to listen on is not valid.
    #[error("{0:?} is not an IP address to listen on; write for example 127.0.0.1, 0.0.0.0 or ::")]
    Ip(String),
    /// The range of addresses is not valid.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The service is known already.
    #[error("the service {0} is known already: two services need only one invitation")]
    Duplicate(PeerName),
    /// The service has the name of this service.
    #[error("the service {0} cannot be its own peer")]
    Own(PeerName),
    /// Two links have a key in common.
    #[error(
        "the links with {} and {} have a key in common: each needs an invitation of its own",
        .peers[0], .peers[1]
    )]
    SharedKey {
        /// The peers of the two links.
        peers: [PeerName; 2],
    },
    /// The invitation was made for another service.
    #[error(
        "the invitation was made for {invited}, and this service is called {own}: use that name, \
         or ask for an invitation for {own}"
    )]
    NotInvited {
        /// The client that the invitation was made for.
        invited: PeerName,
        /// This service's name.
        own: PeerName,
    },
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The settings cannot be used, or make no sense together.
    #[error(transparent)]
    Settings(#[from] StartError),
    /// The keys cannot be used, or could not be generated.
    #[error("the keys for {peer} cannot be used")]
    Keys {
        /// The peer that the keys are for.
        peer: PeerName,
        /// The cause.
        #[source]
        source: KeyError,
    },
    /// The certificate authorities for a `wss` server cannot be used.
    #[error("TLS to {server} cannot be set up")]
    Tls {
        /// The server.
        server: PeerName,
        /// The cause.
        #[source]
        source: TlsError,
    },
}

impl ServiceConfig {
    /// Creates the configuration of a service that is called `name`, is reached at `url`, and
    /// listens on `ip` and `port`. A service without clients does not listen.
    ///
    /// ```
    /// use paddington::{ConfigError, ServiceConfig};
    ///
    /// let url = "https://hub.example/paddington";
    /// let hub = ServiceConfig::new("hub", url, "0.0.0.0", &6501)?;
    /// assert_eq!(hub.url().to_string(), "wss://hub.example:443/paddington");
    /// let refused = ServiceConfig::new("hub", url, "localhost", &6501);
    /// assert!(matches!(refused, Err(ConfigError::Ip(_))));
    /// # Ok::<(), ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the name, the URL or the address is not valid.
    pub fn new(name: &str, url: &str, ip: &str, port: &u16) -> Result<Self, ConfigError> {
        Ok(Self {
            name: name.parse()?,
            url: url.parse()?,
            ip: ip.parse().map_err(|_| ConfigError::Ip(ip.chars().take(80).collect()))?,
            port: *port,
            outbox: None,
            settings: Config::default(),
            known: Known::default(),
        })
    }

    /// Invites a client to connect from an address or a range of addresses. The invitation is for
    /// the client's operator; its keys are stored nowhere else but in this configuration.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// let invite = hub.add_client("sensor", "192.0.2.0/24")?;
    /// assert_eq!((invite.name(), invite.client()), ("hub", Some("sensor")));
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the name or the range is not valid, or the name is known already.
    pub fn add_client(&mut self, name: &str, range: &str) -> Result<Invite, ConfigError> {
        self.add_client_with(name, range, Encoding::default())
    }

    /// As [`add_client`](Self::add_client), with another encoding: `hex` for a client that runs the
    /// original paddington.
    ///
    /// ```
    /// use paddington::{Encoding, ServiceConfig};
    ///
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// let invite = hub.add_client_with("sensor", "192.0.2.7", Encoding::Hex)?;
    /// assert_eq!(invite.encoding(), Encoding::Hex);
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`add_client`](Self::add_client).
    pub fn add_client_with(
        &mut self,
        name: &str,
        range: &str,
        encoding: Encoding,
    ) -> Result<Invite, ConfigError> {
        let name: PeerName = name.parse()?;
        let range = range.parse()?;
        self.check_new(&name)?;
        let keys_error = |source| ConfigError::Keys { peer: name.clone(), source };
        let keys = Arc::new(KeyPair::generate().map_err(keys_error)?);
        // The original drops the query.
        let bucket = match encoding {
            Encoding::Hex => None,
            _ => Some(self.known.buckets.choose().map_err(keys_error)?),
        };
        self.known.add_client(KnownClient {
            name: name.clone(),
            range,
            bucket,
            encoding,
            keys: Arc::clone(&keys),
        });
        let url = match bucket {
            Some(bucket) => self.url.clone().with_bucket(bucket),
            None => self.url.clone(),
        };
        Ok(Invite {
            server: self.name.clone(),
            url,
            client: Some(name),
            encoding,
            keys,
            link: None,
            generation: 0,
            expires: None,
            source: None,
        })
    }

    /// Accepts an invitation: this service will connect to the server that wrote it.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// let mut sensor = ServiceConfig::new("sensor", "ws://localhost:6502", "127.0.0.1", &6502)?;
    /// sensor.add_server(hub.add_client("sensor", "192.0.2.0/24")?)?;
    /// assert_eq!(sensor.peers().collect::<Vec<_>>(), ["hub"]);
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it was made for another service, or its server is known already.
    pub fn add_server(&mut self, invite: Invite) -> Result<(), ConfigError> {
        self.add_server_with(invite, None)
    }

    /// As [`add_server`](Self::add_server), but for `wss`, only the certificate authorities in the
    /// PEM file `authorities` are trusted.
    ///
    /// # Errors
    ///
    /// As [`add_server`](Self::add_server).
    pub fn add_server_with(
        &mut self,
        invite: Invite,
        authorities: Option<PathBuf>,
    ) -> Result<(), ConfigError> {
        let Invite { server, url, client, encoding, keys, source, .. } = invite;
        if let Some(invited) = client.filter(|invited| *invited != self.name) {
            return Err(ConfigError::NotInvited { invited, own: self.name.clone() });
        }
        self.check_new(&server)?;
        if let Some(other) = self.known.owner_of(&keys) {
            return Err(ConfigError::SharedKey { peers: [other.clone(), server] });
        }
        let server = KnownServer { name: server, url, encoding, authorities, keys, source };
        self.known.add_server(server);
        Ok(())
    }

    /// Reads a configuration from a file.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("hub.toml");
    /// # ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?.save(&path)?;
    /// let hub = ServiceConfig::load(&path)?;
    /// assert_eq!(hub.name(), "hub");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the file cannot be read or is not valid. The error names the line and
    /// never shows a key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::check(file::read_private(path.as_ref(), "")?)
    }

    /// Reads a configuration from text.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let hub = ServiceConfig::from_toml(
    ///     r#"
    ///     name = "hub"
    ///     url = "ws://hub.example:6501/"
    ///     ip = "0.0.0.0"
    ///     port = 6501
    ///     "#,
    /// )?;
    /// assert_eq!(hub.name(), "hub");
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::check(file::parse(Path::new("the configuration"), text)?)
    }

    /// Writes the configuration to a file that only its owner can read. An older configuration is
    /// replaced as a whole; any other file, and any symbolic link, is left as it is.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("hub.toml");
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// hub.add_client("sensor", "192.0.2.0/24")?;
    /// hub.save(&path)?;
    /// # assert_eq!(ServiceConfig::load(&path)?.peers().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the path holds another file, or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ConfigError> {
        let is_ours = |path: &Path| {
            let read = file::read::<ServiceFile>(path, "");
            read.map(drop).map_err(|_| "is not the configuration of a service")
        };
        Ok(file::write(path.as_ref(), &self.to_file(Form::StandIns), is_ours)?)
    }

    /// Returns the configuration as [`save`](Self::save) writes it, for a place that keeps secrets.
    /// The text is wiped when it is dropped; wipe its copies.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// hub.add_client("sensor", "192.0.2.0/24")?;
    /// let same = ServiceConfig::from_toml(&hub.to_toml()?)?;
    /// assert_eq!(same.peers().collect::<Vec<_>>(), ["sensor"]);
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<Zeroizing<String>, ConfigError> {
        Ok(file::text(Path::new("the configuration"), &self.to_file(Form::StandIns))?)
    }

    /// Returns the service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Returns the URL at which the service is reached.
    #[must_use]
    pub fn url(&self) -> &Endpoint {
        &self.url
    }

    /// Returns the settings: limits, deadlines and delays.
    #[must_use]
    pub fn settings(&self) -> &Config {
        &self.settings
    }

    /// Returns the settings, so that they can be changed.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// # use std::time::Duration;
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// hub.settings_mut().outbox_messages = 100;
    /// hub.settings_mut().handler_timeout = Duration::from_secs(10);
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    pub fn settings_mut(&mut self) -> &mut Config {
        &mut self.settings
    }

    /// Returns the file in which messages for `sealed` peers are stored until they are handled.
    #[must_use]
    pub fn outbox(&self) -> Option<&Path> {
        self.outbox.as_deref()
    }

    /// Stores messages for `sealed` peers in a file, so that they outlive this process. The file is
    /// created if there is none; its folder has to exist. Requires the feature `durable`.
    ///
    /// ```no_run
    /// # use paddington::ServiceConfig;
    /// let mut sensor = ServiceConfig::load("sensor.toml")?;
    /// sensor.set_outbox("/var/lib/sensor/outbox.sqlite");
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    pub fn set_outbox(&mut self, path: impl Into<PathBuf>) {
        self.outbox = Some(path.into());
    }

    /// Returns the names of all peers: clients first, then servers.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// hub.add_client("attic", "192.0.2.7")?;
    /// hub.add_client("cellar", "192.0.2.8")?;
    /// assert_eq!(hub.peers().collect::<Vec<_>>(), ["attic", "cellar"]);
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        let clients = self.known.clients.iter().map(|client| &client.name);
        clients.chain(self.known.servers.iter().map(|server| &server.name)).map(PeerName::as_str)
    }

    /// Builds the setup of an exchange.
    pub(crate) fn setup(
        &self,
        network: Arc<dyn Network>,
        store: Option<Arc<dyn Store>>,
    ) -> Result<Setup, ConfigError> {
        let servers = self.known.servers.iter().map(|server| {
            let tls = |source| ConfigError::Tls { server: server.name.clone(), source };
            server.to_dial(&self.name, InvitationFile::of(&self.name, server)).map_err(tls)
        });
        Ok(Setup {
            name: self.name.clone(),
            listen: (!self.known.clients.is_empty()).then(|| Listen {
                address: SocketAddr::new(self.ip, self.port),
                path: self.url.path().to_owned(),
            }),
            clients: self.known.clients.iter().map(|client| client.invited(&self.name)).collect(),
            servers: servers.collect::<Result<_, _>>()?,
            network,
            store,
            config: self.settings.clone(),
        })
    }

    /// Logs which kind of peers a service lacks that was just started: it may be a mistake.
    pub(crate) fn note_missing_peers(&self) {
        let service = &self.name;
        match (self.known.clients.is_empty(), self.known.servers.is_empty()) {
            (true, true) => warn!(
                %service,
                "neither listening nor connecting: no client is invited and no server is known; \
                 add one of them to the configuration"
            ),
            (true, false) => info!(%service, "not listening, because no client is invited"),
            (false, _) => {}
        }
    }

    fn check_new(&self, name: &PeerName) -> Result<(), ConfigError> {
        if *name == self.name {
            return Err(ConfigError::Own(name.clone()));
        }
        if self.known.knows(name) {
            return Err(ConfigError::Duplicate(name.clone()));
        }
        Ok(())
    }
}
