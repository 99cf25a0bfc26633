//! What a service is, whom it knows, and how it reaches them.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use paddington_crypto::{KeyError, KeyPair};
use paddington_exchange::store::Store;
use paddington_exchange::{Config, Listen, Renewal, Server, Setup};
use paddington_transport::{Endpoint, EndpointError, Network, Tls, TlsError};
use paddington_wire::{
    AddressRange, Credentials, Encoding, InvitedClient, NameError, PeerName, RangeError, hex,
    sealed,
};
use thiserror::Error;

use crate::format::{ClientEntry, KeyTable, ServerEntry, ServiceFile};
use crate::renewal::InvitationFile;
use crate::{FileError, Invite, file};

/// The configuration of a service: its name, where it is reached, its clients and its servers.
///
/// ```
/// use paddington::ServiceConfig;
///
/// let mut config = ServiceConfig::new("hub", "https://hub.example/paddington", "0.0.0.0", &6501)?;
/// let invite = config.add_client("sensor", "192.0.2.0/24")?;
/// assert_eq!(invite.name(), "hub");
/// assert_eq!(invite.url().to_string(), "wss://hub.example:443/paddington");
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
    clients: Vec<Client>,
    servers: Vec<KnownServer>,
}

/// A client that the service has invited.
#[derive(Clone, Debug)]
struct Client {
    name: PeerName,
    range: AddressRange,
    encoding: Encoding,
    keys: Arc<KeyPair>,
}

/// A server that the service is invited to.
#[derive(Clone, Debug)]
pub(crate) struct KnownServer {
    pub(crate) name: PeerName,
    pub(crate) url: Endpoint,
    pub(crate) encoding: Encoding,
    authorities: Option<PathBuf>,
    pub(crate) keys: Arc<KeyPair>,
    /// The file that the invitation was read from.
    source: Option<PathBuf>,
}

/// Why a configuration makes no sense, or could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A URL that is none.
    #[error(transparent)]
    Url(#[from] EndpointError),
    /// An address that is none.
    #[error("{0:?} is not an IP address to listen on; write for example 127.0.0.1, 0.0.0.0 or ::")]
    Ip(String),
    /// A range of addresses that is none.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A service that is known already.
    #[error("the service {0} is known already: a service knows another one by one invitation")]
    Duplicate(PeerName),
    /// A service that would know itself.
    #[error("the service {0} cannot be its own peer")]
    Own(PeerName),
    /// An invitation for somebody else.
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
    /// Keys that make no pair, or could not be drawn.
    #[error("the keys of {peer} are of no use")]
    Keys {
        /// Whose keys.
        peer: PeerName,
        /// What is wrong with them.
        #[source]
        source: KeyError,
    },
    /// The certificate authorities for a `wss` server.
    #[error("TLS to {server} cannot be set up")]
    Tls {
        /// The server.
        server: PeerName,
        /// Why not.
        #[source]
        source: TlsError,
    },
}

impl ServiceConfig {
    /// A service called `name` that is reached at `url` and listens on `ip` and `port`. A service
    /// without clients does not listen.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] says which of them is wrong.
    pub fn new(name: &str, url: &str, ip: &str, port: &u16) -> Result<Self, ConfigError> {
        Ok(Self {
            name: name.parse()?,
            url: url.parse()?,
            ip: ip.parse().map_err(|_| ConfigError::Ip(ip.chars().take(80).collect()))?,
            port: *port,
            outbox: None,
            settings: Config::default(),
            clients: Vec::new(),
            servers: Vec::new(),
        })
    }

    /// Invites a client to connect from an address or a range of addresses. The invitation is to
    /// be handed to it; it is the only copy of it beside this configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the name or the range is none, or the name is known already.
    pub fn add_client(&mut self, name: &str, range: &str) -> Result<Invite, ConfigError> {
        self.add_client_with(name, range, Encoding::default())
    }

