//! Bodies and queries that are not valid: each is answered with an error, and nothing is sent.

use http::StatusCode;
use serde_json::Value;

use crate::side::Both;

const JSON: &str = "application/json";

#[tokio::test]
async fn bodies_that_are_not_valid_are_refused_whole() {
    let both = Both::start().await;
    let path = "/v1/peers/server/messages";
    let cases: [(&str, &[u8], &str); 16] = [
        (JSON, b"", "invalid_json"),
        (JSON, b"{", "invalid_json"),
        (JSON, b"[]", "invalid_json"),
        (JSON, b"{}", "no_content"),
        (JSON, b"{\"text\":1}", "invalid_json"),
        (JSON, b"{\"text\":\"\xff\"}", "invalid_json"),
        (JSON, br#"{"text":"\ud800"}"#, "invalid_json"),
        (JSON, br#"{"txt":"x"}"#, "invalid_json"),
        (JSON, br#"{"text":"x","base64":"eA=="}"#, "two_contents"),
        (JSON, br#"{"base64":"eA"}"#, "not_base64"),
        (JSON, br#"{"text":"x","messages":[]}"#, "two_contents"),
        (JSON, br#"{"messages":[{"text":"x"},{"base64":"?"}]}"#, "not_base64"),
        (JSON, br#"{"text":"x","ttl_seconds":-1}"#, "invalid_time"),
        (JSON, br#"{"text":"x","ttl_seconds":1e300}"#, "invalid_time"),
        ("text/plain", b"\xff", "not_text"),
        ("image/png", b"x", "unsupported_type"),
    ];
    for (kind, body, code) in cases {
        let (status, _, answer) = both.client.raw(path, &[("content-type", kind)], body).await;
        let shown = String::from_utf8_lossy(body);
        assert!(status.is_client_error(), "{shown}: {status}");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["error"]["code"], code, "{shown}");
    }
    let untyped = both.client.raw(path, &[], "x").await;
    assert_eq!(untyped.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(both.client.peer().counts.unwrap().accepted, 0);
}

#[tokio::test]
async fn queries_that_are_not_valid_are_refused() {
    let both = Both::start().await;
    let mut api = both.server.api().await;
    let long = format!("/v1/messages?consumer={}", "x".repeat(65));
    for path in [
        "/v1/messages?max=0",
        "/v1/messages?max=1001",
        "/v1/messages?max=-1",
        "/v1/messages?maximum=1",
        "/v1/messages?wait=-1",
        "/v1/messages?wait=inf",
        "/v1/messages?lease=0s",
        "/v1/messages?lease=2h",
        "/v1/messages?again=1",
        "/v1/messages?consumer=",
        &long,
    ] {
        let refused = api.get::<Value>(path).await.unwrap_err();
        assert_eq!(crate::side::code(&refused).0, 400, "{path}");
    }
    for path in ["?wait=sent", "?ttl=soon", "?to=server"] {
        let path = format!("/v1/peers/client/messages{path}");
        let (status, _, _) = both.server.raw(&path, &[("content-type", "text/plain")], "x").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
    }
}
