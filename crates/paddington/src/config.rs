//! The configuration of a service: its name, its addresses, its peers and its settings.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use paddington_crypto::KeyError;
use paddington_exchange::{Config, KeyStore, Listen, Server, Setup, StartError, Storage};
use paddington_transport::{
    Endpoint, EndpointError, Fallbacks, FallbacksError, Network, ServerTls, TlsError, TlsFiles,
    TlsFilesError,
};
use paddington_wire::keys::KeyRingError;
use paddington_wire::{NameError, PeerName, RangeError};
use thiserror::Error;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::at_rest::Vault;
use crate::format::{Form, ServiceFile};
use crate::known::{Known, KnownClient, KnownServer};
use crate::links::LinkFolder;
use crate::renewal::InvitationFile;
use crate::{Cluster, FileError, file};

mod differences;
mod folder;
mod peers;
mod shared;
mod stored;

pub(crate) use folder::file_of;
pub use peers::{FixedKeys, InvitationDetails, LinkDetails};
pub use shared::SharedLinks;

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
    pub(crate) name: PeerName,
    url: Endpoint,
    fallbacks: Fallbacks,
    ip: IpAddr,
    port: u16,
    pub(crate) outbox: Option<PathBuf>,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) links: Option<LinkFolder>,
    /// Whether the links are those in the database that replicas share.
    pub(crate) is_shared: bool,
    pub(crate) vault: Option<Arc<Vault>>,
    tls: Option<TlsFiles>,
    settings: Config,
    pub(crate) known: Arc<Known>,
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
    /// The further URLs are not valid.
    #[error(transparent)]
    Fallbacks(#[from] FallbacksError),
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
    /// A setting and `[cluster]` exclude each other.
    #[error("{setting} and [cluster] exclude each other: {why}")]
    WithCluster {
        /// The setting.
        setting: &'static str,
        /// What would happen.
        why: &'static str,
    },
    /// It is the configuration of another service.
    #[error("this service is called {own}, and the configuration is that of {other}")]
    OtherService {
        /// This service's name.
        own: PeerName,
        /// The name in the configuration.
        other: PeerName,
    },
    /// There is no such peer.
    #[error("there is no peer called {0}")]
    Unknown(PeerName),
    /// The peer is a server, and what was asked for is done to clients.
    #[error("{0} is a server that has invited this service: only a client can be invited anew")]
    NotAClient(PeerName),
    /// The peer is a client, and what was asked for is done to servers.
    #[error("{0} is a client of this service: only a server sends invitations")]
    NotAServer(PeerName),
    /// The invitation does not renew the keys of the link with its server.
    #[error(
        "the invitation begins another link with {0}, whose messages are its own: remove the present \
         one first, or ask for an invitation that renews it"
    )]
    OtherLink(PeerName),
    /// The encoding of a link cannot change.
    #[error("the link with {0} is known with the other encoding: remove it, and add it anew")]
    OtherEncoding(PeerName),
    /// The invitation was accepted before.
    #[error("this invitation from {0} was accepted before: ask for a new one")]
    SeenInvitation(PeerName),
    /// The generations of a link's keys do not fit together.
    #[error("the keys for {peer} do not fit together")]
    Ring {
        /// The peer that the keys are for.
        peer: PeerName,
        /// The cause.
        #[source]
        source: KeyRingError,
    },
    /// The file of a link lacks a field.
    #[error("the file of the link with {peer} lacks {field:?}")]
    Lacks {
        /// The peer.
        peer: PeerName,
        /// The field.
        field: &'static str,
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
    /// The files of the service's own TLS cannot be used.
    #[error("this service cannot speak TLS with its clients")]
    OwnTls(#[from] TlsFilesError),
}

impl ServiceConfig {
    /// Creates the configuration of a service that is called `name`, is reached at `url`, and
    /// listens on `ip` and `port`: on all IPv4 addresses with `0.0.0.0`, on all addresses of both families
    /// with `::`. A service without clients does not listen.
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
            fallbacks: Fallbacks::default(),
            ip: ip.parse().map_err(|_| ConfigError::Ip(ip.chars().take(80).collect()))?,
            port: *port,
            outbox: None,
            cluster: None,
            links: None,
            is_shared: false,
            vault: None,
            tls: None,
            settings: Config::default(),
            known: Arc::default(),
        })
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

    /// Returns the further URLs at which the service is reached.
    pub fn fallback_urls(&self) -> impl Iterator<Item = &Endpoint> {
        self.fallbacks.iter()
    }

    /// Sets further URLs at which the service is reached, by another proxy or another way, which its clients
    /// try in this order when the one before fails. They are told in invitations that are written from now
    /// on.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let mut hub = ServiceConfig::new("hub", "wss://hub.example", "0.0.0.0", &6501)?;
    /// hub.set_fallback_urls(&["wss://hub2.example"])?;
    /// assert_eq!(hub.add_client("sensor", "192.0.2.0/24")?.fallback_urls().count(), 1);
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if one of them is not the URL of a server, or there are too many, or one is there
    /// twice.
    pub fn set_fallback_urls(&mut self, urls: &[&str]) -> Result<(), ConfigError> {
        self.fallbacks = Fallbacks::parse(urls)?;
        Ok(())
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

    /// Sets the port to listen on: replicas on one machine have the same configuration and different ports.
    pub fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    /// Returns the files with which the service speaks TLS itself.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsFiles> {
        self.tls.as_ref()
    }

    /// Lets the service speak TLS itself on the port that it listens on, with the certificate in these
    /// files. They are read at the start, and again whenever they change. The URL should begin with
    /// `wss://`, and the certificate be for its host (`docs/deploy/tls.md`).
    ///
    /// ```
    /// # use paddington::{ServiceConfig, TlsFiles};
    /// let mut hub = ServiceConfig::new("hub", "wss://hub.example:6501", "0.0.0.0", &6501)?;
    /// hub.set_tls(TlsFiles::in_directory("/etc/letsencrypt/live/hub.example"));
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    pub fn set_tls(&mut self, files: TlsFiles) {
        self.tls = Some(files);
    }

    /// Builds the setup of an exchange.
    pub(crate) fn setup(
        &self,
        network: Arc<dyn Network>,
        store: Storage,
        key_store: Option<Arc<dyn KeyStore>>,
    ) -> Result<Setup, ConfigError> {
        let servers = self.known.servers.iter().map(|server| self.to_dial(server));
        let tls = self.tls.clone().map(ServerTls::load).transpose()?;
        Ok(Setup {
            name: self.name.clone(),
            // With the first client.
            listen: Some(Listen {
                address: SocketAddr::new(self.ip, self.port),
                path: self.url.path().to_owned(),
                tls,
            }),
            clients: self.known.clients.iter().map(KnownClient::invited).collect(),
            servers: servers.collect::<Result<_, _>>()?,
            network,
            store,
            key_store,
            config: self.settings.clone(),
        })
    }

    /// A server as it is dialled. A newer invitation in the file of the first one is noticed if there is
    /// no folder of links, which is where its keys would be.
    pub(crate) fn to_dial(&self, server: &KnownServer) -> Result<Server, ConfigError> {
        let tls = |source| ConfigError::Tls { server: server.name.clone(), source };
        let certificate = self.settings.transport.outbound.certificate();
        let file = InvitationFile::of(&self.name, server, certificate.clone());
        server.to_dial(file.filter(|_| !self.keeps_links()), certificate).map_err(tls)
    }

    /// Returns the peers, so that they can be changed.
    pub(crate) fn known_mut(&mut self) -> &mut Known {
        Arc::make_mut(&mut self.known)
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
}
