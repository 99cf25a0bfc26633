//! The head of a request, read strictly (`docs/protocol.md` §2 and §9): odd ones that HTTP allows
//! are answered with 101, and nothing that a proxy could understand differently is.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use paddington::{Message, Service};
use paddington_test_support::{Inbox, Pair, REQUEST, RawClient, pair};
use tokio::time::timeout;

const SERVER: &str = "127.0.0.1:6501";
const SWITCHING: &str = "HTTP/1.1 101 ";
const BAD_REQUEST: &str =
    "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// The connection is closed, without a byte.
const CLOSED: &str = "";

/// Returns the request of a client with `old` replaced by `new`.
fn with(old: &str, new: &str) -> String {
    assert!(REQUEST.contains(old), "{old}");
    REQUEST.replace(old, new)
}

/// Returns the request of a client with one more header line.
fn plus(line: &str) -> String {
    with("Connection: Upgrade\r\n", &format!("Connection: Upgrade\r\n{line}\r\n"))
}

fn valid() -> Vec<String> {
    vec![
        REQUEST.to_owned(),
        with("Connection: Upgrade", "connection: upgrade"),
        with("Connection: Upgrade", "CONNECTION: UPGRADE"),
        with("Connection: Upgrade", "Connection:Upgrade"),
        with("Connection: Upgrade", "Connection: \t Upgrade \t "),
        with("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        with("Connection: Upgrade", "Connection: Upgrade , keep-alive"),
        with("Connection: Upgrade", "Connection: ,,Upgrade,"),
        with("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
        with("Upgrade: websocket", "Upgrade: WebSocket"),
        with("Upgrade: websocket", "uPGRADE: h2c, websocket"),
        with("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"),
        with("GET / ", "GET /? "),
        with("GET / ", "GET /?a=b&c=%20 "),
        with("GET / ", "GET http://server.example:6501/ "),
        with("Host: server.example:6501", "Host: "),
        with("Host: server.example:6501", "host: [2001:db8::1]:6501"),
        with("GET / ", "\r\nGET / "),
        plus("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
        plus("User-Agent: curl/8.0 (odd; \"agent\")"),
        plus("X-Empty:"),
        plus("X-Latin-1: caf\u{e9}"),
        plus("Cookie: a=b; c=d\r\nCookie: e=f"),
        plus("X-Forwarded-For: 198.51.100.1\r\nVia: 1.1 proxy"),
        plus("Expect: 100-continue"),
    ]
}

fn bad() -> Vec<String> {
    vec![
        plus("Content-Length: 0"),
        plus("Content-Length: 5"),
        plus("content-length: 1\r\ncontent-length: 1"),
        plus("Content-Length: -1"),
        plus("Content-Length: 18446744073709551616"),
        plus("Transfer-Encoding: chunked"),
        plus("transfer-encoding: identity"),
        plus("Transfer-Encoding: gzip, chunked"),
        plus("Content-Length: 5\r\nTransfer-Encoding: chunked"),
        with("Host: server.example:6501\r\n", ""),
        plus("Host: other.example"),
        plus("Origin: https://evil.example"),
        plus("Origin: null"),
        with("Connection: Upgrade", "Connection: Upgraded"),
        with("Connection: Upgrade", "Connection: keep-alive"),
        with("Connection: Upgrade", "Connection : Upgrade"),
        with("Connection: Upgrade", " Connection: Upgrade"),
        with("Connection: Upgrade", "Connection: keep-alive,\r\n Upgrade"),
        with("Upgrade: websocket", "Upgrade: websocket2"),
        with("Upgrade: websocket\r\n", ""),
        with("Version: 13", "Version: 8, 13"),
        plus("Sec-WebSocket-Version: 13"),
        plus("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        with("Protocol: paddington.sealed.1", "Protocol: PADDINGTON.SEALED.1"),
        plus("Sec-WebSocket-Protocol: paddington.sealed.1"),
        plus("no colon"),
        plus(": no name"),
        plus("X\u{0}: nul in a name"),
        plus("X: nul in \u{0} a value"),
        plus("X: escape \u{1b}[2J"),
        with("GET ", "get "),
        with("GET ", "PUT "),
        with("GET ", "CONNECT "),
        with("GET / HTTP/1.1", "GET /"),
        with("GET / HTTP/1.1", "GET  HTTP/1.1"),
        with("GET / HTTP/1.1", "GET / HTTP/1.1 "),
        with("GET / HTTP/1.1", "GET / http/1.1"),
        with("GET / HTTP/1.1", "GET / HTTP/2.0"),
        with("GET / HTTP/1.1", "GET / / HTTP/1.1"),
        "\u{16}\u{3}\u{1}\r\n\r\n".to_owned(),
    ]
}

fn not_found() -> Vec<String> {
    vec![
        with("GET / ", "GET /other "),
        with("GET / ", "GET //server.example/ "),
        with("GET / ", "GET /%2f "),
        with("GET / ", "GET /. "),
        with("GET / ", "GET * "),
        with("GET / ", "GET http://server.example:6501/other "),
    ]
}

/// Heads that end for one reader and not for another.
fn ambiguous() -> Vec<String> {
    vec![
        REQUEST.replace("\r\n", "\n"),
        with("Connection: Upgrade\r\n", "Connection: Upgrade\n"),
        with("GET / HTTP/1.1\r\n", "GET / HTTP/1.1\n"),
        with("sealed.1\r\n\r\n", "sealed.1\n\n\u{1}\u{2}\r\n\r\n"),
        with("sealed.1\r\n\r\n", "sealed.1\r\n\n"),
        with("sealed.1\r\n\r\n", "sealed.1\n\r\n"),
        with("Connection: Upgrade\r\n", "Connection: Upgrade\r"),
        plus("X: a\rb"),
        plus("X: a\r"),
        with("GET / ", "\nGET / "),
        with("GET / ", "\r\n\r\nGET / "),
    ]
}

/// Sends a request as a whole, or in pieces of one byte, and returns the answer.
async fn answer_to(pair: &Pair, request: &str, expected: &str, piecemeal: bool) -> String {
    let mut client = RawClient::connect(&pair.network, SERVER).await;
    let pieces = if piecemeal { 1 } else { request.len() };
    for piece in request.as_bytes().chunks(pieces) {
        client.write(piece).await;
        if piecemeal {
            tokio::task::yield_now().await;
        }
    }
    let answered = async {
        match expected {
            SWITCHING => client.head().await,
            _ => String::from_utf8(client.rest().await).unwrap(),
        }
    };
    let answered = timeout(Duration::from_millis(100), answered).await;
    answered.unwrap_or_else(|_| "no answer".to_owned())
}

async fn honest_client_connects(pair: &Pair, inbox: &Inbox) -> Service {
    let (client, _) = pair.start_client().await;
    client.send(Message::new("server", "honest")).await.unwrap();
    assert_eq!(timeout(Duration::from_secs(1), inbox.text()).await.unwrap(), "honest");
    client
}

#[tokio::test(start_paused = true)]
async fn only_a_head_that_every_reader_understands_the_same_gets_a_101() {
    let mut pair = pair();
    pair.server.settings_mut().transport.limits.attempts = 10_000;
    let (_server, inbox) = pair.start_server().await;
    let tables = [
        (SWITCHING, valid()),
        (BAD_REQUEST, bad()),
        (NOT_FOUND, not_found()),
        (CLOSED, ambiguous()),
    ];
    let mut wrong = Vec::new();
    for (expected, requests) in tables {
        for request in requests {
            for piecemeal in [false, true] {
                let answer = answer_to(&pair, &request, expected, piecemeal).await;
                let is_right = match expected {
                    SWITCHING => answer.starts_with(SWITCHING),
                    _ => answer == expected,
                };
                if !is_right {
                    wrong.push((request.clone(), answer));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    honest_client_connects(&pair, &inbox).await;
}
