//! TLS below a WebSocket, for `wss` endpoints: an additional layer that nothing above relies on.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio_rustls::TlsConnector;

use crate::Stream;

/// The certificate authorities that a client trusts.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
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
    /// rustls does not accept the configuration.
    #[error("TLS could not be set up")]
    Setup(#[from] rustls::Error),
}

impl Tls {
    /// Trusts the certificate authorities of this machine.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if there are none.
    pub fn platform() -> Result<Self, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        Self::trusting(found.certs, "this machine's certificate store")
    }

    /// Trusts the certificate authorities in a PEM file, and no others.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the file cannot be read or contains none.
    pub fn with_authorities(path: &Path) -> Result<Self, TlsError> {
        let name = path.display().to_string();
        let unreadable = |source| TlsError::Unreadable { path: name.clone(), source };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(unreadable)?;
        Self::trusting(certificates, &name)
    }

    fn trusting(certificates: Vec<CertificateDer<'_>>, from: &str) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(TlsError::Empty(from.to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Performs the TLS handshake with the server named `host`.
    pub(crate) async fn connect(&self, host: &str, stream: Stream) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Stream::new(self.connector.connect(name, stream).await?))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}
