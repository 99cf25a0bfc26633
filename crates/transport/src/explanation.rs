//! Explanations of failures of a link, for whoever asks: a code for programs, words for people, a remedy.
//! `docs/doctor.md` lists the codes, which stay the same; the words may change.

use std::error::Error;
use std::io;

use paddington_wire::CloseCode;
use rustls::CertificateError;

use crate::client_certificate::Verdict;
use crate::error::Step;
use crate::refusal_kind::Cause;
use crate::{DialError, End, UpgradeError, with_causes};

/// The explanation of a failure, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// Its stable name.
    pub code: &'static str,
    /// The cause, in words.
    pub cause: String,
    /// The remedy that probably helps, if anything does but time.
    pub remedy: Option<&'static str>,
}

impl Explanation {
    /// Returns the explanation with other words for it.
    #[must_use]
    pub fn described(self, describe: impl FnOnce(&str) -> String) -> Self {
        Self { cause: describe(&self.cause), ..self }
    }
}

impl From<Cause> for Explanation {
    fn from(cause: Cause) -> Self {
        Self { code: cause.code(), cause: cause.to_string(), remedy: Some(cause.remedy()) }
    }
}

impl From<&DialError> for Explanation {
    fn from(error: &DialError) -> Self {
        Self { code: error.code(), cause: with_causes(error), remedy: error.remedy() }
    }
}

impl From<&End> for Explanation {
    fn from(end: &End) -> Self {
        Self { code: end.code(), cause: with_causes(end), remedy: end.remedy() }
    }
}

impl DialError {
    /// Returns the stable name of the failure, for programs (`docs/doctor.md`).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Resolve { .. } | Self::Timeout(Step::Resolve) => "name_not_resolved",
            Self::Connect { source, .. } => of_connect(source),
            Self::Proxy { source, .. } => source.code(),
            Self::Timeout(Step::Connect) => "connect_timeout",
            Self::Timeout(Step::Tls | Step::Answer) => "no_answer",
            Self::Tls(source) => Verdict::of(source).map_or_else(|| of_tls(source), Verdict::code),
            Self::Upgrade(error) => error.code(),
            Self::HungUp(_) => "keys_refused",
            Self::HungUpLate(_) | Self::Timeout(Step::Say | Step::Handshake) => "handshake_stalled",
            Self::Handshake(_) => "server_unproven",
            Self::Refused(code) => of_close(*code),
            Self::NoKeys => "no_keys",
            Self::NotNow => "no_lease",
            Self::Transmit(_) => "own_failure",
            Self::Superseded => "superseded",
        }
    }
}

impl UpgradeError {
    /// Returns the stable name of the failure, for programs (`docs/doctor.md`).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadProxy => "proxy_without_upgrade",
            Self::Answer(_) => "answer_altered",
            Self::OtherEncoding(_) => "encoding_mismatch",
            Self::Request(_) => "not_reached",
            Self::Http(error) if Verdict::of(error).is_some() => {
                Verdict::of(error).map_or("", Verdict::code)
            }
            Self::Http(_) if self.is_silence() => "closed_without_answer",
            Self::Http(_) => "not_http",
            Self::Refused { status, by_service } => match (status.as_u16(), by_service) {
                (404, true) => "wrong_path",
                (300..=399, _) => "redirected",
                (401 | 407, _) => "proxy_wants_password",
                (403, _) => "address_refused",
                (429, _) => "too_many_attempts",
                (502..=504, _) => "proxy_without_service",
                (400 | 426, _) => "proxy_without_upgrade",
                _ => "other_server",
            },
        }
    }
}

impl End {
    /// Returns the stable name of the reason, for programs (`docs/doctor.md`).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed(_) => "closed",
            Self::PeerClosed(code) => of_close(*code),
            Self::Lost(_) => "connection_lost",
            Self::Dead => "peer_silent",
            Self::Stuck => "peer_takes_nothing",
            Self::Tampered(_) => "tampered",
            Self::Violation(_) => "protocol_violation",
            Self::Exhausted(_) => "session_exhausted",
        }
    }
}

fn of_close(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Busy => "duplicate_process",
        CloseCode::Violation => "protocol_violation",
        CloseCode::Overload => "overload",
        CloseCode::Removed => "link_removed",
        _ => "peer_closed",
    }
}

fn of_connect(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection_refused",
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => "no_route",
        _ => "not_reached",
    }
}

fn of_tls(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(<dyn Error + Send + Sync>::downcast_ref) {
        Some(rustls::Error::InvalidCertificate(cause)) => of_certificate(cause),
        None if error.kind() == io::ErrorKind::Other => "tls_authorities",
        Some(rustls::Error::InvalidMessage(_)) | None => "tls_not_spoken",
        Some(_) => "tls_failed",
    }
}

