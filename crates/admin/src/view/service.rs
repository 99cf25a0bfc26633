//! The service as a whole.

use std::time::Duration;

use paddington::store::StoreHealth;
use paddington::{Refusal as Refused, ReplicaStatus};

use super::{count, orphans, peers};
use crate::access::Caller;
use crate::app::App;
use crate::model::{HandlerKind, Refusal, Replica, Service, Status, Store, time};

/// Returns everything about the service. What cannot be read from the store in time is unknown here; readiness
/// tells of a store that fails. Everything else is as it is once the store has answered.
pub(crate) async fn status(app: &App, caller: Caller) -> Status {
    let (orphans, owners) = tokio::join!(orphans(app), app.owners.ask(app.service.exchange()));
    let statuses = app.service.peers();
    Status {
        service: service(app, caller),
        ready: app.ready(&statuses),
        peers: peers(app, statuses, &owners),
        refusals: refusals(app),
        orphans: orphans.ok(),
        events: app.history.list(),
    }
}

fn service(app: &App, caller: Caller) -> Service {
    let config = app.service.config();
    Service {
        name: app.service.name().to_owned(),
        software: concat!("paddington/", env!("CARGO_PKG_VERSION")).to_owned(),
        started: time(app.started),
        uptime_seconds: app.since.elapsed().as_secs_f64(),
        listening: app.service.address().map(|address| address.to_string()),
        url: config.url().to_string(),
        replica: app.service.exchange().replica().as_ref().map(replica),
        store: app.service.exchange().store().map(|it| store(&it.health())),
        handler: if app.inbox.is_some() { HandlerKind::Api } else { HandlerKind::Program },
        changes: caller == Caller::Socket || app.changes,
    }
}

fn replica(status: &ReplicaStatus) -> Replica {
    Replica {
        number: status.number,
        lease_seconds: status.lease.as_secs_f64(),
        database_lease_seconds: match &status.leases[..] {
            [_] => Vec::new(),
            several => several.iter().map(Duration::as_secs_f64).collect(),
        },
        links: count(status.links),
        claimed: status.claimed,
        yielded: status.yielded,
        deposed: status.deposed,
    }
}

fn store(health: &StoreHealth) -> Store {
    Store {
        commits: health.commits,
        messages: health.appended,
        commit_p50_seconds: health.commit_p50.as_secs_f64(),
        commit_p99_seconds: health.commit_p99.as_secs_f64(),
        bloat: health.bloat,
    }
}

/// Returns the last refusals.
pub(crate) fn refusals(app: &App) -> Vec<Refusal> {
    let shown = |refused: Refused| Refusal {
        first: time(refused.at),
        last: time(refused.last),
        address: refused.address.to_string(),
        stage: refused.stage.to_owned(),
        code: refused.code.to_owned(),
        cause: refused.cause.to_owned(),
        remedy: refused.remedy.to_owned(),
        count: refused.count,
    };
    app.service.refusals().into_iter().map(shown).collect()
}
