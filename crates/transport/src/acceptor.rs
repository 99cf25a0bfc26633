//! Turns an accepted connection into an established one: what comes before the request (`front.rs`), the
//! HTTP upgrade, the handshake. Implements the server's side of `docs/protocol.md` §9 and §10.

use std::fmt;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use paddington_wire::sealed::{self, Challenge};
use paddington_wire::{Encoding, HandshakeError, InvitedClients, KeyError};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Awaited;
use crate::contract::Host;
use crate::error::AcceptError;
use crate::front::{Accepted, Entrance, Front};
use crate::handshake::{self, Established, TrafficOf, Upgraded};
use crate::refusal_log::Refusals;
use crate::stranger::Stranger;
use crate::upgrade::{self, Answered, Offer, Policy};
use crate::{Config, Connection, ServerTls, Stream, TrustedProxies};

/// The server's side of connecting: admits, upgrades and authenticates accepted connections.
pub struct Acceptor<H> {
    host: H,
    path: String,
    front: Front,
    decoy: Arc<sealed::Credentials>,
}

impl<H: Host> Acceptor<H> {
    /// Creates an acceptor for `host`. Clients of the `sealed` encoding must request `path`.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the operating system provides no random bytes.
    pub fn new(host: H, path: &str, config: Arc<Config>) -> Result<Self, KeyError> {
        let decoy = Arc::new(sealed::Credentials::decoy()?);
        Ok(Self { host, path: path.to_owned(), front: Front::new(config), decoy })
    }

    /// Lets it speak TLS with its clients, or with the proxies before them.
    #[must_use]
    pub fn with_tls(mut self, tls: ServerTls) -> Self {
        self.front.tls = Some(tls);
        self
    }

    /// Returns the refusals that are kept for whoever runs the service.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        Refusals::new(&self.front.refusals)
    }

    /// Establishes an admitted connection. Each step has a deadline, and so have all of them
    /// together: those of a stranger, and those of a client whose hello is authentic.
    async fn establish(
        &self,
        stream: Stream,
        stranger: &Stranger,
    ) -> Result<Established<TrafficOf<H>>, AcceptError> {
        let config = &self.front.config;
        let deadline = Instant::now() + config.timeouts.establish;
        let whole = async {
            let admits = |address| self.host.clients().admits(address);
            let (stream, head) = self.front.begin(stream, stranger, admits).await?;
            let upgraded = self.upgrade(stream, head, stranger).await?;
            handshake::respond(&self.host, &self.decoy, upgraded, config).await
        };
        let mut whole = pin!(whole);
        if let Ok(ended) = timeout_at(deadline, &mut whole).await {
            return ended;
        }
        let deadline = match stranger.pending.awaited() {
            Awaited::Ready => deadline + config.timeouts.establish,
            Awaited::Request | Awaited::Hello => deadline,
        };
        timeout_at(deadline, whole).await.map_err(|_| AcceptError::Timeout)?
    }

    async fn upgrade<'a>(
        &self,
        mut stream: Stream,
        head: Bytes,
        stranger: &'a Stranger,
    ) -> Result<Upgraded<'a>, AcceptError> {
        let (address, pending) = (stranger.address(), &stranger.pending);
        let config = &self.front.config;
        let proxies = config.proxies.sets_header(stranger.direct);
        let challenge = Challenge::random().map_err(HandshakeError::from)?;
        let rules = Rules {
            path: &self.path,
            clients: self.host.clients(),
            proxies: proxies.then_some(&config.proxies),
            stranger,
        };
        stream.set_budget(None);
        stream.unread(head);
        let answered = upgrade::answer(stream, &config.limits, address, challenge, &rules);
        let answered = timeout(config.timeouts.handshake_step, answered).await;
        let Answered { stream, address, offer, bucket } =
            answered.map_err(|_| AcceptError::Timeout)?.map_err(AcceptError::Upgrade)?;
        if matches!(offer, Offer::Sealed(_)) && !rules.clients.admits_in(Encoding::Sealed, address)
        {
            stranger.use_other_encoding();
        }
        pending.answered(Instant::now());
        Ok(Upgraded { stream, address, offer, bucket, pending })
    }
}

impl<H: Host> Entrance for Acceptor<H> {
    fn front(&self) -> &Front {
        &self.front
    }

    fn spawn(self: &Arc<Self>, accepted: Accepted, tasks: &TaskTracker, stop: &CancellationToken) {
        let Accepted { stream, direct, network } = accepted;
        if !self.host.is_open() {
            return;
        }
        let admits = |address| self.host.clients().admits(address);
        let Some(pending) = self.front.enter(direct, &network, admits) else { return };
        let (acceptor, stop, connections) = (Arc::clone(self), stop.clone(), tasks.clone());
        tasks.spawn(async move {
            let stranger = Stranger::new(direct, pending);
            let established = Box::pin(acceptor.establish(stream, &stranger));
            let established = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = stranger.pending.evicted() => Err(AcceptError::Evicted),
                established = established => established,
            };
            match established {
                Ok(established) => {
                    network.established(stranger.address());
                    stranger.pending.established();
                    let timeouts = acceptor.front.config.timeouts.listening();
                    let mut connection = Connection::new(established, timeouts, network);
                    connection.renew_after(timeouts.session_age);
                    connection.spawn(&connections);
                }
                Err(error) => acceptor.front.refuse(stranger, &error),
            }
        });
    }
}

impl<H> fmt::Debug for Acceptor<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The [`Policy`] for one request.
struct Rules<'a> {
    path: &'a str,
    clients: Arc<InvitedClients>,
    proxies: Option<&'a TrustedProxies>,
    stranger: &'a Stranger,
}

impl Policy for Rules<'_> {
    fn path(&self) -> &str {
        self.path
    }

    fn proxies(&self) -> Option<&TrustedProxies> {
        self.proxies
    }

    fn admit(&self, address: IpAddr) -> Result<(), StatusCode> {
        self.stranger.report(address);
        if !self.clients.admits(address) {
            return Err(StatusCode::FORBIDDEN);
        }
        let resolved = self.stranger.pending.resolve(address, Instant::now());
        resolved.map_err(|_| StatusCode::TOO_MANY_REQUESTS)
    }

    fn admits_hex(&self, address: IpAddr) -> bool {
        let admits = self.clients.admits_in(Encoding::Hex, address);
        if !admits {
            self.stranger.use_other_encoding();
        }
        admits
    }
}
