//! Services with a store: no accepted message is lost when a process ends, and failures are kept.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use paddington::{Delivered, Handler, Message, OnError, SendError, Service, ServiceConfig};
use paddington_test_support::{Inbox, Lag, MemoryDisk, Pair, Random, eventually, pair};

async fn start(
    pair: &Pair,
    disk: &MemoryDisk,
    config: &ServiceConfig,
    handler: impl Handler,
) -> Service {
    let network = pair.network.network();
    Service::start_with(network, Some(disk.open()), config, handler).await.unwrap()
}

async fn nothing(_: Message) -> Result<(), paddington::Error> {
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn accepted_messages_are_delivered_after_the_sender_restarts() {
    let (pair, disk) = (pair(), MemoryDisk::default());
    for round in 0..3 {
        let client = start(&pair, &disk, &pair.client, nothing).await;
        for number in 0..10 {
            client.send(Message::new("server", format!("{round}-{number}"))).await.unwrap();
        }
        let report = client.shutdown().await;
        assert!(report.is_clean());
        assert_eq!(report.left_in_store[0].1, 10 * (round + 1));
    }
    assert_eq!(disk.messages(), 30);
    let (server, inbox) = pair.start_server().await;
    let client = start(&pair, &disk, &pair.client, nothing).await;
    client.send(Message::new("server", "last")).await.unwrap();
    for round in 0..3 {
        for number in 0..10 {
            assert_eq!(inbox.text().await, format!("{round}-{number}"));
        }
    }
    assert_eq!(inbox.text().await, "last");
    eventually(async || disk.messages() == 0).await;
    assert!(client.peers()[0].is_conserved() && server.peers()[0].is_conserved());
    assert_eq!(client.peers()[0].counts.unwrap().acknowledged, 31);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_receiver_handles_no_message_again() {
    let (pair, disk) = (pair(), MemoryDisk::default());
    let (client, _) = pair.start_client().await;
    let mut heard = Vec::new();
    for round in 0..3 {
        let (inbox, handler) = Inbox::new();
        let server = start(&pair, &disk, &pair.server, handler).await;
        for number in 0..5 {
            let text = format!("{round}-{number}");
            let receipt = client.send(Message::new("server", text)).await.unwrap();
            assert_eq!(receipt.await, Delivered::Handled);
        }
        server.shutdown().await;
        heard.extend(inbox.drain().await.into_iter().filter(|text| text.contains('-')));
    }
    heard.dedup();
    assert_eq!(heard.len(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_stored_is_refused_and_never_delivered() {
    let (pair, disk) = (pair(), MemoryDisk::default());
    let (_server, inbox) = pair.start_server().await;
    let client = start(&pair, &disk, &pair.client, nothing).await;
    client.send(Message::new("server", "1")).await.unwrap();
    assert_eq!(inbox.text().await, "1");
    disk.set_broken(true);
    for _ in 0..3 {
        let refused = client.send(Message::new("server", "lost")).await.unwrap_err();
        assert!(matches!(refused, SendError::Storage(_)) && refused.is_retryable());
    }
    disk.set_broken(false);
    let receipt = client.send(Message::new("server", "2")).await.unwrap();
    assert_eq!(inbox.text().await, "2");
    assert_eq!(receipt.await, Delivered::Handled);
    let status = &client.peers()[0];
    assert!(status.is_conserved());
    assert_eq!(status.counts.unwrap().accepted, 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_may_come_after_a_restart_is_told_from_one_that_certainly_does_not() {
    let (pair, disk) = (pair(), MemoryDisk::default());
    let client = start(&pair, &disk, &pair.client, nothing).await;
    client.send(Message::new("server", "accepted")).await.unwrap();
    disk.set_broken(true);
    let refused = client.send(Message::new("server", "refused")).await.unwrap_err();
    assert!(matches!(refused, SendError::Storage(_)) && refused.is_retryable(), "{refused}");
    disk.set_broken(false);
    disk.set_unsynced(true);
    let unsure = client.send(Message::new("server", "unsure")).await.unwrap_err();
    assert!(matches!(unsure, SendError::StorageUnsure(_)) && !unsure.is_retryable(), "{unsure}");
    disk.set_unsynced(false);
    drop(disk.open()); // the process is killed before its store works again
    client.shutdown().await;
    let (_server, inbox) = pair.start_server().await;
    let _client = start(&pair, &disk, &pair.client, nothing).await;
    assert_eq!([inbox.text().await, inbox.text().await], ["accepted", "unsure"]);
}

#[tokio::test(start_paused = true)]
async fn a_restored_backup_is_noticed_and_loses_nothing_new() {
    let (pair, disk) = (pair(), MemoryDisk::default());
    let client = start(&pair, &disk, &pair.client, nothing).await;
    client.send(Message::new("server", "1")).await.unwrap();
    let backup = disk.backup();
    client.send(Message::new("server", "2")).await.unwrap();
    let (server, inbox) = pair.start_server().await;
    assert_eq!([inbox.text().await, inbox.text().await], ["1", "2"]);
    drop(disk.open()); // the old instance has ended
    pair.network.cut();
    let restored = start(&pair, &backup, &pair.client, nothing).await;
    restored.send(Message::new("server", "3")).await.unwrap();
    assert_eq!(inbox.text().await, "3");
    assert!(server.peers()[0].is_conserved());
    client.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_becomes_a_dead_letter_and_what_follows_is_handled() {
    for failure in ["error", "panic", "hang"] {
        let (pair, disk) = (pair(), MemoryDisk::default());
        let fail = async |message: Message| match message.payload() {
            "error" => Err("no good"),
            "panic" => panic!("as asked"),
            "hang" => std::future::pending().await,
            _ => Ok(()),
        };
        let server = start(&pair, &disk, &pair.server, fail).await;
        let (client, _) = pair.start_client().await;
        let bad = client.send(Message::new("server", failure)).await.unwrap();
        for number in 0..100 {
            client.send(Message::new("server", number.to_string())).await.unwrap();
        }
        let last = client.send(Message::new("server", "last")).await.unwrap();
        assert!(matches!(bad.await, Delivered::Rejected(_)));
        assert_eq!(last.await, Delivered::Handled);
        let status = server.peers().remove(0);
        assert_eq!((status.handled, status.counters.dead_letters), (101, 1), "{failure}");
        assert!(client.peers()[0].is_conserved());
        let store = server.exchange().store().unwrap();
        let letters = store.letters().await.unwrap();
        assert_eq!((letters.len(), &*letters[0].1.payload), (1, failure.as_bytes()));
        assert!(store.take_letter(letters[0].0).await.unwrap().is_some());
        assert!(store.letters().await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_handler_blocks_becomes_one_dead_letter() {
    let (mut pair, disk) = (pair(), MemoryDisk::default());
    pair.server.settings_mut().handler_timeout = std::time::Duration::from_millis(100);
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let handler = move |message: Message| {
        let block = message.payload() == "block";
        if block {
            let _ = blocked.lock().unwrap().recv(); // as a handler must not
        }
        std::future::ready(if block { Err("too late") } else { Ok(()) })
    };
    let server = start(&pair, &disk, &pair.server, handler).await;
    let (client, _) = pair.start_client().await;
    let block = client.send(Message::new("server", "block")).await.unwrap();
    let after = client.send(Message::new("server", "after")).await.unwrap();
    assert!(matches!(block.await, Delivered::Rejected(_)));
    assert_eq!(after.await, Delivered::Handled);
    let store = server.exchange().store().unwrap();
    let letters = store.letters().await.unwrap();
    assert_eq!((letters.len(), &*letters[0].1.payload), (1, &b"block"[..]));
    drop(release);
    // the handler ends after all, and fails: that is the same failure
    server.shutdown().await;
    let counters = server.peers()[0].counters;
    assert_eq!((counters.dead_letters, counters.failed, counters.left_behind), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_sender_learns_of_a_failure_even_if_the_receiver_restarts_first() {
    let (pair, disk) = (pair(), MemoryDisk::default());
    let network = pair.network.clone();
    let fail = move |message: Message| {
        if !message.is_control() {
            network.freeze(); // no acknowledgement gets through
        }
        std::future::ready(if message.payload() == "bad" { Err("no good") } else { Ok(()) })
    };
    let server = start(&pair, &disk, &pair.server, fail).await;
    let (client, _) = pair.start_client().await;
    let bad = client.send(Message::new("server", "bad")).await.unwrap();
    let good = client.send(Message::new("server", "good")).await.unwrap();
    eventually(async || server.peers()[0].handled == 1).await;
    server.shutdown().await;
    let _server = start(&pair, &disk, &pair.server, nothing).await;
    assert!(matches!(bad.await, Delivered::Rejected(_)));
    assert_eq!(good.await, Delivered::Handled);
}

/// Runs the server until its handler hangs in the message "poison", or until everything is handled.
/// Returns it and whether it hangs.
async fn until_it_hangs(pair: &Pair, disk: &MemoryDisk) -> (Service, bool) {
    let (told, mut hanging) = tokio::sync::mpsc::channel(16);
    let handler = move |message: Message| {
        let told = told.clone();
        async move {
            if message.payload() == "poison" {
                let _ = told.send(()).await;
                std::future::pending::<()>().await;
            }
            Ok::<(), paddington::Error>(())
        }
    };
    let mut config = pair.server.clone();
    config.settings_mut().drain = Duration::from_millis(10);
    let server = start(pair, disk, &config, handler).await;
    let hangs = tokio::time::timeout(Duration::from_secs(30), hanging.recv()).await.is_ok();
    (server, hangs)
}

#[tokio::test(start_paused = true)]
async fn a_message_that_ends_its_process_is_given_up_after_the_crashes_that_are_set() {
    for crashes in [None, Some(1), Some(8)] {
        let (mut pair, disk) = (pair(), MemoryDisk::default());
        if let Some(crashes) = crashes {
            pair.server.settings_mut().crashes = crashes;
        }
        let (client, _) = pair.start_client().await;
        let poison = client.send(Message::new("server", "poison")).await.unwrap();
        let after = client.send(Message::new("server", "after")).await.unwrap();
        let mut lives = 0;
        loop {
            let (server, hangs) = until_it_hangs(&pair, &disk).await;
            drop(disk.open()); // the process is killed: it writes nothing any more
            server.shutdown().await;
            if !hangs {
                break;
            }
            lives += 1;
            assert!(lives < 20, "it is never given up");
        }
        assert!(matches!(poison.await, Delivered::Rejected(_)));
        assert_eq!(after.await, Delivered::Handled);
        assert_eq!(lives, 1 + crashes.unwrap_or(5), "the first delivery is not counted");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_that_end_with_a_shutdown_do_not_count() {
    // The second process is killed while it shuts down, as by a supervisor without patience.
    for killed in [false, true] {
        let (pair, disk) = (pair(), MemoryDisk::default());
        let (client, _) = pair.start_client().await;
        let slow = client.send(Message::new("server", "poison")).await.unwrap();
        for _ in 0..12 {
            let (server, hangs) = until_it_hangs(&pair, &disk).await;
            assert!(hangs, "it was given up");
            let leaving = server.shutdown();
            if killed {
                let kill = async {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    drop(disk.open());
                };
                tokio::join!(leaving, kill);
            } else {
                leaving.await;
            }
        }
        let server = start(&pair, &disk, &pair.server, nothing).await;
        assert_eq!(slow.await, Delivered::Handled);
        assert_eq!(server.peers()[0].counters.dead_letters, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handling_that_stops_and_is_resumed_is_no_crash() {
    let (mut pair, disk) = (pair(), MemoryDisk::default());
    let (client, _) = pair.start_client().await;
    let receipt = client.send(Message::new("server", "poison")).await.unwrap();
    let (server, _) = until_it_hangs(&pair, &disk).await;
    drop(disk.open());
    server.shutdown().await;

    pair.server.settings_mut().on_error = OnError::Stop;
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let ninth_time = move |message: Message| {
        let fails = !message.is_control() && counter.fetch_add(1, Ordering::Relaxed) < 8;
        std::future::ready(if fails { Err("not yet") } else { Ok(()) })
    };
    let server = start(&pair, &disk, &pair.server, ninth_time).await;
    for call in 1..=8 {
        eventually(async || calls.load(Ordering::Relaxed) == call && server.peers()[0].halted)
            .await;
        server.exchange().resume_handling("client").unwrap();
    }
    assert_eq!(receipt.await, Delivered::Handled);
}

/// Time for which the poisonous message of [`one_life`] runs before its process dies.
const POISON_RUNS: Duration = Duration::from_millis(40);

/// Runs the server on a disk that lags until a message "poison" has killed it. No acknowledgement
/// gets through, and what is not written yet is lost. Returns `false` if nothing has killed it.
async fn one_life(pair: &Pair, disk: &MemoryDisk, life: u64, concurrency: usize) -> bool {
    let (told, mut killed) = tokio::sync::mpsc::channel(16);
    let network = pair.network.clone();
    let handler = move |message: Message| {
        let (told, network) = (told.clone(), network.clone());
        async move {
            match message.payload() {
                "poison" => {
                    network.freeze();
                    tokio::time::sleep(POISON_RUNS).await;
                    let _ = told.send(()).await;
                    std::future::pending::<()>().await;
                }
                _ if !message.is_control() => network.freeze(),
                _ => {}
            }
            Ok::<(), paddington::Error>(())
        }
    };
    let millis = Duration::from_millis;
    let lag = Lag { sync: millis(2), lazy: millis(100), clock: || Duration::ZERO };
    let store = disk.open_lagging(lag, Random::new(life));
    let mut config = pair.server.clone();
    config.settings_mut().drain = millis(10);
    let network = pair.network.network();
    let server = Service::start_with(network, Some(store), &config, handler).await.unwrap();
    server.exchange().set_concurrency("client", concurrency).unwrap();
    let killed = tokio::time::timeout(Duration::from_secs(5), killed.recv()).await.is_ok();
    drop(disk.open()); // nothing is written any more
    server.shutdown().await;
    pair.network.cut();
    killed
}

#[tokio::test(start_paused = true)]
async fn innocent_messages_beside_a_poisonous_one_are_not_given_up() {
    for concurrency in [1, 2] {
        let (pair, disk) = (pair(), MemoryDisk::default());
        let (client, _) = pair.start_client().await;
        let send = async |text: &str| client.send(Message::new("server", text)).await.unwrap();
        let mut innocent = Vec::new();
        // With one worker, the innocent ones are handled before it; with two, while it runs.
        let early = if concurrency == 2 { Some(send("poison").await) } else { None };
        for number in 0..24 {
            innocent.push(send(&number.to_string()).await);
        }
        let poison = match early {
            Some(poison) => poison,
            None => send("poison").await,
        };
        let last = send("last").await;
        let mut life = 0;
        while one_life(&pair, &disk, life, concurrency).await {
            life += 1;
            assert!(life <= 7, "the poison is not given up");
        }
        let server = start(&pair, &disk, &pair.server, nothing).await;
        assert!(matches!(poison.await, Delivered::Rejected(_)));
        for receipt in innocent {
            assert_eq!(receipt.await, Delivered::Handled);
        }
        assert_eq!(last.await, Delivered::Handled);
        let letters = server.exchange().store().unwrap().letters().await.unwrap();
        let letters: Vec<_> = letters.iter().map(|(_, letter)| &*letter.payload).collect();
        assert_eq!(letters, [b"poison"], "{concurrency} at a time");
        server.shutdown().await;
        client.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn policies_retry_and_stop() {
    let mut pair = pair();
    let seconds = std::time::Duration::from_secs;
    pair.server.settings_mut().on_error = OnError::Retry { attempts: 3, backoff: seconds(1) };
    let third_time = async |message: Message| match message.attempt() {
        3.. => Ok(()),
        attempt => Err(format!("attempt {attempt} of {}", message.recipient())),
    };
    let server = Service::start_on(pair.network.network(), &pair.server, third_time).await.unwrap();
    let (client, _) = pair.start_client().await;
    let receipt = client.send(Message::new("server", "x")).await.unwrap();
    assert_eq!(receipt.await, Delivered::Handled);
    server.shutdown().await;

    pair.server.settings_mut().on_error = OnError::Stop;
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let second_time = move |message: Message| {
        let first = !message.is_control() && counter.fetch_add(1, Ordering::Relaxed) == 0;
        std::future::ready(if first { Err("not yet") } else { Ok(()) })
    };
    let server =
        Service::start_on(pair.network.network(), &pair.server, second_time).await.unwrap();
    let receipts = [
        client.send(Message::new("server", "1")).await.unwrap(),
        client.send(Message::new("server", "2")).await.unwrap(),
    ];
    eventually(async || server.peers()[0].halted).await;
    assert_eq!(calls.load(Ordering::Relaxed), 1, "nothing after it was handled");
    server.exchange().resume_handling("client").unwrap();
    for receipt in receipts {
        assert_eq!(receipt.await, Delivered::Handled);
    }
}
