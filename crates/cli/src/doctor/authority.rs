//! Faults in the TLS of a server, or of the proxy in front of it.

use std::io;
use std::time::SystemTime;

use paddington::{Reach, with_causes};
use rustls::{CertificateError, Error};

use super::certificate::Certificate;
use super::report::Finding;

/// Says which certificate it was, as far as it can be read.
pub(super) fn presented(reach: &Reach) -> String {
    let first = reach.certificates.first().and_then(|der| Certificate::read(der));
    first.map_or_else(|| "a certificate".to_owned(), |certificate| certificate.to_string())
}

/// Says what is trusted.
pub(super) fn trusted(authorities: Option<&std::path::Path>) -> String {
    match authorities {
        Some(file) => format!("the authorities in {}", file.display()),
        None => "the authorities of this machine".to_owned(),
    }
}

pub(super) fn finding(error: &io::Error, reach: &Reach, host: &str, trusted: &str) -> Finding {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    match cause {
        Some(Error::InvalidCertificate(cause)) => {
            of_certificate(cause, &presented(reach), host, trusted)
        }
        Some(Error::InvalidMessage(_)) | None => Finding::new(
            "tls_not_spoken",
            format!("the port does not speak TLS: {}", with_causes(error)),
            "If no proxy with TLS is in front of the server, its URL begins with ws://: correct the \
             url there, and let its operator renew the invitation. Else check the port.",
        ),
        Some(cause) => Finding::new(
            "tls_failed",
            format!("the TLS handshake failed: {cause}"),
            "Check the TLS settings of the server, or of the proxy in front of it; TLS 1.2 or 1.3 is \
             needed.",
        ),
    }
}

fn of_certificate(cause: &CertificateError, presented: &str, host: &str, trusted: &str) -> Finding {
    let clock = humantime::format_rfc3339_seconds(SystemTime::now());
    let both = "renew the certificate at the server (or its proxy), or set this clock right";
    match cause {
        // The signature is bad if an authority of the same name was made anew.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Finding::new(
            "tls_unknown_authority",
            format!("no trusted authority has signed {presented}; trusted are {trusted}"),
            "If the authority is a private one, ask the server's operator for its certificate in PEM, \
             and join with it: paddington join FILE --authorities PEM. If it is a public one, let \
             the server send its intermediate certificates, too.",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Finding::new(
            "tls_expired",
            format!("{presented}, has expired, by the clock of this machine: {clock}"),
            format!("See which of the two is wrong: {both}."),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Finding::new(
                "tls_not_yet_valid",
                format!("{presented}, is not valid yet, by the clock of this machine: {clock}"),
                format!("See which of the two is wrong: {both}."),
            )
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Finding::new(
                "tls_wrong_name",
                format!(
                    "the invitation says {host:?}, and {presented} is not for that name: {cause}"
                ),
                "Let the server's operator write a name into the url that its certificate is for and \
                 renew the invitation, or get a certificate for this name.",
            )
        }
        _ => Finding::new(
            "tls_failed",
            format!("{presented} is not valid: {cause}"),
            "Check the certificate of the server, or of the proxy in front of it.",
        ),
    }
}
