//! The rights over TCP: nothing without the token, no keys at all, and nothing for pages of
//! other sites.

use crate::support::{Hub, keys, settings_with_tcp, status};
use paddington_admin::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const JSON: &str = "Content-Type: application/json";
const INVITE: &str = r#"{"name": "attic", "range": "192.0.2.7"}"#;

#[tokio::test]
async fn nothing_is_told_without_the_token() {
    let hub = Hub::start_with(settings_with_tcp).await;
    let token = hub.token();
    assert_eq!(status(&hub.ask("GET /v1/status", &[], "").await), 200);
    let shorter = &token[..token.len() - 1];
    let wrong = [
        String::new(),
        "Authorization: Bearer".to_owned(),
        format!("Authorization: Bearer {shorter}"),
        format!("Authorization: Bearer {shorter}x"),
        format!("Authorization: Bearer {token}0"),
        format!("Authorization: Basic {token}"),
        format!("Authorization: {token}"),
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}"),
        format!("X-Authorization: Bearer {token}"),
    ];
    for wrong in wrong.iter().map(String::as_str) {
        let headers: &[&str] = if wrong.is_empty() { &[] } else { &[wrong] };
        for path in ["/v1/status", "/v1/peers", "/metrics", "/v1/openapi.json", "/v1/x", "//livez"]
        {
            let answer = hub.ask_openly(&format!("GET {path}"), headers, "").await;
            assert_eq!(status(&answer), 401, "{wrong}: {answer}");
            assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
            assert!(!answer.contains(&token) && !answer.contains("client"), "{answer}");
        }
    }
    for path in ["/livez", "/readyz", "/", "/style.css", "/script.js"] {
        assert_eq!(status(&hub.ask_openly(&format!("GET {path}"), &[], "").await), 200, "{path}");
    }
    hub.serving.end().await;
}

#[tokio::test]
async fn pages_of_other_sites_get_nothing() {
    let hub = Hub::start_with(settings_with_tcp).await;
    let port = hub.tcp().port();
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""]
    {
        for path in ["/", "/livez", "/v1/status"] {
            let host = format!("Host: {host}:{port}");
            let answer = hub.ask(&format!("GET {path}"), &[&host], "").await;
            assert_eq!(status(&answer), 421, "{host}: {answer}");
        }
    }
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "[::1]"] {
        for host in [format!("Host: {host}:{port}"), format!("Host: {host}")] {
            assert_eq!(status(&hub.ask("GET /v1/status", &[&host], "").await), 200, "{host}");
        }
    }
    let own = hub.tcp().to_string();
    let foreign = [
        "Origin: http://evil.example".to_owned(),
        format!("Origin: https://{own}"),
        format!("Origin: http://localhost:{}", port ^ 1),
        "Origin: null".to_owned(),
        format!("Origin: http://{own}.evil.example"),
        format!("Origin: http://{own}\r\nOrigin: http://evil.example"),
        "Sec-Fetch-Site: cross-site".to_owned(),
        "Sec-Fetch-Site: same-site".to_owned(),
    ];
    for header in &foreign {
        let answer = hub.ask("GET /v1/status", &[header], "").await;
        assert_eq!(status(&answer), 403, "{header}: {answer}");
        assert!(answer.contains("foreign_origin") && !answer.contains("allow-origin"), "{answer}");
    }
    let origin = format!("Origin: http://{own}");
    let answer = hub.ask("GET /v1/status", &[&origin, "Sec-Fetch-Site: same-origin"], "").await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(!answer.contains("access-control"), "there is no CORS: {answer}");
    let two = hub.ask("GET /v1/status", &["Host: localhost", "Host: evil.example"], "").await;
    assert_eq!(status(&two), 421, "{two}");
    hub.serving.end().await;
}

