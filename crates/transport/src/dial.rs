//! One attempt to connect: from an endpoint to an established connection.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

use crate::addresses::{Addresses, Order};
use crate::contract::Reservation;
use crate::error::Step;
use crate::handshake::{Established, initiate};
use crate::outbound::{self, Route};
use crate::{
    Config, DialError, Endpoint, Fallbacks, Login, Network, ProxyError, Stream, Tls, upgrade,
};

/// Everything that a client needs to reach one server.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// The URL of the server.
    pub endpoint: Endpoint,
    /// Further URLs of the same server, which are tried when that one fails.
    pub fallbacks: Fallbacks,
    /// The credentials with which this service proves its name.
    pub login: Login,
    /// The network to connect through.
    pub network: Arc<dyn Network>,
    /// The certificate authorities to trust, for a `wss` endpoint.
    pub tls: Option<Tls>,
    /// Limits, timeouts and delays.
    pub config: Arc<Config>,
}

impl Dialer {
    /// Returns the URLs of the server, in the order in which they are preferred. One that is there twice
    /// is only one.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let further = self.fallbacks.iter().filter(|url| **url != self.endpoint);
        std::iter::once(&self.endpoint).chain(further)
    }

    /// Connects, performs the handshake and takes the slot of `reservation`. Addresses that failed
    /// in an earlier attempt are tried last. Of keys with generations, it uses those that are `back`
    /// before the newest.
    pub(crate) async fn dial<P: Reservation>(
        &self,
        reservation: P,
        back: usize,
        known: &mut Addresses,
    ) -> Result<Established<P::Traffic>, DialError> {
        if !reservation.may_speak() {
            return Err(DialError::NotNow);
        }
        let config = &self.config;
        let stream = self.open(known).await?;
        let secured = self.secure(stream);
        let stream = within(config.timeouts.answer, Step::Tls, secured).await?;
        let encoding = self.login.credentials.encoding();
        let (stream, offer) = within(config.timeouts.answer, Step::Answer, async {
            Ok(upgrade::request(stream, &self.endpoint, &config.limits, encoding).await?)
        })
        .await?;
        initiate(reservation, &self.login, back, stream, offer, config).await
    }

    /// Opens a byte stream to the server, through a proxy if there is one on the way.
    async fn open(&self, known: &mut Addresses) -> Result<Stream, DialError> {
        let (route, timeouts) = (self.route()?, &self.config.timeouts);
        let connected = self.connect(&route, known);
        let stream = self.hop(&route, timeouts.connect, Step::Connect, connected).await?;
        self.tunnel(&route, stream).await
    }

    /// Returns the way to the server.
    pub(crate) fn route(&self) -> Result<Route, DialError> {
        let environment = self.network.proxy_environment();
        Route::to(&self.endpoint, &self.config.outbound, &environment)
    }

    /// Opens a byte stream to the server or to the proxy on the way.
    async fn connect(&self, route: &Route, known: &mut Addresses) -> Result<Stream, DialError> {
        let addresses = self.resolve(route).await?;
        let (address, stream) = self.race(route, known.begin(addresses)).await?;
        known.connected_to(address);
        Ok(stream)
    }

    /// Returns the addresses of the server or of the proxy on the way, of which there is at least one.
    /// The name of a server behind a proxy is the proxy's to resolve.
    pub(crate) async fn resolve(&self, route: &Route) -> Result<Vec<SocketAddr>, DialError> {
        let (host, port) = match route.proxy() {
            Some(proxy) => (proxy.url.host(), proxy.url.port()),
            None => (self.endpoint.host(), self.endpoint.port()),
        };
        let resolved = self.network.resolve(host, port).await;
        let resolved = resolved.and_then(|addresses| {
            if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
        });
        resolved.map_err(|source| match route.proxy() {
            Some(proxy) => proxy.failed(ProxyError::Resolve(source)),
            None => DialError::Resolve { host: host.to_owned(), source },
        })
    }

    /// Performs a step on the way to the server or to the proxy before it, within its time limit.
    pub(crate) async fn hop<T>(
        &self,
        route: &Route,
        limit: Duration,
        step: Step,
        work: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        match (within(limit, step, work).await, route.proxy()) {
            (Err(DialError::Timeout(_)), Some(proxy)) => Err(proxy.timed_out(step)),
            (done, _) => done,
        }
    }

    /// Lets the proxy on the way connect `stream` to the server, if there is one.
    pub(crate) async fn tunnel(&self, route: &Route, stream: Stream) -> Result<Stream, DialError> {
        let Some(proxy) = route.proxy() else { return Ok(stream) };
        let opened = async {
            let opened = outbound::open(stream, proxy, &self.endpoint, &self.config.limits).await;
            opened.map_err(|error| proxy.failed(error))
        };
        self.hop(route, self.config.timeouts.answer, Step::Answer, opened).await
    }

    /// Performs the TLS handshake, if the endpoint asks for it.
    pub(crate) async fn secure(&self, stream: Stream) -> Result<Stream, DialError> {
        match (&self.tls, self.endpoint.is_secure()) {
            (Some(tls), true) => {
                tls.connect(self.endpoint.host(), stream).await.map_err(DialError::Tls)
            }
            (None, true) => {
                Err(DialError::Tls(io::Error::other("no certificate authorities are configured")))
            }
            (_, false) => Ok(stream),
        }
    }

    /// Tries the addresses one after another, the next one as soon as one has failed or a short
    /// delay has passed. The first that connects is used (RFC 8305 §5). A doubted one gets its turn
    /// later, so that it does not win over a good one that is farther away.
    pub(crate) async fn race(
        &self,
        route: &Route,
        order: Order,
    ) -> Result<(SocketAddr, Stream), DialError> {
        let timeouts = &self.config.timeouts;
        let last_good = order.addresses.len() - order.doubted;
        let mut waiting = order.addresses.into_iter();
        let mut attempts = FuturesUnordered::new();
        let mut last = None;
        loop {
            if let Some(address) = waiting.next() {
                attempts.push(async move { (address, self.network.connect(address).await) });
            }
            let patience = match waiting.len() == last_good {
                true => timeouts.next_address.max(timeouts.connect / 4),
                false => timeouts.next_address,
            };
            let finished = tokio::select! {
                biased;
                finished = attempts.next() => finished,
                () = sleep(patience), if waiting.len() > 0 => continue,
            };
            match finished {
                Some((address, Ok(stream))) => return Ok((address, stream)),
                Some((address, Err(source))) => last = Some((address, source)),
                None => break,
            }
        }
        let (address, source) = last.map_or_else(
            || (self.endpoint.authority(), io::ErrorKind::NotFound.into()),
            |(address, source)| (address.to_string(), source),
        );
        Err(match route.proxy() {
            Some(proxy) => proxy.failed(ProxyError::Connect { address, source }),
            None => DialError::Connect { address, source },
        })
    }
}

pub(crate) async fn within<T>(
    limit: Duration,
    step: Step,
    work: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    timeout(limit, work).await.map_err(|_| DialError::Timeout(step))?
}
