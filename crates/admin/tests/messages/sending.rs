//! Sending through the API.

use http::StatusCode;
use paddington_admin::model::{Accepted, OutcomeAnswer, Outcomes};
use paddington_test_support::pair;
use serde_json::{Value, json};

use crate::side::{Both, Side, code, next, numbers, text};

const MESSAGES: &str = "/v1/peers/server/messages";

#[tokio::test]
async fn text_and_bytes_arrive_as_what_they_are() {
    let both = Both::start().await;
    let mut api = both.client.api().await;
    let one: Accepted = api.post(MESSAGES, &json!({ "text": "é" })).await.unwrap();
    assert_eq!((one.ids.len(), one.error), (1, None));
    let batch = json!({ "messages": [{ "text": "2" }, { "base64": "/wA=", "ttl_seconds": 60.5 }] });
    let two: Accepted = api.post(MESSAGES, &batch).await.unwrap();
    assert!(two.ids.iter().all(Option::is_some));
    let kind = |kind| [("content-type", kind)];
    let (status, _, _) = both.client.raw(MESSAGES, &kind("text/plain; charset=utf-8"), "ü").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let bytes = &b"\xff"[..];
    both.client.raw(MESSAGES, &kind("application/octet-stream"), bytes).await;
    let mut stream = both.server.stream("").await;
    let mut got = Vec::new();
    for _ in 0..5 {
        let message = next(&mut stream).await;
        got.push((message.content.text, message.content.base64));
    }
    let (text, bytes) =
        (|it: &str| (Some(it.to_owned()), None), |it: &str| (None, Some(it.to_owned())));
    assert_eq!(got, [text("é"), text("2"), bytes("/wA="), text("ü"), bytes("/w==")]);
}

#[tokio::test]
async fn whoever_waits_is_told_what_has_become_of_its_messages() {
    let both = Both::start().await;
    let mut api = both.client.api().await;
    let acknowledge = async |failing: bool| {
        let mut stream = both.server.stream("").await;
        let end = if failing { "failed" } else { "handled" };
        let path = format!("/v1/messages/{}/{end}", next(&mut stream).await.id);
        let _: Value = both.server.api().await.post(&path, &json!({})).await.unwrap();
    };
    let path = format!("{MESSAGES}?wait=handled");
    let body = json!({ "text": "x" });
    let (outcome, ()) = tokio::join!(api.post::<OutcomeAnswer>(&path, &body), acknowledge(false));
    assert_eq!(outcome.unwrap().outcome, "handled");
    let body = json!({ "messages": [{ "text": "x" }] });
    let (outcomes, ()) = tokio::join!(api.post::<Outcomes>(&path, &body), acknowledge(true));
    let outcomes = outcomes.unwrap().outcomes;
    assert_eq!((outcomes.len(), outcomes[0].outcome.as_str()), (1, "rejected"));
}

#[tokio::test]
async fn an_expired_message_is_told() {
    let pair = pair();
    let client = Side::start(&pair, pair.client.clone()).await;
    let path = format!("{MESSAGES}?wait=handled&ttl=20ms");
    let outcome: OutcomeAnswer =
        client.api().await.post(&path, &json!({ "text": "x" })).await.unwrap();
    assert_eq!(outcome.outcome, "expired");
}

#[tokio::test]
async fn of_a_batch_that_finds_no_room_it_is_told_what_was_accepted() {
    for stored in [false, true] {
        let (mut pair, folder) = (pair(), tempfile::tempdir().unwrap());
        let settings = pair.client.settings_mut();
        (settings.outbox_messages, settings.stored_messages) = (150, 150);
        if stored {
            pair.client.set_outbox(folder.path().join("outbox.sqlite"));
        }
        let client = Side::start(&pair, pair.client.clone()).await;
        client.send("server", numbers(0..100)).await;
        let messages: Vec<_> =
            numbers(100..200).into_iter().map(|text| json!({ "text": text })).collect();
        let body = json!({ "messages": messages }).to_string();
        let json_kind = [("content-type", "application/json")];
        let (status, _, answer) = client.raw(MESSAGES, &json_kind, body).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        let accepted: Accepted = serde_json::from_slice(&answer).unwrap();
        assert_eq!(accepted.ids.len(), 50);
        assert_eq!(accepted.error.unwrap().code, "outbox_full");

        let server = Side::start(&pair, pair.server.clone()).await;
        let mut stream = server.stream("?max=1000").await;
        for number in 0..150 {
            assert_eq!(text(&next(&mut stream).await), number.to_string());
        }
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused() {
    let both = Both::start().await;
    let mut api = both.client.api().await;
    let long = api.post::<Value>(MESSAGES, &json!({ "text": "x".repeat(1024 * 1024 + 1) })).await;
    assert_eq!(code(&long.unwrap_err()), (413, "too_long"));
    let kind = [("content-type", "text/plain")];
    let (status, _, _) = both.client.raw(MESSAGES, &kind, "x".repeat(1024 * 1024)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let (status, _, _) = both.client.raw(MESSAGES, &kind, "x".repeat(5 * 1024 * 1024)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let many: Vec<_> = (0..1001).map(|_| json!({ "text": "" })).collect();
    let many = api.post::<Value>(MESSAGES, &json!({ "messages": many })).await;
    assert_eq!(code(&many.unwrap_err()), (413, "too_many"));
}
