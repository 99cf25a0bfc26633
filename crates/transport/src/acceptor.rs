//! Turns an accepted connection into an established one: admission, TLS, HTTP upgrade, handshake.
//! Implements the server's side of `docs/protocol.md` §9 and §10.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use paddington_wire::sealed::{self, Challenge};
use paddington_wire::{Encoding, HandshakeError, InvitedClients, KeyError};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, trace};

use crate::admission::{Admission, Awaited, PendingConnection};
use crate::contract::Host;
use crate::error::AcceptError;
use crate::handshake::{self, Established, TrafficOf, Upgraded};
use crate::proxy_protocol::{self, HeaderError};
use crate::refusal_kind::{Cause, RefusalKind, Stage};
use crate::refusal_log::{RefusalLog, Refusals};
use crate::request_head::HeadError;
use crate::stranger::{self, Stranger};
use crate::stream::TooMuch;
use crate::tls_server::TLS_HANDSHAKE;
use crate::upgrade::{self, Answered, Offer, Policy};
use crate::{Config, Connection, Network, ServerTls, Stream, TrustedProxies, request_head};

/// The server's side of connecting: admits, upgrades and authenticates accepted connections.
pub struct Acceptor<H> {
    host: H,
    path: String,
    config: Arc<Config>,
    admission: Arc<Admission>,
    pub(crate) refusals: Arc<RefusalLog>,
    decoy: Arc<sealed::Credentials>,
    pub(crate) tls: Option<ServerTls>,
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
        let refusals = Arc::default();
        Ok(Self { host, path: path.to_owned(), config, admission, refusals, decoy, tls: None })
    }

    /// Lets it speak TLS with its clients, or with the proxies before them.
    #[must_use]
    pub fn with_tls(self, tls: ServerTls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Returns the refusals that are kept for whoever runs the service.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        Refusals::new(&self.refusals)
    }

    /// Admits or refuses a connection. An admitted one is established on its own task.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        accepted: Accepted,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let Accepted { stream, direct, network } = accepted;
        let pending = match self.enter(direct, &network) {
            Ok(pending) => pending,
            Err(cause) => {
                let kind = RefusalKind { stage: Stage::Accept, cause };
                return self.refusals.note(kind, direct, Instant::now());
            }
        };
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
                    stranger.pending.established();
                    let timeouts = acceptor.config.timeouts.listening();
                    let mut connection = Connection::new(established, timeouts, network);
                    connection.renew_after(timeouts.session_age);
                    connection.spawn(&connections);
                }
                Err(error) => acceptor.refuse(stranger, &error),
            }
        });
    }

    fn enter(
        &self,
        direct: IpAddr,
        network: &Arc<dyn Network>,
    ) -> Result<PendingConnection, Cause> {
        let proxied = self.config.proxies.trusts(direct);
        if !proxied && !self.host.clients().admits(direct) {
            return Err(Cause::Address);
        }
        let address = (!proxied).then_some(direct);
        let entered = self.admission.enter(address, Instant::now(), || network.chance());
        entered.map_err(Cause::of_limit)
    }

    /// Logs why a connection was refused, and charges its address if it is to blame.
    fn refuse(&self, stranger: Stranger, error: &AcceptError) {
        let (address, now) = (stranger.address(), Instant::now());
        match (stranger.refusal(error), error) {
            (Some(kind), _) => self.refusals.note(kind, address, now),
            (None, AcceptError::Lost(cause)) => trace!(%address, %cause, "lost a connection"),
            (None, cause) => debug!(%address, %cause, "a connection was not established"),
        }
        if stranger::is_charged(error) {
            stranger.pending.failed(now);
        }
    }

    /// Establishes an admitted connection. Each step has a deadline, and so have all of them
    /// together: those of a stranger, and those of a client whose hello is authentic.
    async fn establish(
        &self,
        stream: Stream,
        stranger: &Stranger,
    ) -> Result<Established<TrafficOf<H>>, AcceptError> {
        let timeouts = &self.config.timeouts;
        let deadline = Instant::now() + timeouts.establish;
        let whole = async {
            let begun = timeout(timeouts.request, self.begin(stream, stranger)).await;
            let (stream, head) = begun.map_err(|_| AcceptError::Timeout)??;
            let upgraded = self.upgrade(stream, head, stranger).await?;
            handshake::respond(&self.host, &self.decoy, upgraded, &self.config).await
        };
        let mut whole = pin!(whole);
        if let Ok(ended) = timeout_at(deadline, &mut whole).await {
            return ended;
        }
        let deadline = match stranger.pending.awaited() {
            Awaited::Ready => deadline + timeouts.establish,
            Awaited::Request | Awaited::Hello => deadline,
        };
        timeout_at(deadline, whole).await.map_err(|_| AcceptError::Timeout)?
    }

    /// Reads the header of a proxy, performs the TLS handshake, if this port speaks TLS, and reads the head
    /// of the request. The first byte tells a stranger that is silent from one that is slow, or that speaks
    /// something else.
    async fn begin(
        &self,
        mut stream: Stream,
        stranger: &Stranger,
    ) -> Result<(Stream, Bytes), AcceptError> {
        if self.config.proxies.begins_with_header(stranger.direct) {
            self.introduce(&mut stream, stranger).await?;
        }
        let first = first_byte(&mut stream).await?;
        stranger.begin();
        match first {
            TLS_HANDSHAKE if self.tls.is_none() => stranger.speak(Cause::Tls),
            proxy_protocol::BINARY => stranger.speak(Cause::UntrustedHeader),
            _ => {}
        }
        match &self.tls {
            Some(_) if first != TLS_HANDSHAKE => return Err(AcceptError::Plain),
            Some(tls) => stream = tls.accept(stream).await.map_err(of_tls)?,
            None => {}
        }
        let head = request_head::read(&mut stream, &self.config.limits).await;
        let head = head.map_err(|error| match error {
            HeadError::Lost => AcceptError::Gone,
            _ => AcceptError::Head,
        })?;
        if proxy_protocol::begins(&head) {
            stranger.speak(Cause::UntrustedHeader);
        }
        Ok((stream, head))
    }

    /// Reads the header in which a trusted proxy says whom it connects, and admits that client. A proxy
    /// that names nobody, as in its health checks, is admitted by its own address once something follows.
    async fn introduce(&self, stream: &mut Stream, stranger: &Stranger) -> Result<(), AcceptError> {
        first_byte(stream).await?;
        stranger.begin();
        let client = proxy_protocol::read(stream).await.map_err(|error| match error {
            HeaderError::Malformed => AcceptError::ProxyHeader,
            HeaderError::Lost => AcceptError::Gone,
        })?;
        stranger.begin_anew();
        let (address, unexpected) = match client {
            Some(client) => (client, Cause::Address),
            None => {
                first_byte(stream).await?;
                (stranger.direct, Cause::UnreportedAddress)
            }
        };
        stranger.report(address);
        if !self.host.clients().admits(address) {
            return Err(AcceptError::NotAdmitted(unexpected));
        }
        let resolved = stranger.pending.resolve(address, Instant::now());
        resolved.map_err(|limit| AcceptError::NotAdmitted(Cause::of_limit(limit)))
    }

    async fn upgrade<'a>(
        &self,
        mut stream: Stream,
        head: Bytes,
        stranger: &'a Stranger,
    ) -> Result<Upgraded<'a>, AcceptError> {
        let (address, pending) = (stranger.address(), &stranger.pending);
        let proxies = self.config.proxies.sets_header(stranger.direct);
        let challenge = Challenge::random().map_err(HandshakeError::from)?;
        let rules = Rules {
            path: &self.path,
            clients: self.host.clients(),
            proxies: proxies.then_some(&self.config.proxies),
            stranger,
        };
        stream.set_budget(None);
        stream.unread(head);
        let answered = upgrade::answer(stream, &self.config.limits, address, challenge, &rules);
        let answered = timeout(self.config.timeouts.handshake_step, answered).await;
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

/// Waits for the first byte, which is left unread.
async fn first_byte(stream: &mut Stream) -> Result<u8, AcceptError> {
    let mut first = [0];
    stream.set_budget(Some(first.len()));
    if !matches!(stream.read(&mut first).await, Ok(1..)) {
        return Err(AcceptError::Gone);
    }
    stream.unread(Bytes::copy_from_slice(&first));
    Ok(first[0])
}

/// Tells a TLS handshake that is wrong from one that was only cut off.
fn of_tls(error: io::Error) -> AcceptError {
    let is_wrong =
        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>);
    if is_wrong || TooMuch::caused(&error) { AcceptError::Tls(error) } else { AcceptError::Gone }
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
