//! Two replicas of a service over a real database: requests to a peer that one of them has.

use std::time::Duration;

use futures_util::future::join_all;
use paddington_exchange::{Config, Exchange, Handler, HandlerError, RequestError, Setup, Storage};
use paddington_test_support::{Inbox, MemoryNetwork, TestLink, eventually, setup};
use paddington_wire::{FailureCode, Message};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::{Place, place};

const LONG: Duration = Duration::from_secs(60);

/// Tells when a call of the handler has begun, and when it is dropped.
struct Call(mpsc::UnboundedSender<&'static str>);

impl Call {
    fn begin(told: mpsc::UnboundedSender<&'static str>) -> Self {
        told.send("begun").unwrap();
        Self(told)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// Answers requests, fails on some, and waits with others.
fn handler(told: mpsc::UnboundedSender<&'static str>) -> impl Handler + Clone {
    move |message: Message| {
        let told = told.clone();
        async move {
            match message.payload() {
                _ if !message.is_request() => {}
                "fail" => return Err("it is broken".into()),
                "wait" => {
                    let _call = Call::begin(told);
                    std::future::pending::<()>().await;
                }
                text => message.reply(format!("re: {text}"))?,
            }
            Ok::<(), HandlerError>(())
        }
    }
}

/// Starts the peer in a network.
async fn sensor(link: &TestLink, network: &MemoryNetwork, handler: impl Handler) -> Exchange {
    let config = Config { reveal_errors: true, ..Config::default() };
    let servers = vec![link.server_at(6501)];
    let setup = Setup { servers, config, ..setup("sensor", 6502, network) };
    Exchange::start(setup, handler).await.unwrap()
}

async fn replica(place: &Place, link: &TestLink, network: &MemoryNetwork) -> Exchange {
    let store = Storage::Shared(place.open().await);
    let setup = Setup { clients: vec![link.invited()], store, ..setup("hub", 6501, network) };
    Exchange::start(setup, Inbox::new().1).await.unwrap()
}

fn is_connected(exchange: &Exchange) -> bool {
    exchange.peers()[0].is_connected()
}

async fn ask(from: &Exchange, text: impl Into<String>) -> Result<String, RequestError> {
    let reply = from.request(Message::new("sensor", text.into()), LONG).await?;
    Ok(reply.payload().to_owned())
}

/// Asks in a task of its own.
fn asking(from: &Exchange, text: &'static str) -> JoinHandle<Result<String, RequestError>> {
    let from = from.clone();
    tokio::spawn(async move { ask(&from, text).await })
}

#[tokio::test]
async fn a_request_at_any_replica_is_answered_fails_is_cancelled_and_moves() {
    let place = place!();
    let link = TestLink::new("hub", "sensor");
    // The peer gets to the replica on the network that it is in.
    let networks = [MemoryNetwork::new(), MemoryNetwork::new()];
    let one = replica(&place, &link, &networks[0]).await;
    let two = replica(&place, &link, &networks[1]).await;
    let (told, mut calls) = mpsc::unbounded_channel();
    let handler = handler(told);
    let early = asking(&two, "early");
    let first = sensor(&link, &networks[0], handler.clone()).await;
    assert_eq!(early.await.unwrap().unwrap(), "re: early", "it has waited for somebody");
    assert!(is_connected(&one) && !is_connected(&two));
    let asked = (0..500).map(|number| ask(&two, number.to_string()));
    for (number, reply) in join_all(asked).await.into_iter().enumerate() {
        assert_eq!(reply.unwrap(), format!("re: {number}"));
    }
    let failed = ask(&two, "fail").await.unwrap_err();
    let RequestError::Failed { code: FailureCode::FAILED, text: Some(text), .. } = failed else {
        panic!("{failed}")
    };
    assert_eq!(text, "it is broken");
    let question = Message::new("sensor", "wait");
    // Time enough to get there through the database, on a busy machine too.
    let late = two.request(question, Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(late, RequestError::TimedOut);
    assert_eq!((calls.recv().await, calls.recv().await), (Some("begun"), Some("dropped")));
    let cancelled = asking(&two, "wait");
    assert_eq!(calls.recv().await, Some("begun"));
    cancelled.abort();
    assert_eq!(calls.recv().await, Some("dropped"));

    // The replica that has the peer ends while a request is under way; the peer goes to the other one.
    let sent = asking(&two, "wait");
    assert_eq!(calls.recv().await, Some("begun"));
    one.shutdown().await;
    let moved = sent.await.unwrap().unwrap_err();
    assert!(matches!(moved, RequestError::Moved(_)), "{moved}");
    first.ask_to_shut_down_now(); // its handler still waits: this process of the service may be back
    first.finished().await;
    let second = sensor(&link, &networks[1], handler).await;
    eventually(async || is_connected(&two)).await;
    assert_eq!(ask(&two, "here").await.unwrap(), "re: here");
    let status = two.peers().remove(0);
    let counts = status.calls.relayed;
    assert!(status.is_conserved(), "{counts:?}");
    let ended = [counts.answered, counts.failed, counts.expired, counts.cancelled];
    assert_eq!(ended, [501, 2, 1, 1]);
    eventually(async || place.sql("SELECT count(*) FROM request") == "0").await;
    second.shutdown().await;
    two.shutdown().await;
}
