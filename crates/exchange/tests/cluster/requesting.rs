//! A request is answered wherever it is made. What becomes of it when replicas come and go is in
//! `requesting_anew.rs`.

use std::sync::Mutex;

use futures_util::future::join_all;
use paddington_exchange::{Reply, RequestError, current};
use paddington_wire::FailureCode;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use super::*;

pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A peer that answers requests, and what it has been asked.
#[derive(Default)]
pub(crate) struct Peer {
    asked: Mutex<Vec<String>>,
    /// Notified when a request has come that waits.
    pub(crate) begun: Notify,
    /// Notified when such a request was cancelled.
    pub(crate) cancelled: Notify,
    /// Lets such requests be answered.
    pub(crate) go_on: Notify,
}

/// Tells when a call of the handler is dropped before it has ended.
struct Dropped<'a>(&'a Peer);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.cancelled.notify_one();
    }
}

impl Peer {
    fn handler(self: &Arc<Self>) -> impl Handler {
        let peer = Arc::clone(self);
        move |message: Message| {
            let peer = Arc::clone(&peer);
            async move {
                if !message.is_request() {
                    return Ok(());
                }
                peer.asked.lock().unwrap().push(message.payload().to_owned());
                match message.payload() {
                    "fail" => return Err(std::io::Error::other("it is broken")),
                    "say nothing" => return Ok(()),
                    "wait" => {
                        let dropped = Dropped(&peer);
                        peer.begun.notify_one();
                        peer.go_on.notified().await;
                        std::mem::forget(dropped);
                    }
                    text if text.starts_with("slow") => sleep(Duration::from_millis(300)).await,
                    _ => {}
                }
                message.reply(format!("re: {}", message.payload())).map_err(std::io::Error::other)
            }
        }
    }

