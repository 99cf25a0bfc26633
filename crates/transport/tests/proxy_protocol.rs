//! A listener behind proxies that speak the PROXY protocol: the address in their header counts, and
//! nobody else can say who it is (`docs/protocol.md` §10).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paddington::{Encoding, Message, PeerAddress, Service, ServiceConfig, TlsFiles};
use paddington_test_support::{
    Authority, Detour, Inbox, MemoryNetwork, Pair, REQUEST, RawClient, RawFrame, pair_with,
};
use paddington_transport::Network;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};

const SERVER: &str = "127.0.0.1:6501";
const PROXY: &str = "10.0.0.1";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The time within which a request has to be complete.
const REQUEST_TIME: u64 = 10;

/// A server that expects its client from 192.0.2.0/24, directly or through a proxy of 10.0.0.0/8.
fn behind_proxies(encoding: Encoding) -> Pair {
    let mut pair = pair_with(encoding);
    let mut server = ServiceConfig::new("server", "ws://server:6501", "127.0.0.1", &6501).unwrap();
    let mut client = ServiceConfig::new("client", "ws://c:1", "127.0.0.1", &1).unwrap();
    let invite = server.add_client_with("client", "192.0.2.0/24", encoding).unwrap();
    client.add_server(invite.clone()).unwrap();
    let transport = &mut server.settings_mut().transport;
    transport.proxies.ranges = vec!["10.0.0.0/8".parse().unwrap()];
    transport.proxies.proxy_protocol = true;
    (pair.server, pair.client, pair.invite) = (server, client, invite);
    pair
}

fn text(source: &str) -> Vec<u8> {
    let (family, own) = if source.contains(':') { ("TCP6", "::1") } else { ("TCP4", "10.0.0.1") };
    format!("PROXY {family} {source} {own} 49152 6501\r\n").into_bytes()
}

/// A header of version 2 that says who connects, or that the proxy itself does.
fn binary(source: Option<[u8; 4]>) -> Vec<u8> {
    let Some(source) = source else { return [SIGNATURE, &[0x20, 0, 0, 0]].concat() };
    let addresses = [&source[..], &[10, 0, 0, 1, 0xc0, 0, 0x19, 0x65]].concat();
    [SIGNATURE, &[0x21, 0x11, 0, 12], &addresses].concat()
}

/// A network in which whoever connects comes through the proxy, which begins with `header`.
fn through(network: &MemoryNetwork, header: Vec<u8>) -> Arc<dyn Network> {
    Detour::network(network.from(PROXY), move |network, address: SocketAddr| {
        let header = header.clone();
        async move {
            let mut stream = network.dial(address).await?;
            stream.write_all(&header).await?;
            Ok(stream)
        }
    })
}

