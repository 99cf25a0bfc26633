//! Strangers get exactly the documented bytes (`docs/protocol.md` §9 and §10), and they can neither
//! fill the memory nor keep the honest client out.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use paddington::{Encoding, Message, Service, ServiceConfig};
use paddington_test_support::{
    Inbox, MemoryNetwork, Pair, REQUEST, RawClient, RawFrame, pair, pair_with,
};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

const SERVER: &str = "127.0.0.1:6501";
const BAD_REQUEST: &str =
    "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const TOO_MANY: &str =
    "HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Returns a pair whose server allows as many attempts as a test needs.
fn patient_pair() -> Pair {
    let mut pair = pair();
    pair.server.settings_mut().transport.limits.attempts = 10_000;
    pair
}

async fn honest_client_connects(pair: &Pair, inbox: &Inbox) -> Service {
    let (client, _) = pair.start_client().await;
    client.send(Message::new("server", "honest")).await.unwrap();
    assert_eq!(timeout(Duration::from_secs(1), inbox.text()).await.unwrap(), "honest");
    client
}

/// Sends `request` as a stranger, and returns everything up to the end of the connection.
async fn answer_to(network: &MemoryNetwork, request: &str) -> String {
    let mut client = RawClient::connect(network, SERVER).await;
    client.write(request.as_bytes()).await;
    let asked = Instant::now();
    let answer = client.rest().await;
    assert!(asked.elapsed() < Duration::from_millis(100), "answered at once");
    String::from_utf8(answer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_a_valid_upgrade_gets_an_empty_400() {
    let pair = patient_pair();
    let (_server, inbox) = pair.start_server().await;
    let requests = [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\n".to_owned(),
        REQUEST.replace("GET", "POST"),
        REQUEST.replace("Upgrade: websocket", "Upgrade: h2c"),
        REQUEST.replace("Connection: Upgrade", "Connection: close"),
        REQUEST.replace("Version: 13", "Version: 8"),
        REQUEST.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        REQUEST.replace("paddington.sealed.1", "paddington.sealed.2"),
        REQUEST.replace("paddington.sealed.1", "chat, paddington.sealed.1"),
        REQUEST.replace("Sec-WebSocket-Protocol: paddington.sealed.1\r\n", ""),
        REQUEST.replace("Host:", "Origin: https://evil.example\r\nHost:"),
    ];
    for request in requests {
        assert_eq!(answer_to(&pair.network, &request).await, BAD_REQUEST, "{request}");
    }
    let old = answer_to(&pair.network, &REQUEST.replace("HTTP/1.1", "HTTP/1.0")).await;
    assert_eq!(old, BAD_REQUEST.replace("HTTP/1.1", "HTTP/1.0"));
    honest_client_connects(&pair, &inbox).await;
}

/// Some clients read only the first `Connection` header and require it to be `upgrade` alone.
#[tokio::test(start_paused = true)]
async fn an_upgrade_gets_what_websockets_demand_and_nothing_else() {
    let pair = patient_pair();
    let (_server, _) = pair.start_server().await;
    let mut client = RawClient::connect(&pair.network, SERVER).await;
    client.write(REQUEST.as_bytes()).await;
    let head = client.head().await;
    let lines: Vec<_> = head.trim_end().lines().collect();
    let challenge = lines.iter().find(|line| line.starts_with("paddington-challenge: ")).unwrap();
    let expected = [
        "HTTP/1.1 101 Switching Protocols",
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "sec-websocket-protocol: paddington.sealed.1",
        challenge,
    ];
    assert_eq!(lines, expected);
}

#[tokio::test(start_paused = true)]
async fn another_path_gets_an_empty_404() {
    let pair = patient_pair();
    let (_server, _inbox) = pair.start_server().await;
    for path in ["/paddington", "/?", "/..", "//"] {
        let request = REQUEST.replace("GET / ", &format!("GET {path} "));
        let expected = if path == "/?" { "HTTP/1.1 101 " } else { NOT_FOUND };
        let mut client = RawClient::connect(&pair.network, SERVER).await;
        client.write(request.as_bytes()).await;
        assert!(client.head().await.starts_with(expected), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_path_and_the_query_of_an_invitation_are_kept() {
    let mut server =
        ServiceConfig::new("server", "ws://server:6501/a/b?c=d", "127.0.0.1", &6501).unwrap();
    let mut client = ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    client.add_server(server.add_client("client", "127.0.0.1").unwrap()).unwrap();
    let pair = Pair { server, client, ..pair() };
    let (_server, inbox) = pair.start_server().await;
    honest_client_connects(&pair, &inbox).await;
}

#[tokio::test(start_paused = true)]
async fn an_unexpected_address_or_a_request_that_is_too_long_gets_no_byte() {
    let pair = patient_pair();
    let (_server, inbox) = pair.start_server().await;
    for source in ["127.0.0.2", "192.0.2.1", "2001:db8::1"] {
        assert_eq!(answer_to(&pair.network.from(source), REQUEST).await, "", "{source}");
    }
    let long = REQUEST.replace("Host: ", &format!("A: {}\r\nHost: ", "x".repeat(9_000)));
    let lines = REQUEST.replace("Host: ", &format!("{}Host: ", "A: b\r\n".repeat(64)));
    let pipelined = format!("{REQUEST}more");
    for request in [long, lines, pipelined] {
        assert_eq!(answer_to(&pair.network, &request).await, "");
    }
    let mut mapped = RawClient::connect(&pair.network.from("::ffff:127.0.0.1"), SERVER).await;
    mapped.write(REQUEST.as_bytes()).await;
    assert!(mapped.head().await.starts_with("HTTP/1.1 101 "), "an IPv4-mapped address is IPv4");
    honest_client_connects(&pair, &inbox).await;
}

#[tokio::test(start_paused = true)]
async fn silent_and_slow_strangers_are_closed_at_the_deadlines() {
    let pair = patient_pair();
    let (_server, _) = pair.start_server().await;

    let begun = Instant::now();
    let mut silent = RawClient::connect(&pair.network, SERVER).await;
    assert_eq!(silent.rest().await, b"");
    assert_eq!(begun.elapsed().as_secs(), 5, "silent from the start");

    let begun = Instant::now();
    let (mut silent, _) = RawClient::upgrade(&pair.network, SERVER).await;
    assert_eq!(silent.rest().await, b"");
    assert_eq!(begun.elapsed().as_secs(), 5, "silent after the upgrade");

    let begun = Instant::now();
    let mut slow = RawClient::connect(&pair.network, SERVER).await;
    for byte in REQUEST.bytes() {
        if slow.stream.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "a byte now and then does not extend it");

    let begun = Instant::now();
    let mut endless = RawClient::connect(&pair.network, SERVER).await;
    while endless.stream.write_all(b"x: y\r\n").await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(6), "an endless head");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_thousand_silent_sockets_do_not_keep_the_client_out() {
    for sources in [1, 4, 250] {
        let mut pair = pair();
        let mut server =
            ServiceConfig::new("server", "ws://server:6501", "127.0.0.1", &6501).unwrap();
        let mut client = ServiceConfig::new("client", "ws://c:1", "127.0.0.1", &1).unwrap();
        client.add_server(server.add_client("client", "0.0.0.0/0").unwrap()).unwrap();
        (pair.server, pair.client) = (server, client);
        let (_server, inbox) = pair.start_server().await;
        let mut held = Vec::new();
        for number in 0..2_000 {
            let source = format!("10.0.{}.{}", number % sources / 200, number % sources % 200 + 1);
            held.push(RawClient::connect(&pair.network.from(&source), SERVER).await);
        }
        honest_client_connects(&pair, &inbox).await;
        drop(held);
    }
}

#[tokio::test(start_paused = true)]
async fn four_thousand_links_do_not_make_a_bad_hello_expensive() {
    let mut pair = patient_pair();
    for number in 0..4_095 {
        pair.server.add_client(&format!("other-{number}"), "127.0.0.1").unwrap();
    }
    let (_server, inbox) = pair.start_server().await;
    for _ in 0..3 {
        let (mut client, _) = RawClient::upgrade(&pair.network, SERVER).await;
        client.send(&RawFrame::binary(&[7; 1344])).await;
        assert_eq!(client.rest().await, b"");
    }
    honest_client_connects(&pair, &inbox).await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_attempts_is_limited_and_affects_no_other_address() {
    for (attacker, neighbour, other) in [
        ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
    ] {
        let mut pair = pair();
        let mut server =
            ServiceConfig::new("server", "ws://server:6501", "127.0.0.1", &6501).unwrap();
        server.add_client("client", "0.0.0.0/0").unwrap();
        server.add_client("client6", "::/0").unwrap();
        pair.server = server;
        let (_server, _) = pair.start_server().await;
        for _ in 0..10 {
            let (mut client, _) = RawClient::upgrade(&pair.network.from(attacker), SERVER).await;
            client.send(&RawFrame::binary(&[7; 1344])).await;
            assert_eq!(client.rest().await, b"");
        }
        assert_eq!(answer_to(&pair.network.from(attacker), REQUEST).await, "");
        assert_eq!(answer_to(&pair.network.from(neighbour), REQUEST).await, "");
        RawClient::upgrade(&pair.network.from(other), SERVER).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        RawClient::upgrade(&pair.network.from(attacker), SERVER).await;
        assert_eq!(answer_to(&pair.network.from(attacker), REQUEST).await, "");
    }
}

fn behind_proxies() -> Pair {
    let mut pair = patient_pair();
    let mut server = ServiceConfig::new("server", "ws://server:6501", "127.0.0.1", &6501).unwrap();
    server.add_client("client", "192.0.2.0/24").unwrap();
    let proxies = &mut server.settings_mut().transport.proxies;
    proxies.ranges = vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
    server.settings_mut().transport.limits.attempts = 3;
    pair.server = server;
    pair
}

#[tokio::test(start_paused = true)]
async fn behind_a_trusted_proxy_the_address_of_the_client_counts() {
    let pair = behind_proxies();
    let (_server, _) = pair.start_server().await;
    let proxy = pair.network.from("10.0.0.1");
    let request = |forwarded: &str| {
        REQUEST.replace("Host: ", &format!("X-Forwarded-For: {forwarded}\r\nHost: "))
    };
    for (forwarded, expected) in [
        ("192.0.2.7", "HTTP/1.1 101 "),
        ("198.51.100.1, 192.0.2.8, 10.9.9.9", "HTTP/1.1 101 "),
        ("::ffff:192.0.2.9", "HTTP/1.1 101 "),
        ("198.51.100.1", FORBIDDEN),
        ("192.0.2.7, 198.51.100.1", FORBIDDEN),
        ("2001:db8::1", FORBIDDEN),
        ("nonsense", FORBIDDEN),
        ("10.0.0.2", FORBIDDEN),
    ] {
        let mut client = RawClient::connect(&proxy, SERVER).await;
        client.write(request(forwarded).as_bytes()).await;
        assert!(client.head().await.starts_with(expected), "{forwarded}");
    }
    assert_eq!(answer_to(&proxy, REQUEST).await, FORBIDDEN, "the header is missing");
    for _ in 0..3 {
        let mut client = RawClient::connect(&proxy, SERVER).await;
        client.write(request("192.0.2.99").as_bytes()).await;
        client.head().await;
    }
    assert_eq!(answer_to(&proxy, &request("192.0.2.99")).await, TOO_MANY);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_not_from_a_trusted_proxy_is_ignored() {
    let pair = behind_proxies();
    let (_server, _) = pair.start_server().await;
    let forged = REQUEST.replace("Host: ", "X-Forwarded-For: 192.0.2.7\r\nHost: ");
    assert_eq!(answer_to(&pair.network.from("198.51.100.1"), &forged).await, "");
    let other = REQUEST.replace("Host: ", "X-Forwarded-For: 198.51.100.1\r\nHost: ");
    let mut client = RawClient::connect(&pair.network.from("192.0.2.7"), SERVER).await;
    client.write(other.as_bytes()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test(start_paused = true)]
async fn a_hex_hello_that_does_not_open_closes_the_connection() {
    let pair = pair_with(Encoding::Hex);
    let (_server, inbox) = pair.start_server().await;
    let request = REQUEST.replace("Sec-WebSocket-Protocol: paddington.sealed.1\r\n", "");
    for hello in ["0".repeat(544), "g".repeat(544), String::new(), "0".repeat(4_097)] {
        let mut client = RawClient::connect(&pair.network, SERVER).await;
        client.write(request.as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 ") && !head.contains("paddington"), "{head}");
        client.send(&RawFrame::text(&hello)).await;
        let asked = Instant::now();
        assert_eq!(client.rest().await, b"");
        assert!(asked.elapsed() < Duration::from_millis(100));
    }
    honest_client_connects(&pair, &inbox).await;
}
