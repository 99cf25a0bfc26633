//! Concurrent handling of one peer's messages.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::future::Future;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paddington::{Delivered, Encoding, Handler, HandlerError, Message, OnError, Unhandled};
use paddington_test_support::{Pair, pair, pair_with};
use tokio::sync::{Barrier, Notify, Semaphore, mpsc};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn as_many_messages_of_a_peer_are_handled_at_once_as_configured() {
    let pair = pair();
    let barrier = Arc::new(Barrier::new(3));
    let meeting = Arc::clone(&barrier);
    let handler = move |message: Message| {
        let meeting = Arc::clone(&meeting);
        async move {
            if !message.is_control() {
                meeting.wait().await; // three at a time, or for ever
            }
            Ok::<(), paddington::Error>(())
        }
    };
    let network = pair.network.network();
    let server = paddington::Service::start_on(network, &pair.server, handler).await.unwrap();
    server.exchange().set_concurrency("client", 3).unwrap();
    assert!(server.exchange().set_concurrency("nobody", 3).is_err());
    let (client, _) = pair.start_client().await;
    let mut receipts = Vec::new();
    for number in 0..30 {
        receipts.push(client.send(Message::new("server", number.to_string())).await.unwrap());
    }
    for receipt in receipts {
        assert_eq!(timeout(SECOND, receipt.into_future()).await, Ok(Delivered::Handled));
    }
    server.exchange().set_concurrency("client", 1).unwrap();
    client.shutdown().await;
}

/// Runs `test` in paused time, which advances only when no task has anything to do, and checks that
/// it ends.
fn time_goes_on(test: impl Future<Output = ()> + Send + 'static) {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(test);
        tell.send(()).unwrap();
    });
    let ended = told.recv_timeout(60 * SECOND);
    assert!(ended.is_ok(), "time stands still, because some task never rests");
}

#[test]
fn idle_workers_rest_while_a_control_message_is_handled() {
    time_goes_on(async {
        let pair = pair();
        let handler = async |message: Message| {
            if message.is_control() {
                sleep(2 * SECOND).await;
            }
            Ok::<(), paddington::Error>(())
        };
        let network = pair.network.network();
        let server = paddington::Service::start_on(network, &pair.server, handler).await.unwrap();
        server.exchange().set_concurrency("client", 2).unwrap();
        let (client, _) = pair.start_client().await;
        let receipt = client.send(Message::new("server", "1")).await.unwrap();
        assert_eq!(receipt.await, Delivered::Handled);
    });
}

#[test]
fn idle_workers_rest_while_handling_is_stopped() {
    time_goes_on(async {
        let mut pair = pair();
        pair.server.settings_mut().on_error = OnError::Stop;
        let handler = async |message: Message| {
            if message.is_control() { Ok(()) } else { Err("as asked") }
        };
        let network = pair.network.network();
        let server = paddington::Service::start_on(network, &pair.server, handler).await.unwrap();
        server.exchange().set_concurrency("client", 2).unwrap();
        let (client, _) = pair.start_client().await;
        for text in ["1", "2", "3"] {
            client.send(Message::new("server", text)).await.unwrap();
        }
        sleep(10 * SECOND).await;
        assert!(server.peers()[0].halted);
    });
}

/// One worker is busy and one waits when the concurrency becomes 1: the one that stays goes on.
#[test]
fn a_lower_concurrency_strands_no_message() {
    time_goes_on(async {
        let pair = pair_with(Encoding::Hex);
        let (tell, mut told) = mpsc::unbounded_channel();
        let go_on = [(); 2].map(|()| Arc::new(Notify::new()));
        let [first, second] = go_on.clone();
        let handler = move |message: Message| {
            let (tell, first, second) = (tell.clone(), Arc::clone(&first), Arc::clone(&second));
            async move {
                let text = if message.is_control() { "control" } else { message.payload() };
                tell.send(text.to_owned()).unwrap();
                match text {
                    "1" => first.notified().await,
                    "2" => second.notified().await,
                    _ => {}
                }
                Ok::<(), paddington::Error>(())
            }
        };
        let network = pair.network.network();
        let server = paddington::Service::start_on(network, &pair.server, handler).await.unwrap();
        server.exchange().set_concurrency("client", 2).unwrap();
        let (client, _) = pair.start_client().await;
        assert_eq!(told.recv().await.unwrap(), "control");
        for text in ["1", "2"] {
            client.send(Message::new("server", text)).await.unwrap();
            assert_eq!(told.recv().await.unwrap(), text);
        }
        let [first, second] = go_on;
        first.notify_one();
        sleep(SECOND / 10).await;
        pair.network.cut();
        sleep(SECOND / 10).await;
        server.exchange().set_concurrency("client", 1).unwrap();
        sleep(SECOND / 10).await;
        let began = Instant::now();
        second.notify_one();
        assert_eq!(told.recv().await.unwrap(), "control", "it is disconnected");
        assert_eq!(began.elapsed(), Duration::ZERO);
    });
}

