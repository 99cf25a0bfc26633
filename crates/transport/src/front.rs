//! What comes before a request: admission, the header of a proxy, TLS, and the head. Implements the first
//! steps of the server's side of `docs/protocol.md` §9 and §10.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, trace};

use crate::admission::{Admission, PendingConnection};
use crate::error::AcceptError;
use crate::proxy_protocol::{self, HeaderError};
use crate::refusal_kind::{Cause, RefusalKind, Stage};
use crate::refusal_log::RefusalLog;
use crate::request_head::{self, HeadError};
use crate::stranger::{self, Stranger};
use crate::stream::TooMuch;
use crate::tls_server::TLS_HANDSHAKE;
use crate::{Config, Network, ServerTls, Stream};

/// The first steps of every connection, and what is remembered of those that were refused.
pub(crate) struct Front {
    pub(crate) config: Arc<Config>,
    admission: Arc<Admission>,
    pub(crate) refusals: Arc<RefusalLog>,
    pub(crate) tls: Option<ServerTls>,
}

/// An accepted connection.
pub(crate) struct Accepted {
    pub(crate) stream: Stream,
    /// The other end of the TCP connection, which may be a proxy.
    pub(crate) direct: IpAddr,
    pub(crate) network: Arc<dyn Network>,
}

/// Whoever takes the connections that a listener has accepted.
pub(crate) trait Entrance: Send + Sync + 'static {
    /// Returns its first steps.
    fn front(&self) -> &Front;

    /// Admits or refuses a connection. An admitted one goes on on its own task.
    fn spawn(self: &Arc<Self>, accepted: Accepted, tasks: &TaskTracker, stop: &CancellationToken);
}

impl Front {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let admission = Admission::new(config.limits);
        Self { config, admission, refusals: Arc::default(), tls: None }
    }

    /// Returns the limits on pending connections, with which it admits them.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Admits a connection, or notes why it does not. Whether its address is one that may come is asked
    /// unless it is a proxy's.
    pub(crate) fn enter(
        &self,
        direct: IpAddr,
        network: &Arc<dyn Network>,
        admits: impl FnOnce(IpAddr) -> bool,
    ) -> Option<PendingConnection> {
        let proxied = self.config.proxies.trusts(direct);
        let entered = if !proxied && !admits(direct) {
            Err(Cause::Address)
        } else {
            let address = (!proxied).then_some(direct);
            let entered = self.admission.enter(address, Instant::now(), || network.chance());
            entered.map_err(Cause::of_limit)
        };
        let refused = |cause| {
            let kind = RefusalKind { stage: Stage::Accept, cause };
            self.refusals.note(kind, direct, Instant::now());
        };
        entered.map_err(refused).ok()
    }

    /// Logs why a connection was refused, and charges its address if it is to blame.
    pub(crate) fn refuse(&self, stranger: Stranger, error: &AcceptError) {
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

    /// Reads the header of a proxy, performs the TLS handshake, if this port speaks TLS, and reads the head
    /// of the request, in the time that a request may take. The first byte tells a stranger that is silent
    /// from one that is slow, or that speaks something else.
    pub(crate) async fn begin(
        &self,
        stream: Stream,
        stranger: &Stranger,
        admits: impl Fn(IpAddr) -> bool,
    ) -> Result<(Stream, Bytes), AcceptError> {
        let begun = timeout(self.config.timeouts.request, self.read(stream, stranger, admits));
        begun.await.map_err(|_| AcceptError::Timeout)?
    }

    async fn read(
        &self,
        mut stream: Stream,
        stranger: &Stranger,
        admits: impl Fn(IpAddr) -> bool,
    ) -> Result<(Stream, Bytes), AcceptError> {
        if self.config.proxies.begins_with_header(stranger.direct) {
            introduce(&mut stream, stranger, admits).await?;
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
}

/// Reads the header in which a trusted proxy says whom it connects, and admits that client. A proxy
/// that names nobody, as in its health checks, is admitted by its own address once something follows.
async fn introduce(
    stream: &mut Stream,
    stranger: &Stranger,
    admits: impl Fn(IpAddr) -> bool,
) -> Result<(), AcceptError> {
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
    if !admits(address) {
        return Err(AcceptError::NotAdmitted(unexpected));
    }
    let resolved = stranger.pending.resolve(address, Instant::now());
    resolved.map_err(|limit| AcceptError::NotAdmitted(Cause::of_limit(limit)))
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
