//! The configuration, read again while the service runs: on SIGHUP and for `paddington reload`. Links follow
//! it at once; what takes effect with the next start only is named.

use std::sync::Arc;

use paddington::{Changes, Service, Waiting, with_causes};
use paddington_admin::model::{RefusedChange, Reloaded};
use paddington_admin::{Inbox, Reload};
use tracing::{error, info, warn};

use crate::folder::Operation;
use crate::layers::{self, Overrides};

/// Returns what reads the configuration again. `started` are the tables of the command with which the
/// service was started, and `overrides` what its command line has set; with `consumers`, messages go to
/// consumers of the local API.
pub(super) fn reload(started: Operation, overrides: Overrides, consumers: bool) -> Reload {
    let started = Arc::new((started, overrides));
    Reload::new(move |service| {
        let started = Arc::clone(&started);
        async move { apply(&service, &started.0, started.1.clone(), consumers).await }
    })
}

async fn apply(
    service: &Service,
    started: &Operation,
    overrides: Overrides,
    consumers: bool,
) -> Result<Reloaded, String> {
    let read = tokio::task::spawn_blocking(move || layers::load(&overrides)).await;
    let read = read.map_err(|error| error.to_string())?;
    let (mut config, operation) = read.map_err(|failure| failure.to_string())?;
    if consumers {
        Inbox::adapt(config.settings_mut());
    }
    let changes = service.apply(&config, Waiting::Refuse).await;
    let changes = changes.map_err(|error| with_causes(&error))?;
    let reloaded = told(changes, started.differences(&operation));
    log(&reloaded);
    Ok(reloaded)
}

fn told(changes: Changes, own: Vec<&'static str>) -> Reloaded {
    let Changes { added, removed, changed, refused, restart, .. } = changes;
    let refused = refused
        .into_iter()
        .map(|(peer, error)| RefusedChange { peer, reason: with_causes(&error) })
        .collect();
    let restart = restart.into_iter().chain(own.into_iter().map(str::to_owned)).collect();
    Reloaded { added, removed, changed, refused, restart }
}

fn log(reloaded: &Reloaded) {
    let Reloaded { added, removed, changed, refused, restart } = reloaded;
    info!(?added, ?removed, ?changed, "the configuration was read again");
    for RefusedChange { peer, reason } in refused {
        warn!(peer, reason, "a link is as before: its change was refused");
    }
    if !restart.is_empty() {
        warn!(fields = ?restart, "these fields take effect with the next start only");
    }
}

/// Reads the configuration again each time that the process is sent SIGHUP. If it was started on a
/// terminal, SIGHUP means that the terminal is gone, and ends the process as ever.
#[cfg(unix)]
pub(super) async fn on_hangup(reload: Reload, service: Service) {
    use std::io::IsTerminal;

    use tokio::signal::unix::{SignalKind, signal};

    if std::io::stderr().is_terminal() || std::io::stdin().is_terminal() {
        return;
    }
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return warn!(%error, "SIGHUP cannot be taken; use `paddington reload`"),
    };
    while hangups.recv().await.is_some() {
        if let Err(cause) = reload.apply(&service).await {
            error!(cause, "the configuration cannot be used; everything is as before");
        }
    }
}

#[cfg(not(unix))]
pub(super) async fn on_hangup(_: Reload, _: Service) {}
