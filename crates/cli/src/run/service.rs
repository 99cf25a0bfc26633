//! The service in the foreground: how it starts, who gets its messages, how it ends.

use paddington::{Service, ServiceConfig, ShutdownReport, Signals};
use paddington_admin::{Admin, Inbox};
use sd_notify::NotifyState;
use tracing::{info, warn};

use super::activation;
use super::exec::Exec;
use super::logs;
use super::program::Calls;
use super::reload::{self, on_hangup};
use super::supervisor;
use super::webhook::Webhook;
use crate::args::Run;
use crate::failure::{Exit, Failure};
use crate::folder::Operation;
use crate::layers::{self, Overrides};

/// The receiver of the messages.
enum Receiver {
    Exec(Exec),
    Webhook(Webhook),
    /// Programs that ask for them through the local API.
    Consumers(Inbox),
}

pub(crate) async fn run(args: &Run) -> Result<(), Failure> {
    logs::start(args.log);
    let overrides = Overrides::new(&args.settings.set);
    let (mut config, operation) = layers::load(&overrides)?;
    let receiver = receiver(args, &operation, &config)?;
    if matches!(receiver, Receiver::Consumers(_)) {
        Inbox::adapt(config.settings_mut());
    }
    // Before the service starts, so that of two runs in one folder the second one stops here.
    let consumers = matches!(receiver, Receiver::Consumers(_));
    let mut settings = operation.admin()?;
    let reload = reload::reload(operation, overrides, consumers);
    settings.reload = Some(reload.clone());
    let admin = Admin::bind(settings).await;
    let admin = admin.map_err(|error| Failure::of(Exit::Files, &error))?;
    let network = activation::network().map_err(|error| {
        Failure::new(Exit::Files, format!("a socket that the supervisor has opened: {error}"))
    })?;
    let signals = Signals::take();
    let (service, inbox) = match receiver {
        Receiver::Exec(exec) => (Service::start_on(network, &config, Calls(exec)).await?, None),
        Receiver::Webhook(webhook) => {
            (Service::start_on(network, &config, Calls(webhook)).await?, None)
        }
        Receiver::Consumers(inbox) => {
            (Service::start_on(network, &config, inbox.handler()).await?, Some(inbox))
        }
    };
    let serving = admin.serve(service.clone(), inbox);
    ready(&service);
    let hangups = tokio::spawn(on_hangup(reload, service.clone()));
    let alive = tokio::spawn(supervisor::keep_alive());
    let report = signals.run(&service).await;
    serving.end().await;
    alive.abort();
    hangups.abort();
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
        (Some(line), _) => Receiver::Exec(
            Exec::shell(line, config.name(), longest).without_secret(config.at_rest()),
        ),
        (None, Some(url)) => Receiver::Webhook(Webhook::new(url, longest)?),
        (None, None) if !exec.is_empty() => Receiver::Exec(
            Exec::command(exec, config.name(), longest)?.without_secret(config.at_rest()),
        ),
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
    supervisor::tell(NotifyState::Ready);
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
