//! Requests through the API, in both directions.

use std::time::Duration;

use http::StatusCode;
use paddington::{Message, RequestError, Storage};
use paddington_admin::model::ReplyAnswer;
use paddington_test_support::{MemoryNetwork, SharedDisk, conserved, eventually, pair};
use serde_json::{Value, json};

use crate::side::{Both, Side, code, next, text};

const TEXT: (&str, &str) = ("content-type", "text/plain");
const BYTES: (&str, &str) = ("content-type", "application/octet-stream");

async fn answer_one(side: &Side, kind: (&str, &str), reply: &'static [u8]) {
    let mut stream = side.stream("").await;
    let request = next(&mut stream).await;
    assert!(request.request && request.message_id.is_none());
    assert!(request.seconds_left.is_some_and(|left| left > 0.0));
    let path = format!("/v1/messages/{}/handled", request.id);
    let (status, _, body) = side.raw(&path, &[kind], reply).await;
    assert_eq!(status, StatusCode::OK, "{body:?}");
}

#[tokio::test]
async fn requests_are_answered_through_the_api_in_both_directions() {
    let both = Both::start().await;
    for (asker, answerer, peer) in
        [(&both.client, &both.server, "server"), (&both.server, &both.client, "client")]
    {
        let path = format!("/v1/peers/{peer}/requests?timeout=1m");
        let mut api = asker.api().await;
        let body = json!({ "text": "how warm?" });
        let ask = api.post::<ReplyAnswer>(&path, &body);
        let (reply, ()) = tokio::join!(ask, answer_one(answerer, TEXT, "21.5 °C".as_bytes()));
        assert_eq!(reply.unwrap().content.text.as_deref(), Some("21.5 °C"));

        let headers = [TEXT, ("accept", "application/octet-stream, text/plain")];
        let ask = asker.raw(&path, &headers, "a picture?");
        let ((status, kind, body), ()) =
            tokio::join!(ask, answer_one(answerer, BYTES, b"\xff\xd8\x00"));
        assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/octet-stream"));
        assert_eq!(&body[..], b"\xff\xd8\x00");

        let json_kind = ("content-type", "application/json");
        let ask = asker.raw(&path, &[BYTES], &b"\x01\x02"[..]);
        let ((_, _, body), ()) =
            tokio::join!(ask, answer_one(answerer, json_kind, br#"{"base64":"/9g="}"#));
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({ "base64": "/9g=" }));
    }
    conserved([&both.server.service, &both.client.service]);
}

#[tokio::test]
async fn a_consumer_at_any_replica_asks_a_peer_that_another_one_has() {
    let (pair, disk) = (pair(), SharedDisk::new(Duration::from_secs(10)));
    let elsewhere = MemoryNetwork::new(); // where the peer does not get to
    let mut replicas = Vec::new();
    for network in [&pair.network, &elsewhere] {
        let storage = Storage::Shared(disk.open().1);
        replicas.push(Side::start_with(network, storage, pair.server.clone()).await);
    }
    let client = Side::start(&pair, pair.client.clone()).await;
    eventually(async || replicas[0].peer().is_connected()).await;
    for asker in &replicas {
        let headers = [TEXT, ("accept", "text/plain")];
        let ask = asker.raw("/v1/peers/client/requests?timeout=1m", &headers, "how warm?");
        let ((status, _, body), ()) =
            tokio::join!(ask, answer_one(&client, TEXT, "21.5 °C".as_bytes()));
        assert_eq!((status, &body[..]), (StatusCode::OK, "21.5 °C".as_bytes()));
    }
    let peers = replicas[1].api().await.get::<Value>("/v1/peers").await.unwrap();
    let requests = &peers["peers"][0]["requests"];
    assert_eq!((&requests["relayed"], &requests["requested"]), (&json!(1), &json!(0)), "{peers}");
    assert_eq!(replicas[0].peer().calls.counts.answered, 2);
    conserved([&replicas[0].service, &replicas[1].service]);
    conserved([&client.service, &client.service]);
}

#[tokio::test]
async fn requests_that_nobody_waits_for_any_more_leave_the_inbox() {
    let both = Both::start().await;
    let asker = both.client.service.clone();
    let question = || Message::new("server", "?");
    let asking =
        tokio::spawn(async move { asker.request(question(), Duration::from_secs(600)).await });
    let mut stream = both.server.stream("").await;
    let request = next(&mut stream).await;
    asking.abort();
    let path = format!("/v1/messages/{}/handled", request.id);
    let gone = async || {
        let (status, _, _) = both.server.raw(&path, &[("x-nothing", "1")], "").await;
        status == StatusCode::NOT_FOUND
    };
    // The cancellation is on its way; until it is here the acknowledgement would count.
    eventually(async || both.server.peer().calls.unanswered == 0).await;
    assert!(gone().await);

    let late = both.client.service.request(question(), Duration::from_millis(50)).await;
    assert_eq!(late, Err(RequestError::TimedOut));
    drop(stream);
    eventually(async || both.server.poll("?wait=0s").await.is_empty()).await;
    conserved([&both.server.service, &both.client.service]);
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_its_request() {
    let both = Both::start().await;
    let mut api = both.client.api().await;
    let asking = tokio::spawn(async move {
        api.post::<Value>("/v1/peers/server/requests?timeout=1h", &json!({ "text": "?" })).await
    });
    let mut stream = both.server.stream("").await;
    next(&mut stream).await;
    asking.abort();
    eventually(async || both.server.peer().calls.unanswered == 0).await;
    conserved([&both.server.service, &both.client.service]);
}

#[tokio::test]
async fn the_reasons_why_there_is_no_reply_are_told_apart() {
    let both = Both::start().await;
    let mut api = both.client.api().await;
    let body = json!({ "text": "?" });
    let path = "/v1/peers/server/requests?timeout=30s";
    let refuse = async |end: &str, body: Value| {
        let mut stream = both.server.stream("").await;
        let path = format!("/v1/messages/{}/{end}", next(&mut stream).await.id);
        let _: Value = both.server.api().await.post(&path, &body).await.unwrap();
    };
    let ask = api.post::<Value>(path, &body);
    let (failed, ()) = tokio::join!(ask, refuse("failed", json!({ "reason": "broken" })));
    assert_eq!(code(&failed.unwrap_err()), (502, "handler_failed"));
    let ask = api.post::<Value>(path, &body);
    let (silent, ()) = tokio::join!(ask, refuse("handled", json!({})));
    assert_eq!(code(&silent.unwrap_err()), (502, "no_reply"));
    let late = api.post::<Value>("/v1/peers/server/requests?timeout=0.05", &body).await;
    assert_eq!(code(&late.unwrap_err()), (504, "timed_out"));
    let nobody = api.post::<Value>("/v1/peers/nobody/requests", &body).await;
    assert_eq!(code(&nobody.unwrap_err()), (404, "unknown_peer"));
    let never = api.post::<Value>("/v1/peers/server/requests?timeout=soon", &body).await;
    assert_eq!(code(&never.unwrap_err()), (400, "invalid_time"));
    let long = json!({ "text": "x".repeat(1024 * 1024 + 1) });
    let long = api.post::<Value>("/v1/peers/server/requests", &long).await;
    assert_eq!(code(&long.unwrap_err()), (413, "too_long"));
    conserved([&both.server.service, &both.client.service]);
}

#[tokio::test]
async fn a_request_that_is_too_long_for_a_peer_that_comes_later_is_told_as_that() {
    let mut pair = pair();
    pair.server.settings_mut().transport.limits.max_payload = 1000;
    let client = Side::start(&pair, pair.client.clone()).await;
    let mut api = client.api().await;
    let body = json!({ "text": "x".repeat(1001) });
    let ask = api.post::<Value>("/v1/peers/server/requests?timeout=1m", &body);
    let come = async {
        eventually(async || client.peer().calls.waiting == 1).await;
        Side::start(&pair, pair.server.clone()).await
    };
    let (answer, server) = tokio::join!(ask, come);
    assert_eq!(code(&answer.unwrap_err()), (413, "too_long"));
    assert_eq!(server.peer().calls.counts.asked, 0, "it was never sent");
    conserved([&server.service, &client.service]);
}

#[tokio::test]
async fn a_reply_to_a_message_and_one_that_is_too_long_are_refused() {
    let mut pair = paddington_test_support::pair();
    pair.client.settings_mut().transport.limits.max_payload = 1000;
    let both = Both::start_with(pair).await;
    both.client.send("server", ["no request".to_owned()]).await;
    let mut stream = both.server.stream("").await;
    let message = next(&mut stream).await;
    assert_eq!(text(&message), "no request");
    let path = format!("/v1/messages/{}/handled", message.id);
    let (status, _, body) = both.server.raw(&path, &[TEXT], "a reply").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body:?}");
    let (status, _, _) = both.server.raw(&path, &[], "").await;
    assert_eq!(status, StatusCode::OK, "it was not acknowledged by the mistake");

    let mut api = both.client.api().await;
    let body = json!({ "text": "?" });
    let ask = api.post::<Value>("/v1/peers/server/requests", &body);
    let reply = async {
        let path = format!("/v1/messages/{}/handled", next(&mut stream).await.id);
        both.server.raw(&path, &[TEXT], "x".repeat(1001)).await.0
    };
    let (answer, status) = tokio::join!(ask, reply);
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(code(&answer.unwrap_err()), (502, "reply_too_long"));
    conserved([&both.server.service, &both.client.service]);
}
