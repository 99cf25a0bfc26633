//! Strangers at a port that speaks TLS: each is refused for what it did, and none of them takes more
//! time or memory than it may.

use std::time::Duration;

use paddington::{Encoding, Service};
use paddington_test_support::{Authority, REQUEST, RawClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::time::{Instant, sleep};

use crate::certificates::{SERVER, Secured, client, handshake, trusting};

/// Number of bytes that a cable of the network in memory holds.
const CABLE: usize = 64 * 1024;
/// Number of bytes that a stranger may send in its TLS handshake.
const HANDSHAKE: usize = 32 * 1024;

/// Returns what was refused, after everything that is under way has happened.
async fn refused(server: &Service) -> Vec<(&'static str, &'static str, u64)> {
    sleep(Duration::from_millis(1)).await;
    server.refusals().iter().map(|it| (it.stage, it.code, it.count)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_client_without_tls_is_refused_without_a_word_and_costs_its_address_an_attempt() {
    let mut secured = Secured::new(Encoding::Sealed);
    secured.pair.client = client(&secured.pair, "ws://server.example:6501/", None);
    let (server, _) = secured.pair.start_server().await;
    let mut raw = RawClient::connect(secured.network(), SERVER).await;
    raw.write(REQUEST.as_bytes()).await;
    let begun = Instant::now();
    assert_eq!(raw.rest().await, b"");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(refused(&server).await, [("request", "tls_expected", 1)]);

    let (client, _) = secured.pair.start_client().await;
    sleep(Duration::from_secs(60)).await;
    assert!(!client.peers()[0].is_connected());
    assert!(refused(&server).await[0].2 > 3);
    client.shutdown().await;
    sleep(Duration::from_secs(60)).await;
    for _ in 0..10 {
        let mut raw = RawClient::connect(secured.network(), SERVER).await;
        raw.write(REQUEST.as_bytes()).await;
        assert_eq!(raw.rest().await, b"");
    }
    let mut last = RawClient::connect(secured.network(), SERVER).await;
    assert_eq!(last.rest().await, b"");
    assert_eq!(refused(&server).await[0].1, "too_many_attempts");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_fails_is_refused_for_its_reason() {
    let secured = Secured::new(Encoding::Sealed);
    let (server, _) = secured.pair.start_server().await;
    let stranger = trusting(&Authority::new().pem, None, rustls::DEFAULT_VERSIONS);
    assert!(handshake(secured.network(), stranger).await.is_err());
    assert_eq!(refused(&server).await, [("request", "certificate_not_trusted", 1)]);

    let foreign = secured.handshake(|config| config.alpn_protocols = vec![b"h2".to_vec()]).await;
    assert!(foreign.is_err());
    let mut garbage = RawClient::connect(secured.network(), SERVER).await;
    garbage.write(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff").await;
    let alert = garbage.rest().await;
    assert!(alert.len() < 16 && alert.first() == Some(&21), "{alert:?}");
    assert_eq!(refused(&server).await[0], ("request", "tls_failed", 2));

    // In TLS, the rules are those of any request.
    let mut inner = secured.handshake(|_| {}).await.unwrap();
    inner.write_all(b"\x16\x03\x01\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    inner.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
    assert_eq!(refused(&server).await[0].1, "proxy_without_upgrade");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_fails_costs_an_attempt_unless_the_certificate_may_be_to_blame() {
    let secured = Secured::new(Encoding::Sealed);
    let (server, _) = secured.pair.start_server().await;
    let other = Authority::new();
    for _ in 0..30 {
        let stranger = trusting(&other.pem, None, rustls::DEFAULT_VERSIONS);
        assert!(handshake(secured.network(), stranger).await.is_err());
    }
    assert_eq!(refused(&server).await, [("request", "certificate_not_trusted", 30)]);
    for _ in 0..10 {
        let mut garbage = RawClient::connect(secured.network(), SERVER).await;
        garbage.write(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff").await;
        garbage.rest().await;
    }
    assert_eq!(refused(&server).await[0], ("request", "tls_failed", 10));
    assert!(secured.handshake(|_| {}).await.is_err());
    assert_eq!(refused(&server).await[0], ("accept", "too_many_attempts", 1));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_no_invitation_allows_does_not_see_the_certificate() {
    let secured = Secured::new(Encoding::Sealed);
    let (server, _) = secured.pair.start_server().await;
    let config = trusting(&secured.authority.pem, None, rustls::DEFAULT_VERSIONS);
    let shaken = handshake(&secured.network().from("192.0.2.1"), config).await;
    assert_eq!(shaken.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(refused(&server).await, [("accept", "address_not_admitted", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_cut_off_is_no_refusal() {
    let secured = Secured::new(Encoding::Sealed);
    let (server, _) = secured.pair.start_server().await;
    for sent in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut raw = RawClient::connect(secured.network(), SERVER).await;
        raw.write(sent).await;
    }
    drop(secured.handshake(|_| {}).await.unwrap());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(refused(&server).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_slow_hello_of_tls_ends_at_the_deadline_of_the_request() {
    let secured = Secured::new(Encoding::Sealed);
    let (server, _) = secured.pair.start_server().await;
    let begun = Instant::now();
    let mut slow = RawClient::connect(secured.network(), SERVER).await;
    slow.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    let (mut reader, mut writer) = split(slow.stream);
    let dripping = async {
        while writer.write_all(&[0]).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        _ = reader.read_to_end(&mut answer) => {}
        () = dripping => {}
    }
    assert!(begun.elapsed() <= Duration::from_millis(10_200), "{:?}", begun.elapsed());
    assert_eq!(answer, b"");
    assert_eq!(refused(&server).await, [("request", "handshake_stalled", 1)]);

    // So does the silence after the handshake.
    let begun = Instant::now();
    let mut silent = secured.handshake(|_| {}).await.unwrap();
    let _ = silent.read_to_end(&mut answer).await; // it may end without a word of TLS
    assert!(begun.elapsed() <= Duration::from_millis(10_200), "{:?}", begun.elapsed());
    assert_eq!(refused(&server).await[0], ("request", "handshake_stalled", 2));
}

#[tokio::test(start_paused = true)]
async fn a_huge_hello_of_tls_is_read_up_to_its_limit() {
    let secured = Secured::new(Encoding::Sealed);
    let (server, _) = secured.pair.start_server().await;
    let mut huge = RawClient::connect(secured.network(), SERVER).await;
    // A ClientHello of 64 KiB in records of 1 KiB.
    let mut sent = 0;
    let mut first: &[u8] = &[1, 0x00, 0xff, 0xff];
    loop {
        let mut record = vec![0x16, 3, 1, 4, 0];
        record.extend(first);
        record.resize(5 + 1024, 0);
        first = &[];
        if huge.stream.write_all(&record).await.is_err() {
            break;
        }
        sent += record.len();
        assert!(sent <= HANDSHAKE + CABLE + record.len(), "{sent} bytes were taken");
        tokio::task::yield_now().await;
    }
    assert_eq!(refused(&server).await, [("request", "tls_failed", 1)]);
}
