//! What probably helps after an attempt to connect has failed, or a connection has ended: the words for
//! the log and for the status of a peer.

use std::io;

use paddington_wire::CloseCode;
use rustls::CertificateError;

use crate::client_certificate::Verdict;
use crate::{DialError, End};

/// What helps after a server has hung up that never knew this client.
pub(crate) const UNUSED: &str = "this service has never used its invitation: if the server says nothing else, somebody else has \
     used it first, or it has expired or was withdrawn; tell the server's operator, and ask for a new \
     one";

impl DialError {
    /// Returns what probably helps, if anything does but time.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Resolve { .. } => {
                Some("check the host in the invitation's URL, and this machine's DNS")
            }
            Self::Connect { source, .. } => Some(of_connect(source)),
            Self::Proxy { source, .. } => Some(source.remedy()),
            Self::Tls(source) => {
                Some(Verdict::of(source).map_or_else(|| of_tls(source), Verdict::remedy))
            }
            Self::Upgrade(error) => error.remedy(),
            Self::Timeout(_) => Some(
                "check the route and the firewalls between the two, and that the port in the \
                 invitation's URL is the server's",
            ),
            Self::HungUp(_) => {
                Some("check that the invitation is the latest one and allows this client's address")
            }
            Self::HungUpLate(_) => Some(
                "check whether large packets are lost on the way (path MTU), and whether the server \
                 is overloaded",
            ),
            Self::Handshake(_) => Some(
                "check that the URL leads to the server that wrote the invitation, and ask it for a \
                 new one",
            ),
            Self::Refused(code) => of_close(*code),
            Self::NoKeys => Some("ask for a new invitation"),
            Self::NotNow => Some("check that this replica reaches its database"),
            Self::Transmit(_) | Self::Superseded => None,
        }
    }
}

impl End {
    /// Returns what probably helps, if the connection has ended for a reason that is to be mended.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::PeerClosed(code) => of_close(*code),
            Self::Lost(_) => Some("check the network between the two if this happens often"),
            Self::Dead => Some(
                "check the network between the two, and whether the peer's machine hangs; a proxy may \
                 cut connections that are silent",
            ),
            Self::Stuck => Some("check whether the peer's process hangs, and the network to it"),
            Self::Tampered(_) => Some(
                "check what is between the two: a proxy, a faulty device or an attacker changes data",
            ),
            Self::Violation(_) => Some(VIOLATION),
            Self::Closed(_) | Self::Exhausted(_) => None,
        }
    }
}

/// What helps after one side has broken the protocol.
const VIOLATION: &str = "update the older side";

fn of_close(code: CloseCode) -> Option<&'static str> {
    match code {
        CloseCode::Busy => {
            Some("stop the other process that uses this invitation, or give each its own")
        }
        CloseCode::Violation => Some(VIOLATION),
        CloseCode::Overload => Some(
            "wait, and check whether several processes use this invitation, or one keeps restarting",
        ),
        CloseCode::Removed => Some("ask for a new invitation"),
        _ => None,
    }
}

fn of_connect(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "check that the server runs, that the port in the invitation's URL is its own, and that no \
             firewall refuses it"
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            "check this machine's network and its route to the server"
        }
        _ => "check the route and the firewalls between the two, and that the server runs",
    }
}

fn of_tls(error: &io::Error) -> &'static str {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(cause)) => of_certificate(cause),
        None if error.kind() == io::ErrorKind::Other => {
            "name the certificate authorities that are to be trusted"
        }
        Some(rustls::Error::InvalidMessage(_)) | None => {
            "check whether the port speaks TLS at all: the URL may have to begin with ws://"
        }
        Some(_) => "check the TLS settings of the server or of the proxy in front of it",
    }
}

