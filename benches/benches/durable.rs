//! What a service with its outbox in a file accepts in a second, beside the store alone: 256 B, 1 and
//! 64 senders, in alternating rounds. The peer is connected and handles everything.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use paddington::store::{NewMessage, Outbox, Store};
use paddington::{Message, MessageId, PeerName, Service, ServiceConfig};
use paddington_store::SqliteStore;
use tokio::runtime::{Builder, Runtime};

const LEN: usize = 256;

fn main() {
    let thorough = std::env::args().any(|argument| argument == "--bench");
    let (rounds, time) = if thorough { (9, 1_000) } else { (1, 20) };
    let time = Duration::from_millis(time);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("| senders | service, accepted/s | store alone, accepted/s | of it | spread |");
    println!("|--------:|--------------------:|------------------------:|------:|-------:|");
    for senders in [1, 64] {
        let mut pairs = Vec::new();
        for _ in 0..rounds {
            let store = store_rate(&runtime, senders, time);
            pairs.push((service_rate(&runtime, senders, time), store));
        }
        report(senders, pairs);
    }
}

fn report(senders: u64, mut pairs: Vec<(f64, f64)>) {
    let share = |pair: &(f64, f64)| pair.0 / pair.1;
    pairs.sort_by(|a, b| share(a).total_cmp(&share(b)));
    let (service, store) = pairs[pairs.len() / 2];
    let (least, most) = (share(&pairs[0]), share(&pairs[pairs.len() - 1]));
    let median = service / store;
    println!(
        "| {senders:>7} | {service:>19.0} | {store:>23.0} | {median:>5.2} | {least:.2}–{most:.2} |"
    );
}

/// How often per second `senders` tasks in all do `one`, each again and again.
async fn rate<F, R>(senders: u64, time: Duration, one: F) -> f64
where
    F: Fn() -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let count = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let sender = |one: F, count: Arc<AtomicU64>| async move {
        while began.elapsed() < time {
            one().await;
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    let tasks: Vec<_> =
        (0..senders).map(|_| tokio::spawn(sender(one.clone(), Arc::clone(&count)))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

fn store_rate(runtime: &Runtime, senders: u64, time: Duration) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(folder.path().join("store")).unwrap());
    let peer: PeerName = "server".parse().unwrap();
    let next = Arc::new(std::sync::Mutex::new(1));
    let shared = Arc::clone(&store);
    let rate = runtime.block_on(rate(senders, time, move || {
        // numbers are stored in their order
        let mut next = next.lock().unwrap();
        let id = MessageId { stream: [1; 16].into(), number: *next };
        *next += 1;
        let message = NewMessage { id, payload: Bytes::from(vec![b'x'; LEN]), ttl: None };
        let answer = shared.append(&peer, message);
        async move { answer.await.unwrap() }
    }));
    runtime.block_on(store.close()).unwrap();
    rate
}

fn service_rate(runtime: &Runtime, senders: u64, time: Duration) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let (server, client) = services(folder.path()).await;
        let text = "x".repeat(LEN);
        let sender = client.clone();
        let rate = rate(senders, time, move || {
            let (sender, text) = (sender.clone(), text.clone());
            async move {
                // a full outbox means that the receiver is the limit, and that is to be seen
                let message = Message::new("server", text);
                sender.exchange().send_when_ready(message).await.unwrap();
            }
        })
        .await;
        let report = client.shutdown().await;
        assert!(report.store.is_none(), "{report:?}");
        server.shutdown().await;
        rate
    })
}

async fn services(folder: &Path) -> (Service, Service) {
    let handler = async |_: Message| Ok::<(), paddington::Error>(());
    let mut server = ServiceConfig::new("server", "ws://localhost:1", "127.0.0.1", &0).unwrap();
    let invite = server.add_client("client", "127.0.0.1").unwrap();
    let server = Service::start(&server, handler).await.unwrap();
    let url = format!("ws://127.0.0.1:{}", server.address().unwrap().port());
    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &0).unwrap();
    client.add_server(invite.at(&url).unwrap()).unwrap();
    client.set_outbox(folder.join("outbox"));
    let client = Service::start(&client, handler).await.unwrap();
    let receipt = client.send(Message::new("server", "connected")).await.unwrap();
    receipt.await;
    (server, client)
}
