//! The certificate that this service shows to servers that ask for one.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, SignatureScheme};
use tracing::{error, info};

use crate::last_read::LastRead;
use crate::{TlsFiles, TlsFilesError, causes, with_causes};

/// What a server says of this side's certificate, while it hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It asks for one, and was shown none.
    Wanted,
    /// It does not accept the one that it was shown.
    Refused,
}

impl Verdict {
    /// Reads it from the alert that has caused an error. With TLS 1.3 that comes only after the handshake.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let Some(rustls::Error::AlertReceived(alert)) = causes::inner(error) else { return None };
        match alert {
            AlertDescription::CertificateRequired => Some(Self::Wanted),
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            // Its authority has the name of one that is accepted, and another key.
            | AlertDescription::DecryptError => Some(Self::Refused),
            _ => None,
        }
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Wanted => "certificate_wanted",
            Self::Refused => "certificate_refused",
        }
    }

    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Wanted => {
                "the server asks for a certificate: name one of the authorities that it accepts, as \
                 client_certificate and client_key in settings.transport.outbound"
            }
            Self::Refused => {
                "the server does not accept this service's certificate: check its authority and its \
                 dates with the server's operator"
            }
        }
    }
}

/// A certificate and its key, in files that may be replaced.
pub(crate) struct ClientCertificate {
    files: TlsFiles,
    known: Mutex<Known>,
}

struct Known {
    identity: Arc<CertifiedKey>,
    read: LastRead,
}

impl ClientCertificate {
    /// Reads the files.
    pub(crate) fn load(files: TlsFiles) -> Result<Self, TlsFilesError> {
        let read = LastRead::new(files.fingerprint());
        let identity = Arc::new(files.read()?.identity);
        Ok(Self { files, known: Mutex::new(Known { identity, read }) })
    }

    /// Reads the files again if they have changed. What cannot be used changes nothing.
    pub(crate) fn refresh(&self) {
        let mut known = self.lock();
        let seen = self.files.fingerprint();
        if known.read.is_of(&seen) {
            return;
        }
        let certificate = self.files.certificate();
        let certificate = certificate.display();
        match self.files.read() {
            Ok(content) => {
                let is_new = content.identity.cert != known.identity.cert;
                known.identity = Arc::new(content.identity);
                if known.read.succeeded(seen) || is_new {
                    info!(%certificate, "servers that ask for a certificate are shown a new one");
                }
            }
            Err(cause) => {
                let cause = with_causes(&cause);
                if known.read.failed(seen, &cause) {
                    error!(
                        cause, %certificate,
                        "the certificate for servers has changed and cannot be used; they are shown the \
                         one that was read before"
                    );
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesClientCert for ClientCertificate {
    /// The server says which authorities it accepts; if the certificate is of none of them, it says best
    /// what is wrong with it.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.lock().identity))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("files", &self.files).finish_non_exhaustive()
    }
}
