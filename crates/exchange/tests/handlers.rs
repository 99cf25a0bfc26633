//! A handler that fails, panics, sleeps or floods affects no other message and no other peer.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use paddington::{
    Delivered, Encoding, FullOutbox, Message, SendError, Service, ServiceConfig, send,
};
use paddington_test_support::{Inbox, Pair, Random, pair, pair_with};
use paddington_wire::RejectCode;
use tokio::sync::{Notify, mpsc};

async fn start(pair: &Pair, config: &ServiceConfig, handler: impl paddington::Handler) -> Service {
    Service::start_on(pair.network.network(), config, handler).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_or_panics_costs_that_message_only() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let pair = pair_with(encoding);
        let (told, mut heard) = mpsc::channel(100);
        let server = start(&pair, &pair.server, move |message: Message| {
            let told = told.clone();
            async move {
                match message.payload() {
                    "fail" => Err("as asked"),
                    "panic" => panic!("as asked"),
                    text => {
                        told.send(text.to_owned()).await.unwrap();
                        Ok(())
                    }
                }
            }
        })
        .await;
        let (client, _) = pair.start_client().await;
        let mut receipts = Vec::new();
        for text in ["1", "fail", "2", "panic", "3"] {
            receipts.push(client.send(Message::new("server", text)).await.unwrap());
        }
        assert!(heard.recv().await.unwrap().contains("Connected"));
        for expected in ["1", "2", "3"] {
            assert_eq!(heard.recv().await.unwrap(), expected);
        }
        let receipts = receipts.into_iter().map(IntoFuture::into_future);
        let outcomes = futures_util::future::join_all(receipts).await;
        let failed = Delivered::Rejected(RejectCode::FAILED);
        let (done, lost) = match encoding {
            Encoding::Hex => (Delivered::Sent, Delivered::Sent),
            _ => (Delivered::Handled, failed),
        };
        assert_eq!(outcomes, [done, lost, done, lost, done]);
        let status = server.peers().remove(0);
        assert_eq!((status.handled, status.failed), (3, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_handler_returns_its_future_costs_that_message_only() {
    let pair = pair();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let _server = start(&pair, &pair.server, move |_: Message| {
        if counted.fetch_add(1, Ordering::Relaxed) < 2 {
            panic!("at once");
        }
        std::future::ready(Ok::<(), std::io::Error>(()))
    })
    .await;
    let (client, _) = pair.start_client().await;
    let mut receipts = Vec::new();
    for text in ["1", "2"] {
        receipts.push(client.send(Message::new("server", text)).await.unwrap());
    }
    let receipts = receipts.into_iter().map(IntoFuture::into_future);
    let outcomes = futures_util::future::join_all(receipts).await;
    assert_eq!(outcomes, [Delivered::Rejected(RejectCode::FAILED), Delivered::Handled]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_slows_its_own_peer_and_no_other() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let mut pair = pair_with(encoding);
        let invite = pair.server.add_client("brisk", "127.0.0.1").unwrap();
        let (told, mut heard) = mpsc::channel(10_000);
        let server = start(&pair, &pair.server, move |message: Message| {
            let told = told.clone();
            async move {
                if message.sender() == "client" {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
                told.send(message.sender().to_owned()).await
            }
        })
        .await;
        let mut brisk = ServiceConfig::new("brisk", "ws://brisk:1", "127.0.0.1", &1).unwrap();
        brisk.add_server(invite).unwrap();
        let (client, _) = pair.start_client().await;
        let (brisk, _) = pair.start(&brisk).await;
        for number in 0..100 {
            client.send(Message::new("server", number.to_string())).await.unwrap();
            brisk.send(Message::new("server", number.to_string())).await.unwrap();
        }
        let begun = tokio::time::Instant::now();
        for _ in 0..101 {
            assert_eq!(heard.recv().await.unwrap(), "brisk");
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        for _ in 0..101 {
            assert_eq!(heard.recv().await.unwrap(), "client");
        }
        let minutes = begun.elapsed().as_secs() / 60;
        assert!((100..=101).contains(&minutes), "one at a time: {minutes}");
        assert!(server.peers().iter().all(paddington::PeerStatus::is_connected), "none was closed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_slower_than_its_producer_bounds_the_memory_of_both() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let mut pair = pair_with(encoding);
        pair.server.settings_mut().window = 10_000;
        pair.server.settings_mut().inbox_messages = 10;
        pair.server.settings_mut().handler_timeout = Duration::from_secs(7_200);
        pair.server.settings_mut().transport.limits.max_payload = 1_000;
        pair.client.settings_mut().outbox_messages = 50;
        let release = Arc::new(Notify::new());
        let released = Arc::clone(&release);
        let (told, mut heard) = mpsc::unbounded_channel();
        let server = start(&pair, &pair.server, move |message: Message| {
            let (released, told) = (Arc::clone(&released), told.clone());
            async move {
                released.notified().await;
                told.send(message.payload().trim_start().to_owned())
            }
        })
        .await;
        let (client, _) = pair.start_client().await;
        let mut accepted = 0;
        for _ in 0..20 {
            while client.send(Message::new("server", format!("{accepted:>1000}"))).await.is_ok() {
                accepted += 1;
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        let held = server.peers()[0].inbox_messages;
        assert!(held <= 10, "{held}");
        assert!(accepted <= 200, "{accepted}");
        let mut random = Random::new(1);
        for _ in 0..=accepted {
            release.notify_one();
            tokio::time::sleep(random.up_to(Duration::from_secs(180))).await;
        }
        assert!(heard.recv().await.unwrap().contains("Connected"));
        for number in 0..accepted {
            assert_eq!(heard.recv().await.unwrap(), number.to_string());
        }
        // In an hour of silence only pings keep the two together.
        tokio::time::sleep(Duration::from_secs(60 * 60)).await;
        assert_eq!(server.peers()[0].handled, accepted, "each once");
        assert!(server.peers()[0].is_connected() && client.peers()[0].is_connected());
        assert_eq!(pair.network.dialled(), 1, "{encoding}: nobody was taken for dead");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_both_ways_through_the_smallest_queues_do_not_stop() {
    const ENOUGH: usize = 10_000;
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let mut pair = pair_with(encoding);
        for config in [&mut pair.server, &mut pair.client] {
            let settings = config.settings_mut();
            settings.outbox_messages = 1;
            settings.inbox_messages = 1;
            settings.window = 100;
            settings.transport.limits.max_payload = 76;
        }
        let (told, mut done) = mpsc::channel(2);
        let flood = || {
            let (count, told) = (Arc::new(AtomicUsize::new(0)), told.clone());
            move |message: Message| {
                let (count, told) = (Arc::clone(&count), told.clone());
                async move {
                    if count.fetch_add(1, Ordering::Relaxed) == ENOUGH {
                        told.send(()).await?;
                    }
                    // both sides answer twice: the second answer is refused at once
                    for _ in 0..2 {
                        let _ = send(Message::new(message.sender(), "x")).await;
                    }
                    Ok::<(), mpsc::error::SendError<()>>(())
                }
            }
        };
        let server = start(&pair, &pair.server, flood()).await;
        let client = start(&pair, &pair.client, flood()).await;
        for (service, recipient) in [(&server, "client"), (&client, "server")] {
            let exchange = service.exchange().clone();
            tokio::spawn(async move {
                while exchange.send_when_ready(Message::new(recipient, "x")).await.is_ok() {}
            });
        }
        for _ in 0..2 {
            tokio::time::timeout(Duration::from_secs(600), done.recv()).await.unwrap().unwrap();
        }
        tokio::join!(server.shutdown(), client.shutdown());
        assert!(server.peers()[0].is_conserved() && client.peers()[0].is_conserved());
    }
}

/// Both outboxes are full, and each handler waits for room that only the other one can make.
#[tokio::test(start_paused = true)]
async fn handlers_that_wait_for_each_other_go_on_when_their_patience_ends() {
    let mut pair = pair();
    for config in [&mut pair.server, &mut pair.client] {
        let settings = config.settings_mut();
        settings.outbox_messages = 32;
        settings.window = 8 * 1024;
        settings.transport.limits.max_payload = 2_000;
        settings.patience = Duration::from_secs(30);
    }
    let over = Arc::new(AtomicBool::new(false));
    let mut services = Vec::new();
    for (config, peer) in [(&pair.server, "client"), (&pair.client, "server")] {
        let (over, own) = (Arc::clone(&over), Arc::new(OnceLock::<Service>::new()));
        let service = Arc::clone(&own);
        let handler = move |message: Message| {
            let (over, own) = (Arc::clone(&over), Arc::clone(&own));
            async move {
                for _ in 0..2 {
                    if !message.is_control() && !over.load(Ordering::Relaxed) {
                        let answer = Message::new(peer, "x".repeat(1_000));
                        let _ = own.get().unwrap().exchange().send_when_ready(answer).await;
                    }
                }
                Ok::<(), SendError>(())
            }
        };
        services.push(start(&pair, config, handler).await);
        service.set(services.last().unwrap().clone()).unwrap();
    }
    services[0].send(Message::new("client", "go")).await.unwrap();
    let handled = || [0, 1].map(|side| services[side].peers()[0].handled);
    for _ in 0..20 {
        let before = handled();
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert!(handled()[0] > before[0] && handled()[1] > before[1], "they stopped");
    }
    over.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(600)).await;
    for service in &services {
        assert_eq!(service.peers()[0].outbox_messages, 0);
        assert!(service.peers()[0].is_conserved());
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_is_reported_at_once_with_the_peer() {
    let mut pair = pair();
    pair.client.settings_mut().outbox_messages = 3;
    let (client, _) = pair.start_client().await;
    for _ in 0..3 {
        client.send(Message::new("server", "x")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(90)).await;
    let full = client.send(Message::new("server", "x")).await.unwrap_err();
    assert!(full.is_retryable());
    assert_eq!(
        full.to_string(),
        "the outbox for server is full: 3 messages wait, the oldest for 90 s"
    );
    assert!(matches!(full, SendError::Full { messages: 3, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_is_told_from_full_room_of_all_peers() {
    let mut pair = pair();
    pair.server.add_client("other", "127.0.0.1").unwrap();
    let settings = pair.server.settings_mut();
    settings.transport.limits.max_payload = 76;
    settings.outbox_bytes_total = 300;
    let (server, _) = pair.start_server().await;
    let mut errors = Vec::new();
    for peer in ["client", "other"] {
        errors.push(loop {
            if let Err(full) = server.send(Message::new(peer, "x".repeat(76))).await {
                break full;
            }
        });
    }
    for full in errors {
        let SendError::Full { outbox, .. } = &full else { unreachable!("{full}") };
        assert_eq!(*outbox, FullOutbox::All { setting: "outbox_bytes_total" });
        let text = full.to_string();
        assert!(
            text.starts_with(
                "the room for the messages to all peers together (outbox_bytes_total) is full"
            ),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_waits_for_room_gets_it_in_turn() {
    let mut pair = pair();
    pair.client.settings_mut().outbox_messages = 2;
    let (client, _) = pair.start_client().await;
    let producers: Vec<_> = (0..50)
        .map(|number| {
            let exchange = client.exchange().clone();
            tokio::spawn(async move {
                exchange.send_when_ready(Message::new("server", number.to_string())).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(client.peers()[0].outbox_messages, 2);
    let (_server, inbox) = pair.start_server().await;
    for number in 0..50 {
        assert_eq!(inbox.text().await, number.to_string());
    }
    for producer in producers {
        producer.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_times_out_before_its_turn_is_told_that_the_outbox_is_full() {
    let mut pair = pair();
    pair.client.settings_mut().outbox_messages = 1;
    let (client, _) = pair.start_client().await;
    client.send(Message::new("server", "1")).await.unwrap();
    let exchange = client.exchange().clone();
    let waits =
        tokio::spawn(async move { exchange.send_when_ready(Message::new("server", "2")).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    let hurried = Message::new("server", "3");
    let hurried = client.exchange().send_timeout(hurried, Duration::from_secs(1)).await;
    assert!(matches!(hurried, Err(SendError::Full { messages: 1, .. })), "{hurried:?}");
    client.shutdown().await;
    assert!(matches!(waits.await.unwrap(), Err(SendError::ShuttingDown)));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_too_long_expires_and_makes_room() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let mut pair = pair_with(encoding);
        pair.client.settings_mut().outbox_messages = 2;
        let (client, _) = pair.start_client().await;
        let options = paddington::SendOptions { ttl: Some(Duration::from_secs(10)) };
        let exchange = client.exchange();
        let short = exchange.send_with(Message::new("server", "short"), options).await.unwrap();
        exchange.send(Message::new("server", "long")).await.unwrap();
        assert!(exchange.send(Message::new("server", "none")).await.is_err());
        tokio::time::sleep(Duration::from_secs(11)).await;
        exchange.send(Message::new("server", "late")).await.unwrap();
        assert_eq!(short.await, Delivered::Expired);
        let (_server, inbox) = pair.start_server().await;
        assert_eq!(inbox.text().await, "long");
        assert_eq!(inbox.text().await, "late");
    }
}

#[tokio::test(start_paused = true)]
async fn several_services_run_in_one_process_and_the_free_functions_use_the_right_one() {
    let mut hub = ServiceConfig::new("hub", "ws://hub:6501", "127.0.0.1", &6501).unwrap();
    let mut configs = Vec::new();
    for name in ["a", "b", "c"] {
        let mut config = ServiceConfig::new(name, "ws://x:1", "127.0.0.1", &1).unwrap();
        config.add_server(hub.add_client(name, "127.0.0.1").unwrap()).unwrap();
        configs.push(config);
    }
    let pair = pair();
    let (hub, inbox) = pair.start(&hub).await;
    let mut services = Vec::new();
    for config in &configs {
        let echo = async |message: Message| -> Result<(), paddington::Error> {
            if !message.is_control() {
                send(Message::new("hub", format!("{} echoes", message.recipient()))).await?;
            }
            Ok(())
        };
        services.push(start(&pair, config, echo).await);
    }
    for name in ["c", "a", "b"] {
        hub.send(Message::new(name, "hello")).await.unwrap();
        let echo = loop {
            let message = inbox.next().await;
            if !message.is_control() {
                break message;
            }
        };
        assert_eq!((echo.sender(), echo.payload()), (name, &*format!("{name} echoes")));
    }
    assert!(send(Message::new("hub", "x")).await.is_err(), "no service runs in this task");
}

#[tokio::test(start_paused = true)]
async fn a_service_is_client_and_server_at_once() {
    let mut middle = ServiceConfig::new("middle", "ws://m:6501", "127.0.0.1", &6501).unwrap();
    let mut top = ServiceConfig::new("top", "ws://t:6502", "127.0.0.1", &6502).unwrap();
    let mut bottom = ServiceConfig::new("bottom", "ws://b:1", "127.0.0.1", &1).unwrap();
    middle.add_server(top.add_client("middle", "127.0.0.1").unwrap()).unwrap();
    bottom.add_server(middle.add_client("bottom", "127.0.0.1").unwrap()).unwrap();
    let pair = pair();
    let (_top, inbox) = pair.start(&top).await;
    let relay = async |message: Message| -> Result<(), paddington::Error> {
        if !message.is_control() && message.sender() == "bottom" {
            send(Message::new("top", message.payload())).await?;
        }
        Ok(())
    };
    let middle = start(&pair, &middle, relay).await;
    let (bottom, _): (Service, Inbox) = pair.start(&bottom).await;
    bottom.send(Message::new("middle", "up")).await.unwrap();
    assert_eq!(inbox.text().await, "up");
    assert!(middle.peers().iter().all(paddington::PeerStatus::is_connected));
}
