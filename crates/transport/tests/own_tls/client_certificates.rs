//! Clients that need a certificate.

use std::fs;

use paddington::{Encoding, Service, TlsFiles};
use paddington_test_support::{Authority, Issued, REQUEST};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certificates::{Secured, handshake, trusting};

/// Returns the beginning of what the server answers to somebody with this certificate.
async fn answer(secured: &Secured, own: Option<&Issued>, tls: u16) -> String {
    let versions: &[_] = match tls {
        12 => &[&rustls::version::TLS12],
        _ => &[&rustls::version::TLS13],
    };
    let config = trusting(&secured.authority.pem, own, versions);
    let Ok(mut stream) = handshake(secured.network(), config).await else { return String::new() };
    let _ = stream.write_all(REQUEST.as_bytes()).await; // it may have hung up
    let mut answer = [0; 12];
    match stream.read_exact(&mut answer).await {
        Ok(_) => String::from_utf8(answer.to_vec()).unwrap(),
        Err(_) => String::new(),
    }
}

fn refused(server: &Service) -> Vec<(&'static str, u64)> {
    server.refusals().iter().map(|refusal| (refusal.code, refusal.count)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_certificate_of_the_authorities_is_refused() {
    let mut secured = Secured::new(Encoding::Sealed);
    let (clients, others) = (Authority::new(), Authority::new());
    fs::write(secured.file("clients.pem"), &clients.pem).unwrap();
    let files = TlsFiles::in_directory(secured.folder.path());
    let files = files.with_client_authorities(secured.file("clients.pem"));
    secured.pair.server.set_tls(files);
    let (server, _) = secured.pair.start_server().await;
    let mut count = 0;
    for tls in [12, 13] {
        assert_eq!(answer(&secured, None, tls).await, "");
        assert_eq!(answer(&secured, Some(&others.issue("client")), tls).await, "");
        count += 2;
        assert_eq!(refused(&server), [("no_client_certificate", count)]);
        assert_eq!(answer(&secured, Some(&clients.issue("client")), tls).await, "HTTP/1.1 101");
    }
    assert_eq!(refused(&server), [("no_client_certificate", count)]);

    // Authorities that are replaced count for whoever comes then.
    fs::write(secured.file("clients.pem"), &others.pem).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    assert_eq!(answer(&secured, Some(&clients.issue("client")), 13).await, "");
    assert_eq!(answer(&secured, Some(&others.issue("client")), 13).await, "HTTP/1.1 101");
}
