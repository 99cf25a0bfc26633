//! One service in a process of its own, which can be stopped and killed: this program, started by
//! itself.

use std::fs::File;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, anyhow};
use clap::ValueEnum;
use paddington::{Event, Handler, Message, Service, ServiceConfig};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::journal::Journal;
use crate::replicas;

/// The arguments of a child.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    role: Role,
    /// The folder of its configuration and its journal.
    #[arg(long)]
    folder: PathBuf,
    /// The instance of the service, for its journal.
    #[arg(long)]
    instance: u64,
}

/// The role of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Sends number after number to `receiver`.
    Sender,
    /// Sends numbers to `receiver`, each with spaces up to the greatest length, and only few at a
    /// time.
    LongSender,
    /// Writes down what it handles.
    Receiver,
    /// Connects like `sender`, and sends nothing.
    Silent,
    /// Sends numbers to `sensor`, writes down what it handles, and renews its keys at every chance.
    Hub,
    /// As [`Role::Hub`], the other way.
    Sensor,
    /// Is one of several replicas: sends numbers to all its peers, and writes down all that happens.
    Replica,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::LongSender => "long-sender",
            Self::Receiver => "receiver",
            Self::Silent => "silent",
            Self::Hub => "hub",
            Self::Sensor => "sensor",
            Self::Replica => "replica",
        }
    }

    pub(crate) fn config(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::Receiver => "receiver.toml",
            Self::Sender | Self::LongSender | Self::Silent => "sender.toml",
            Self::Hub | Self::Replica => "hub.toml",
            Self::Sensor => "sensor.toml",
        })
    }
}

/// The folder, in that of a hub and a sensor, with the journals of what the sensor sends.
pub(crate) const UP: &str = "up";
/// The folder with the journals of what the hub sends.
pub(crate) const DOWN: &str = "down";
/// The file whose presence makes a hub, a sensor and replicas send nothing new.
pub(crate) const QUIET: &str = "quiet";
/// The file whose presence says that all that a hub and a sensor have sent is handled.
pub(crate) const HANDLED: &str = "handled";
/// The line by which a parent makes its child end in order.
pub(crate) const FINISH: &str = "finish";
/// The start of a child's line with its address, once it listens.
pub(crate) const LISTENING: &str = "listening ";
/// The line of a child at its orderly end, if every message is accounted for and none waits.
pub(crate) const SETTLED: &str = "settled";
/// The message that ends the process of its receiver.
pub(crate) const DEADLY: &str = "deadly";

/// The longest wait for messages under way at an orderly end.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time between two messages.
const PACE: Duration = Duration::from_millis(1);
/// Time between two messages of a hub or a sensor, and between two looks at its keys.
const SLOW_PACE: Duration = Duration::from_millis(10);
/// The most messages that wait. The time until a link goes on is measured by a message that is sent
/// then, and the receiver syncs its disk for each message before it.
const MOST_WAITING: usize = 200;
/// The length of a message of [`Role::LongSender`], the default `max_payload`.
const LONG: usize = 1024 * 1024;

pub(crate) async fn run(arguments: Arguments) -> Result<(), Error> {
    let Arguments { role, folder, instance } = arguments;
    let config = ServiceConfig::load(role.config(&folder))?;
    let parent = Parent::listen();
    match role {
        Role::Receiver => receive(&config, Journal::handled(&folder)?, instance, parent).await,
        Role::Sender => send(&config, Journal::sent(&folder)?, parent, 0, MOST_WAITING).await,
        Role::LongSender => send(&config, Journal::sent(&folder)?, parent, LONG, 2).await,
        Role::Silent => {
            let service = Service::start(&config, nothing).await?;
            parent.says_finish().await;
            service.shutdown().await;
            Ok(())
        }
        Role::Hub => converse(&config, &folder, instance, parent, [DOWN, UP], "sensor").await,
        Role::Sensor => converse(&config, &folder, instance, parent, [UP, DOWN], "hub").await,
        Role::Replica => replicas::replica(&config, &folder, instance, parent).await,
    }
}

async fn nothing(_: Message) -> Result<(), Error> {
    Ok(())
}

/// The process that has started this one, at the other end of its input.
pub(crate) struct Parent {
    word: oneshot::Receiver<String>,
}

impl Parent {
    fn listen() -> Self {
        let (heard, word) = oneshot::channel();
        // On a thread that nothing waits for.
        std::thread::spawn(move || {
            let mut line = String::new();
            // An input that fails has ended, and the end is an empty line.
            let _ = std::io::stdin().read_line(&mut line);
            // The service may have failed already.
            let _ = heard.send(line);
        });
        Self { word }
    }

    /// Waits for the parent's line, or its end.
    pub(crate) async fn says_finish(self) -> bool {
        self.word.await.is_ok_and(|word| word.trim_end() == FINISH)
    }
}

async fn receive(
    config: &ServiceConfig,
    journal: Journal,
    instance: u64,
    parent: Parent,
) -> Result<(), Error> {
    let service = Service::start(config, writes_down(journal, instance)).await?;
    if let Some(address) = service.address() {
        println!("{LISTENING}{address}");
    }
    if parent.says_finish().await {
        settle(&service).await;
    }
    Ok(())
}