/// On a `hex` link, everything that has arrived is handled before the shutdown; then all workers
/// stop.
#[test]
fn a_shutdown_does_not_wait_for_idle_workers() {
    time_goes_on(async {
        for encoding in [Encoding::Sealed, Encoding::Hex] {
            let pair = pair_with(encoding);
            let (tell, mut told) = mpsc::unbounded_channel();
            let handler = move |message: Message| {
                let tell = tell.clone();
                async move {
                    if !message.is_control() {
                        tell.send(()).unwrap();
                        sleep(SECOND).await;
                    }
                    Ok::<(), paddington::Error>(())
                }
            };
            let network = pair.network.network();
            let server =
                paddington::Service::start_on(network, &pair.server, handler).await.unwrap();
            server.exchange().set_concurrency("client", 3).unwrap();
            let (client, _) = pair.start_client().await;
            for text in ["1", "2"] {
                client.send(Message::new("server", text)).await.unwrap();
                told.recv().await.unwrap();
            }
            pair.network.cut(); // so that a control message waits for the two
            sleep(SECOND / 10).await;
            let began = Instant::now();
            server.shutdown().await;
            assert!(began.elapsed() < 2 * SECOND, "{encoding}: {:?}", began.elapsed());
            drop(client);
        }
    });
}

/// Notes the messages in the order in which their calls begin, and then waits for a permit for each.
#[derive(Clone, Default)]
struct InOrder {
    begun: Arc<Mutex<Vec<String>>>,
    go_on: Option<Arc<Semaphore>>,
}

impl InOrder {
    fn begun(&self) -> Vec<String> {
        self.begun.lock().unwrap().clone()
    }
}

impl Handler for InOrder {
    async fn handle(&self, message: Message) -> Result<(), HandlerError> {
        if message.is_control() {
            return Ok(());
        }
        self.begun.lock().unwrap().push(message.payload().to_owned());
        match &self.go_on {
            Some(go_on) => go_on.acquire().await?.forget(),
            None => yield_now().await,
        }
        match message.payload() {
            "unhandled" => Err(Unhandled.into()),
            _ => Ok(()),
        }
    }

    fn begins_in_order(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_run_at_once_begin_in_order_if_the_handler_says_so() {
    let pair = pair();
    let handler = InOrder::default();
    let network = pair.network.network();
    let server =
        paddington::Service::start_on(network, &pair.server, handler.clone()).await.unwrap();
    server.exchange().set_concurrency("client", 32).unwrap();
    let (client, _) = pair.start_client().await;
    let texts: Vec<_> = (0..5000).map(|number| number.to_string()).collect();
    let mut receipts = Vec::new();
    for text in &texts {
        receipts.push(client.send(Message::new("server", text.as_str())).await.unwrap());
    }
    for receipt in receipts {
        assert_eq!(receipt.await, Delivered::Handled);
    }
    assert_eq!(handler.begun(), texts);
}

/// Starts the server of a pair, which handles three messages at once, each until it may go on.
async fn start_three_at_once(pair: &Pair) -> (paddington::Service, InOrder, Arc<Semaphore>) {
    let go_on = Arc::new(Semaphore::new(0));
    let handler = InOrder { go_on: Some(Arc::clone(&go_on)), ..InOrder::default() };
    let network = pair.network.network();
    let server =
        paddington::Service::start_on(network, &pair.server, handler.clone()).await.unwrap();
    server.exchange().set_concurrency("client", 3).unwrap();
    (server, handler, go_on)
}

#[tokio::test(start_paused = true)]
async fn calls_in_order_are_as_many_as_configured() {
    let pair = pair();
    let (_server, handler, go_on) = start_three_at_once(&pair).await;
    let (client, _) = pair.start_client().await;
    for number in 0..10 {
        client.send(Message::new("server", number.to_string())).await.unwrap();
    }
    for round in 0..7 {
        sleep(SECOND).await;
        assert_eq!(handler.begun().len(), 3 + round);
        go_on.add_permits(1);
    }
    go_on.add_permits(3);
    sleep(SECOND).await;
    let texts: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    assert_eq!(handler.begun(), texts);
    assert_eq!(client.peers()[0].outbox_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_handler_leaves_at_the_shutdown_is_not_rejected() {
    let pair = pair();
    let (server, _, go_on) = start_three_at_once(&pair).await;
    let (client, _) = pair.start_client().await;
    for text in ["unhandled", "1", "2"] {
        client.send(Message::new("server", text)).await.unwrap();
    }
    sleep(SECOND).await;
    let (began, exchange) = (Instant::now(), server.exchange().clone());
    tokio::spawn(async move {
        exchange.stopping().await;
        go_on.add_permits(3);
    });
    assert!(server.shutdown().await.unfinished.is_empty());
    assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
    assert_eq!(client.peers()[0].counts.unwrap().rejected, 0);
    let (_server, inbox) = pair.start_server().await;
    assert_eq!(inbox.text().await, "unhandled");
}
