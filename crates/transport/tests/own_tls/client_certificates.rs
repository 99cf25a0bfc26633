//! Clients that need a certificate.

use std::fs;

use paddington::{Encoding, Message, Service, ServiceConfig, ServiceError, StartError, TlsFiles};
use paddington_test_support::{Authority, Issued, REQUEST, eventually};
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

/// Lets a client show the certificate in `client.pem`.
fn show(secured: &Secured, client: &mut ServiceConfig) {
    let outbound = &mut client.settings_mut().transport.outbound;
    outbound.client_certificate = secured.file("client.pem");
    outbound.client_key = secured.file("client.key");
}

fn write(secured: &Secured, issued: &Issued) {
    fs::write(secured.file("client.pem"), &issued.certificate).unwrap();
    fs::write(secured.file("client.key"), &issued.key).unwrap();
}

/// A server that wants certificates of an authority, which is returned.
fn demanding() -> (Secured, Authority) {
    let mut secured = Secured::new(Encoding::Sealed);
    let clients = Authority::new();
    fs::write(secured.file("clients.pem"), &clients.pem).unwrap();
    let files = TlsFiles::in_directory(secured.folder.path());
    secured.pair.server.set_tls(files.with_client_authorities(secured.file("clients.pem")));
    (secured, clients)
}

async fn fails(client: &Service, code: &str, remedy: &str) {
    eventually(async || client.peers()[0].last_error.as_ref().is_some_and(|it| it.code == code))
        .await;
    let error = client.peers()[0].last_error.clone().unwrap();
    assert!(error.remedy.unwrap().contains(remedy));
}

#[tokio::test(start_paused = true)]
async fn a_service_shows_its_certificate_to_a_server_that_asks_for_one() {
    let (mut secured, clients) = demanding();
    let (server, inbox) = secured.pair.start_server().await;
    let (without, _) = secured.pair.start_client().await;
    fails(&without, "certificate_wanted", "client_certificate and client_key").await;
    without.shutdown().await;

    write(&secured, &Authority::new().issue("client"));
    let mut config = secured.pair.client.clone();
    show(&secured, &mut config);
    secured.pair.client = config;
    let (client, _) = secured.pair.start_client().await;
    fails(&client, "certificate_refused", "does not accept this service's certificate").await;
    let receipt = client.send(Message::new("server", "with the right one")).await.unwrap();
    // The files are replaced, one after the other.
    let right = clients.issue("client");
    fs::write(secured.file("client.pem"), &right.certificate).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    fs::write(secured.file("client.key"), &right.key).unwrap();
    assert_eq!(inbox.text().await, "with the right one");
    receipt.await;

    // Files that are broken later change nothing.
    fs::write(secured.file("client.pem"), "?").unwrap();
    server.shutdown().await;
    let (_server, inbox) = secured.pair.start_server().await;
    client.send(Message::new("server", "still")).await.unwrap();
    assert_eq!(inbox.text().await, "still");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_cannot_be_used_is_refused_at_the_start() {
    let (secured, clients) = demanding();
    let mut config = secured.pair.client.clone();
    show(&secured, &mut config);
    let start = async |config: &ServiceConfig| {
        let ignore = async |_: Message| Ok::<(), paddington::Error>(());
        Service::start_on(secured.network().network(), config, ignore).await
    };
    let missing = paddington::with_causes(&start(&config).await.unwrap_err());
    assert!(missing.contains("the certificate for servers that ask for one"), "{missing}");
    write(&secured, &clients.issue("client"));
    fs::write(secured.file("client.key"), &clients.issue("other").key).unwrap();
    let other = paddington::with_causes(&start(&config).await.unwrap_err());
    assert!(other.contains("is not that of the certificate"), "{other}");
    config.settings_mut().transport.outbound.client_key = Default::default();
    let half = start(&config).await.unwrap_err();
    assert!(matches!(half, ServiceError::Start(StartError::HalfCertificate)), "{half:?}");
}
