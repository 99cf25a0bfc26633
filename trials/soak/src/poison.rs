//! Messages that cannot be handled (`docs/delivery.md` §4): each costs itself and nothing else, and
//! is kept as a dead letter.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Error, bail, ensure};
use paddington::{Delivered, Message, Receipt, Service};
use paddington_test_support::{FaultyProxy, quick};
use tokio::time::timeout;

use crate::child::{DEADLY, Role};
use crate::fleet::{Depot, Process};
use crate::in_real_time;

/// How often a process may have to be started again until its deadly message is given up.
const RESTARTS: usize = 5;
/// What follows a bad message.
const AFTER: usize = 100;
/// How long a handler may take here.
const HANDLER: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run() -> Result<(), Error> {
    for poison in ["error", "panic", "hang", "block"] {
        in_real_time(trial(poison))?;
    }
    in_real_time(deadly())
}

/// Handlers that fail in a certain way, and the thread that one of them blocks.
struct Failing {
    handled: AtomicUsize,
    forever: std::sync::Mutex<mpsc::Receiver<()>>,
}

impl Failing {
    async fn handle(&self, message: &Message) -> Result<(), Error> {
        match message.payload() {
            _ if message.is_control() => Ok(()),
            "error" => bail!("it cannot be handled"),
            "panic" => {
                let nothing: [u8; 0] = [];
                ensure!(nothing[std::hint::black_box(0)] > 0, "an index beyond the end panics");
                Ok(())
            }
            "hang" => std::future::pending().await,
            "block" => {
                // Until the trial is over.
                let forever =
                    self.forever.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let _ = forever.recv();
                Ok(())
            }
            _ => {
                self.handled.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

async fn trial(poison: &'static str) -> Result<(), Error> {
    let proxy = FaultyProxy::start().await;
    let depot = Depot::new(&format!("ws://{}", proxy.address()), "127.0.0.1", 0, "127.0.0.1")?;
    let (release, forever) = mpsc::channel();
    let failing =
        Arc::new(Failing { handled: AtomicUsize::new(0), forever: std::sync::Mutex::new(forever) });
    let (mut server, handler) = (depot.server().clone(), Arc::clone(&failing));
    server.settings_mut().handler_timeout = HANDLER;
    let server = Service::start(&server, move |message: Message| {
        let handler = Arc::clone(&handler);
        async move { handler.handle(&message).await }
    });
    let server = server.await?;
    server.address().into_iter().for_each(|address| proxy.forward_to(address));
    let client = Service::start(depot.client(), async |_| Ok::<(), Error>(())).await?;
    let begun = Instant::now();
    let bad = client.send(Message::new("receiver", poison)).await?;
    let last = send_more(&client).await?;
    ensure!(timeout(PATIENCE, last).await? == Delivered::Handled, "what follows is not handled");
    ensure!(matches!(timeout(PATIENCE, bad).await?, Delivered::Rejected(_)), "no rejection");
    let handled = failing.handled.load(Ordering::Relaxed);
    let letters = letters(&server).await?;
    println!(
        "poison: {poison}: {handled} of {AFTER} messages after it handled in {:.1?}, {letters} dead \
         letters (bar: 1)",
        begun.elapsed()
    );
    ensure!((handled, letters) == (AFTER, 1), "{handled} handled, {letters} dead letters");
    conserved(&client)?;
    drop(release);
    client.shutdown().await;
    server.shutdown().await;
    Ok(())
}

/// Sends what follows, and returns the last receipt.
async fn send_more(client: &Service) -> Result<Receipt, Error> {
    for number in 1..AFTER {
        client.send(Message::new("receiver", number.to_string())).await?;
    }
    Ok(client.send(Message::new("receiver", AFTER.to_string())).await?)
}

async fn letters(server: &Service) -> Result<usize, Error> {
    match server.exchange().store() {
        Some(store) => Ok(store.letters().await?.len()),
        None => bail!("there is no store"),
    }
}

fn conserved(client: &Service) -> Result<(), Error> {
    let peers = client.peers();
    ensure!(
        peers.iter().all(paddington::PeerStatus::is_conserved),
        "a message is not accounted for"
    );
    Ok(())
}

/// A message that ends the process of its receiver, which is started again each time.
async fn deadly() -> Result<(), Error> {
    let proxy = FaultyProxy::start().await;
    let depot = Depot::new(&format!("ws://{}", proxy.address()), "127.0.0.1", 0, "127.0.0.1")?;
    let mut client = depot.client().clone();
    quick(&mut client);
    let client = Service::start(&client, async |_| Ok::<(), Error>(())).await?;
    let bad = client.send(Message::new("receiver", DEADLY)).await?;
    let last = send_more(&client).await?.into_future();
    tokio::pin!(last);
    let begun = Instant::now();
    let mut lives = 0;
    let mut receiver = loop {
        lives += 1;
        ensure!(begun.elapsed() < PATIENCE, "it is not given up after {lives} lives");
        let mut receiver = Process::start(Role::Receiver, depot.path(), lives, None)?;
        proxy.forward_to(receiver.address().await?);
        tokio::select! {
            delivered = &mut last => {
                ensure!(delivered == Delivered::Handled, "what follows is not handled");
                break receiver;
            }
            ended = receiver.ends_within(PATIENCE) => ensure!(ended?, "nothing happens"),
        }
    };
    ensure!(matches!(timeout(PATIENCE, bad).await?, Delivered::Rejected(_)), "no rejection");
    receiver.finish().await?;
    let restarts = lives - 1;
    let server = Service::start(depot.server(), async |_| Ok::<(), Error>(())).await?;
    let letters = letters(&server).await?;
    println!(
        "poison: a message that ends the process: {restarts} restarts (bar: {RESTARTS}) in {:.1?}, \
         {letters} dead letters (bar: 1)",
        begun.elapsed()
    );
    conserved(&client)?;
    ensure!(letters == 1, "{letters} dead letters");
    ensure!(restarts <= RESTARTS as u64, "{restarts} restarts were needed");
    client.shutdown().await;
    server.shutdown().await;
    Ok(())
}
