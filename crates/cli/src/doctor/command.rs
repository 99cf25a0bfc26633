//! The command: what is looked at, and in which order.

use paddington_admin::model::Role;

use super::evidence::Evidence;
use super::report::{Check, Finding, PeerReport, Report};
use super::{client_side, local, server_side};
use crate::args::Doctor;
use crate::commands::peers::Entry;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::view;

pub(crate) async fn run(args: &Doctor, output: Output) -> Result<(), Failure> {
    let evidence = Evidence::gather().await;
    let checks = local::checks(&evidence);
    let mut peers = Vec::new();
    for entry in evidence.peers.iter().filter(|it| is_chosen(args, it)) {
        peers.push(examined(entry, &evidence).await);
    }
    if let Some(name) = args.peer.as_deref().filter(|_| peers.is_empty())
        && evidence.knows_peers()
    {
        peers.push(unknown(name, &evidence));
    }
    let report = Report::new(evidence.status.is_some(), checks, peers);
    output.print(&report, Report::text)?;
    if report.is_healthy() { Ok(()) } else { Err(Failure::new(Exit::No, "something is wrong")) }
}

fn is_chosen(args: &Doctor, entry: &Entry) -> bool {
    args.peer.as_ref().is_none_or(|chosen| *chosen == entry.name)
}

async fn examined(entry: &Entry, evidence: &Evidence) -> PeerReport {
    let checks = match entry.role {
        Role::Server => client_side::checks(entry, evidence).await,
        Role::Client => server_side::checks(entry, evidence),
    };
    PeerReport { peer: entry.name.clone(), role: view::role(entry.role), checks }
}

/// A peer that this service does not know, or does not know any more.
fn unknown(name: &str, evidence: &Evidence) -> PeerReport {
    let own = &evidence.own_name();
    if evidence.status.is_none() && evidence.is_replica() {
        let what = "the links of replicas are in their database, whose keys the doctor does not read: ask where a replica runs";
        let checks = vec![Check::unknown("peer", what)];
        return PeerReport { peer: name.to_owned(), role: "unknown", checks };
    }
    let mut checks = vec![Check::failed(
        "peer",
        Finding::new(
            "unknown_peer",
            format!("{name:?} is no peer of {own}: it was never invited or joined, or was removed"),
            format!(
                "`paddington peers` lists them. If it is to be a client: paddington invite {name} \
                 --from RANGE"
            ),
        ),
    )];
    checks.extend(server_side::everything_refused(evidence));
    PeerReport { peer: name.to_owned(), role: "unknown", checks }
}
