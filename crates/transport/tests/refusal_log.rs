//! Whoever runs a server learns from its log, at INFO, who was refused, why and what helps. No
//! stranger can fill the log (`docs/protocol.md` §9).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::OnceLock;
use std::time::Duration;

use paddington::{Encoding, Service, ServiceConfig};
use paddington_test_support::{
    CapturedLogs, MemoryNetwork, REQUEST, RawClient, RawFrame, capture_logs, eventually, pair,
};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

const SERVER: &str = "127.0.0.1:6501";
const PROXY: &str = "10.0.0.1";
/// The start of a ClientHello.
const CLIENT_HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];

fn logs() -> &'static CapturedLogs {
    static LOGS: OnceLock<CapturedLogs> = OnceLock::new();
    LOGS.get_or_init(capture_logs)
}

/// Lines at INFO and above that contain `part`.
fn lines(part: &str) -> Vec<String> {
    let all = logs().lines().into_iter();
    all.filter(|line| line.starts_with("INFO") || line.starts_with("WARN"))
        .filter(|line| line.contains(part))
        .collect()
}

/// Starts a server that expects clients from `sealed` and from 203.0.113.0/24 (`hex`), behind a
/// proxy.
async fn start(sealed: &str) -> (MemoryNetwork, Service) {
    logs();
    let mut config = ServiceConfig::new("server", "ws://server:6501", "127.0.0.1", &6501).unwrap();
    config.add_client("client", sealed).unwrap();
    config.add_client_with("old", "203.0.113.0/24", Encoding::Hex).unwrap();
    let transport = &mut config.settings_mut().transport;
    transport.proxies.ranges = vec![PROXY.parse().unwrap()];
    transport.limits.attempts = 1_000;
    let pair = pair();
    let (service, _) = pair.start(&config).await;
    (pair.network, service)
}

/// Sends `bytes` and waits until the server hangs up.
async fn send(network: &MemoryNetwork, source: &str, bytes: &[u8]) -> Vec<u8> {
    let mut client = RawClient::connect(&network.from(source), SERVER).await;
    let _ = client.stream.write_all(bytes).await; // the server may have hung up already
    client.rest().await
}

async fn send_bad_hello(network: &MemoryNetwork, source: &str) {
    let (mut client, _) = RawClient::upgrade(&network.from(source), SERVER).await;
    client.send(&RawFrame::binary(&[7; 1344])).await;
    client.rest().await;
}

#[tokio::test(start_paused = true)]
async fn every_refusal_names_the_address_the_stage_the_cause_and_a_remedy() {
    let (network, server) = start("192.0.2.0/24").await;
    let hex = REQUEST.replace("Sec-WebSocket-Protocol: paddington.sealed.1\r\n", "");
    let path = REQUEST.replace("GET / ", "GET /other ");
    let get = "GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol: paddington.sealed.1\r\n\r\n";
    let via = |client: &str| {
        REQUEST.replace("Host:", &format!("X-Forwarded-For: {client}\r\nHost:")).into_bytes()
    };
    let long = [b'x'; 9_000];
    for (source, bytes, address, stage, cause, remedy) in [
        ("198.51.100.1", b"".to_vec(), "198.51.100.1", "accept", "no invitation allows", "range"),
        ("192.0.2.1", path.into_bytes(), "192.0.2.1", "request", "another path", "path"),
        ("192.0.2.2", hex.into_bytes(), "192.0.2.2", "request", "hex encoding", "latest"),
        ("192.0.2.3", get.into(), "192.0.2.3", "request", "no upgrade", "proxy"),
        ("192.0.2.4", CLIENT_HELLO.to_vec(), "192.0.2.4", "request", "speaks TLS", "ws://"),
        ("192.0.2.5", b"".to_vec(), "192.0.2.5", "request", "sent nothing", "scanner"),
        ("192.0.2.6", b"GET".to_vec(), "192.0.2.6", "request", "not established in time", "check"),
        ("192.0.2.7", long.to_vec(), "192.0.2.7", "request", "too long", "proxy"),
        (PROXY, via("198.51.100.9"), "198.51.100.9", "request", "no invitation allows", "range"),
        (PROXY, REQUEST.into(), PROXY, "request", "does not report", "header"),
        ("192.0.2.8", REQUEST.into(), "192.0.2.8", "HELLO", "not established in time", "check"),
    ] {
        send(&network, source, &bytes).await;
        tokio::task::yield_now().await;
        let found = lines(&format!("address={address} "));
        let [line] = found.as_slice() else { unreachable!("{address}: {found:?}") };
        for part in ["refused a connection", &format!("stage={stage} "), cause, remedy] {
            assert!(line.contains(part), "{part}: {line}");
        }
        let kept = server.refusals().remove(0);
        assert_eq!(
            (kept.address.to_string().as_str(), kept.stage, kept.count),
            (address, stage, 1)
        );
        assert!(kept.cause.contains(cause) && kept.remedy.contains(remedy), "{kept:?}");
        assert!(line.contains(kept.cause) && line.contains(kept.remedy), "the same texts: {line}");
    }
    let (mut client, _) = RawClient::upgrade(&network.from("192.0.2.10"), SERVER).await;
    client.send(&RawFrame::binary(&[7; 3_000])).await;
    client.rest().await;
    let long = lines("=192.0.2.10 ").remove(0);
    assert!(long.contains("stage=HELLO cause=the peer broke the protocol"), "{long}");
    send_bad_hello(&network, "192.0.2.9").await;
    send_bad_hello(&network, "203.0.113.1").await;
    let strangers =
        ["192.0.2.9", "203.0.113.1"].map(|source| lines(&format!("={source} ")).remove(0));
    assert!(strangers[0].contains("stage=HELLO cause=the peer could not be authenticated"));
    assert!(strangers[1].contains("uses the sealed encoding"), "{}", strangers[1]);
}