fn of_certificate(cause: &CertificateError) -> &'static str {
    match cause {
        // The signature is bad if an authority of the same name was made anew.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "tls_unknown_authority",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "tls_expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "tls_not_yet_valid"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "tls_wrong_name"
        }
        _ => "tls_failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProxyError;

    fn connect(kind: io::ErrorKind) -> DialError {
        DialError::Connect { address: "192.0.2.1:6501".to_owned(), source: kind.into() }
    }

    fn odd() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    fn proxy(source: ProxyError) -> DialError {
        DialError::Proxy { proxy: "proxy.example:3128".to_owned(), source }
    }

    fn tls(cause: CertificateError) -> DialError {
        DialError::Tls(io::Error::other(rustls::Error::InvalidCertificate(cause)))
    }

    fn answered(status: u16, by_service: bool) -> DialError {
        let status = http::StatusCode::from_u16(status).unwrap();
        UpgradeError::Refused { status, by_service }.into()
    }

    /// Every code of a failed attempt is in the tables of `docs/doctor.md`.
    #[test]
    fn a_failed_attempt_has_a_code_that_the_page_explains() {
        let page = include_str!("../../../docs/doctor.md");
        let resolve = io::Error::other("no such name");
        for (error, code) in [
            (DialError::Resolve { host: "x".to_owned(), source: resolve }, "name_not_resolved"),
            (connect(io::ErrorKind::ConnectionRefused), "connection_refused"),
            (connect(io::ErrorKind::HostUnreachable), "no_route"),
            (connect(io::ErrorKind::TimedOut), "not_reached"),
            (
                proxy(ProxyError::Connect { address: "x".to_owned(), source: odd() }),
                "proxy_unreachable",
            ),
            (proxy(ProxyError::Resolve(odd())), "proxy_unreachable"),
            (proxy(ProxyError::NoAnswer(odd())), "proxy_no_answer"),
            (proxy(ProxyError::Answer("odd")), "proxy_answer_invalid"),
            (proxy(ProxyError::WantsPassword), "proxy_wants_password"),
            (proxy(ProxyError::NotBasic), "proxy_wants_password"),
            (proxy(ProxyError::PasswordRefused), "proxy_password_refused"),
            (proxy(ProxyError::Refused(http::StatusCode::FORBIDDEN)), "proxy_refused"),
            (
                proxy(ProxyError::Refused(http::StatusCode::BAD_GATEWAY)),
                "proxy_cannot_reach_server",
            ),
            (proxy(ProxyError::PasswordFile { path: "x".into(), source: odd() }), "proxy_settings"),
            (DialError::Timeout(Step::Connect), "connect_timeout"),
            (DialError::Timeout(Step::Answer), "no_answer"),
            (DialError::Timeout(Step::Handshake), "handshake_stalled"),
            (tls(CertificateError::UnknownIssuer), "tls_unknown_authority"),
            (tls(CertificateError::Expired), "tls_expired"),
            (tls(CertificateError::NotValidYet), "tls_not_yet_valid"),
            (tls(CertificateError::NotValidForName), "tls_wrong_name"),
            (tls(CertificateError::BadEncoding), "tls_failed"),
            (DialError::Tls(io::ErrorKind::UnexpectedEof.into()), "tls_not_spoken"),
            (DialError::Tls(io::Error::other("none")), "tls_authorities"),
            (answered(404, true), "wrong_path"),
            (answered(404, false), "other_server"),
            (answered(308, false), "redirected"),
            (answered(407, false), "proxy_wants_password"),
            (answered(403, true), "address_refused"),
            (answered(429, true), "too_many_attempts"),
            (answered(503, false), "proxy_without_service"),
            (answered(426, false), "proxy_without_upgrade"),
            (UpgradeError::BadProxy.into(), "proxy_without_upgrade"),
            (UpgradeError::Answer("odd").into(), "answer_altered"),
            (UpgradeError::OtherEncoding("odd").into(), "encoding_mismatch"),
            (DialError::Refused(CloseCode::Busy), "duplicate_process"),
            (DialError::Refused(CloseCode::Overload), "overload"),
            (DialError::Refused(CloseCode::Removed), "link_removed"),
            (DialError::Refused(CloseCode::Violation), "protocol_violation"),
            (DialError::Refused(CloseCode::Shutdown), "peer_closed"),
            (DialError::NoKeys, "no_keys"),
            (DialError::NotNow, "no_lease"),
        ] {
            assert_eq!(error.code(), code, "{error}");
            assert!(page.contains(&format!("`{code}`")), "{code}");
        }
    }

    #[test]
    fn the_end_of_a_connection_has_a_code_that_the_page_explains() {
        let page = include_str!("../../../docs/doctor.md");
        for (end, code) in [
            (End::Dead, "peer_silent"),
            (End::Stuck, "peer_takes_nothing"),
            (End::Violation(paddington_wire::Violation::OtherEncoding), "protocol_violation"),
            (End::PeerClosed(CloseCode::Shutdown), "peer_closed"),
        ] {
            let explanation = Explanation::from(&end);
            assert_eq!((explanation.code, explanation.cause), (code, with_causes(&end)));
            assert!(page.contains(&format!("`{code}`")), "{code}");
        }
        for code in ["connection_lost", "tampered"] {
            assert!(page.contains(&format!("`{code}`")), "{code}");
        }
    }
}