    /// Asks this peer for something that it answers only once it may go on, and returns when it has been asked.
    pub(crate) async fn keeps_waiting(
        &self,
        from: &Exchange,
    ) -> JoinHandle<Result<String, RequestError>> {
        let waiting = asking(from, "wait");
        self.begun.notified().await;
        waiting
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Service {
    /// Starts the client of the first link with a peer that answers.
    pub(crate) async fn answering(&self) -> (Arc<Peer>, Exchange) {
        let peer = Arc::new(Peer::default());
        let config = Config { reveal_errors: true, ..Config::default() };
        let client = self.client_with(config, peer.handler()).await;
        (peer, client)
    }
}

/// Two replicas and a peer that answers, which is connected to the first one.
pub(crate) struct Across {
    pub(crate) service: Service,
    pub(crate) one: Replica,
    pub(crate) two: Replica,
    pub(crate) peer: Arc<Peer>,
    pub(crate) _client: Exchange,
}

impl Across {
    pub(crate) async fn begin() -> Self {
        let service = Service::new(&["sensor"]);
        let [(one, _), (two, _)] = service.two().await;
        let (peer, _client) = service.answering().await;
        connected(&one.exchange, "sensor").await;
        Self { service, one, two, peer, _client }
    }
}

async fn ask_for(from: &Exchange, text: &str, limit: Duration) -> Result<String, RequestError> {
    let reply: Reply = from.request(Message::new("sensor", text), limit).await?;
    Ok(reply.payload().to_owned())
}

pub(crate) async fn ask(from: &Exchange, text: &str) -> Result<String, RequestError> {
    ask_for(from, text, LONG).await
}

/// Asks in a task of its own.
pub(crate) fn asking(
    from: &Exchange,
    text: &'static str,
) -> JoinHandle<Result<String, RequestError>> {
    let from = from.clone();
    tokio::spawn(async move { ask(&from, text).await })
}

/// Checks that every request is accounted for at these replicas, and that the store has none left.
pub(crate) async fn settled(service: &Service, replicas: &[&Replica]) {
    sleep(SECOND).await;
    for replica in replicas {
        let status = status(&replica.exchange, "sensor").unwrap();
        assert!(status.is_conserved(), "{:?}", status.calls);
        assert_eq!((status.calls.waiting, status.calls.relayed_waiting), (0, 0));
    }
    assert_eq!(service.disk.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn any_replica_gets_the_answer_of_a_peer_that_another_one_has() {
    let Across { service, one, two, peer, _client } = Across::begin().await;
    let texts: Vec<_> = (0..100).map(|number: u32| number.to_string()).collect();
    let replies = join_all(texts.iter().map(|text| ask(&two.exchange, text))).await;
    for (text, reply) in texts.iter().zip(replies) {
        assert_eq!(reply.unwrap(), format!("re: {text}"));
    }
    assert_eq!(ask(&one.exchange, "here").await.unwrap(), "re: here");
    assert_eq!(peer.asked().len(), 101);
    settled(&service, &[&one, &two]).await;
    let [owner, asker] = [&one, &two].map(|it| status(&it.exchange, "sensor").unwrap().calls);
    assert_eq!((owner.counts.requested, owner.counts.answered), (101, 101));
    assert_eq!((owner.relayed.requested, asker.counts.requested), (0, 0));
    assert_eq!((asker.relayed.requested, asker.relayed.answered), (100, 100));
}

#[tokio::test(start_paused = true)]
async fn the_asker_is_told_of_failures_as_where_the_peer_is() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let (_peer, _client) = service.answering().await;
    connected(&one.exchange, "sensor").await;
    for from in [&one, &two] {
        let failed = ask(&from.exchange, "fail").await.unwrap_err();
        let RequestError::Failed { code: FailureCode::FAILED, text: Some(text), .. } = failed
        else {
            panic!("{failed}")
        };
        assert!(text.contains("it is broken"), "{text}");
        let silent = ask(&from.exchange, "say nothing").await.unwrap_err();
        let RequestError::Failed { code: FailureCode::NO_ANSWER, text: None, .. } = silent else {
            panic!("{silent}")
        };
        let bytes = Message::with_bytes("sensor", vec![0xff; 3]);
        let refused = from.exchange.request(bytes, LONG).await.unwrap_err();
        let RequestError::Failed { code: FailureCode::TEXT_ONLY, .. } = refused else {
            panic!("{refused}")
        };
        let long = "x".repeat(2 * 1024 * 1024);
        let refused = ask(&from.exchange, &long).await.unwrap_err();
        assert!(matches!(refused, RequestError::Send(_)), "{refused}");
    }
    settled(&service, &[&one, &two]).await;
    assert_eq!(status(&two.exchange, "sensor").unwrap().calls.relayed.failed, 3);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_travels_and_so_does_a_cancel() {
    let Across { service, one, two, peer, _client } = Across::begin().await;
    let late = ask_for(&two.exchange, "wait", 3 * SECOND).await.unwrap_err();
    assert_eq!(late, RequestError::TimedOut);
    peer.cancelled.notified().await;
    let dropped = peer.keeps_waiting(&two.exchange).await;
    peer.begun.notified().await;
    dropped.abort();
    let before = tokio::time::Instant::now();
    peer.cancelled.notified().await;
    assert!(before.elapsed() < SECOND, "nobody had to look for it");
    settled(&service, &[&one, &two]).await;
    let calls = status(&two.exchange, "sensor").unwrap().calls;
    assert_eq!((calls.relayed.expired, calls.relayed.cancelled), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_somebody_has_the_peer() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let nobody = ask_for(&two.exchange, "early", 3 * SECOND).await.unwrap_err();
    assert_eq!(nobody, RequestError::TimedOut);
    let waiting = [asking(&one.exchange, "1"), asking(&two.exchange, "2")];
    sleep(10 * SECOND).await;
    service.disk.deafen(true);
    let began = tokio::time::Instant::now();
    let (peer, _client) = service.answering().await;
    while peer.asked().len() < 2 {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(began.elapsed() < SECOND, "{:?}: no signal is needed", began.elapsed());
    for (waiting, reply) in waiting.into_iter().zip(["re: 1", "re: 2"]) {
        assert_eq!(waiting.await.unwrap().unwrap(), reply);
    }
    assert_eq!(peer.asked().len(), 2, "what was over is not asked");
    settled(&service, &[&one, &two]).await;
}

#[tokio::test(start_paused = true)]
async fn lost_signals_delay_requests_answers_and_cancels_and_nothing_else() {
    let Across { service, one, two, peer, _client } = Across::begin().await;
    service.disk.deafen(true);
    let before = tokio::time::Instant::now();
    assert_eq!(ask(&two.exchange, "1").await.unwrap(), "re: 1");
    assert!(before.elapsed() < 7 * SECOND, "{:?}", before.elapsed());
    let dropped = peer.keeps_waiting(&two.exchange).await;
    dropped.abort();
    peer.cancelled.notified().await;
    // A signal is told again.
    sleep(10 * SECOND + SECOND / 2).await;
    let late = asking(&two.exchange, "2");
    sleep(SECOND / 10).await;
    service.disk.deafen(false);
    let before = tokio::time::Instant::now();
    assert_eq!(late.await.unwrap().unwrap(), "re: 2");
    assert!(before.elapsed() < 2 * SECOND, "{:?}", before.elapsed());
    settled(&service, &[&one, &two]).await;
}

#[tokio::test(start_paused = true)]
async fn too_many_requests_are_refused() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let mut waiting: Vec<_> = (0..1_024).map(|_| asking(&two.exchange, "x")).collect();
    sleep(SECOND).await;
    let refused = ask(&two.exchange, "one more").await.unwrap_err();
    assert!(matches!(refused, RequestError::Full { requests: 1_024, .. }), "{refused}");
    waiting.drain(..10).for_each(|it| it.abort());
    sleep(SECOND).await;
    waiting.extend((0..10).map(|_| asking(&two.exchange, "y")));
    let (peer, _client) = service.answering().await;
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
    assert_eq!(peer.asked().len(), 1_024);
    settled(&service, &[&one, &two]).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_peer_has_moved_may_still_ask_it() {
    let (service, gate) = (Service::new(&["sensor"]), Arc::new(Semaphore::new(0)));
    let replies = Arc::new(Mutex::new(Vec::new()));
    let (held, kept) = (Arc::clone(&gate), Arc::clone(&replies));
    let one = service
        .replica_with(1, move |message: Message| {
            let (held, kept) = (Arc::clone(&held), Arc::clone(&kept));
            async move {
                if !message.is_control() {
                    held.acquire().await.unwrap().forget();
                    let reply = current().unwrap().request(Message::new("sensor", "1"), LONG).await;
                    kept.lock().unwrap().push(reply.unwrap().payload().to_owned());
                }
                Ok::<(), std::io::Error>(())
            }
        })
        .await;
    let (two, _) = service.replica(2).await;
    let (peer, client) = service.answering().await;
    connected(&one.exchange, "sensor").await;
    send(&client, "hub", 0..1).await;
    sleep(SECOND).await;
    service.move_to(&two).await;
    gate.add_permits(1);
    while replies.lock().unwrap().is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(*replies.lock().unwrap(), ["re: 1"]);
    assert_eq!(peer.asked(), ["1"]);
    settled(&service, &[&one, &two]).await;
}

#[tokio::test(start_paused = true)]
async fn requests_within_requests_go_by_the_store_up_to_the_last_depth() {
    let service = Service::new(&["sensor"]);
    // Whoever is asked for a number asks the other side for the next smaller one, at another replica.
    let other = Arc::new(std::sync::OnceLock::<Exchange>::new());
    let asks = Arc::clone(&other);
    let hub = move |message: Message| {
        let asks = Arc::clone(&asks);
        async move { count_down(message, asks.get().cloned(), "sensor").await }
    };
    let one = service.replica_with(1, hub).await;
    let (two, _) = service.replica(2).await;
    other.set(two.exchange.clone()).unwrap();
    let counts = async |message: Message| count_down(message, None, "hub").await;
    let _client = service.client_with(Config::default(), counts).await;
    connected(&one.exchange, "sensor").await;
    assert_eq!(ask(&two.exchange, "7").await.unwrap(), "7 6 5 4 3 2 1 0");
    let deep = ask(&two.exchange, "8").await.unwrap();
    assert!(deep.contains("too many"), "{deep}");
    settled(&service, &[&one, &two]).await;
}

/// Answers a number with those below it, for which the other side is asked.
async fn count_down(
    message: Message,
    by: Option<Exchange>,
    other: &str,
) -> Result<(), std::io::Error> {
    if message.is_request() {
        let number: u32 = message.payload().parse().unwrap();
        let below = match number {
            0 => String::new(),
            _ => {
                let by = by.unwrap_or_else(|| current().unwrap());
                let question = Message::new(other, (number - 1).to_string());
                match by.request(question, LONG).await {
                    Ok(reply) => format!(" {}", reply.payload()),
                    Err(error) => format!(" {error}"),
                }
            }
        };
        message.reply(format!("{number}{below}")).map_err(std::io::Error::other)?;
    }
    Ok(())
}