#[tokio::test(start_paused = true)]
async fn a_second_process_is_refused_for_what_it_is() {
    logs();
    let mut pair = pair();
    pair.server.set_range("client", "127.0.0.0/8").unwrap();
    let (server, _) = pair.start_server().await;
    let (first, _) = pair.start_client().await;
    eventually(async || first.peers()[0].is_connected()).await;
    assert_eq!(server.refusals(), []);
    pair.network = pair.network.from("127.9.9.9");
    let (second, _) = pair.start_client().await;
    eventually(async || !server.refusals().is_empty()).await;
    let refusal = server.refusals().remove(0);
    assert_eq!(refusal.address.to_string(), "127.9.9.9");
    assert_eq!(refusal.stage, "READY");
    assert_eq!(refusal.cause, "another live process uses its invitation");
    assert!(refusal.at <= refusal.last);
    assert!(lines("address=127.9.9.9 ")[0].contains(refusal.cause));
    for service in [second, first, server] {
        service.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_only_comes_and_goes_is_no_refusal() {
    let (network, _server) = start("198.18.0.0/16").await;
    for _ in 0..100 {
        drop(RawClient::connect(&network.from("198.18.7.7"), SERVER).await);
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(lines("198.18.7.7"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn repeats_are_folded_into_one_line_with_their_number() {
    let (network, server) = start("198.19.0.0/16").await;
    for _ in 0..300 {
        send_bad_hello(&network, "198.19.0.1").await;
    }
    assert_eq!(lines("=198.19.0.1 ").len(), 1);
    sleep(Duration::from_secs(61)).await;
    let told = lines("=198.19.0.1 ");
    assert!(told[1].contains("stage=HELLO") && told[1].contains("count=299"), "{told:?}");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(lines("=198.19.0.1 ").len(), 2);

    send_bad_hello(&network, "198.19.0.1").await;
    send_bad_hello(&network, "198.19.0.1").await;
    server.shutdown().await;
    let told = lines("=198.19.0.1 ");
    assert_eq!(told.len(), 4, "what was counted is told at the end, too");
    assert!(told[3].contains("count=1"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flood_from_many_addresses_does_not_fill_the_log() {
    let (network, _server) = start("127.0.0.1").await;
    for number in 0..5_000 {
        let source = format!("172.16.{}.{}", number / 250, number % 250);
        drop(RawClient::connect(&network.from(&source), SERVER).await);
    }
    sleep(Duration::from_secs(61)).await;
    assert_eq!(lines("=172.16.").len(), 8);
    let told = lines("from more addresses");
    let rest = told.iter().filter(|line| line.contains("count=4992"));
    assert_eq!(rest.count(), 1, "{told:?}");
}
