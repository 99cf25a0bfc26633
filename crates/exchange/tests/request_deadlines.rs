//! The side that answers keeps to the deadlines of requests by itself: it needs no word of the
//! requester.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use paddington::{
    FailureCode, Handler, HandlerError, Instance, Message, RequestError, Service, Text,
};
use paddington_test_support::{
    Intruder, Pair, conserved, credentials, empty_ready, eventually, pair,
};
use paddington_wire::sealed::{Greeting, SealedSession};
use paddington_wire::{CallBody, CallItem, Calls, CallsState, Completed, Features, Frame, Ready};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep};

const SERVER: &str = "127.0.0.1:6501";
const MIB: u32 = 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(600);

/// Says when the handling of a request ends, however that comes.
struct Ends(String, UnboundedSender<String>);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.1.send(format!("{} ends", self.0)); // the test may be over
    }
}

/// A handler that says when it begins and ends, and has no reply for a long time.
fn slow(tell: UnboundedSender<String>) -> impl Handler {
    move |message: Message| {
        let tell = tell.clone();
        async move {
            if message.is_request() {
                let text = message.payload().to_owned();
                tell.send(format!("{text} begins"))?;
                let _ends = Ends(text, tell);
                sleep(LONG).await;
            }
            Ok::<(), HandlerError>(())
        }
    }
}

/// Starts a server that handles one request at a time, slowly, and tells what its handler does.
async fn slow_server(pair: &mut Pair) -> (Service, UnboundedReceiver<String>) {
    pair.server.settings_mut().request_handlers = 1;
    let (tell, told) = mpsc::unbounded_channel();
    let network = pair.network.network();
    let server = Service::start_on(network, &pair.server, slow(tell)).await.unwrap();
    (server, told)
}

/// Checks that the handler has had the first request only, and does not have it any more.
fn only_the_first(mut told: UnboundedReceiver<String>) {
    let all: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    assert_eq!(all, ["first begins", "first ends"]);
}

/// A client that asks and answers as it is told to, and nothing else: it cancels nothing.
struct Peer {
    intruder: Intruder,
    session: Box<SealedSession>,
}

impl Peer {
    async fn enter(pair: &Pair) -> Self {
        let (secrets, instance) = (credentials(&pair.invite), Instance::from([7; Instance::LEN]));
        let entered = Intruder::enter(&pair.network, SERVER, &secrets, instance).await;
        let (mut intruder, Greeting::Ready(mut session, _)) = entered.unwrap() else {
            unreachable!("refused")
        };
        let places = CallsState { requests: 8, request_window: 2 * MIB, ..CallsState::default() };
        let ready = Ready { features: Features::CALLS, calls: places, ..empty_ready(instance) };
        intruder.say(&mut session, &Frame::Ready(ready)).await;
        Self { intruder, session }
    }

    /// Sends its first items, after it has received so many of the server's.
    async fn say(&mut self, received: u64, items: Vec<CallItem>) {
        let calls = Calls { first: 1, ack: Completed::default(), received, items };
        self.intruder.say(&mut self.session, &Frame::Calls(calls)).await;
    }

    /// Returns the next items of the server.
    async fn hear(&mut self) -> Vec<CallItem> {
        loop {
            match self.intruder.hear(&mut self.session).await.unwrap() {
                Frame::Calls(calls) if !calls.items.is_empty() => return calls.items,
                _ => {}
            }
        }
    }
}

/// Returns FAILURE 7.
fn expired(call: u64) -> CallItem {
    let body = CallBody::Failure { code: FailureCode::EXPIRED, text: Text::default() };
    CallItem { call, body }
}

#[tokio::test(start_paused = true)]
async fn deadlines_are_kept_while_no_cancellation_gets_through() {
    let mut pair = pair();
    let (server, told) = slow_server(&mut pair).await;
    let (client, _) = pair.start_client().await;
    let begun = Instant::now();
    let [first, behind] = [("first", 5_u32), ("behind", 3)].map(|(text, seconds)| {
        let client = client.clone();
        let limit = seconds * SECOND;
        tokio::spawn(async move { client.request(Message::new("server", text), limit).await })
    });
    eventually(async || server.peers()[0].calls.unanswered == 2).await;
    pair.network.freeze();
    for asked in [behind, first] {
        assert_eq!(asked.await.unwrap(), Err(RequestError::TimedOut));
    }
    eventually(async || server.peers()[0].calls.counts.refused == 2).await;
    assert!(begun.elapsed() < 6 * SECOND, "{:?}", begun.elapsed());
    only_the_first(told);
    let (sessions, late) =
        (server.peers()[0].counters.sessions, client.peers()[0].calls.counts.late);
    assert_eq!((sessions, late), (1, 0), "neither side has heard of the other since");

    pair.network.cut();
    eventually(async || client.peers()[0].calls.counts.late == 2).await;
    eventually(async || server.peers()[0].calls.unanswered == 0).await;
    let (at_server, at_client) = (server.peers()[0].calls.counts, client.peers()[0].calls.counts);
    assert_eq!((at_server.asked, at_server.replied, at_server.refused), (2, 0, 2));
    assert_eq!((at_client.expired, at_client.failed), (2, 0));
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn a_requester_that_cancels_nothing_is_told_that_the_time_is_over() {
    let mut pair = pair();
    let (server, told) = slow_server(&mut pair).await;
    let mut peer = Peer::enter(&pair).await;
    let begun = Instant::now();
    let requests = [("first", 5_000), ("behind", 3_000)].into_iter().zip(1..);
    let requests = requests.map(|((text, left), call)| {
        let body = CallBody::Request { depth: 0, left: Some(left), payload: text.into() };
        CallItem { call, body }
    });
    peer.say(0, requests.collect()).await;
    let mut answers = Vec::new();
    while answers.len() < 2 {
        answers.append(&mut peer.hear().await);
    }
    assert_eq!(answers, [expired(1), expired(2)]);
    let took = begun.elapsed();
    assert!((5 * SECOND..6 * SECOND).contains(&took), "{took:?}");
    only_the_first(told);
    let counts = server.peers()[0].calls.counts;
    assert_eq!((counts.asked, counts.replied, counts.refused), (2, 0, 2));
    conserved([&server, &server]);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_time_is_over_at_the_peer_first_counts_as_expired() {
    let pair = pair();
    let (server, _inbox) = pair.start_server().await;
    let mut peer = Peer::enter(&pair).await;
    let asking = server.request(Message::new("client", "x"), LONG);
    let answering = async {
        let call = peer.hear().await[0].call;
        peer.say(1, vec![expired(call)]).await;
    };
    let (asked, ()) = tokio::join!(asking, answering);
    assert_eq!(asked, Err(RequestError::TimedOut));
    let counts = server.peers()[0].calls.counts;
    assert_eq!((counts.expired, counts.failed), (1, 0));
    conserved([&server, &server]);
}
