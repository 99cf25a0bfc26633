//! Faults in the TLS of a server, or of the proxy in front of it.

use std::io;
use std::time::SystemTime;

use paddington::{Reach, with_causes};

use super::report::Finding;
use crate::certificate::Certificate;

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

/// Explains a failure of TLS that has this code.
pub(super) fn finding(
    code: &'static str,
    error: &io::Error,
    reach: &Reach,
    host: &str,
    trusted: &str,
) -> Finding {
    let (presented, clock) =
        (presented(reach), humantime::format_rfc3339_seconds(SystemTime::now()));
    let both = "See which of the two is wrong: renew the certificate at the server (or its proxy), or \
                set this clock right.";
    let cause = with_causes(error);
    let (text, remedy) = match code {
        "tls_unknown_authority" => (
            format!("no trusted authority has signed {presented}; trusted are {trusted}"),
            "If the authority is a private one, ask the server's operator for its certificate in PEM, \
             and join with it: paddington join FILE --authorities PEM. If it is a public one, let \
             the server send its intermediate certificates, too.",
        ),
        "tls_expired" => {
            (format!("{presented}, has expired, by the clock of this machine: {clock}"), both)
        }
        "tls_not_yet_valid" => {
            (format!("{presented}, is not valid yet, by the clock of this machine: {clock}"), both)
        }
        "tls_wrong_name" => (
            format!("the invitation says {host:?}, and {presented} is not for that name: {cause}"),
            "Let the server's operator write a name into the url that its certificate is for and renew \
             the invitation, or get a certificate for this name.",
        ),
        "tls_authorities" => (
            format!("the authorities of this link cannot be used: {cause}"),
            "Name the certificate authorities that are to be trusted: paddington join FILE \
             --authorities PEM.",
        ),
        "tls_not_spoken" => (
            format!("the port does not speak TLS: {cause}"),
            "If no proxy with TLS is in front of the server, its URL begins with ws://: correct the \
             url there, and let its operator renew the invitation. Else check the port.",
        ),
        _ => (
            format!("the TLS handshake failed: {cause}"),
            "Check the certificate and the TLS settings of the server, or of the proxy in front of it; \
             TLS 1.2 or 1.3 is needed.",
        ),
    };
    Finding::new(code, text, remedy)
}