/// A handler that writes down each message before it returns.
fn writes_down(journal: Journal, instance: u64) -> impl Handler {
    let journal = Arc::new(journal);
    move |message: Message| {
        let journal = Arc::clone(&journal);
        async move {
            let Some(id) = message.id() else { return Ok(()) };
            if message.payload() == DEADLY {
                std::process::abort();
            }
            let again = message.redelivered();
            let number = message.payload().trim_end();
            let line = format!("{instance} {} {} {again} {number}", id.stream, id.number);
            spawn_blocking(move || journal.append_synced(&line)).await?
        }
    }
}

/// Sends to and handles from a peer whose keys change all the time.
async fn converse(
    config: &ServiceConfig,
    folder: &Path,
    instance: u64,
    parent: Parent,
    [out, back]: [&str; 2],
    peer: &str,
) -> Result<(), Error> {
    let handled = Journal::handled(&folder.join(back))?;
    let sent = Journal::sent(&folder.join(out))?;
    let keys = Journal::keys(&folder.join(out))?;
    let quiet = folder.join(QUIET);
    let service = Service::start(config, writes_down(handled, instance)).await?;
    if let Some(address) = service.address() {
        println!("{LISTENING}{address}");
    }
    tokio::select! {
        failed = send_numbers(&service, &sent, peer, &quiet) => failed,
        failed = write_alarms(&service, &keys) => failed,
        failed = renew_keys(&service, &keys, peer) => failed,
        failed = say_empty(&service, folder, out) => failed,
        finish = parent.says_finish() => {
            if finish {
                settle(&service).await;
            }
            Ok(())
        }
    }
}

/// Says that the peer has acknowledged everything, once all that is ever sent is handled.
async fn say_empty(service: &Service, folder: &Path, out: &str) -> Result<(), Error> {
    let handled = folder.join(HANDLED);
    while !handled.exists() || waiting(service) > 0 {
        sleep(SLOW_PACE).await;
    }
    File::create(empty(folder, out))?;
    pending().await
}

/// The file that says that a side has nothing left to send.
pub(crate) fn empty(folder: &Path, out: &str) -> PathBuf {
    folder.join(format!("{out}-empty"))
}

/// Sends number after number while there is no file at `quiet`.
async fn send_numbers(
    service: &Service,
    journal: &Journal,
    peer: &str,
    quiet: &Path,
) -> Result<(), Error> {
    let mut numbers = journal.begun()?;
    loop {
        sleep(SLOW_PACE).await;
        if waiting(service) >= MOST_WAITING || quiet.exists() {
            continue;
        }
        journal.append(&format!("begun {numbers}"))?;
        let message = Message::new(peer, numbers.to_string());
        let receipt = service.exchange().send_when_ready(message).await?;
        let id = receipt.id().ok_or_else(|| anyhow!("a message without a number"))?;
        journal.append(&format!("accepted {numbers} {} {}", id.stream, id.number))?;
        numbers += 1;
    }
}

/// Writes down each alarm about keys that were burned.
async fn write_alarms(service: &Service, journal: &Journal) -> Result<(), Error> {
    let mut events = service.exchange().events();
    loop {
        if let Event::BurnedKeys { generation, .. } = events.recv().await? {
            journal.append(&format!("alarm {generation}"))?;
        }
    }
}

/// Asks for new keys again and again, and writes down which generation is the newest.
async fn renew_keys(service: &Service, journal: &Journal, peer: &str) -> Result<(), Error> {
    let mut newest = None;
    loop {
        // Without a session, and where they were renewed already, there is nothing to do.
        let _ = service.renew_keys(peer).await;
        let ring = service.exchange().keys(peer);
        let number = ring.and_then(|ring| Some(ring.generations().last()?.number()));
        if let Some(number) = number.filter(|_| number != newest) {
            journal.append(&format!("generation {number}"))?;
            newest = Some(number);
        }
        sleep(SLOW_PACE).await;
    }
}

async fn send(
    config: &ServiceConfig,
    journal: Journal,
    parent: Parent,
    length: usize,
    most_waiting: usize,
) -> Result<(), Error> {
    let service = Service::start(config, nothing).await?;
    let mut numbers = journal.begun()?;
    let sending = async {
        loop {
            journal.append(&format!("begun {numbers}"))?;
            let message = Message::new("receiver", padded(numbers, length));
            let receipt = service.exchange().send_when_ready(message).await?;
            let id = receipt.id().ok_or_else(|| anyhow!("a message without a number"))?;
            journal.append(&format!("accepted {numbers} {} {}", id.stream, id.number))?;
            numbers += 1;
            sleep(PACE).await;
            while waiting(&service) >= most_waiting {
                sleep(PACE).await;
            }
        }
    };
    tokio::select! {
        failed = sending => failed,
        finish = parent.says_finish() => {
            if finish {
                settle(&service).await;
            }
            Ok(())
        }
    }
}

/// The number, with spaces up to the length.
fn padded(number: u64, length: usize) -> String {
    let mut text = number.to_string();
    text.extend(std::iter::repeat_n(' ', length.saturating_sub(text.len())));
    text
}

fn waiting(service: &Service) -> usize {
    service.peers().iter().map(|peer| peer.outbox_messages).sum()
}

/// Shuts down once everything is acknowledged, and tells the parent whether all is well.
async fn settle(service: &Service) {
    let delivered = async {
        while waiting(service) > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let delivered = timeout(PATIENCE, delivered).await.is_ok();
    let conserved = service.peers().iter().all(paddington::PeerStatus::is_conserved);
    let clean = service.shutdown().await.is_clean();
    if delivered && conserved && clean {
        println!("{SETTLED}");
    } else {
        println!("delivered: {delivered}, conserved: {conserved}, clean: {clean}");
    }
}
