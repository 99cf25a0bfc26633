//! TLS in front of a service, with a private certificate authority.

#![allow(dead_code, reason = "each test uses its part")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use paddington_test_support::Authority;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// A TLS proxy with a certificate that its own certificate authority has signed.
pub(crate) struct TlsProxy {
    pub(crate) address: SocketAddr,
    pub(crate) authorities: PathBuf,
    /// Cuts all connections.
    pub(crate) cut: Arc<Notify>,
    _folder: tempfile::TempDir,
}

impl TlsProxy {
    /// Starts a proxy before `target`, whose certificate is for `name`.
    pub(crate) async fn start(name: &str, target: SocketAddr) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let authorities = folder.path().join("authorities.pem");
        std::fs::write(&authorities, &authority.pem).unwrap();
        let acceptor = TlsAcceptor::from(authority.issue(name).server());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(Notify::new());
        let cuts = Arc::clone(&cut);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (acceptor, cuts) = (acceptor.clone(), Arc::clone(&cuts));
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = TcpStream::connect(target).await.unwrap();
                    // Either side may close the connection.
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        () = cuts.notified() => {}
                    }
                });
            }
        });
        Self { address, authorities, cut, _folder: folder }
    }
}
