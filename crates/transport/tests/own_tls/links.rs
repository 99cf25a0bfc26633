//! Links over a server's own TLS.

use std::time::Duration;

use paddington::{Encoding, Message, TlsFiles};
use paddington_test_support::REQUEST;
use rustls::ProtocolVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::certificates::{Secured, trusting};

#[tokio::test(start_paused = true)]
async fn two_services_exchange_messages_over_a_server_with_its_own_tls() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let secured = Secured::new(encoding);
        let (server, inbox) = secured.pair.start_server().await;
        let (client, replies) = secured.pair.start_client().await;
        let long = "x".repeat(700_000);
        for text in ["through TLS", &long] {
            client.send(Message::new("server", text)).await.unwrap();
            assert_eq!(inbox.text().await, text);
            server.send(Message::new("client", text)).await.unwrap();
            assert_eq!(replies.text().await, text);
        }
        assert_eq!(server.refusals(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn two_files_by_name_are_as_good_as_a_folder() {
    let mut secured = Secured::new(Encoding::Sealed);
    let files = TlsFiles::new(secured.file("fullchain.pem"), secured.file("privkey.pem"));
    secured.pair.server.set_tls(files);
    let (_server, inbox) = secured.pair.start_server().await;
    let (client, _) = secured.pair.start_client().await;
    client.send(Message::new("server", "two files")).await.unwrap();
    assert_eq!(inbox.text().await, "two files");
}

#[tokio::test(start_paused = true)]
async fn tls_1_3_is_preferred_1_2_accepted_and_no_session_resumed() {
    let secured = Secured::new(Encoding::Sealed);
    let (_server, _) = secured.pair.start_server().await;
    let versions = [
        (rustls::DEFAULT_VERSIONS, ProtocolVersion::TLSv1_3),
        (&[&rustls::version::TLS12][..], ProtocolVersion::TLSv1_2),
    ];
    for (offered, expected) in versions {
        let mut config = trusting(&secured.authority.pem, None, offered);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        for _ in 0..2 {
            let stream = crate::certificates::handshake(secured.network(), config.clone()).await;
            let mut stream = stream.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
            stream.write_all(REQUEST.as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 101");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_trusted_reports_the_client_through_tls() {
    let mut secured = Secured::new(Encoding::Sealed);
    let transport = &mut secured.pair.server.settings_mut().transport;
    transport.proxies.ranges = vec!["10.0.0.1".parse().unwrap()];
    let (server, _) = secured.pair.start_server().await;
    let proxy = secured.network().from("10.0.0.1");
    // What fails before the client is known is nobody's fault.
    for _ in 0..20 {
        let mut plain = proxy.dial(crate::certificates::SERVER.parse().unwrap()).await.unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _ = plain.read_to_end(&mut Vec::new()).await; // a reset is an end, too
    }
    for (client, expected) in [("127.0.0.1", "HTTP/1.1 101"), ("192.0.2.1", "HTTP/1.1 403")] {
        let config = trusting(&secured.authority.pem, None, rustls::DEFAULT_VERSIONS);
        let mut stream = crate::certificates::handshake(&proxy, config).await.unwrap();
        let header = format!("X-Forwarded-For: {client}\r\nHost: ");
        stream.write_all(REQUEST.replace("Host: ", &header).as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), expected);
    }
    let codes: Vec<_> = server.refusals().iter().map(|it| (it.code, it.count)).collect();
    assert_eq!(codes, [("address_not_admitted", 1), ("tls_expected", 20)]);
}

#[tokio::test(start_paused = true)]
async fn a_newer_invitation_moves_a_link_that_runs_from_ws_to_wss() {
    let mut secured = Secured::new(Encoding::Sealed);
    let authorities = Some(secured.file("authorities.pem"));
    let plain = crate::certificates::client(&secured.pair, "ws://old.example:6502/", authorities);
    secured.pair.client = plain;
    let (server, inbox) = secured.pair.start_server().await;
    let (client, _) = secured.pair.start_client().await;
    client.send(Message::new("server", "moved")).await.unwrap();
    sleep(Duration::from_secs(30)).await;
    assert!(!client.peers()[0].is_connected());
    let newer = server.renew("client").await.unwrap();
    assert!(newer.url().to_string().starts_with("ws://"), "the server does not know better");
    client.replace_server(newer.at("wss://server.example:6501/").unwrap()).await.unwrap();
    assert_eq!(timeout(Duration::from_secs(1), inbox.text()).await.unwrap(), "moved");
    assert_eq!(
        client.peers()[0].urls.last().unwrap().url.to_string(),
        "wss://server.example:6501/?b=000"
    );
}
