//! What a connection is refused for before it is established, in the words of the log
//! (`docs/protocol.md` §9). They are fixed: nothing that a stranger has chosen is among them.

use std::fmt;

use paddington_wire::CloseCode;
use paddington_wire::keys::Why;

use crate::admission::LimitReached;

/// What a connection was refused for, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RefusalKind {
    pub(crate) stage: Stage,
    pub(crate) cause: Cause,
}

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    Accept,
    Request,
    Hello,
    Ready,
}

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Cause {
    Address,
    UnreportedAddress,
    ProxyHeader,
    UntrustedHeader,
    Attempts,
    Crowd,
    Silent,
    Late,
    Tls,
    Plain,
    TlsFailed,
    Distrust,
    ClientCertificate,
    Head,
    NoUpgrade,
    NoSubprotocol,
    Path,
    SealedEncoding,
    Unauthenticated,
    Violation,
    Burned,
    Expired,
    Replayed,
    Duplicate,
    Overload,
    Removed,
    Own,
}

const REPORT_ADDRESS: &str = "let the proxy set the header that the configuration names, or report its \
    clients in the PROXY protocol; none is needed for its own health checks";
const SEND_HEADER: &str = "let the proxy send the header (HAProxy: send-proxy-v2; nginx: proxy_protocol \
    on), or set proxy_protocol = false";

