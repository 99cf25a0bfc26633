//! The question whether a server can be reached, for a person who looks for what is wrong.

use std::sync::Arc;
use std::time::Duration;

use paddington_exchange::Server;
use paddington_transport::{Dialer, Endpoint, Login, Reach, system};
use paddington_wire::Instance;

use crate::known::KnownPeer;
use crate::{ConfigError, ServiceConfig};

impl ServiceConfig {
    /// Tries to reach a server by its first URL as a service would: resolves its name, connects, performs
    /// the TLS handshake, and asks for the WebSocket (`docs/protocol.md` §2). It then hangs up: no key is
    /// used, and nothing is changed. Each of these steps may take `limit`. A service that refuses the request
    /// with 400 or 404 counts one attempt of this machine's address (`docs/protocol.md` §9).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if there is no such server, or the certificate authorities for it cannot be used.
    pub async fn reach(&self, server: &str, limit: Duration) -> Result<Reach, ConfigError> {
        Ok(self.dialer(server, limit)?.reach().await)
    }

    /// Does as [`reach`](Self::reach), by all URLs of the server at the same time.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if there is no such server, or the certificate authorities for it cannot be used.
    pub async fn reach_each(
        &self,
        server: &str,
        limit: Duration,
    ) -> Result<Vec<(Endpoint, Reach)>, ConfigError> {
        Ok(self.dialer(server, limit)?.reach_each().await)
    }

    fn dialer(&self, server: &str, limit: Duration) -> Result<Dialer, ConfigError> {
        let KnownPeer::Server(server) = self.known_peer(server)? else {
            return Err(ConfigError::NotAServer(server.parse()?));
        };
        let Server { name, endpoint, fallbacks, credentials, tls, .. } = self.to_dial(&server)?;
        let instance = Instance::random();
        let instance = instance.map_err(|source| ConfigError::Keys { peer: name, source })?;
        let mut config = self.settings().transport.clone();
        (config.timeouts.connect, config.timeouts.answer) = (limit, limit);
        let (network, config) = (system(), Arc::new(config));
        let login = Login { credentials, instance };
        Ok(Dialer { endpoint, fallbacks, login, network, tls, config })
    }
}