fn of_certificate(cause: &CertificateError) -> &'static str {
    match cause {
        CertificateError::UnknownIssuer => {
            "if the server's authority is a private one, name its file in the authorities of this link"
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "renew the server's certificate, and check this machine's clock"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "use the name that the certificate is for in the invitation's URL"
        }
        _ => "check the server's certificate",
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use paddington_wire::{ReceiveError, Violation};

    use super::*;
    use crate::{ProxyError, SocketError, UpgradeError};

    fn hung_up() -> SocketError {
        tokio_tungstenite::tungstenite::Error::ConnectionClosed.into()
    }

    fn connect(kind: io::ErrorKind) -> DialError {
        DialError::Connect { address: "192.0.2.1:6501".to_owned(), source: kind.into() }
    }

    fn proxy(source: ProxyError) -> DialError {
        DialError::Proxy { proxy: "proxy.example:3128".to_owned(), source }
    }

    fn tls(cause: CertificateError) -> DialError {
        DialError::Tls(io::Error::other(rustls::Error::InvalidCertificate(cause)))
    }

    #[test]
    fn a_failed_attempt_says_what_helps_and_not_in_its_cause() {
        let refused =
            |status| DialError::Upgrade(UpgradeError::Refused { status, by_service: true });
        let resolve = io::Error::other("no such name");
        for (error, remedy) in [
            (DialError::Resolve { host: "x".to_owned(), source: resolve }, "DNS"),
            (connect(io::ErrorKind::ConnectionRefused), "check that the server runs"),
            (connect(io::ErrorKind::HostUnreachable), "route"),
            (connect(io::ErrorKind::TimedOut), "firewalls"),
            (tls(CertificateError::UnknownIssuer), "authorities of this link"),
            (tls(CertificateError::Expired), "clock"),
            (tls(CertificateError::NotValidForName), "name that the certificate is for"),
            (tls(CertificateError::BadSignature), "certificate"),
            (DialError::Tls(io::ErrorKind::UnexpectedEof.into()), "ws://"),
            (DialError::Tls(io::Error::other("none")), "authorities"),
            (refused(StatusCode::NOT_FOUND), "path"),
            (refused(StatusCode::TOO_MANY_REQUESTS), "too many"),
            (DialError::Upgrade(UpgradeError::BadProxy), "Upgrade"),
            (DialError::Upgrade(UpgradeError::Answer("odd")), "proxy"),
            (proxy(ProxyError::WantsPassword), "proxy_password_file"),
            (proxy(ProxyError::NotBasic), "Basic"),
            (proxy(ProxyError::PasswordRefused), "password"),
            (proxy(ProxyError::Refused(StatusCode::FORBIDDEN)), "allow CONNECT"),
            (proxy(ProxyError::Refused(StatusCode::BAD_GATEWAY)), "resolve and reach"),
            (proxy(ProxyError::Answer("odd")), "an HTTP proxy"),
            (DialError::Timeout(crate::Step::Answer), "firewalls"),
            (DialError::HungUp(hung_up()), "latest one"),
            (DialError::HungUpLate(hung_up()), "path MTU"),
            (DialError::Refused(CloseCode::Busy), "other process"),
            (DialError::Refused(CloseCode::Overload), "several processes"),
            (DialError::Refused(CloseCode::Removed), "new invitation"),
            (DialError::Refused(CloseCode::Violation), "update"),
            (DialError::NoKeys, "new invitation"),
            (DialError::NotNow, "database"),
        ] {
            let found = error.remedy().unwrap();
            assert!(found.contains(remedy), "{error}: {found}");
            assert!(!error.to_string().contains("check"), "{error}");
        }
        for error in [DialError::Refused(CloseCode::Shutdown), DialError::Superseded] {
            assert_eq!(error.remedy(), None, "{error}");
        }
    }

    #[test]
    fn the_end_of_a_connection_says_what_helps() {
        for (end, remedy) in [
            (End::Lost(hung_up()), "network"),
            (End::Dead, "silent"),
            (End::Stuck, "hangs"),
            (End::Tampered(ReceiveError::Replayed), "changes data"),
            (End::Violation(Violation::OtherEncoding), "update"),
            (End::PeerClosed(CloseCode::Removed), "new invitation"),
        ] {
            let found = end.remedy().unwrap();
            assert!(found.contains(remedy), "{end}: {found}");
        }
        assert_eq!(End::PeerClosed(CloseCode::Shutdown).remedy(), None);
    }
}