impl Stage {
    /// Returns how far the connection had come, in a word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Request => "request",
            Self::Hello => "HELLO",
            Self::Ready => "READY",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Cause {
    /// Returns the cause for which a connection is refused that exceeds a limit.
    pub(crate) fn of_limit(limit: LimitReached) -> Self {
        match limit {
            LimitReached::TooManyAttempts => Self::Attempts,
            LimitReached::TooManyPending => Self::Crowd,
        }
    }

    /// Returns the cause for which a hello is refused that was made with these keys.
    pub(crate) fn of_keys(why: Why) -> Self {
        match why {
            Why::Burned => Self::Burned,
            Why::Expired => Self::Expired,
        }
    }

    /// Returns the cause for which an authenticated client is refused with this code, unless that is no
    /// concern of an operator: the service shuts down, or a newer connection was faster.
    pub(crate) fn of_close(code: CloseCode) -> Option<Self> {
        match code {
            CloseCode::Busy => Some(Self::Duplicate),
            CloseCode::Overload => Some(Self::Overload),
            CloseCode::Removed => Some(Self::Removed),
            CloseCode::Violation => Some(Self::Violation),
            _ => None,
        }
    }

    /// Returns the stable name of the cause, for programs (`docs/doctor.md`).
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Address => "address_not_admitted",
            Self::UnreportedAddress => "proxy_reports_no_address",
            Self::ProxyHeader => "proxy_header_missing",
            Self::UntrustedHeader => "proxy_header_untrusted",
            Self::Attempts => "too_many_attempts",
            Self::Crowd => "too_many_pending",
            Self::Silent => "sent_nothing",
            Self::Late => "handshake_stalled",
            Self::Tls => "tls_not_spoken",
            Self::Plain => "tls_expected",
            Self::TlsFailed => "tls_failed",
            Self::Distrust => "certificate_not_trusted",
            Self::ClientCertificate => "no_client_certificate",
            Self::Head => "malformed_request",
            Self::NoUpgrade => "proxy_without_upgrade",
            Self::NoSubprotocol | Self::SealedEncoding => "encoding_mismatch",
            Self::Path => "wrong_path",
            Self::Unauthenticated => "unknown_keys",
            Self::Violation => "protocol_violation",
            Self::Burned => "burned_keys",
            Self::Expired => "invitation_expired",
            Self::Replayed => "replayed",
            Self::Duplicate => "duplicate_process",
            Self::Overload => "overload",
            Self::Removed => "link_removed",
            Self::Own => "own_failure",
        }
    }

    /// Returns the cause in words.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Address => "no invitation allows its address",
            Self::UnreportedAddress => "the proxy does not report its client's address",
            Self::ProxyHeader => {
                "the proxy does not begin with a valid header of the PROXY protocol"
            }
            Self::UntrustedHeader => {
                "it begins with a header of the PROXY protocol, which is not accepted from its address"
            }
            Self::Attempts => "too many failed attempts from its address",
            Self::Crowd => "it gave way to others: too many connections are pending",
            Self::Silent => "it sent nothing in time",
            Self::Late => "it was not established in time",
            Self::Tls => "it speaks TLS, but this port does not",
            Self::Plain => "it does not speak TLS, but this port does",
            Self::TlsFailed => {
                "its TLS handshake is malformed, too long, or offers nothing that is known"
            }
            Self::Distrust => "it does not trust the certificate of this service",
            Self::ClientCertificate => {
                "it presents no client certificate that a configured authority has signed"
            }
            Self::Head => "the head of its request is malformed or too long, or more follows it",
            Self::NoUpgrade => "its request is no upgrade to a WebSocket of this protocol",
            Self::NoSubprotocol => {
                "it asks for the hex encoding, and no hex invitation allows its address"
            }
            Self::Path => "its request is for another path than this service's URL",
            Self::SealedEncoding => {
                "it uses the sealed encoding, and no sealed invitation allows its address"
            }
            Self::Unauthenticated => "the peer could not be authenticated",
            Self::Violation => "the peer broke the protocol in its handshake",
            Self::Burned => {
                "it used burned keys: those of an invitation or a copy that others replaced"
            }
            Self::Expired => "it used an invitation that has expired",
            Self::Replayed => "the hello was seen before",
            Self::Duplicate => "another live process uses its invitation",
            Self::Overload => "too many handshakes with its invitation",
            Self::Removed => "its link was removed",
            Self::Own => "this side could not make its part of the handshake",
        }
    }

    /// Returns what probably helps if the connection was meant to succeed.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Address => {
                "if it is a client, widen the range of its invitation; if it is a proxy, add it to \
                 the trusted ones"
            }
            Self::UnreportedAddress => REPORT_ADDRESS,
            Self::ProxyHeader => SEND_HEADER,
            Self::UntrustedHeader => {
                "if it is a proxy of your own, add it to the trusted ones and set proxy_protocol = true"
            }
            Self::Attempts => "see its earlier lines; it gets new attempts with time",
            Self::Crowd => "if these are clients, raise the limits of pending connections",
            Self::Silent => "none is needed for a scanner or a health check",
            Self::Late => "check the network between the two, and whether it is a client at all",
            Self::Tls => {
                "use ws:// in the invitation, or a proxy that accepts TLS in front of this port"
            }
            Self::Plain => {
                "use wss:// in the invitation; none is needed for a scanner or a health check"
            }
            Self::TlsFailed => {
                "let the client, or a proxy in front of this port, speak TLS 1.2 or 1.3; none is needed for \
                 a scanner"
            }
            Self::Distrust => {
                "see whether the certificate is valid, is for the host of the URL, and comes with its \
                 intermediate ones; let the client trust its authority"
            }
            Self::ClientCertificate => {
                "let what connects for the client present a certificate of client_authorities, or take \
                 client_authorities out of the configuration"
            }
            Self::Head => "check what a proxy adds to requests; none is needed for a scanner",
            Self::NoUpgrade => {
                "let a proxy pass on Upgrade, Connection and Sec-WebSocket headers; none is needed \
                 for a scanner or a browser"
            }
            Self::NoSubprotocol | Self::SealedEncoding => {
                "give the client its latest invitation, and check its range"
            }
            Self::Unauthenticated => {
                "give the client its latest invitation, check its range, and let a proxy pass on the \
                 query of the URL"
            }
            Self::Path => "let the path of the invitation, of the proxy and of this service agree",
            Self::Violation => "update the older side, or check who connects",
            Self::Burned => {
                "if the peer itself has never connected, somebody else has used its invitation: \
                 remove the link and invite it anew; else renew it"
            }
            Self::Expired => "renew the invitation, and give the client the new one",
            Self::Replayed => "none: recorded traffic was sent again",
            Self::Duplicate => "stop one of the two processes, or give each its own invitation",
            Self::Overload => {
                "check whether several processes use one invitation, or one keeps restarting"
            }
            Self::Removed => "invite the peer anew, if it is to connect",
            Self::Own => "check the system's source of random bytes",
        }
    }
}
