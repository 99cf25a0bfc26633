//! Consumers: order, sharing, and that what one has not acknowledged comes again.

use std::time::Duration;

use paddington::{Delivered, Message, Storage};
use paddington_admin::model::IncomingMessages;
use paddington_test_support::{SharedDisk, eventually, pair};
use serde_json::{Value, json};

use crate::side::{Both, Side, code, next, numbers, text, texts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_come_in_order_through_streams_and_polls() {
    let both = Both::start().await;
    both.client.send("server", numbers(0..300)).await;
    let mut stream = both.server.stream("?max=7").await;
    for number in 0..300 {
        let message = next(&mut stream).await;
        assert_eq!((message.peer.as_str(), text(&message)), ("client", &*number.to_string()));
        assert!(message.message_id.is_some() && !message.request);
        assert_eq!(both.server.acknowledge(&[message]).await.acknowledged, 1);
    }
    drop(stream);
    both.client.send("server", numbers(300..1000)).await;
    let mut seen = Vec::new();
    while seen.len() < 700 {
        let messages = both.server.poll("?max=64&consumer=one").await;
        seen.extend(messages.iter().map(|message| text(message).to_owned()));
        let done = both.server.acknowledge(&messages).await;
        assert_eq!((done.acknowledged as usize, done.unknown.len()), (messages.len(), 0));
    }
    assert_eq!(seen, numbers(300..1000));
    eventually(async || both.client.peer().outbox_messages == 0).await;
    assert_eq!(both.client.peer().counts.unwrap().acknowledged, 1000);
}

#[tokio::test]
async fn consumers_of_replicas_are_told_a_fence_that_grows_with_each_owner_of_the_link() {
    let (pair, disk) = (pair(), SharedDisk::new(Duration::from_secs(60)));
    let client = Side::start(&pair, pair.client.clone()).await;
    let mut fences = Vec::new();
    for _ in 0..2 {
        let storage = Storage::Shared(disk.open().1);
        let server = Side::start_with(&pair.network, storage, pair.server.clone()).await;
        client.send("server", numbers(0..2)).await;
        let polled = server.poll("?max=1").await;
        assert_eq!(server.acknowledge(&polled).await.acknowledged, 1);
        let mut stream = server.stream("").await;
        let streamed = [next(&mut stream).await];
        assert_eq!(server.acknowledge(&streamed).await.acknowledged, 1);
        fences.push([polled[0].fence.unwrap(), streamed[0].fence.unwrap()]);
        server.end().await;
    }
    let [[a, b], [c, d]] = fences[..] else { panic!("{fences:?}") };
    assert!(a == b && b < c && c == d, "{fences:?}");
}

#[tokio::test]
async fn without_replicas_a_message_has_no_fence() {
    let both = Both::start().await;
    both.client.send("server", numbers(0..1)).await;
    let told: Value = both.server.api().await.get("/v1/messages").await.unwrap();
    let message = told["messages"][0].as_object().unwrap();
    assert!(message.contains_key("message_id") && !message.contains_key("fence"), "{told}");
}

#[tokio::test]
async fn a_message_is_acknowledged_to_its_sender_when_its_consumer_is_done() {
    let both = Both::start().await;
    let mut receipts = Vec::new();
    for text in ["1", "2", "3"] {
        receipts.push(both.client.service.send(Message::new("server", text)).await.unwrap());
    }
    let mut stream = both.server.stream("").await;
    let mut messages = Vec::new();
    for _ in 0..3 {
        messages.push(next(&mut stream).await);
    }
    assert_eq!(both.client.peer().counts.unwrap().acknowledged, 0);
    let path = format!("/v1/messages/{}/failed", messages[1].id);
    let mut api = both.server.api().await;
    let _: Value = api.post(&path, &json!({ "reason": "no paper" })).await.unwrap();
    for number in [2, 0] {
        assert_eq!(both.server.acknowledge(&messages[number..=number]).await.acknowledged, 1);
    }
    let mut outcomes = Vec::new();
    for receipt in receipts {
        outcomes.push(receipt.await);
    }
    assert_eq!((outcomes[0], outcomes[2]), (Delivered::Handled, Delivered::Handled));
    assert!(matches!(outcomes[1], Delivered::Rejected(_)), "{outcomes:?}");
}

#[tokio::test]
async fn what_a_consumer_has_not_acknowledged_when_it_vanishes_comes_again_before_newer_messages() {
    let both = Both::start().await;
    both.client.send("server", numbers(0..6)).await;
    let mut first = both.server.stream("?max=6").await;
    let mut had = Vec::new();
    for _ in 0..6 {
        had.push(next(&mut first).await);
    }
    assert_eq!(both.server.acknowledge(&had[1..3]).await.acknowledged, 2);
    drop(first);
    let again = both.server.poll("?consumer=second").await;
    assert_eq!(texts(&again), ["0", "3", "4", "5"]);
    let late = both.server.acknowledge(&had[3..6]).await;
    assert_eq!((late.acknowledged, late.unknown.len()), (0, 3), "they are another consumer's");

    both.client.send("server", numbers(6..9)).await;
    let all = async || {
        let all = both.server.poll("?consumer=second&again=true").await;
        texts(&all) == ["0", "3", "4", "5", "6", "7", "8"]
    };
    eventually(all).await;
}

#[tokio::test]
async fn consumers_share_the_messages_and_a_filter_is_kept() {
    let both = Both::start().await;
    both.client.send("server", numbers(0..100)).await;
    let mut one = both.server.stream("?max=1").await;
    let mut other = both.server.stream("?max=1&peer=client").await;
    let (first, second) = (next(&mut one).await, next(&mut other).await);
    assert_ne!(text(&first), text(&second));
    let mut rest = Vec::new();
    while rest.len() < 98 {
        rest.extend(both.server.poll("?peer=client").await);
    }
    assert_eq!(rest.len(), 98);
    assert!(both.server.poll("?wait=0s").await.is_empty());
    let mut api = both.server.api().await;
    let unknown = api.get::<IncomingMessages>("/v1/messages?peer=nobody").await.unwrap_err();
    assert_eq!(code(&unknown), (404, "unknown_peer"));
}

#[tokio::test]
async fn what_nobody_waits_for_cannot_be_acknowledged() {
    let both = Both::start().await;
    both.client.send("server", numbers(0..1)).await;
    let messages = both.server.poll("?consumer=one").await;
    let mut api = both.server.api().await;
    let path = format!("/v1/messages/{}/handled?consumer=two", messages[0].id);
    let other = api.post::<Value>(&path, &json!({})).await.unwrap_err();
    assert_eq!(code(&other), (404, "unknown_message"));
    let path = format!("/v1/messages/{}/handled?consumer=one", messages[0].id);
    let _: Value = api.post(&path, &json!({})).await.unwrap();
    let twice = api.post::<Value>(&path, &json!({})).await.unwrap_err();
    assert_eq!(code(&twice), (404, "unknown_message"));
    for id in ["1", "1-", "-1", "x-y", "99999999999999999999-1", "1-1-1", "%00"] {
        for end in ["handled", "failed"] {
            let path = format!("/v1/messages/{id}/{end}");
            let unknown = api.post::<Value>(&path, &json!({})).await.unwrap_err();
            assert_eq!(code(&unknown), (404, "unknown_message"), "{id}");
        }
    }
}

#[tokio::test]
async fn messages_that_go_to_a_program_are_not_for_consumers() {
    let pair = paddington_test_support::pair();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("paddington.sock");
    let settings =
        paddington_admin::Settings { socket: Some(socket.clone()), ..Default::default() };
    let admin = paddington_admin::Admin::bind(settings).await.unwrap();
    let (service, _) = pair.start_server().await;
    let _serving = admin.serve(service, None);
    let mut api = paddington_admin::client::Client::connect(&socket).await.unwrap();
    let refused = api.get::<Value>("/v1/messages").await.unwrap_err();
    assert_eq!(code(&refused), (409, "messages_go_elsewhere"));
    let refused = api.post::<Value>("/v1/messages/1-1/handled", &json!({})).await.unwrap_err();
    assert_eq!(code(&refused), (409, "messages_go_elsewhere"));
    let refused = api.post::<Value>("/v1/messages/handled", &json!({ "ids": [] })).await;
    assert_eq!(code(&refused.unwrap_err()), (409, "messages_go_elsewhere"));
}

#[tokio::test]
async fn a_consumer_that_acknowledges_nothing_slows_the_sender_down() {
    let mut pair = paddington_test_support::pair();
    pair.client.settings_mut().outbox_messages = 300;
    let both = Both::start_with(pair).await;
    let mut stream = both.server.stream("?max=1").await;
    let mut api = both.client.api().await;
    let mut accepted = 0;
    let full = loop {
        let sent = api.post::<Value>("/v1/peers/server/messages", &json!({ "text": "x" })).await;
        match sent {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((code(&full), accepted), ((429, "outbox_full"), 300));
    let first = next(&mut stream).await;
    both.server.acknowledge(&[first]).await;
    next(&mut stream).await;
    let sent = async || {
        let mut api = both.client.api().await;
        api.post::<Value>("/v1/peers/server/messages", &json!({ "text": "x" })).await.is_ok()
    };
    eventually(sent).await;
}
