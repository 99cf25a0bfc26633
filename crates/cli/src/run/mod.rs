//! `paddington run`: the service in the foreground, which hands messages to programs.

mod exec;
mod logs;
mod webhook;

use std::path::{Path, PathBuf};
use std::{env, fs};

use bytes::Bytes;
use paddington::{
    Handler, HandlerError, Message, ReplyError, Service, ServiceConfig, ShutdownReport, Signals,
};
use paddington_admin::{Admin, Inbox};
use tracing::{info, warn};

pub(crate) use webhook::url as webhook_url;

use crate::args::Run;
use crate::failure::{Exit, Failure};
use crate::folder::{self, Operation};
use exec::Exec;
use webhook::Webhook;

/// Who gets the messages.
enum Receiver {
    Exec(Exec),
    Webhook(Webhook),
    /// Programs that ask for them through the local API.
    Consumers(Inbox),
}

/// The handler of a program that is called for each message.
struct Calls<P>(P);

/// A program that is called for each message.
trait Program: Send + Sync + 'static {
    /// Hands it a message, and returns what it answers.
    fn call(&self, message: &Message) -> impl Future<Output = Result<Bytes, HandlerError>> + Send;
}

impl<P: Program> Handler for Calls<P> {
    async fn handle(&self, message: Message) -> Result<(), HandlerError> {
        if message.is_control() {
            return Ok(());
        }
        let answer = self.0.call(&message).await?;
        if message.is_request() {
            reply(&message, answer)?;
        }
        Ok(())
    }

    fn takes_bytes(&self) -> bool {
        true
    }
}

/// Replies with text where the answer is text.
fn reply(request: &Message, answer: Bytes) -> Result<(), ReplyError> {
    match String::from_utf8(answer.into()) {
        Ok(text) => request.reply(text),
        Err(error) => request.reply_bytes(error.into_bytes()),
    }
}

pub(crate) async fn run(args: &Run) -> Result<(), Failure> {
    logs::start(args.log);
    let mut config = folder::load()?;
    let operation = folder::operation()?;
    let receiver = receiver(args, &operation, &config)?;
    if matches!(receiver, Receiver::Consumers(_)) {
        Inbox::adapt(config.settings_mut());
    }
    // Before the service starts, so that of two runs in one folder the second one stops here.
    let admin = Admin::bind(operation.admin()?).await;
    let admin = admin.map_err(|error| Failure::of(Exit::Files, &error))?;
    let signals = Signals::take();
    let (service, inbox) = match receiver {
        Receiver::Exec(exec) => (Service::start(&config, Calls(exec)).await?, None),
        Receiver::Webhook(webhook) => (Service::start(&config, Calls(webhook)).await?, None),
        Receiver::Consumers(inbox) => {
            (Service::start(&config, inbox.handler()).await?, Some(inbox))
        }
    };
    let serving = admin.serve(service.clone(), inbox);
    ready(&service);
    let report = signals.run(&service).await;
    serving.end().await;
    tell(&report)
}

fn receiver(
    args: &Run,
    operation: &Operation,
    config: &ServiceConfig,
) -> Result<Receiver, Failure> {
    let longest = config.settings().transport.limits.max_payload as usize;
    let (exec, webhook) = (&operation.handler.exec, operation.handler.webhook.as_deref());
    let receiver = match (&args.exec, &args.webhook) {
        (Some(line), _) => Receiver::Exec(Exec::shell(line, config.name(), longest)),
        (None, Some(url)) => Receiver::Webhook(Webhook::new(url, longest)?),
        (None, None) if !exec.is_empty() => {
            Receiver::Exec(Exec::command(exec, config.name(), longest)?)
        }
        (None, None) => match webhook {
            Some(url) => Receiver::Webhook(Webhook::new(url, longest)?),
            None => Receiver::Consumers(Inbox::new()),
        },
    };
    Ok(receiver)
}

/// Tells the person and the supervisor that the service runs.
fn ready(service: &Service) {
    match service.address() {
        Some(address) => info!(service = service.name(), %address, "ready"),
        None => info!(service = service.name(), "ready, not listening"),
    }
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!("the supervisor could not be told: {error}");
    }
}

/// Tells what the shutdown has left undone.
fn tell(report: &ShutdownReport) -> Result<(), Failure> {
    for (peer, messages) in &report.left_in_store {
        info!(%peer, messages, "messages wait in the outbox for the next start");
    }
    if report.is_clean() {
        info!("ended: nothing was lost or left undone");
        return Ok(());
    }
    for (peer, messages) in &report.unsent {
        warn!(%peer, messages, "messages were not delivered, and are lost");
    }
    for peer in &report.unfinished {
        warn!(%peer, "a message was still being handled");
    }
    if let Some(cause) = &report.store {
        warn!(cause, "the outbox could not be closed properly");
    }
    Err(Failure::new(Exit::No, "not everything was done when the service ended: see the log"))
}

/// Returns the file of a program, as a shell would find it.
pub(crate) fn find_program(command: &str) -> Option<PathBuf> {
    if command.contains('/') {
        return Some(PathBuf::from(command)).filter(|path| is_executable(path));
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(command)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    #[cfg(unix)]
    let runs = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o111 != 0;
    #[cfg(not(unix))]
    let runs = true;
    metadata.is_file() && runs
}
