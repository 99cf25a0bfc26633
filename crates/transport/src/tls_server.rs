//! TLS of a listener: an additional layer that nothing above relies on. What it serves is read at the
//! start, and again when a file has changed; what cannot be used then changes nothing.
//!
//! Sessions of TLS are not resumed, so that a new certificate counts for each new connection, and so
//! does what is required of clients.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, ServerConfig};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use crate::last_read::LastRead;
use crate::refusal_kind::Cause;
use crate::tls::{self, HTTP_1_1};
use crate::tls_files::Content;
use crate::{Network, Stream, TlsFiles, TlsFilesError, with_causes};

/// The first byte of a TLS handshake.
pub(crate) const TLS_HANDSHAKE: u8 = 0x16;
/// Number of bytes that a client may send in its TLS handshake: the hello with all that is usual in it,
/// and a chain of certificates.
const HANDSHAKE: usize = 32 * 1024;
/// The interval in which it is looked whether a file has changed.
const LOOK: Duration = Duration::from_secs(5);

/// TLS of a listener. A clone is the same one.
#[derive(Clone)]
pub struct ServerTls {
    served: Arc<Served>,
}

struct Served {
    files: TlsFiles,
    config: Mutex<Arc<ServerConfig>>,
    /// The content of the files. It is locked while they are read.
    known: Mutex<Known>,
}

/// The state of the files, as far as it is known.
struct Known {
    content: Content,
    read: LastRead,
}

impl ServerTls {
    /// Reads the files, which may be replaced later.
    ///
    /// # Errors
    ///
    /// [`TlsFilesError`] if they cannot be read, or do not fit together.
    pub fn load(files: TlsFiles) -> Result<Self, TlsFilesError> {
        let read = LastRead::new(files.fingerprint());
        let content = files.read()?;
        let config = Mutex::new(serving(&content)?);
        let known = Mutex::new(Known { content, read });
        Ok(Self { served: Arc::new(Served { files, config, known }) })
    }

    /// Returns the certificate, in DER, without its intermediate ones.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        self.served.leaf().map(|leaf| leaf.to_vec()).unwrap_or_default()
    }

    /// Returns whether the certificate is for a host of this name, or with this address.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let (Some(leaf), Ok(name)) = (self.served.leaf(), ServerName::try_from(host)) else {
            return false;
        };
        ParsedCertificate::try_from(&leaf)
            .is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok())
    }

    /// Performs the TLS handshake with a client, which may send a bounded number of bytes for it.
    pub(crate) async fn accept(&self, mut stream: Stream) -> io::Result<Stream> {
        stream.set_budget(Some(HANDSHAKE));
        let config = Arc::clone(&self.served.config.lock().unwrap_or_else(PoisonError::into_inner));
        let mut accepted = TlsAcceptor::from(config).accept(stream).await?;
        accepted.get_mut().0.set_budget(None); // the stream above has one of its own
        Ok(Stream::new(accepted))
    }

    /// Reads the files again when they have changed, on a task, until `stop` is cancelled.
    pub(crate) fn spawn(
        &self,
        network: Arc<dyn Network>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) {
        let served = Arc::clone(&self.served);
        tasks.spawn(async move {
            let watching = async {
                loop {
                    sleep(network.together(LOOK)).await;
                    let served = Arc::clone(&served);
                    // It fails only if the runtime ends.
                    let _ = tokio::task::spawn_blocking(move || served.refresh()).await;
                }
            };
            let _: Option<()> = stop.run_until_cancelled(watching).await;
        });
    }
}

impl Served {
    /// Reads the files again if they have changed.
    fn refresh(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.files.fingerprint();
        if known.read.is_of(&seen) {
            return;
        }
        match self.files.read().and_then(|content| Ok((serving(&content)?, content))) {
            Ok((config, content)) => {
                let is_new = !content.is_same(&known.content);
                let is_mended = known.read.succeeded(seen);
                known.content = content;
                drop(known);
                *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
                if is_new || is_mended {
                    let certificate = self.files.certificate();
                    info!(
                        certificate = %certificate.display(),
                        "the files of TLS were read again; new connections get this certificate"
                    );
                }
            }
            Err(cause) => {
                let cause = with_causes(&cause);
                if known.read.failed(seen, &cause) {
                    error!(
                        cause,
                        "the files of TLS have changed and cannot be used; the certificate that was read \
                         before is served still"
                    );
                }
            }
        }
    }

    fn leaf(&self) -> Option<CertificateDer<'static>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.content.identity.cert.first().cloned()
    }
}

impl Content {
    /// Returns whether the same is served. The key is that of the certificate.
    fn is_same(&self, other: &Self) -> bool {
        self.identity.cert == other.identity.cert
            && self.client_authorities == other.client_authorities
    }
}

impl Cause {
    /// Returns the cause for which a connection is refused whose TLS handshake has failed.
    pub(crate) fn of_tls(error: &io::Error) -> Self {
        use AlertDescription as Alert;
        let error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match error {
            Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
                Self::ClientCertificate
            }
            Some(rustls::Error::AlertReceived(
                Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError, // its authority has the name of a trusted one, and another key
            )) => Self::Distrust,
            _ => Self::TlsFailed,
        }
    }
}

/// Returns what serves this content.
fn serving(content: &Content) -> Result<Arc<ServerConfig>, TlsFilesError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = match &content.client_authorities {
        Some(authorities) => {
            let roots = Arc::new(tls::roots(authorities));
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?
        }
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(content.identity.clone())));
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.served.files).finish_non_exhaustive()
    }
}
