//! Strangers get exactly the documented bytes (`docs/protocol.md` §9 and §10), and they can neither
//! fill the memory nor keep the honest client out.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use paddington::{Encoding, Message, Service, ServiceConfig};
use paddington_test_support::{
    Detour, Inbox, MemoryNetwork, Pair, REQUEST, RawClient, RawFrame, pair, pair_with,
};
use paddington_transport::{Network, NetworkListener, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tokio::time::{Instant, interval, sleep, timeout};

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
    assert_eq!(begun.elapsed().as_secs(), 10, "silent from the start");

    let begun = Instant::now();
    let (mut silent, _) = RawClient::upgrade(&pair.network, SERVER).await;
    assert_eq!(silent.rest().await, b"");
    assert_eq!(begun.elapsed().as_secs(), 10, "silent after the upgrade");

    let begun = Instant::now();
    let mut slow = RawClient::connect(&pair.network, SERVER).await;
    for byte in REQUEST.bytes() {
        if slow.stream.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(11), "a byte now and then does not extend it");

    let begun = Instant::now();
    let mut endless = RawClient::connect(&pair.network, SERVER).await;
    while endless.stream.write_all(b"x: y\r\n").await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(11), "an endless head");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_thousand_silent_sockets_do_not_keep_the_client_out() {
    for sources in [1, 4, 250] {
        let pair = open_pair();
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

/// A pair whose server expects its client from anywhere.
fn open_pair() -> Pair {
    let mut pair = pair();
    let mut server = ServiceConfig::new("server", "ws://server:6501", "127.0.0.1", &6501).unwrap();
    let mut client = ServiceConfig::new("client", "ws://c:1", "127.0.0.1", &1).unwrap();
    client.add_server(server.add_client("client", "0.0.0.0/0").unwrap()).unwrap();
    server.add_client("client6", "::/0").unwrap();
    (pair.server, pair.client) = (server, client);
    pair
}

/// Number of connections that a stranger keeps open at most.
const HELD: usize = 8_192;

/// Opens `rate` connections per millisecond for ever, from one address after the other. Each of
/// them sends `request` and is kept.
async fn flood(
    network: MemoryNetwork,
    rate: usize,
    source: impl Fn(usize) -> String,
    request: &'static str,
) {
    let (mut held, mut tick) = (VecDeque::new(), interval(Duration::from_millis(1)));
    for number in 0.. {
        if number % rate == 0 {
            tick.tick().await;
        }
        let mut client = RawClient::connect(&network.from(&source(number)), SERVER).await;
        // The server may have closed it already.
        let _ = client.stream.write_all(request.as_bytes()).await;
        held.push_back(client);
        if held.len() > HELD {
            held.pop_front();
        }
    }
}

/// Starts the client 40 ms away from its server while `strangers` do what they do. Returns how long
/// it takes until a message of it arrives.
async fn time_to_connect(
    pair: &Pair,
    inbox: &Inbox,
    strangers: impl Future<Output = ()> + Send + 'static,
) -> Duration {
    let strangers = tokio::spawn(strangers);
    sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    let distant = distant(&pair.network);
    let client = Service::start_on(distant, &pair.client, Inbox::new().1).await.unwrap();
    client.send(Message::new("server", "honest")).await.unwrap();
    let arrived = timeout(Duration::from_secs(60), inbox.text()).await;
    assert_eq!(arrived.as_deref(), Ok("honest"));
    strangers.abort();
    let time = begun.elapsed();
    client.shutdown().await;
    time
}

/// A network that writes down from where somebody was authenticated.
#[derive(Debug)]
struct Noting(MemoryNetwork, Mutex<Vec<IpAddr>>);

impl Network for Noting {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.0.resolve(host, port)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        self.0.connect(address)
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        self.0.bind(address)
    }

    fn beneath(&self) -> Option<&dyn Network> {
        Some(&self.0)
    }

    fn established(&self, address: IpAddr) {
        self.1.lock().unwrap().push(address);
    }
}

#[tokio::test(start_paused = true)]
async fn the_network_of_a_listener_is_told_who_was_authenticated() {
    let pair = patient_pair();
    let noting = Arc::new(Noting(pair.network.clone(), Mutex::default()));
    let (inbox, handler) = Inbox::new();
    let network = Arc::clone(&noting) as Arc<dyn Network>;
    let _server = Service::start_on(network, &pair.server, handler).await.unwrap();
    fail(&pair.network).await;
    assert!(noting.1.lock().unwrap().is_empty());
    let client = honest_client_connects(&pair, &inbox).await;
    let known = std::mem::take(&mut *noting.1.lock().unwrap());
    assert_eq!(known, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    client.shutdown().await;
}

const ONE_WAY: Duration = Duration::from_millis(20);

/// A network with a round trip of 40 ms.
fn distant(network: &MemoryNetwork) -> Arc<dyn Network> {
    Detour::network(network.clone(), |network, address| async move {
        sleep(2 * ONE_WAY).await;
        let (near, far) = duplex(64 * 1024);
        let (mut from_server, mut to_server) = split(network.dial(address).await?);
        let (mut from_client, mut to_client) = split(far);
        tokio::spawn(async move {
            tokio::join!(
                carry(&mut from_client, &mut to_server),
                carry(&mut from_server, &mut to_client)
            );
        });
        Ok(Stream::new(near))
    })
}

async fn carry(from: &mut (impl AsyncReadExt + Unpin), to: &mut (impl AsyncWriteExt + Unpin)) {
    let mut bytes = [0; 4_096];
    while let Ok(len @ 1..) = from.read(&mut bytes).await {
        sleep(ONE_WAY).await;
        if to.write_all(&bytes[..len]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// A whole IPv6 /48, ten thousand connections per second. With a real backlog, which is four times
/// as long as that of the network in memory, a queue of them would take four times as long.
#[tokio::test(start_paused = true)]
async fn sixty_thousand_networks_do_not_keep_the_client_out() {
    for request in ["", REQUEST] {
        let pair = open_pair();
        let (_server, inbox) = pair.start_server().await;
        let source = |number| format!("2001:db8:1:{:x}::1", number % 60_000);
        let strangers = flood(pair.network.clone(), 10, source, request);
        let time = time_to_connect(&pair, &inbox, strangers).await;
        assert!(time < Duration::from_secs(1), "{time:?} {request:?}");
    }
}

/// Unrelated addresses, each of which opens four connections per second.
#[tokio::test(start_paused = true)]
async fn a_thousand_addresses_do_not_keep_the_client_out() {
    for request in ["", REQUEST] {
        let pair = open_pair();
        let (_server, inbox) = pair.start_server().await;
        let source = |number| {
            let number = number % 1_000;
            format!("{}.{}.0.1", 20 + number / 200, number % 200)
        };
        let strangers = flood(pair.network.clone(), 4, source, request);
        let time = time_to_connect(&pair, &inbox, strangers).await;
        assert!(time < Duration::from_secs(2), "{time:?} {request:?}");
    }
}

/// The flood comes from the client's own /16, a thousand times faster than the client.
#[tokio::test(start_paused = true)]
async fn a_client_that_was_there_before_comes_back_through_any_flood() {
    let pair = open_pair();
    let (_server, inbox) = pair.start_server().await;
    honest_client_connects(&pair, &inbox).await.shutdown().await;
    let source = |number| format!("127.0.{}.{}", number / 250 % 240 + 1, number % 250);
    let strangers = flood(pair.network.clone(), 40, source, REQUEST);
    let time = time_to_connect(&pair, &inbox, strangers).await;
    assert!(time < Duration::from_secs(1), "{time:?}");
}

/// A health probe, a port scanner, another machine behind the same NAT.
#[tokio::test(start_paused = true)]
async fn a_neighbour_at_the_clients_address_does_not_keep_it_out() {
    for (pause, keeps) in [(1_000, false), (20, false), (20, true)] {
        let pair = open_pair();
        let (_server, inbox) = pair.start_server().await;
        let network = pair.network.clone();
        let neighbour = async move {
            let mut held = Vec::new();
            loop {
                let empty = RawClient::connect(&network, SERVER).await;
                held.extend(keeps.then_some(empty));
                sleep(Duration::from_millis(pause)).await;
            }
        };
        let neighbour = async move {
            let _ = timeout(Duration::from_secs(60), neighbour).await;
        };
        let started = Instant::now();
        let strangers = tokio::spawn(neighbour);
        sleep(Duration::from_secs(30)).await; // many times the attempts of an address
        let time = time_to_connect(&pair, &inbox, async {}).await;
        assert!(time < Duration::from_secs(1), "{time:?} {pause} {keeps}");
        assert!(started.elapsed() < Duration::from_secs(60), "the neighbour was still there");
        strangers.abort();
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

/// Fails an attempt.
async fn fail(network: &MemoryNetwork) {
    let (mut client, _) = RawClient::upgrade(network, SERVER).await;
    client.send(&RawFrame::binary(&[7; 1344])).await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_attempts_is_limited_and_affects_no_other_address() {
    for (attacker, neighbour, other) in [
        ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
    ] {
        let pair = open_pair();
        let (_server, _) = pair.start_server().await;
        let [attacker, neighbour, other] =
            [attacker, neighbour, other].map(|source| pair.network.from(source));
        for _ in 0..5 {
            fail(&attacker).await;
            assert_eq!(answer_to(&attacker, "nonsense\r\n\r\n").await, BAD_REQUEST);
        }
        assert_eq!(answer_to(&attacker, REQUEST).await, "");
        assert_eq!(answer_to(&neighbour, REQUEST).await, "");
        RawClient::upgrade(&other, SERVER).await;
        sleep(Duration::from_secs(2)).await;
        fail(&attacker).await;
        assert_eq!(answer_to(&attacker, REQUEST).await, "");
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
        client.send(&RawFrame::binary(&[7; 1344])).await;
        assert_eq!(client.rest().await, b"");
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
