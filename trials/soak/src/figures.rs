//! The figures of what strangers, hostile peers, slow lines, restarts and full disks cost those beside
//! them. They depend on the machine and have few bars: the bounds themselves are tests of the crates
//! (`docs/limits.md`).

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, ensure};
use paddington::{Delivered, Handler, Message, PeerStatus, SendError, Service, ServiceConfig};
use paddington_test_support::{FaultyProxy, Random};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::in_real_time;
use crate::services::{Arrivals, client_of, nothing, settle};

/// Number of honest peers, and of hostile ones, which acknowledge nothing.
const PEERS: usize = 8;
/// Number of messages to each honest peer.
const EACH: usize = 2_000;
const SHORT_EACH: usize = 500;
/// The length of a message.
const LEN: usize = 256;
/// The room for all peers together, which the hostile ones fill.
const ROOM: u64 = 16 * 1024 * 1024;
/// Number of strangers at a time, each at an address of its own.
const STRANGERS: usize = 200;
/// Time that a stranger stays, and says nothing.
const STAY: Duration = Duration::from_millis(250);
/// Time after which their connections fill the server's room for them.
const CROWDED: Duration = Duration::from_secs(2);
/// The longest time until a client connects in spite of them.
const CONNECTS: Duration = Duration::from_secs(5);
/// Bytes a second of a slow line.
const LINE: usize = 25_000;
const SHORT_LINE: usize = 200_000;
/// The length of the message that passes it.
const LONG: usize = 1024 * 1024;
/// Number of messages that a restarted sender has in its file.
const BACKLOG: usize = 1_000;
/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(random: Random, short: bool) -> Result<(), Error> {
    in_real_time(hostile(if short { SHORT_EACH } else { EACH }))?;
    in_real_time(flood(random))?;
    in_real_time(slow_line(if short { SHORT_LINE } else { LINE }))?;
    in_real_time(restarted())?;
    in_real_time(full_disk())
}

/// Honest peers beside peers that never acknowledge.
async fn hostile(each: usize) -> Result<(), Error> {
    let alone = rate(each, 0).await?;
    let beside = rate(each, PEERS).await?;
    println!(
        "figures: {PEERS} honest peers get {alone:.0} messages a second alone, and {beside:.0} beside \
         {PEERS} that acknowledge nothing and have filled the room for all"
    );
    Ok(())
}

