//! One of the replicas, in a process of its own: it writes down what it handles, and sends numbers to all peers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Error;
use paddington::{Handler, Message, SendError, Service, ServiceConfig};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::child::{LISTENING, Parent, QUIET, SETTLED};
use crate::journal::Journal;

/// Time between two messages to one peer.
const PACE: Duration = Duration::from_millis(40);

/// Runs until the parent says so.
pub(crate) async fn run(
    config: &ServiceConfig,
    folder: &Path,
    instance: u64,
    parent: Parent,
) -> Result<(), Error> {
    let log = Arc::new(Journal::shared(folder)?);
    let service = Service::start(config, handler(Arc::clone(&log), instance)).await?;
    if let Some(address) = service.address() {
        println!("{LISTENING}{address}");
    }
    let mut senders = JoinSet::new();
    for peer in config.peers() {
        let sender = Sender {
            service: service.clone(),
            log: Arc::clone(&log),
            instance,
            peer: peer.to_owned(),
            quiet: folder.join(QUIET),
        };
        senders.spawn(sender.run());
    }
    tokio::select! {
        Some(ended) = senders.join_next() => ended?,
        finish = parent.says_finish() => {
            senders.shutdown().await;
            if finish {
                service.shutdown().await;
                println!("{SETTLED}");
            }
            Ok(())
        }
    }
}

/// A handler that writes down when each call begins and ends.
fn handler(log: Arc<Journal>, instance: u64) -> impl Handler {
    move |message: Message| {
        let log = Arc::clone(&log);
        async move {
            if message.is_control() {
                return Ok::<(), Error>(());
            }
            let call = format!("{instance} {} {}", message.sender(), message.payload());
            log.append(&format!("handles {call} {}", message.redelivered()))?;
            let _running = Running { log, call };
            sleep(time(message.payload().parse()?)).await;
            Ok(())
        }
    }
}

/// How long the handler takes for a message: mostly less than an acknowledgement waits, and now and then longer
/// than a hand-over takes.
fn time(number: u64) -> Duration {
    Duration::from_millis(if number.is_multiple_of(16) { 60 } else { 2 + number % 7 })
}

/// A call that runs. However it ends, that is written down, unless the process ends first.
struct Running {
    log: Arc<Journal>,
    call: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // A call whose end is not written down is taken for one that goes on, and that is noticed.
        let _ = self.log.append(&format!("done {}", self.call));
    }
}

/// What sends numbers to one peer.
struct Sender {
    service: Service,
    log: Arc<Journal>,
    instance: u64,
    peer: String,
    /// The file whose presence makes it send nothing new.
    quiet: PathBuf,
}

impl Sender {
    async fn run(self) -> Result<(), Error> {
        let Self { service, log, instance, peer, quiet } = self;
        let mut number = 0_u64;
        loop {
            sleep(PACE).await;
            if quiet.exists() {
                continue;
            }
            number += 1;
            let what = format!("{instance} {peer} {number}");
            log.append(&format!("begun {what}"))?;
            let message = Message::new(peer.as_str(), format!("{instance} {number}"));
            let word = match service.send(message).await {
                Ok(_) => "accepted",
                Err(SendError::StorageUnsure(_)) => "unsure",
                Err(_) => "refused",
            };
            log.append(&format!("{word} {what}"))?;
        }
    }
}
