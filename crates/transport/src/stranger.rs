//! What is known of a connection before it is established, for its limits and for the log.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use paddington_wire::HandshakeError;

use crate::admission::{Awaited, PendingConnection};
use crate::error::AcceptError;
use crate::refusal_kind::{Cause, RefusalKind, Stage};

/// An admitted connection that is not established yet.
#[derive(Debug)]
pub(crate) struct Stranger {
    /// The other end of the TCP connection, which may be a proxy.
    pub(crate) direct: IpAddr,
    pub(crate) pending: PendingConnection,
    /// The address that a trusted proxy reports.
    reported: OnceLock<IpAddr>,
    /// Whether it has sent anything.
    begun: AtomicBool,
    /// Why it will be refused if its request is not understood: it begins with another protocol.
    foreign: OnceLock<Cause>,
    /// Whether it uses an encoding for which no invitation allows its address.
    other_encoding: AtomicBool,
}

impl Stranger {
    pub(crate) fn new(direct: IpAddr, pending: PendingConnection) -> Self {
        Self {
            direct,
            pending,
            reported: OnceLock::new(),
            begun: AtomicBool::new(false),
            foreign: OnceLock::new(),
            other_encoding: AtomicBool::new(false),
        }
    }

    pub(crate) fn report(&self, address: IpAddr) {
        let _ = self.reported.set(address); // a connection has one header or one request
    }

    /// Notes that nothing but the proxy's header has arrived yet.
    pub(crate) fn begin_anew(&self) {
        self.begun.store(false, Ordering::Relaxed);
    }

    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    pub(crate) fn speak(&self, foreign: Cause) {
        let _ = self.foreign.set(foreign); // the first sign of it says most
    }

    pub(crate) fn use_other_encoding(&self) {
        self.other_encoding.store(true, Ordering::Relaxed);
    }

    /// Returns the address that it comes from, as far as is known.
    pub(crate) fn address(&self) -> IpAddr {
        self.reported.get().copied().unwrap_or(self.direct)
    }

    /// Returns how a failure is logged, unless the connection was only lost.
    pub(crate) fn refusal(&self, error: &AcceptError) -> Option<RefusalKind> {
        let awaited = self.pending.awaited();
        let foreign = self.foreign.get().filter(|_| awaited == Awaited::Request);
        let cause = foreign.copied().or_else(|| self.cause_of(error))?;
        let stage = match (error, awaited) {
            (AcceptError::ProxyHeader | AcceptError::NotAdmitted(_), _) => Stage::Accept,
            (_, Awaited::Request) => Stage::Request,
            (_, Awaited::Hello) => Stage::Hello,
            (_, Awaited::Ready) => Stage::Ready,
        };
        Some(RefusalKind { stage, cause })
    }

    fn cause_of(&self, error: &AcceptError) -> Option<Cause> {
        let spoken = self.begun.load(Ordering::Relaxed);
        Some(match error {
            AcceptError::Evicted => Cause::Crowd,
            AcceptError::Timeout if spoken => Cause::Late,
            AcceptError::Timeout => Cause::Silent,
            AcceptError::ProxyHeader => Cause::ProxyHeader,
            AcceptError::NotAdmitted(cause) => *cause,
            AcceptError::Plain => Cause::Plain,
            AcceptError::Tls(error) => Cause::of_tls(error),
            AcceptError::Head => Cause::Head,
            AcceptError::Upgrade(status) => self.cause_of_status(*status),
            AcceptError::Handshake(error) => self.cause_of_handshake(error),
            AcceptError::Worthless(why) => Cause::of_keys(*why),
            AcceptError::Refused(code) => code.and_then(Cause::of_close)?,
            AcceptError::Transmit(_) => Cause::Own,
            AcceptError::Lost(error) if error.is_violation() => Cause::Violation,
            AcceptError::Lost(_) | AcceptError::Gone => return None,
        })
    }

    fn cause_of_status(&self, status: StatusCode) -> Cause {
        match status {
            StatusCode::NOT_FOUND => Cause::Path,
            StatusCode::TOO_MANY_REQUESTS => Cause::Attempts,
            StatusCode::FORBIDDEN if self.reported.get().is_none() => Cause::UnreportedAddress,
            StatusCode::FORBIDDEN => Cause::Address,
            _ if self.other_encoding.load(Ordering::Relaxed) => Cause::NoSubprotocol,
            _ => Cause::NoUpgrade,
        }
    }

    fn cause_of_handshake(&self, error: &HandshakeError) -> Cause {
        match error {
            HandshakeError::Unauthenticated(_) if self.other_encoding.load(Ordering::Relaxed) => {
                Cause::SealedEncoding
            }
            HandshakeError::Unauthenticated(_) => Cause::Unauthenticated,
            HandshakeError::Replayed => Cause::Replayed,
            HandshakeError::Key(_) | HandshakeError::Seal(_) => Cause::Own,
            _ => Cause::Violation,
        }
    }
}

/// Returns whether a failure costs its address an attempt: a TLS handshake that fails, a malformed
/// request, or a hello that is not authentic. A connection that sends nothing, or hangs up, costs none;
/// neither does one that does not trust this service's certificate, which may have expired.
pub(crate) fn is_charged(error: &AcceptError) -> bool {
    match error {
        AcceptError::Plain | AcceptError::Head => true,
        AcceptError::Tls(error) => Cause::of_tls(error) != Cause::Distrust,
        AcceptError::Upgrade(status) => {
            matches!(*status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND)
        }
        AcceptError::Handshake(error) => {
            !matches!(error, HandshakeError::Key(_) | HandshakeError::Seal(_))
        }
        AcceptError::Worthless(_) => true,
        AcceptError::Lost(error) => error.is_violation(),
        _ => false,
    }
}