    /// As [`add_client`](Self::add_client), for an encoding of one's choice: `hex` for a client
    /// that runs the original paddington.
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
        let keys = KeyPair::generate();
        let keys = keys.map_err(|source| ConfigError::Keys { peer: name.clone(), source })?;
        let keys = Arc::new(keys);
        self.clients.push(Client { name: name.clone(), range, encoding, keys: Arc::clone(&keys) });
        Ok(Invite {
            server: self.name.clone(),
            url: self.url.clone(),
            client: Some(name),
            encoding,
            keys,
            source: None,
        })
    }

    /// Accepts an invitation: this service will connect to the one that wrote it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it was made for another service, or its server is known already.
    pub fn add_server(&mut self, invite: Invite) -> Result<(), ConfigError> {
        self.add_server_with(invite, None)
    }

    /// As [`add_server`](Self::add_server), where the server's certificate (`wss`) is signed by an
    /// authority in the PEM file `authorities` and no other one is to be believed.
    ///
    /// # Errors
    ///
    /// As [`add_server`](Self::add_server).
    pub fn add_server_with(
        &mut self,
        invite: Invite,
        authorities: Option<PathBuf>,
    ) -> Result<(), ConfigError> {
        let Invite { server, url, client, encoding, keys, source } = invite;
        if let Some(invited) = client.filter(|invited| *invited != self.name) {
            return Err(ConfigError::NotInvited { invited, own: self.name.clone() });
        }
        self.check_new(&server)?;
        self.servers.push(KnownServer { name: server, url, encoding, authorities, keys, source });
        Ok(())
    }

    /// Reads a configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] says what is wrong and on which line. It never shows a key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let config = Self::check(file::read(path.as_ref(), "")?)?;
        file::warn_if_exposed(path.as_ref());
        Ok(config)
    }

    /// Reads a configuration from text.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::check(file::parse(Path::new("the configuration"), text)?)
    }

    /// Writes the configuration to a file that only its owner can read. An older configuration is
    /// replaced as a whole; anything else that is there, and any link, is left as it is.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if something else is there or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ConfigError> {
        let is_ours = |path: &Path| {
            let read = file::read::<ServiceFile>(path, "");
            read.map(drop).map_err(|_| "is not the configuration of a service")
        };
        Ok(file::write(path.as_ref(), &self.to_file(), is_ours)?)
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Where the service is reached.
    #[must_use]
    pub fn url(&self) -> &Endpoint {
        &self.url
    }

    /// Limits, deadlines and delays.
    #[must_use]
    pub fn settings(&self) -> &Config {
        &self.settings
    }

    /// Limits, deadlines and delays, to be changed.
    pub fn settings_mut(&mut self) -> &mut Config {
        &mut self.settings
    }

    /// The file that keeps what is accepted for `sealed` peers until they have handled it, if any.
    #[must_use]
    pub fn outbox(&self) -> Option<&Path> {
        self.outbox.as_deref()
    }

    /// Keeps what is accepted for `sealed` peers in a file, so that it outlives this process. The
    /// file is made if it is not there; its folder must be. Takes the feature `durable`.
    pub fn set_outbox(&mut self, path: impl Into<PathBuf>) {
        self.outbox = Some(path.into());
    }

    /// The names of all peers: clients first, then servers.
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        let clients = self.clients.iter().map(|client| &client.name);
        clients.chain(self.servers.iter().map(|server| &server.name)).map(PeerName::as_str)
    }

    /// Everything that an exchange is made from.
    pub(crate) fn setup(
        &self,
        network: Arc<dyn Network>,
        store: Option<Arc<dyn Store>>,
    ) -> Result<Setup, ConfigError> {
        let servers = self.servers.iter().map(|server| self.server(server));
        Ok(Setup {
            name: self.name.clone(),
            listen: (!self.clients.is_empty()).then(|| Listen {
                address: SocketAddr::new(self.ip, self.port),
                path: self.url.path().to_owned(),
            }),
            clients: self.clients.iter().map(|client| self.expected(client)).collect(),
            servers: servers.collect::<Result<_, _>>()?,
            network,
            store,
            config: self.settings.clone(),
        })
    }

    fn expected(&self, client: &Client) -> InvitedClient {
        InvitedClient {
            name: client.name.clone(),
            range: client.range,
            credentials: credentials(client.encoding, &self.name, &client.name, &client.keys),
        }
    }

    fn server(&self, server: &KnownServer) -> Result<Server, ConfigError> {
        let tls = match &server.authorities {
            _ if !server.url.is_secure() => None,
            Some(path) => Some(Tls::with_authorities(path)),
            None => Some(Tls::platform()),
        };
        let tls = tls.transpose();
        let renewal = server.source.as_ref().map(|source| {
            let renewal: Arc<dyn Renewal> =
                Arc::new(InvitationFile::new(&self.name, server, source));
            renewal
        });
        Ok(Server {
            renewal,
            name: server.name.clone(),
            endpoint: server.url.clone(),
            credentials: credentials(server.encoding, &server.name, &self.name, &server.keys),
            tls: tls.map_err(|source| ConfigError::Tls { server: server.name.clone(), source })?,
        })
    }

    fn check_new(&self, name: &PeerName) -> Result<(), ConfigError> {
        if *name == self.name {
            return Err(ConfigError::Own(name.clone()));
        }
        if self.peers().any(|known| known == name.as_str()) {
            return Err(ConfigError::Duplicate(name.clone()));
        }
        Ok(())
    }

    fn check(file: ServiceFile) -> Result<Self, ConfigError> {
        let ServiceFile { name, url, ip, port, outbox, settings, clients, servers } = file;
        let mut config = Self {
            name,
            url,
            ip,
            port,
            outbox,
            settings,
            clients: Vec::new(),
            servers: Vec::new(),
        };
        for ClientEntry { name, range, encoding, inner_key, outer_key } in clients {
            config.check_new(&name)?;
            let keys = join(&name, inner_key, outer_key)?;
            config.clients.push(Client { name, range, encoding, keys });
        }
        for ServerEntry { name, url, encoding, authorities, inner_key, outer_key } in servers {
            config.check_new(&name)?;
            let keys = join(&name, inner_key, outer_key)?;
            let source = None;
            config.servers.push(KnownServer { name, url, encoding, authorities, keys, source });
        }
        Ok(config)
    }

    fn to_file(&self) -> ServiceFile {
        let client = |client: &Client| {
            let (inner_key, outer_key) = KeyTable::pair(&client.keys);
            let (name, range, encoding) = (client.name.clone(), client.range, client.encoding);
            ClientEntry { name, range, encoding, inner_key, outer_key }
        };
        let server = |server: &KnownServer| {
            let (inner_key, outer_key) = KeyTable::pair(&server.keys);
            let (name, url, encoding) = (server.name.clone(), server.url.clone(), server.encoding);
            let authorities = server.authorities.clone();
            ServerEntry { name, url, encoding, authorities, inner_key, outer_key }
        };
        ServiceFile {
            name: self.name.clone(),
            url: self.url.clone(),
            ip: self.ip,
            port: self.port,
            outbox: self.outbox.clone(),
            settings: self.settings.clone(),
            clients: self.clients.iter().map(client).collect(),
            servers: self.servers.iter().map(server).collect(),
        }
    }
}

fn join(peer: &PeerName, inner: KeyTable, outer: KeyTable) -> Result<Arc<KeyPair>, ConfigError> {
    let keys = KeyTable::join(inner, outer).map(Arc::new);
    keys.map_err(|source| ConfigError::Keys { peer: peer.clone(), source })
}

pub(crate) fn credentials(
    encoding: Encoding,
    server: &PeerName,
    client: &PeerName,
    keys: &Arc<KeyPair>,
) -> Credentials {
    match encoding {
        Encoding::Hex => Credentials::Hex(Arc::new(hex::Credentials::new(Arc::clone(keys)))),
        _ => Credentials::Sealed(Arc::new(sealed::Credentials::new(server, client, keys))),
    }
}
