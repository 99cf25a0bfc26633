//! TLS below a WebSocket, for `wss` endpoints: an additional layer that nothing above relies on.
//!
//! The certificate authorities are read again before each handshake if they are in a file, and after
//! a handshake that failed if they are this machine's. What cannot be used changes nothing.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use thiserror::Error;
use tokio_rustls::TlsConnector;
use tracing::{error, info};

use crate::client_certificate::ClientCertificate;
use crate::presented::Presented;
use crate::{Stream, TlsFiles, TlsFilesError, regular};

/// The longest file of certificate authorities, in bytes: many times that of all public ones.
const LONGEST: u64 = 4 * 1024 * 1024;

/// The protocol that is asked for in TLS.
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

/// The certificate authorities that a client trusts.
#[derive(Clone)]
pub struct Tls {
    trust: Arc<Trust>,
}

struct Trust {
    source: Source,
    /// What is shown to servers that ask for it.
    certificate: Option<Arc<ClientCertificate>>,
    connector: Mutex<TlsConnector>,
    /// The content of the source. It is locked while it is read.
    found: Mutex<Found>,
    /// Whether the last handshake failed.
    doubted: AtomicBool,
}

/// Where certificate authorities come from.
enum Source {
    Machine,
    File(PathBuf),
}

/// The content of a source.
struct Found {
    /// The certificates that are trusted.
    trusted: Vec<CertificateDer<'static>>,
    /// Why what was read last cannot be used. It is told once.
    failure: Option<String>,
}

/// The failure to load certificate authorities.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read, or is not a PEM file.
    #[error("the certificate authorities in {path} could not be read")]
    Unreadable {
        /// The path of the file.
        path: String,
        /// The error in reading it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// There is no certificate authority in the file, or on this machine.
    #[error("there is no certificate authority in {0}")]
    Empty(String),
    /// The certificate that servers may ask for cannot be used.
    #[error("the certificate for servers that ask for one cannot be used")]
    Certificate(#[source] Box<TlsFilesError>),
    /// rustls does not accept the configuration.
    #[error("TLS could not be set up")]
    Setup(#[from] rustls::Error),
}

impl Tls {
    /// Trusts the certificate authorities in a PEM file, and no others; without a file, those of this
    /// machine. Servers that ask for a certificate are shown the one in `certificate`, if there is one. The
    /// files may be replaced later.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if there is no authority, or a file cannot be used.
    pub fn load(
        authorities: Option<&Path>,
        certificate: Option<TlsFiles>,
    ) -> Result<Self, TlsError> {
        let source = authorities.map_or(Source::Machine, |path| Source::File(path.to_owned()));
        let certificate = certificate.map(ClientCertificate::load).transpose();
        let certificate = certificate.map_err(|error| TlsError::Certificate(Box::new(error)))?;
        let certificate = certificate.map(Arc::new);
        let trusted = source.read()?;
        let connector = Mutex::new(trusting(&trusted, &source, certificate.as_ref())?);
        let found = Mutex::new(Found { trusted, failure: None });
        let doubted = AtomicBool::new(false);
        Ok(Self { trust: Arc::new(Trust { source, certificate, connector, found, doubted }) })
    }

    /// Performs the TLS handshake with the server named `host`.
    pub(crate) async fn connect(&self, host: &str, stream: Stream) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.refresh().await;
        let connector = self.trust.connector().clone();
        let connected = connector.connect(name, stream).await;
        self.trust.doubted.store(connected.is_err(), Ordering::Relaxed);
        Ok(Stream::new(connected?))
    }

    /// As [`connect`](Self::connect), and puts the certificates that the server presents into
    /// `certificates`, whether or not they are trusted.
    pub(crate) async fn present(
        &self,
        host: &str,
        stream: Stream,
        certificates: &mut Vec<Vec<u8>>,
    ) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let roots = Arc::new(self.trust.roots());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(io::Error::other)?;
        let presented = Arc::new(Presented::new(verifier));
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&presented) as Arc<_>);
        let config = showing(config, self.trust.certificate.as_ref());
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        *certificates = presented.take();
        Ok(Stream::new(connected?))
    }

    /// Reads the certificate authorities again, on a blocking thread. Returns whether others are
    /// trusted from now on.
    pub(crate) async fn refresh(&self) -> bool {
        let trust = Arc::clone(&self.trust);
        tokio::task::spawn_blocking(move || trust.refresh()).await.unwrap_or(false)
    }
}

impl Trust {
    fn refresh(&self) -> bool {
        if let Some(certificate) = &self.certificate {
            certificate.refresh();
        }
        if matches!(self.source, Source::Machine) && !self.doubted.load(Ordering::Relaxed) {
            return false;
        }
        // Whoever comes while it is read goes on with what is known.
        let mut found = match self.found.try_lock() {
            Ok(found) => found,
            Err(TryLockError::Poisoned(found)) => found.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let read = self.source.read().and_then(|certificates| {
            let is_new = certificates != found.trusted;
            let trusting = || trusting(&certificates, &self.source, self.certificate.as_ref());
            let connector = is_new.then(trusting).transpose()?;
            Ok(connector.map(|connector| (certificates, connector)))
        });
        let failure = read.as_ref().err().map(ToString::to_string);
        let is_told = found.failure == failure;
        found.failure = failure;
        match read {
            Ok(None) => false,
            Ok(Some((certificates, connector))) => {
                info!(from = %self.source, "the certificate authorities have changed");
                found.trusted = certificates;
                *self.connector() = connector;
                true
            }
            Err(_) if is_told => false,
            Err(cause) => {
                let cause: &dyn std::error::Error = &cause;
                error!(
                    from = %self.source, cause,
                    "the certificate authorities have changed and cannot be used; those that were \
                     read before are trusted still"
                );
                false
            }
        }
    }

    fn roots(&self) -> RootCertStore {
        roots(&self.found.lock().unwrap_or_else(PoisonError::into_inner).trusted)
    }

    fn connector(&self) -> std::sync::MutexGuard<'_, TlsConnector> {
        self.connector.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn read(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        match self {
            Self::Machine => Ok(rustls_native_certs::load_native_certs().certs),
            Self::File(path) => read(path),
        }
    }
}

/// Reads the certificates in a file.
fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    regular::read(path, LONGEST)
        .map_err(pem::Error::Io)
        .and_then(|bytes| CertificateDer::pem_slice_iter(&bytes).collect())
        .map_err(|source| TlsError::Unreadable { path: path.display().to_string(), source })
}

/// Reads the certificate authorities in a file, of which at least one can be used.
pub(crate) fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = read(path)?;
    if roots(&certificates).is_empty() {
        return Err(TlsError::Empty(path.display().to_string()));
    }
    Ok(certificates)
}

/// Returns the certificate authorities among certificates that can be used.
pub(crate) fn roots(certificates: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    roots
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine => f.write_str("this machine's certificate store"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Returns a client that trusts certificates, and no others.
fn trusting(
    certificates: &[CertificateDer<'static>],
    from: &Source,
    certificate: Option<&Arc<ClientCertificate>>,
) -> Result<TlsConnector, TlsError> {
    let roots = roots(certificates);
    if roots.is_empty() {
        return Err(TlsError::Empty(from.to_string()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(TlsConnector::from(Arc::new(showing(config, certificate))))
}

/// Completes a client with what it shows to servers that ask for a certificate.
fn showing(
    client: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificate: Option<&Arc<ClientCertificate>>,
) -> ClientConfig {
    let mut config = match certificate {
        Some(certificate) => client.with_client_cert_resolver(Arc::clone(certificate) as Arc<_>),
        None => client.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}
