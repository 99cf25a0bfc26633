//! Turns an accepted connection into an established one: admission, HTTP upgrade, handshake.
//! Implements the server's side of `docs/protocol.md` §9 and §10.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use paddington_wire::sealed::{self, Challenge};
use paddington_wire::{HandshakeError, InvitedClients, KeyError};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, trace};

use crate::admission::{Admission, LimitReached, PendingConnection};
use crate::contract::Host;
use crate::error::AcceptError;
use crate::handshake::{self, Established, TrafficOf, Upgraded};
use crate::upgrade::{self, Policy};
use crate::{Config, Connection, Network, Stream, TrustedProxies, request_head};

/// The server's side of connecting: admits, upgrades and authenticates accepted connections.
pub struct Acceptor<H> {
    host: H,
    path: String,
    config: Arc<Config>,
    pub(crate) admission: Arc<Admission>,
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
        let admission = Admission::new(config.limits);
        Ok(Self { host, path: path.to_owned(), config, admission, decoy })
    }

    /// Admits or refuses a connection. An admitted one is established on its own task.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        accepted: Accepted,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let Accepted { stream, direct, network } = accepted;
        let pending = match self.enter(direct) {
            Ok(pending) => pending,
            Err(error) => return note(direct, &error),
        };
        let (acceptor, stop, connections) = (Arc::clone(self), stop.clone(), tasks.clone());
        tasks.spawn(async move {
            let established = Box::pin(acceptor.establish(stream, direct, &pending));
            let established = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = pending.evicted() => Err(AcceptError::Evicted),
                established = established => established,
            };
            match established {
                Ok(established) => {
                    pending.established();
                    let timeouts = acceptor.config.timeouts.listening();
                    Connection::new(established, timeouts, network).spawn(&connections);
                }
                Err(error) => note(direct, &error),
            }
        });
    }

    fn enter(&self, direct: IpAddr) -> Result<PendingConnection, AcceptError> {
        let proxied = self.config.proxies.trusts(direct);
        if !proxied && !self.host.clients().admits(direct) {
            return Err(AcceptError::Address);
        }
        let address = (!proxied).then_some(direct);
        self.admission.enter(address, Instant::now()).map_err(AcceptError::from)
    }

    /// Establishes an admitted connection. Each step has a deadline, and so have all of them
    /// together.
    async fn establish(
        &self,
        mut stream: Stream,
        direct: IpAddr,
        pending: &PendingConnection,
    ) -> Result<Established<TrafficOf<H>>, AcceptError> {
        let timeouts = &self.config.timeouts;
        let deadline = Instant::now() + timeouts.establish;
        let whole = async {
            let head =
                timeout(timeouts.request, request_head::read(&mut stream, &self.config.limits));
            let head = head.await.map_err(|_| AcceptError::Timeout)?;
            let head = head.map_err(|_| AcceptError::Head)?;
            let upgraded = self.upgrade(stream, head, direct, pending).await?;
            handshake::respond(&self.host, &self.decoy, upgraded, &self.config).await
        };
        timeout_at(deadline, whole).await.map_err(|_| AcceptError::Timeout)?
    }

    async fn upgrade<'a>(
        &self,
        mut stream: Stream,
        head: Bytes,
        direct: IpAddr,
        pending: &'a PendingConnection,
    ) -> Result<Upgraded<'a>, AcceptError> {
        let challenge = Challenge::random().map_err(HandshakeError::from)?;
        let rules = Rules {
            path: &self.path,
            clients: self.host.clients(),
            proxies: self.config.proxies.trusts(direct).then_some(&self.config.proxies),
            pending,
        };
        stream.set_budget(None);
        stream.unread(head);
        let answered = upgrade::answer(stream, &self.config.limits, direct, challenge, &rules);
        let answered = timeout(self.config.timeouts.handshake_step, answered).await;
        let (stream, address, offer) =
            answered.map_err(|_| AcceptError::Timeout)?.map_err(AcceptError::Upgrade)?;
        pending.answered(Instant::now());
        Ok(Upgraded { stream, address, offer, pending })
    }
}

/// An accepted connection.
pub(crate) struct Accepted {
    pub(crate) stream: Stream,
    /// The other end of the TCP connection, which may be a proxy.
    pub(crate) direct: IpAddr,
    pub(crate) network: Arc<dyn Network>,
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
    pending: &'a PendingConnection,
}

impl Policy for Rules<'_> {
    fn path(&self) -> &str {
        self.path
    }

    fn proxies(&self) -> Option<&TrustedProxies> {
        self.proxies
    }

    fn admit(&self, address: IpAddr) -> Result<(), StatusCode> {
        if !self.clients.admits(address) {
            return Err(StatusCode::FORBIDDEN);
        }
        let resolved = self.pending.resolve(address, Instant::now());
        resolved.map_err(|_| StatusCode::TOO_MANY_REQUESTS)
    }

    fn admits_hex(&self, address: IpAddr) -> bool {
        self.clients.admits_hex(address)
    }
}

impl From<LimitReached> for AcceptError {
    fn from(refused: LimitReached) -> Self {
        match refused {
            LimitReached::TooManyAttempts => Self::Attempts,
            LimitReached::TooManyPending => Self::Pending,
        }
    }
}

/// Logs why a connection was refused. Strangers must not be able to flood the log: only a failed
/// handshake is logged above debug level, and the limit on attempts per address bounds those.
fn note(address: IpAddr, error: &AcceptError) {
    match error {
        AcceptError::Handshake(cause) => {
            info!(%address, %cause, "refused a connection");
        }
        AcceptError::Lost(cause) => trace!(%address, %cause, "lost a pending connection"),
        _ => debug!(%address, cause = %error, "refused a connection"),
    }
}