async fn rate(each: usize, hostile: usize) -> Result<f64, Error> {
    let mut config = ServiceConfig::new("hub", "ws://127.0.0.1:1", "127.0.0.1", &0)?;
    config.settings_mut().outbox_bytes_total = ROOM;
    config.settings_mut().transport.limits.pending_per_address = 4 * PEERS;
    let honest: Vec<_> = (0..PEERS).map(|peer| format!("honest-{peer}")).collect();
    let others: Vec<_> = (0..hostile).map(|peer| format!("hostile-{peer}")).collect();
    let names = || honest.iter().chain(&others);
    let invites = names().map(|name| config.add_client(name, "127.0.0.1"));
    let invites: Vec<_> = invites.collect::<Result<_, _>>()?;
    let hub = Service::start(&config, nothing).await?;
    let arrivals = Arrivals::new(LEN);
    let mut peers = Vec::new();
    for (name, invite) in names().zip(invites) {
        let client = client_of(&hub, name, invite)?;
        peers.push(match name.starts_with("honest") {
            true => Service::start(&client, arrivals.handler()).await?,
            false => Service::start(&client, never_done).await?,
        });
    }
    connected(&hub).await?;
    for name in others.iter().cycle() {
        match hub.send(Message::new(name, "x".repeat(16 * 1024))).await {
            Err(SendError::Full { .. }) => break,
            sent => drop(sent?),
        }
    }
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for name in honest {
        let (hub, arrivals) = (hub.clone(), arrivals.clone());
        senders.spawn(async move {
            for _ in 0..each {
                hub.exchange().send_when_ready(arrivals.message(&name)).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(sent) = timeout(PATIENCE, senders.join_next()).await? {
        sent??;
    }
    while arrivals.count() < PEERS * each {
        ensure!(begun.elapsed() < PATIENCE, "honest peers do not get their messages");
        sleep(Duration::from_millis(1)).await;
    }
    let rate = (PEERS * each) as f64 / begun.elapsed().as_secs_f64();
    peers.iter().chain([&hub]).for_each(|service| service.exchange().ask_to_shut_down_now());
    Ok(rate)
}

/// A handler that holds every message for ever.
async fn never_done(message: Message) -> Result<(), Error> {
    if !message.is_control() {
        std::future::pending::<()>().await;
    }
    Ok(())
}

async fn connected(service: &Service) -> Result<(), Error> {
    let begun = Instant::now();
    while !service.peers().iter().all(PeerStatus::is_connected) {
        ensure!(begun.elapsed() < PATIENCE, "not all peers connect");
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// A client connects while strangers at many addresses do.
async fn flood(mut random: Random) -> Result<(), Error> {
    let mut config = ServiceConfig::new("hub", "ws://127.0.0.1:1", "127.0.0.1", &0)?;
    let invite = config.add_client("client", "127.0.0.0/8")?;
    let hub = Service::start(&config, nothing).await?;
    let config = client_of(&hub, "client", invite)?;
    let mut times = [Duration::ZERO; 2];
    let (address, opened) = (hub.address().context("a hub listens")?, Arc::default());
    let mut strangers = JoinSet::new();
    for (time, crowd) in times.iter_mut().zip([0, STRANGERS]) {
        for _ in 0..crowd {
            strangers.spawn(stranger(address, random.fork(), Arc::clone(&opened)));
        }
        sleep(CROWDED).await;
        let begun = Instant::now();
        let client = Service::start(&config, nothing).await?;
        connected(&hub).await?;
        *time = begun.elapsed();
        client.shutdown().await;
    }
    let opened = opened.load(Ordering::Relaxed);
    println!(
        "figures: a client connects in {:.0?} alone, and in {:.0?} while strangers at {opened} \
         addresses connect (bar: {CONNECTS:?})",
        times[0], times[1]
    );
    ensure!(times[1] <= CONNECTS, "strangers keep the client out");
    Ok(())
}

/// Connects again and again, from one address after another.
async fn stranger(hub: SocketAddr, mut random: Random, opened: Arc<AtomicUsize>) {
    loop {
        let [a, b, c] = [(); 3].map(|()| 1 + random.below(250));
        let Ok(address) = format!("127.{a}.{b}.{c}:0").parse() else { return };
        let Ok(socket) = TcpSocket::new_v4() else { return };
        if socket.bind(address).is_ok() && timeout(STAY, socket.connect(hub)).await.is_ok() {
            opened.fetch_add(1, Ordering::Relaxed);
        }
        sleep(STAY).await;
    }
}

/// A long message over a slow line.
async fn slow_line(line: usize) -> Result<(), Error> {
    let mut config = ServiceConfig::new("hub", "ws://127.0.0.1:1", "127.0.0.1", &0)?;
    let invite = config.add_client("client", "127.0.0.1")?;
    let hub = Service::start(&config, nothing).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &0)?;
    client.add_server(invite.at(&format!("ws://{}", listener.local_addr()?))?)?;
    tokio::spawn(slowly(listener, hub.address().context("a hub listens")?, line));
    let client = Service::start(&client, nothing).await?;
    connected(&hub).await?;
    let begun = Instant::now();
    let receipt = client.send(Message::new("hub", "x".repeat(LONG))).await?;
    match timeout(PATIENCE, receipt).await {
        Ok(delivered) => {
            ensure!(delivered == Delivered::Handled, "the long message is {delivered:?}");
            let took = begun.elapsed();
            println!("figures: {LONG} bytes over a line of {line} bytes a second take {took:.1?}");
        }
        Err(_) => println!("figures: {LONG} bytes do not pass {line} bytes a second"),
    }
    [client, hub].iter().for_each(|service| service.exchange().ask_to_shut_down_now());
    Ok(())
}

async fn slowly(listener: TcpListener, server: SocketAddr, line: usize) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(server).await else { continue };
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        tokio::spawn(pass(from_client, to_server, line));
        tokio::spawn(pass(from_server, to_client, line));
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, line: usize) {
    let mut bytes = vec![0; line / 50];
    while let Ok(len @ 1..) = from.read(&mut bytes).await {
        if to.write_all(&bytes[..len]).await.is_err() {
            return;
        }
        sleep(Duration::from_secs_f64(len as f64 / line as f64)).await;
    }
}

/// A sender that is not reached yet, with its outbox in a file.
struct Backlog {
    proxy: FaultyProxy,
    server: ServiceConfig,
    client: ServiceConfig,
}

impl Backlog {
    async fn store(file: &Path) -> Result<Self, Error> {
        let mut server = ServiceConfig::new("hub", "ws://127.0.0.1:1", "127.0.0.1", &0)?;
        let invite = server.add_client("client", "127.0.0.1")?;
        let proxy = FaultyProxy::start().await;
        let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &0)?;
        client.add_server(invite.at(&format!("ws://{}", proxy.address()))?)?;
        client.set_outbox(file);
        let sender = Service::start(&client, nothing).await?;
        for number in 0..BACKLOG {
            sender.send(Message::new("hub", format!("{number:>LEN$}"))).await?;
        }
        let left = sender.shutdown().await.left_in_store;
        ensure!(left.first().is_some_and(|(_, left)| *left == BACKLOG), "something is lost");
        Ok(Self { proxy, server, client })
    }

    /// Starts the sender again and a receiver. Returns how long that takes, and until everything is
    /// handled.
    async fn deliver(&self, handler: impl Handler) -> Result<[Duration; 2], Error> {
        let begun = Instant::now();
        let sender = Service::start(&self.client, nothing).await?;
        let started = begun.elapsed();
        let server = Service::start(&self.server, handler).await?;
        self.proxy.forward_to(server.address().context("a server listens")?);
        connected(&server).await?;
        settle(&[&sender]).await?;
        let took = begun.elapsed();
        server.shutdown().await;
        sender.shutdown().await;
        Ok([started, took])
    }
}

/// Messages that were never transmitted are delivered after a restart of their sender.
async fn restarted() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let backlog = Backlog::store(&folder.path().join("outbox.sqlite")).await?;
    let marked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&marked);
    let handler = move |message: Message| {
        counted.fetch_add(usize::from(message.redelivered()), Ordering::Relaxed);
        std::future::ready(Ok::<(), Error>(()))
    };
    let [_, took] = backlog.deliver(handler).await?;
    let marked = marked.load(Ordering::Relaxed);
    println!(
        "figures: {BACKLOG} messages that were never transmitted arrive in {took:.1?} after the \
         sender's restart, {marked} of them marked as redelivered (bar: 0)"
    );
    ensure!(marked == 0, "messages that were never transmitted are redelivered");
    Ok(())
}

/// The file of the sender is on a disk that is full when it starts again.
async fn full_disk() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let mount = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).arg(folder.path()).output();
        done.is_ok_and(|output| output.status.success())
    };
    if !mount("mount", &["-t", "tmpfs", "-o", "size=64m", "tmpfs"]) {
        println!("figures: full disk: skipped, a small disk cannot be mounted");
        return Ok(());
    }
    let delivered = async {
        let backlog = Backlog::store(&folder.path().join("outbox.sqlite")).await?;
        let full = fs::write(folder.path().join("filler"), vec![1; 64 * 1024 * 1024]);
        ensure!(full.is_err(), "the disk is not full");
        timeout(PATIENCE, backlog.deliver(nothing)).await?
    };
    let delivered = delivered.await;
    mount("umount", &["--lazy"]);
    let [started, took] = delivered.context("a file on a full disk is of no use")?;
    println!(
        "figures: a file on a full disk opens in {started:.1?}; {BACKLOG} messages are delivered \
         {took:.1?} after the start"
    );
    Ok(())
}
