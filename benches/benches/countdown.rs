//! Round trips: the echo example's countdown from 10 000 through two whole services, compared with
//! messages of the same sizes over a bare tokio-tungstenite. Loopback, one process, two threads.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{SinkExt, StreamExt};
use paddington::{Encoding, Message, Service, ServiceConfig, send};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::Role;

const COUNT: u64 = 10_000;

/// Two services. The returned channel receives a value at the end of a countdown.
async fn services(encoding: Encoding) -> (Service, Service, mpsc::Receiver<()>) {
    let (told, finished) = mpsc::channel(1);
    let mut server = ServiceConfig::new("server", "ws://localhost:1", "127.0.0.1", &0).unwrap();
    let invite = server.add_client_with("client", "127.0.0.1", encoding).unwrap();
    let server = Service::start(&server, move |message: Message| {
        let told = told.clone();
        async move {
            match message.payload().parse::<u64>() {
                Ok(0) => told.send(()).await.unwrap(),
                Ok(number) => {
                    send(Message::new(message.sender(), (number - 1).to_string())).await?;
                }
                Err(_) => {}
            }
            Ok::<(), paddington::Error>(())
        }
    });
    let server = server.await.unwrap();
    let url = format!("ws://127.0.0.1:{}", server.address().unwrap().port());
    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &0).unwrap();
    client.add_server(invite.at(&url).unwrap()).unwrap();
    let echo = async |message: Message| -> Result<(), paddington::Error> {
        if !message.is_control() {
            send(Message::new(message.sender(), message.payload())).await?;
        }
        Ok(())
    };
    let client = Service::start(&client, echo).await.unwrap();
    (server, client, finished)
}

fn countdown(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("countdown from 10 000");
    group.throughput(Throughput::Elements(COUNT));
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    for (encoding, size) in [(Encoding::Hex, 268), (Encoding::Sealed, 160)] {
        let (server, client, mut finished) = runtime.block_on(services(encoding));
        group.bench_function(format!("paddington {encoding}"), |bench| {
            bench.iter(|| {
                runtime.block_on(async {
                    server.send(Message::new("client", COUNT.to_string())).await.unwrap();
                    finished.recv().await.unwrap();
                });
            });
        });
        drop((server, client));
        bare(&mut group, &runtime, size);
    }
    group.finish();
}

fn bare(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    runtime: &Runtime,
    size: usize,
) {
    let (start, mut started) = mpsc::channel::<()>(1);
    let (told, mut finished) = mpsc::channel(1);
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut socket = websocket(listener.accept().await.unwrap().0, Role::Server).await;
            while let Some(Ok(message)) = socket.next().await {
                socket.send(message).await.unwrap();
            }
        });
        let mut socket = websocket(TcpStream::connect(address).await.unwrap(), Role::Client).await;
        tokio::spawn(async move {
            let frame = Frame::Binary(vec![7; size].into());
            while started.recv().await.is_some() {
                for _ in 0..=COUNT {
                    socket.send(frame.clone()).await.unwrap();
                    socket.next().await.unwrap().unwrap();
                }
                told.send(()).await.unwrap();
            }
        });
    });
    group.bench_function(format!("bare tokio-tungstenite, {size} B"), |bench| {
        bench.iter(|| {
            runtime.block_on(async {
                start.send(()).await.unwrap();
                finished.recv().await.unwrap();
            });
        });
    });
}

async fn websocket(stream: TcpStream, role: Role) -> WebSocketStream<TcpStream> {
    stream.set_nodelay(true).unwrap();
    WebSocketStream::from_raw_socket(stream, role, None).await
}

criterion_group!(benches, countdown);
criterion_main!(benches);
