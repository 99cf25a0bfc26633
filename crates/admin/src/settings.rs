//! The settings of the local API.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Reload, Token};

/// How the local API is reached, and what makes a service ready.
#[derive(Debug)]
pub struct Settings {
    /// The path of the Unix socket, if there is to be one. Whoever can open it may do everything.
    pub socket: Option<PathBuf>,
    /// The loopback address for TCP, if there is to be one.
    pub tcp: Option<SocketAddr>,
    /// The token that requests over TCP have to show. TCP requires one.
    pub token: Option<Token>,
    /// Whether requests over TCP may change peers.
    pub changes: bool,
    /// Names of the peers without which the service is not ready. If another living replica owns the link of one, that
    /// replica answers for it.
    pub required: Vec<String>,
    /// How long a required peer may be away.
    pub grace: Duration,
    /// How the service's configuration is read again, if it can be.
    pub reload: Option<Reload>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: None,
            tcp: None,
            token: None,
            changes: false,
            required: Vec::new(),
            grace: Duration::from_secs(60),
            reload: None,
        }
    }
}