/// Returns the answer to `bytes` from `source`, or its beginning if the connection stays open.
async fn answer(network: &MemoryNetwork, source: &str, bytes: &[u8]) -> String {
    let mut client = RawClient::connect(&network.from(source), SERVER).await;
    client.write(bytes).await;
    let head = timeout(Duration::from_millis(100), async {
        let mut head = Vec::new();
        while let Ok(byte) = tokio::io::AsyncReadExt::read_u8(&mut client.stream).await {
            head.push(byte);
            if head.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        String::from_utf8(head).unwrap()
    });
    head.await.unwrap()
}

/// Returns what was refused, after everything that is under way has happened.
async fn refused(server: &Service) -> Vec<(String, &'static str, &'static str, u64)> {
    sleep(Duration::from_millis(1)).await;
    let list = server.refusals();
    list.iter().map(|it| (it.address.to_string(), it.stage, it.code, it.count)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_address_in_the_header_is_the_peers_for_links_and_for_status() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        for header in [text("192.0.2.7"), text("::ffff:192.0.2.7"), binary(Some([192, 0, 2, 7]))] {
            let pair = behind_proxies(encoding);
            let (server, inbox) = pair.start_server().await;
            let network = through(&pair.network, header);
            let (replies, handler) = Inbox::new();
            let client = Service::start_on(network, &pair.client, handler).await.unwrap();
            client.send(Message::new("server", "who am I")).await.unwrap();
            assert_eq!(inbox.text().await, "who am I");
            server.send(Message::new("client", "the client")).await.unwrap();
            assert_eq!(replies.text().await, "the client");
            let address = server.peers()[0].address;
            assert_eq!(address, Some(PeerAddress::Ip("192.0.2.7".parse().unwrap())));
            assert_eq!(server.refusals(), []);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_the_proxy_names_is_admitted_or_refused_as_if_it_had_come_itself() {
    let pair = behind_proxies(Encoding::Sealed);
    let (server, _) = pair.start_server().await;
    let request = |header: Vec<u8>| [&header[..], REQUEST.as_bytes()].concat();
    for (header, admitted) in [
        (text("192.0.2.8"), true),
        (binary(Some([192, 0, 2, 8])), true),
        (text("198.51.100.1"), false),
        (text("2001:db8::1"), false),
        (binary(Some([10, 0, 0, 2])), false),
    ] {
        let answer = answer(&pair.network, PROXY, &request(header.clone())).await;
        assert_eq!(answer.starts_with("HTTP/1.1 101 "), admitted, "{header:?}");
        assert!(admitted || answer.is_empty(), "{answer}");
    }
    let names: Vec<_> = refused(&server).await.into_iter().map(|it| (it.0, it.1, it.2)).collect();
    let expected = ["10.0.0.2", "2001:db8::1", "198.51.100.1"];
    assert_eq!(names, expected.map(|it| (it.to_owned(), "accept", "address_not_admitted")));

    let forged = REQUEST.replace("Host: ", "X-Forwarded-For: 198.51.100.1\r\nHost: ");
    let forged = [&text("192.0.2.9")[..], forged.as_bytes()].concat();
    let answer = answer(&pair.network, PROXY, &forged).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "the header of the request is not read");
}

#[tokio::test(start_paused = true)]
async fn the_limits_are_those_of_the_address_in_the_header() {
    let mut pair = behind_proxies(Encoding::Sealed);
    pair.server.settings_mut().transport.limits.attempts = 3;
    let (server, _) = pair.start_server().await;
    for _ in 0..3 {
        let mut client = RawClient::connect(&pair.network.from(PROXY), SERVER).await;
        client.write(&[&text("192.0.2.99")[..], REQUEST.as_bytes()].concat()).await;
        client.head().await;
        client.send(&RawFrame::binary(&[7; 1344])).await;
        assert_eq!(client.rest().await, b"");
    }
    let request = [&binary(Some([192, 0, 2, 99]))[..], REQUEST.as_bytes()].concat();
    assert_eq!(answer(&pair.network, PROXY, &request).await, "");
    assert_eq!(answer(&pair.network, "192.0.2.99", REQUEST.as_bytes()).await, "", "nor directly");
    assert_eq!(refused(&server).await[0], ("192.0.2.99".into(), "accept", "too_many_attempts", 2));
    let other = [&text("192.0.2.98")[..], REQUEST.as_bytes()].concat();
    assert!(answer(&pair.network, PROXY, &other).await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test(start_paused = true)]
async fn from_a_trusted_proxy_the_header_is_required() {
    let pair = behind_proxies(Encoding::Sealed);
    let (server, _) = pair.start_server().await;
    let forwarded = REQUEST.replace("Host: ", "X-Forwarded-For: 192.0.2.7\r\nHost: ");
    for bytes in [
        REQUEST.as_bytes(),
        forwarded.as_bytes(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1\r\nGET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and more",
        &[b'P'; 4096],
    ] {
        assert_eq!(answer(&pair.network, PROXY, bytes).await, "");
    }
    assert_eq!(refused(&server).await, [(PROXY.into(), "accept", "proxy_header_missing", 5)]);
    let good = [&text("192.0.2.7")[..], REQUEST.as_bytes()].concat();
    assert!(answer(&pair.network, PROXY, &good).await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test(start_paused = true)]
async fn an_untrusted_address_cannot_say_who_it_is() {
    let pair = behind_proxies(Encoding::Sealed);
    let (server, _) = pair.start_server().await;
    for header in [text("192.0.2.7"), binary(Some([192, 0, 2, 7])), binary(None)] {
        let bytes = [&header[..], REQUEST.as_bytes()].concat();
        assert_eq!(answer(&pair.network, "198.51.100.1", &bytes).await, "");
        // One that is expected itself cannot take the address of another one, either.
        let answer = answer(&pair.network, "192.0.2.66", &bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let names = refused(&server).await;
    assert!(names.contains(&("198.51.100.1".into(), "accept", "address_not_admitted", 3)));
    assert!(names.contains(&("192.0.2.66".into(), "request", "proxy_header_untrusted", 3)));
    assert_eq!(names.len(), 2, "{names:?}");
    let direct = answer(&pair.network, "192.0.2.67", REQUEST.as_bytes()).await;
    assert!(direct.starts_with("HTTP/1.1 101 "), "a client that comes directly needs no header");
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_expects_no_header_names_it_and_believes_nothing() {
    let mut pair = behind_proxies(Encoding::Sealed);
    pair.server.settings_mut().transport.proxies.proxy_protocol = false;
    let (server, _) = pair.start_server().await;
    for header in [text("192.0.2.7"), binary(Some([192, 0, 2, 7]))] {
        let bytes = [&header[..], REQUEST.as_bytes()].concat();
        let answer = answer(&pair.network, PROXY, &bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(refused(&server).await, [(PROXY.into(), "request", "proxy_header_untrusted", 2)]);
}

#[tokio::test(start_paused = true)]
async fn where_the_proxy_names_nobody_its_own_address_counts() {
    let pair = behind_proxies(Encoding::Sealed);
    let (server, _) = pair.start_server().await;
    let nobody = [binary(None), b"PROXY UNKNOWN\r\n".to_vec()];
    for header in &nobody {
        let mut check = RawClient::connect(&pair.network.from(PROXY), SERVER).await;
        check.write(header).await;
        drop(check);
    }
    assert_eq!(refused(&server).await, [], "a health check is no refusal");
    let forged = REQUEST.replace("Host: ", "X-Forwarded-For: 192.0.2.7\r\nHost: ");
    for header in &nobody {
        let bytes = [&header[..], forged.as_bytes()].concat();
        assert_eq!(answer(&pair.network, PROXY, &bytes).await, "");
    }
    assert_eq!(refused(&server).await, [(PROXY.into(), "accept", "proxy_reports_no_address", 2)]);

    let mut pair = behind_proxies(Encoding::Sealed);
    pair.server.add_client("on-the-proxy", "10.0.0.1").unwrap();
    let (_server, _) = pair.start_server().await;
    for header in &nobody {
        let bytes = [&header[..], REQUEST.as_bytes()].concat();
        let answer = answer(&pair.network, PROXY, &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "it is expected itself: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_header_ends_at_the_deadline_and_holds_no_place_for_ever() {
    let mut pair = behind_proxies(Encoding::Sealed);
    pair.server.settings_mut().transport.limits.pending = 4;
    let (server, inbox) = pair.start_server().await;
    let begun = Instant::now();
    let mut slow = RawClient::connect(&pair.network.from(PROXY), SERVER).await;
    for byte in text("192.0.2.7").into_iter().chain(REQUEST.bytes()) {
        if slow.stream.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(500)).await;
    }
    let waited = begun.elapsed().as_secs();
    assert!((REQUEST_TIME..=REQUEST_TIME + 1).contains(&waited), "{waited}");
    assert_eq!(refused(&server).await, [(PROXY.into(), "request", "handshake_stalled", 1)]);

    let begun = Instant::now();
    let mut silent = RawClient::connect(&pair.network.from(PROXY), SERVER).await;
    silent.write(&binary(Some([192, 0, 2, 7]))).await;
    assert_eq!(silent.rest().await, b"");
    assert_eq!(begun.elapsed().as_secs(), REQUEST_TIME);
    let last = ("192.0.2.7".into(), "request", "sent_nothing", 1);
    assert_eq!(refused(&server).await[0], last);

    // A crowd of unfinished headers gives way to a client.
    let mut crowd = Vec::new();
    for _ in 0..100 {
        let mut one = RawClient::connect(&pair.network.from(PROXY), SERVER).await;
        one.write(b"PROXY TCP4 ").await;
        crowd.push(one);
    }
    let network = through(&pair.network, text("192.0.2.7"));
    let client = Service::start_on(network, &pair.client, Inbox::new().1).await.unwrap();
    client.send(Message::new("server", "honest")).await.unwrap();
    assert_eq!(timeout(Duration::from_secs(1), inbox.text()).await.unwrap(), "honest");
}

#[tokio::test(start_paused = true)]
async fn the_header_comes_before_tls() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.issue("server.example").save(folder.path());
    let authorities = folder.path().join("authorities.pem");
    std::fs::write(&authorities, &authority.pem).unwrap();
    let mut pair = behind_proxies(Encoding::Sealed);
    pair.server.set_tls(TlsFiles::in_directory(folder.path()));
    let mut config = ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    let invite = pair.invite.clone().at("wss://server.example:6501/").unwrap();
    config.add_server_with(invite, Some(authorities)).unwrap();
    let (server, inbox) = pair.start_server().await;

    let untrusted = pair.network.from("192.0.2.66");
    assert_eq!(answer(&untrusted, "192.0.2.66", &binary(Some([192, 0, 2, 7]))).await, "");
    assert_eq!(answer(&pair.network, PROXY, &text("198.51.100.1")).await, "", "no certificate");
    let names: Vec<_> = refused(&server).await.into_iter().map(|it| (it.0, it.2)).collect();
    let expected =
        [("198.51.100.1", "address_not_admitted"), ("192.0.2.66", "proxy_header_untrusted")];
    assert_eq!(names, expected.map(|(address, code)| (address.to_owned(), code)));

    for header in [text("192.0.2.7"), binary(Some([192, 0, 2, 7]))] {
        let network = through(&pair.network, header);
        let client = Service::start_on(network, &config, Inbox::new().1).await.unwrap();
        client.send(Message::new("server", "through TLS")).await.unwrap();
        assert_eq!(inbox.text().await, "through TLS");
        let address = server.peers()[0].address;
        assert_eq!(address, Some(PeerAddress::Ip("192.0.2.7".parse().unwrap())));
        client.shutdown().await;
    }
}
