//! Servers with certificates in files, and clients of TLS.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use paddington::{ServiceConfig, TlsFiles};
use paddington_test_support::{Authority, Issued, MemoryNetwork, Pair, pair_with};
use paddington_transport::Stream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const SERVER: &str = "127.0.0.1:6501";
pub(crate) const HOST: &str = "server.example";

/// A server with TLS of its own and a client that trusts its authority, which are not started.
pub(crate) struct Secured {
    pub(crate) pair: Pair,
    pub(crate) authority: Authority,
    /// With `fullchain.pem`, `privkey.pem` and `authorities.pem`.
    pub(crate) folder: TempDir,
}

impl Secured {
    pub(crate) fn new(encoding: paddington::Encoding) -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.issue(HOST).save(folder.path());
        let authorities = folder.path().join("authorities.pem");
        fs::write(&authorities, &authority.pem).unwrap();
        let mut pair = pair_with(encoding);
        pair.server.set_tls(TlsFiles::in_directory(folder.path()));
        pair.client = client(&pair, &format!("wss://{HOST}:6501/"), Some(authorities));
        Self { pair, authority, folder }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn network(&self) -> &MemoryNetwork {
        &self.pair.network
    }

    /// Performs a TLS handshake with the server as a stranger who trusts its authority.
    pub(crate) async fn handshake(
        &self,
        change: impl FnOnce(&mut ClientConfig),
    ) -> std::io::Result<TlsStream<Stream>> {
        let mut config = trusting(&self.authority.pem, None, rustls::DEFAULT_VERSIONS);
        change(&mut config);
        handshake(self.network(), config).await
    }
}

/// The configuration of the pair's client, with another URL of the server.
pub(crate) fn client(pair: &Pair, url: &str, authorities: Option<PathBuf>) -> ServiceConfig {
    let mut client = ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    client.add_server_with(pair.invite.clone().at(url).unwrap(), authorities).unwrap();
    client
}

/// A client of TLS that trusts these authorities, and has a certificate or none.
pub(crate) fn trusting(
    authorities: &str,
    own: Option<&Issued>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authorities.as_bytes()).unwrap()).unwrap();
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
    match own {
        Some(own) => builder.with_client_auth_cert(vec![own.der()], own.secret()).unwrap(),
        None => builder.with_no_client_auth(),
    }
}

pub(crate) async fn handshake(
    network: &MemoryNetwork,
    config: ClientConfig,
) -> std::io::Result<TlsStream<Stream>> {
    let stream = network.dial(SERVER.parse().unwrap()).await?;
    let name = ServerName::try_from(HOST).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Returns the certificate that the server presents.
pub(crate) fn presented(stream: &TlsStream<Stream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}
