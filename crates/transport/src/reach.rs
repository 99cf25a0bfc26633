//! An attempt to connect for a person who wants to know how far it comes. It takes the same steps as
//! any other up to the answer to the request, and hangs up then: there is no handshake, so no keys are
//! used. A server that has answered 101 charges its address nothing (`stranger.rs`).

use std::net::SocketAddr;

use futures_util::future::join_all;

use crate::addresses::Addresses;
use crate::dial::within;
use crate::error::Step;
use crate::{DialError, Dialer, Endpoint, Stream, upgrade};

/// How far an attempt to connect came that ends before the handshake.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reach {
    /// The proxy on the way, as host and port. The addresses are then its own.
    pub proxy: Option<String>,
    /// Where that proxy is named: `settings.transport.outbound`, or a variable of the environment.
    pub proxy_named_in: Option<&'static str>,
    /// Whether that proxy has connected this machine to the server.
    pub tunnelled: bool,
    /// The addresses of the host, if its name was resolved.
    pub addresses: Vec<SocketAddr>,
    /// The address that a connection was opened to.
    pub connected: Option<SocketAddr>,
    /// Whether the TLS handshake has succeeded.
    pub secured: bool,
    /// The certificates that the server has presented, in DER, its own first; they need not be valid.
    pub certificates: Vec<Vec<u8>>,
    /// Why it came no farther; `Ok` if the server has switched to a WebSocket of this protocol.
    pub outcome: Result<(), DialError>,
}

impl Dialer {
    /// Tries to reach the server, within the time limits of an ordinary attempt, and hangs up before
    /// the handshake. Sends one request.
    pub async fn reach(&self) -> Reach {
        let mut reach = Reach {
            proxy: None,
            proxy_named_in: None,
            tunnelled: false,
            addresses: Vec::new(),
            connected: None,
            secured: false,
            certificates: Vec::new(),
            outcome: Ok(()),
        };
        reach.outcome = self.reach_into(&mut reach).await;
        reach
    }

    /// The same by each of the URLs, at the same time.
    pub async fn reach_each(&self) -> Vec<(Endpoint, Reach)> {
        let attempts = self.endpoints().map(async |endpoint| {
            let here = Self { endpoint: endpoint.clone(), ..self.clone() };
            (here.endpoint.clone(), here.reach().await)
        });
        join_all(attempts).await
    }

    async fn reach_into(&self, reach: &mut Reach) -> Result<(), DialError> {
        let timeouts = &self.config.timeouts;
        let mut known = Addresses::default();
        let route = self.route()?;
        reach.proxy = route.proxy().map(|proxy| proxy.url.to_string());
        reach.proxy_named_in = route.proxy().map(|proxy| proxy.named_in);
        let resolving = self.resolve(&route);
        let resolved = self.hop(&route, timeouts.connect, Step::Resolve, resolving).await?;
        reach.addresses.clone_from(&resolved);
        let raced = self.race(&route, known.begin(resolved));
        let raced = self.hop(&route, timeouts.connect, Step::Connect, raced).await;
        let (address, stream) = raced?;
        reach.connected = Some(address);
        let stream = self.tunnel(&route, stream).await?;
        reach.tunnelled = route.proxy().is_some();
        let stream = self.present(stream, reach).await?;
        let encoding = self.login.credentials.encoding();
        let limits = &self.config.limits;
        within(timeouts.answer, Step::Answer, async {
            Ok(upgrade::request(stream, &self.endpoint, limits, encoding).await?)
        })
        .await?;
        Ok(())
    }

    /// Performs the TLS handshake, if the endpoint asks for it, and keeps the certificates.
    async fn present(&self, stream: Stream, reach: &mut Reach) -> Result<Stream, DialError> {
        let Some(tls) = self.tls.as_ref().filter(|_| self.endpoint.is_secure()) else {
            return self.secure(stream).await;
        };
        let (limit, step) = (self.config.timeouts.answer, Step::Tls);
        let host = self.endpoint.host();
        let stream = within(limit, step, async {
            tls.present(host, stream, &mut reach.certificates).await.map_err(DialError::Tls)
        })
        .await?;
        reach.secured = true;
        Ok(stream)
    }
}
