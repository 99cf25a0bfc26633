//! Requests and replies between two services.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paddington::{
    Delivered, Encoding, FailureCode, Handler, HandlerError, Message, ReplyError, RequestError,
    SendError, Service, accept_bytes, request,
};
use paddington_test_support::{Pair, conserved, eventually, pair, pair_with};
use tokio::sync::{Barrier, Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(600);

async fn start(pair: &Pair, handlers: (impl Handler, impl Handler)) -> (Service, Service) {
    let server = Service::start_on(pair.network.network(), &pair.server, handlers.0).await.unwrap();
    let client = Service::start_on(pair.network.network(), &pair.client, handlers.1).await.unwrap();
    (server, client)
}

async fn ignore(_: Message) -> Result<(), HandlerError> {
    Ok(())
}

async fn echo(message: Message) -> Result<(), HandlerError> {
    if message.is_request() {
        message.reply(format!("re: {}", message.payload()))?;
    }
    Ok(())
}

async fn ask(service: &Service, to: &str, text: &str) -> Result<String, RequestError> {
    let reply = service.request(Message::new(to, text), LONG).await?;
    Ok(reply.payload().to_owned())
}

/// Asks the server of [`never`] in a task of its own, and waits until its handler has begun.
async fn asking(
    client: &Service,
    told: &mut mpsc::UnboundedReceiver<&'static str>,
) -> JoinHandle<Result<String, RequestError>> {
    let client = client.clone();
    let asking = tokio::spawn(async move { ask(&client, "server", "x").await });
    assert_eq!(told.recv().await, Some("begun"));
    asking
}

fn failed(result: Result<String, RequestError>) -> (FailureCode, Option<String>) {
    match result {
        Err(RequestError::Failed { code, text, .. }) => (code, text),
        other => unreachable!("{other:?}"),
    }
}

paddington::async_message_handler! {
    async fn answers_in_the_macro(message: Message) -> Result<(), HandlerError> {
        message.reply("from the macro")?;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_whoever_connects_and_whatever_the_handler_is() {
    let pair = pair();
    let (server, client) = start(&pair, (echo, answers_in_the_macro)).await;
    assert_eq!(ask(&client, "server", "1").await.unwrap(), "re: 1");
    assert_eq!(ask(&server, "client", "2").await.unwrap(), "from the macro");
    assert_eq!(
        ask(&client, "nobody", "3").await,
        Err(SendError::UnknownPeer("nobody".to_owned()).into())
    );
    let status = client.peers().remove(0).calls.counts;
    assert_eq!((status.requested, status.answered, status.asked), (1, 1, 1));
    conserved([&server, &client]);
    client.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn text_and_bytes_travel_both_ways() {
    let pair = pair();
    let bytes = accept_bytes(async |message: Message| {
        if message.is_request() {
            assert!(message.is_bytes());
            message.reply_bytes(message.bytes().clone())?;
        }
        Ok::<(), HandlerError>(())
    });
    let (server, client) = start(&pair, (bytes, echo)).await;
    let question = Message::with_bytes("server", vec![0xff; 3]);
    let reply = client.request(question, LONG).await.unwrap();
    assert!(reply.is_bytes() && reply.payload().is_empty());
    assert_eq!(reply.bytes()[..], [0xff; 3]);
    let refused = server.request(Message::with_bytes("client", vec![1]), LONG).await;
    let refused = refused.map(|_| String::new());
    assert_eq!(failed(refused), (FailureCode::TEXT_ONLY, None));
    conserved([&server, &client]);
}

/// A handler that, asked for `n`, asks the peer for `n - 1`.
fn countdown(peer: &'static str) -> impl Handler {
    move |message: Message| async move {
        if !message.is_control() {
            let number: u32 = message.payload().parse()?;
            let below = match number {
                0 => String::new(),
                _ => {
                    let question = Message::new(peer, (number - 1).to_string());
                    request(question, LONG).await?.payload().to_owned()
                }
            };
            if message.is_request() {
                message.reply(format!("{number} {below}"))?;
            }
        }
        Ok::<(), HandlerError>(())
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_that_request_from_each_other_do_not_stop_for_ever() {
    let mut pair = pair();
    for config in [&mut pair.server, &mut pair.client] {
        let settings = config.settings_mut();
        (settings.handlers, settings.request_handlers, settings.requests) = (1, 1, 1);
    }
    let (server, client) = start(&pair, (countdown("client"), countdown("server"))).await;
    // Both sides at once, and in the handler of a message too.
    let many = (0..20).map(|_| async {
        let (one, other) = tokio::join!(ask(&client, "server", "3"), ask(&server, "client", "3"));
        assert_eq!((one.unwrap().as_str(), other.unwrap().as_str()), ("3 2 1 0 ", "3 2 1 0 "));
        client.send(Message::new("server", "3")).await.unwrap().await
    });
    let outcomes = futures_util::future::join_all(many).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Delivered::Handled), "{outcomes:?}");
    assert!(matches!(ask(&client, "server", "8").await, Err(RequestError::Failed { .. })));
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn a_request_within_eight_others_is_refused_at_once() {
    let pair = pair();
    let (tell, mut told) = mpsc::unbounded_channel();
    let deep = move |peer: &'static str| {
        let tell = tell.clone();
        move |message: Message| {
            let tell = tell.clone();
            async move {
                if message.is_request() {
                    let below = request(Message::new(peer, ""), LONG).await;
                    if let Err(RequestError::TooDeep) = below {
                        tell.send(()).unwrap();
                    }
                    message.reply("")?;
                }
                Ok::<(), HandlerError>(())
            }
        }
    };
    let (server, client) = start(&pair, (deep("client"), deep("server"))).await;
    ask(&client, "server", "").await.unwrap();
    told.recv().await.unwrap();
    let asked = |service: &Service| service.peers()[0].calls.counts.asked;
    assert_eq!((asked(&server), asked(&client)), (4, 4));
    conserved([&server, &client]);
}

/// Says when it is dropped.
struct Tells(mpsc::UnboundedSender<&'static str>);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

fn never(tell: mpsc::UnboundedSender<&'static str>) -> impl Handler {
    move |message: Message| {
        let tell = tell.clone();
        async move {
            if message.is_request() {
                let _dropped = Tells(tell.clone());
                tell.send("begun").unwrap();
                sleep(LONG).await;
            }
            Ok::<(), HandlerError>(())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_drops_the_handler_of_the_peer() {
    let pair = pair();
    let (tell, mut told) = mpsc::unbounded_channel();
    let (server, client) = start(&pair, (never(tell), ignore)).await;
    let begun = Instant::now();
    let asking = asking(&client, &mut told).await;
    asking.abort();
    assert_eq!(told.recv().await, Some("dropped"));
    assert!(begun.elapsed() < SECOND);
    eventually(async || server.peers()[0].calls.unanswered == 0).await;
    let counts = client.peers()[0].calls.counts;
    assert_eq!((counts.cancelled, counts.late, counts.answered), (1, 1, 0));
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_travels_and_an_expired_request_is_not_handled() {
    let mut pair = pair();
    pair.server.settings_mut().request_handlers = 1;
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = move |message: Message| {
        let tell = tell.clone();
        async move {
            if message.is_request() {
                let left = message.time_left().unwrap();
                tell.send((message.payload().to_owned(), left)).unwrap();
                sleep(LONG).await;
            }
            Ok::<(), HandlerError>(())
        }
    };
    let (server, client) = start(&pair, (handler, ignore)).await;
    let begun = Instant::now();
    let asked = |text: &str, limit| client.request(Message::new("server", text), limit);
    let (first, second) = tokio::join!(asked("slow", 5 * SECOND), asked("behind", 3 * SECOND));
    assert_eq!((first, second), (Err(RequestError::TimedOut), Err(RequestError::TimedOut)));
    assert!(begun.elapsed() < 6 * SECOND);
    let (text, left) = told.recv().await.unwrap();
    assert_eq!(text, "slow");
    assert!(left > 4 * SECOND && left <= 5 * SECOND, "{left:?}");
    eventually(async || server.peers()[0].calls.unanswered == 0).await;
    assert!(told.try_recv().is_err(), "the second one is not handled");
    let counts = client.peers()[0].calls.counts;
    assert_eq!((counts.expired, counts.late), (2, 2));
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn each_request_ends_when_its_own_time_is_over() {
    let pair = pair();
    let (client, _) = pair.start_client().await;
    let took = async |seconds: u32| {
        let begun = Instant::now();
        let asked = client.request(Message::new("server", "x"), seconds * SECOND).await;
        assert_eq!(asked, Err(RequestError::TimedOut), "{seconds}");
        let late = begun.elapsed().checked_sub(seconds * SECOND).expect("not before its time");
        assert!(late < SECOND / 10, "{seconds}: {late:?}");
    };
    let later = async {
        sleep(SECOND).await;
        tokio::join!(took(3), took(1), took(20));
    };
    tokio::join!(took(8), took(2), took(5), took(2), later);
    assert_eq!(client.peers()[0].calls.counts.expired, 7);
    conserved([&client, &client]);
}

#[tokio::test(start_paused = true)]
async fn a_request_to_a_peer_that_is_away_waits_until_its_time_is_over() {
    let pair = pair();
    let (client, _) = pair.start_client().await;
    let begun = Instant::now();
    let asked = client.request(Message::new("server", "x"), 5 * SECOND).await;
    assert_eq!(asked, Err(RequestError::TimedOut));
    assert!(begun.elapsed() >= 5 * SECOND);
    let waits = tokio::spawn({
        let client = client.clone();
        async move { ask(&client, "server", "y").await }
    });
    let server = Service::start_on(pair.network.network(), &pair.server, echo).await.unwrap();
    assert_eq!(waits.await.unwrap().unwrap(), "re: y");
    assert_eq!(server.peers()[0].calls.counts.asked, 1, "the first one was never sent");
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_in_the_middle_is_not_noticed() {
    let pair = pair();
    let handled = Arc::new(AtomicUsize::new(0));
    let (go_on, counted) = (Arc::new(Notify::new()), Arc::clone(&handled));
    let wait = Arc::clone(&go_on);
    let handler = move |message: Message| {
        let (wait, counted) = (Arc::clone(&wait), Arc::clone(&counted));
        async move {
            if message.is_request() {
                counted.fetch_add(1, Ordering::Relaxed);
                wait.notified().await;
                message.reply("yes")?;
            }
            Ok::<(), HandlerError>(())
        }
    };
    let (server, client) = start(&pair, (handler, ignore)).await;
    for round in 1..=5 {
        let asking = ask(&client, "server", "x");
        let disturb = async {
            eventually(async || handled.load(Ordering::Relaxed) == round).await;
            pair.network.cut();
            if round % 2 == 0 {
                eventually(async || client.peers()[0].is_connected()).await;
            }
            go_on.notify_one();
        };
        let (answer, ()) = tokio::join!(asking, disturb);
        assert_eq!(answer.unwrap(), "yes");
        assert_eq!(handled.load(Ordering::Relaxed), round);
    }
    assert!(server.peers()[0].counters.sessions >= 5);
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn another_process_of_the_peer_answers_nothing_that_it_was_not_asked() {
    let pair = pair();
    let (tell, mut told) = mpsc::unbounded_channel();
    let (server, client) = start(&pair, (never(tell), ignore)).await;
    let asking = asking(&client, &mut told).await;
    pair.network.cut();
    server.exchange().ask_to_shut_down_now();
    server.finished().await;
    let server = Service::start_on(pair.network.network(), &pair.server, echo).await.unwrap();
    let gone = asking.await.unwrap();
    let is_told = matches!(gone, Err(RequestError::PeerChanged(_) | RequestError::Failed { .. }));
    assert!(is_told, "{gone:?}");
    assert_eq!(ask(&client, "server", "y").await.unwrap(), "re: y");
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn a_requester_that_is_gone_ends_its_requests() {
    let pair = pair();
    let (tell, mut told) = mpsc::unbounded_channel();
    let (server, client) = start(&pair, (never(tell), ignore)).await;
    let asking = asking(&client, &mut told).await;
    pair.network.cut();
    client.exchange().ask_to_shut_down_now();
    client.finished().await;
    assert_eq!(asking.await.unwrap(), Err(RequestError::Cancelled));
    assert_eq!(ask(&client, "server", "x").await, Err(SendError::ShuttingDown.into()));
    conserved([&client, &client]);
    let (client, _) = pair.start_client().await;
    assert_eq!(told.recv().await, Some("dropped"));
    eventually(async || client.peers()[0].is_connected()).await;
    assert_eq!(server.peers()[0].calls.counts.dropped, 1);
    assert_eq!(server.peers()[0].calls.unanswered, 0);
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn slow_requests_delay_no_message_and_are_handled_in_parallel() {
    let pair = pair();
    let meeting = Arc::new(Barrier::new(16));
    let handler = move |message: Message| {
        let meeting = Arc::clone(&meeting);
        async move {
            if message.is_request() {
                meeting.wait().await;
                sleep(60 * SECOND).await;
                message.reply("")?;
            }
            Ok::<(), HandlerError>(())
        }
    };
    let (server, client) = start(&pair, (handler, ignore)).await;
    let begun = Instant::now();
    let asking: Vec<_> = (0..32)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { ask(&client, "server", "x").await })
        })
        .collect();
    eventually(async || server.peers()[0].calls.unanswered == 32).await;
    for _ in 0..100 {
        let receipt = client.send(Message::new("server", "x")).await.unwrap();
        assert_eq!(receipt.await, Delivered::Handled);
    }
    assert!(begun.elapsed() < 10 * SECOND, "{:?}", begun.elapsed());
    for answer in futures_util::future::join_all(asking).await {
        answer.unwrap().unwrap();
    }
    assert!(begun.elapsed() >= 120 * SECOND, "16 at a time");
    conserved([&server, &client]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_holds_its_thread_holds_up_no_other_request() {
    let pair = pair();
    let (free, held) = std::sync::mpsc::channel();
    let held = Arc::new(std::sync::Mutex::new(held));
    let handler = move |message: Message| {
        let held = Arc::clone(&held);
        async move {
            if message.payload() == "hold" {
                held.lock().unwrap().recv()?; // no `await`
            }
            message.reply("")?;
            Ok::<(), HandlerError>(())
        }
    };
    let (server, client) = start(&pair, (handler, ignore)).await;
    let holding = ask(&client, "server", "hold");
    let others = futures_util::future::join_all((0..8).map(|_| ask(&client, "server", "go on")));
    let freeing = async {
        for answer in others.await {
            answer.unwrap();
        }
        free.send(()).unwrap();
    };
    let (held, ()) = tokio::join!(holding, freeing);
    held.unwrap();
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn every_way_in_which_a_handler_can_end_is_told_at_once() {
    for reveals in [false, true] {
        let mut pair = pair();
        let settings = pair.server.settings_mut();
        settings.reveal_errors = reveals;
        settings.handler_timeout = 5 * SECOND;
        let handler = async |message: Message| match message.payload() {
            "nothing" => Ok(()),
            "error" => Err("no such sensor".to_owned()),
            "long" => Err("é".repeat(1_000)),
            "panic" => panic!("as asked"),
            "slow" => {
                sleep(LONG).await;
                Ok(())
            }
            "first" => {
                message.reply("yes").unwrap();
                assert_eq!(message.reply("no"), Err(ReplyError::Over));
                Err("too late".to_owned())
            }
            _ => {
                assert_eq!(message.reply("x"), Err(ReplyError::NotARequest));
                Ok(())
            }
        };
        let (server, client) = start(&pair, (handler, ignore)).await;
        assert_eq!(failed(ask(&client, "server", "nothing").await), (FailureCode::NO_ANSWER, None));
        let words = reveals.then(|| "no such sensor".to_owned());
        assert_eq!(failed(ask(&client, "server", "error").await), (FailureCode::FAILED, words));
        let words = reveals.then(|| "é".repeat(512));
        assert_eq!(failed(ask(&client, "server", "long").await), (FailureCode::FAILED, words));
        assert_eq!(failed(ask(&client, "server", "panic").await), (FailureCode::FAILED, None));
        assert_eq!(failed(ask(&client, "server", "slow").await), (FailureCode::TIMED_OUT, None));
        assert_eq!(ask(&client, "server", "first").await.unwrap(), "yes");
        let counts = client.peers()[0].calls.counts;
        assert_eq!((counts.failed, counts.answered), (5, 1));
        conserved([&server, &client]);
    }
}

#[tokio::test(start_paused = true)]
async fn hex_links_and_services_that_answer_none_say_so() {
    let hex = pair_with(Encoding::Hex);
    let (server, client) = start(&hex, (echo, echo)).await;
    assert!(matches!(ask(&client, "server", "x").await, Err(RequestError::Hex(_))));
    conserved([&server, &client]);

    let mut pair = pair();
    pair.server.settings_mut().requests = 0;
    let (server, client) = start(&pair, (echo, echo)).await;
    for _ in 0..2 {
        let asked = ask(&client, "server", "x").await;
        assert!(matches!(asked, Err(RequestError::NotAnswering(_))), "{asked:?}");
    }
    assert_eq!(ask(&server, "client", "x").await.unwrap(), "re: x", "it may ask all the same");
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_or_too_much_is_refused() {
    let mut pair = pair();
    pair.client.settings_mut().transport.limits.max_payload = 1_000;
    pair.client.settings_mut().reply_bytes = 1;
    pair.server.settings_mut().request_bytes_total = 1_000;
    let handler = async |message: Message| {
        if message.is_request() {
            let len = message.payload().parse().unwrap_or(0);
            let reply = message.reply("x".repeat(len));
            if len > 1_000 {
                assert_eq!(reply, Err(ReplyError::TooLong { len, max: 1_000 }));
            }
        }
        Ok::<(), HandlerError>(())
    };
    let (server, client) = start(&pair, (handler, ignore)).await;
    let long = client.request(Message::new("server", "x".repeat(1_001)), LONG).await;
    assert_eq!(long, Err(SendError::TooLong { len: 1_001, max: 1_000 }.into()));
    assert_eq!(ask(&client, "server", "1000").await.unwrap().len(), 1_000);
    let long = failed(ask(&client, "server", "1001").await);
    assert_eq!(long, (FailureCode::TOO_LONG, None));
    let much = failed(ask(&client, "server", &"0".repeat(900)).await);
    assert_eq!(much, (FailureCode::NO_ROOM, None));
    let long = server.request(Message::new("client", "x".repeat(1_001)), LONG).await;
    assert_eq!(long, Err(SendError::TooLong { len: 1_001, max: 1_000 }.into()));
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_too_long_for_a_peer_that_comes_back_is_refused_as_at_once() {
    let mut pair = pair();
    let (server, client) = start(&pair, (echo, ignore)).await;
    assert_eq!(ask(&client, "server", "1").await.unwrap(), "re: 1");
    server.shutdown().await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { ask(&client, "server", &"x".repeat(101)).await }
    });
    eventually(async || client.peers()[0].calls.waiting == 1).await;
    pair.server.settings_mut().transport.limits.max_payload = 100;
    let server = Service::start_on(pair.network.network(), &pair.server, echo).await.unwrap();
    let long = asking.await.unwrap();
    assert_eq!(long, Err(SendError::TooLong { len: 101, max: 100 }.into()));
    assert_eq!(ask(&client, "server", "2").await.unwrap(), "re: 2");
    assert_eq!(server.peers()[0].calls.counts.asked, 1, "the long one was never sent");
    let counts = client.peers()[0].calls.counts;
    assert_eq!((counts.answered, counts.failed), (2, 1));
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_running_requests_and_refuses_the_others() {
    let mut pair = pair();
    pair.server.settings_mut().request_handlers = 1;
    let handler = async |message: Message| {
        if message.is_request() {
            sleep(10 * SECOND).await;
            message.reply("done")?;
        }
        Ok::<(), HandlerError>(())
    };
    let (server, client) = start(&pair, (handler, ignore)).await;
    let [running, waiting] = ["1", "2"].map(|text| {
        let client = client.clone();
        tokio::spawn(async move { ask(&client, "server", text).await })
    });
    eventually(async || server.peers()[0].calls.unanswered == 2).await;
    server.exchange().ask_to_shut_down();
    let refused = failed(waiting.await.unwrap());
    assert_eq!(refused, (FailureCode::SHUTTING_DOWN, None));
    assert_eq!(running.await.unwrap().unwrap(), "done");
    assert!(server.finished().await.is_clean());
    assert_eq!(server.peers()[0].calls.unanswered, 0);
    conserved([&server, &client]);
    client.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_without_a_time_limit_may_take_as_long_as_it_likes() {
    let mut pair = pair();
    pair.server.settings_mut().handler_timeout = Duration::ZERO;
    let handler = async |message: Message| {
        if !message.is_control() {
            sleep(24 * 60 * 60 * SECOND).await;
        }
        if message.is_request() {
            message.reply("done")?;
        }
        Ok::<(), HandlerError>(())
    };
    let (server, client) = start(&pair, (handler, ignore)).await;
    let receipt = client.send(Message::new("server", "x")).await.unwrap();
    let asked = client.request(Message::new("server", "x"), Duration::MAX).await;
    assert_eq!(asked.unwrap().payload(), "done");
    assert_eq!(receipt.await, Delivered::Handled);
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn the_concurrency_of_messages_is_a_setting() {
    let mut pair = pair();
    pair.server.settings_mut().concurrency = 3;
    let meeting = Arc::new(Barrier::new(3));
    let handler = move |message: Message| {
        let meeting = Arc::clone(&meeting);
        async move {
            if !message.is_control() {
                meeting.wait().await; // three at a time, or for ever
            }
            Ok::<(), HandlerError>(())
        }
    };
    let (server, client) = start(&pair, (handler, ignore)).await;
    for _ in 0..3 {
        client.send(Message::new("server", "x")).await.unwrap();
    }
    eventually(async || server.peers()[0].handled == 3).await;
    pair.server.settings_mut().concurrency = 0;
    let refused = Service::start_on(pair.network.network(), &pair.server, ignore).await;
    assert!(refused.unwrap_err().to_string().contains("concurrency"));
    conserved([&server, &client]);
}