#[tokio::test]
async fn no_key_is_told_over_tcp() {
    let changes = |folder: &_| Settings { changes: true, ..settings_with_tcp(folder) };
    let hub = Hub::start_with(changes).await;
    let keys = keys(&hub.pair.invite.to_toml().unwrap());
    assert_eq!(keys.len(), 2);
    let peer = hub.start_peer().await;
    for (line, body, expected) in [
        ("POST /v1/peers", INVITE, 403),
        ("POST /v1/peers/client/renew", "{}", 403),
        ("GET /v1/peers", "", 200),
        ("GET /v1/peers/client", "", 200),
        ("GET /v1/status", "", 200),
        ("GET /v1/outbox", "", 200),
        ("GET /v1/refusals", "", 200),
        ("GET /metrics", "", 200),
        ("PUT /v1/peers/client/range", r#"{"range": "127.0.0.0/8"}"#, 200),
    ] {
        let answer = hub.ask(line, &[JSON], body).await;
        assert_eq!(status(&answer), expected, "{line}: {answer}");
        assert!(keys.iter().all(|key| !answer.contains(key)), "{line}");
    }
    assert_eq!(hub.service.peers().len(), 1, "nobody was invited");
    peer.shutdown().await;
    hub.serving.end().await;
}

#[tokio::test]
async fn peers_are_changed_over_tcp_only_where_that_is_switched_on() {
    let requests = [
        ("PUT /v1/peers/client/range", r#"{"range": "192.0.2.0/24"}"#, 200),
        ("POST /v1/peers/client/disconnect", "", 200),
        ("POST /v1/peers/client/keys", "", 409),
        ("POST /v1/peers/join", r#"{"invitation": ""}"#, 400),
        ("DELETE /v1/peers/client", "", 200),
    ];
    for changes in [false, true] {
        let settings = |folder: &_| Settings { changes, ..settings_with_tcp(folder) };
        let hub = Hub::start_with(settings).await;
        for (line, body, allowed) in requests {
            let answer = hub.ask(line, &[JSON], body).await;
            let expected = if changes { allowed } else { 403 };
            assert_eq!(status(&answer), expected, "{line}: {answer}");
        }
        assert_eq!(hub.service.peers().is_empty(), changes);
        hub.serving.end().await;
    }
}

#[tokio::test]
async fn what_is_not_json_changes_nothing() {
    let changes = |folder: &_| Settings { changes: true, ..settings_with_tcp(folder) };
    let hub = Hub::start_with(changes).await;
    let line = "PUT /v1/peers/client/range";
    let range = r#"{"range": "192.0.2.0/24"}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        let answer = hub.ask(line, &[&format!("Content-Type: {kind}")], range).await;
        assert_eq!(status(&answer), 415, "{answer}");
    }
    for body in ["{", "[]", "null", "{\"range\": 7}", "\"text\"", "{}", "\u{0}"] {
        let answer = hub.ask(line, &[JSON], body).await;
        assert_eq!(status(&answer), 400, "{body}: {answer}");
        assert!(answer.contains("invalid_json"), "{answer}");
    }
    let deep = "[".repeat(60_000);
    assert_eq!(status(&hub.ask(line, &[JSON], &deep).await), 400);
    assert_eq!(status(&hub.ask(line, &[JSON], &"x".repeat(100_000)).await), 413);
    hub.serving.end().await;
}

#[tokio::test]
async fn a_long_head_is_refused() {
    let hub = Hub::start_with(settings_with_tcp).await;
    let long = format!("X-Long: {}", "x".repeat(20_000));
    let answer = hub.ask_openly("GET /livez", &[&long], "").await;
    assert_eq!(status(&answer), 431, "{answer}");
    let fields: Vec<String> = (0..101).map(|number| format!("X-{number}: 1")).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let answer = hub.ask_openly("GET /livez", &fields, "").await;
    assert_eq!(status(&answer), 431, "{answer}");
    assert_eq!(status(&hub.raw("nonsense\r\n\r\n").await), 400);
    hub.serving.end().await;
}

#[tokio::test]
async fn connections_are_bounded_and_the_socket_has_its_own() {
    let hub = Hub::start_with(settings_with_tcp).await;
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", hub.tcp());
    let mut answer = [0; 1024];
    let mut connections = Vec::new();
    for _ in 0..256 {
        let mut socket = TcpStream::connect(hub.tcp()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        assert!(socket.read(&mut answer).await.unwrap() > 0);
        connections.push(socket);
    }
    let mut waiting = TcpStream::connect(hub.tcp()).await.unwrap();
    waiting.write_all(request.as_bytes()).await.unwrap();
    let (code, _) = hub.client().await.text("/livez").await.unwrap();
    assert_eq!(code, 200, "whoever has the socket is served nevertheless");
    let early = waiting.try_read(&mut answer).unwrap_err();
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock, "there is no place");
    connections.pop();
    assert!(waiting.read(&mut answer).await.unwrap() > 0);
    hub.serving.end().await;
}

#[tokio::test]
async fn the_page_may_load_its_own_files_only() {
    let hub = Hub::start_with(settings_with_tcp).await;
    let answer = hub.ask_openly("GET /", &[], "").await;
    let policy = "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; \
                  connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    assert!(answer.contains(policy), "{answer}");
    assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
    assert!(answer.contains("cache-control: no-store"), "{answer}");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page");
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let path = if name == "index.html" { String::new() } else { name };
        let answer = hub.ask_openly(&format!("GET /{path}"), &[], "").await;
        assert_eq!(status(&answer), 200, "{path}");
    }
    assert_eq!(status(&hub.ask("GET /../Cargo.toml", &[], "").await), 404);
    hub.serving.end().await;
}
