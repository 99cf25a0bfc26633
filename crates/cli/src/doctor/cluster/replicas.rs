//! The replicas that live, and who owns the links.

use std::collections::BTreeSet;

use paddington::database_report::{DatabaseReport, ReplicaState, SchemaState, StoreState};

use super::super::evidence::Evidence;
use super::super::report::Check;
use super::checks::Subject;
use crate::view::seconds;

/// Number of links that are named.
const NAMED: usize = 5;

pub(super) fn checks(store: &StoreState, subject: &Subject<'_>) -> Vec<Check> {
    let mut living: Vec<_> = store.replicas.iter().filter(|replica| replica.lives()).collect();
    living.sort_by_key(|replica| replica.number);
    let mut checks = vec![present(&living, subject)];
    checks.extend(versions(&living, subject));
    checks.extend(leases(&living, subject));
    checks.push(links(store, &living, subject));
    checks
}

fn present(living: &[&ReplicaState], subject: &Subject<'_>) -> Check {
    let described = living.iter().map(|replica| {
        let here = if subject.own == Some(replica.number) { ", here" } else { "" };
        let beat = seconds(replica.beat.as_secs_f64());
        format!("{} ({}, beat {beat} ago{here})", replica.number, replica.version)
    });
    let described: Vec<_> = described.collect();
    let text = match &described[..] {
        [] => "none lives".to_owned(),
        some => format!("{} live: {}", some.len(), some.join(", ")),
    };
    subject.passed("replicas", &text)
}

fn versions(living: &[&ReplicaState], subject: &Subject<'_>) -> Option<Check> {
    let versions: BTreeSet<_> = living.iter().map(|replica| replica.version.as_str()).collect();
    (versions.len() > 1).then(|| {
        let named = versions.into_iter().collect::<Vec<_>>().join(" and ");
        let text = format!("the replicas have different versions: {named}");
        let remedy = "During a rolling update this is as it should be; else update those that were left out.";
        subject.warning("replicas", "versions_differ", &text, remedy)
    })
}

fn leases(living: &[&ReplicaState], subject: &Subject<'_>) -> Option<Check> {
    let own = subject.cluster.lease();
    let other = living.iter().find(|replica| replica.lease != own)?;
    let text = format!(
        "the lease of replica {} is {}, and here it is {}",
        other.number,
        seconds(other.lease.as_secs_f64()),
        seconds(own.as_secs_f64())
    );
    let remedy = "Write the same lease into [cluster] of every replica, and start those anew that have another one.";
    Some(subject.warning("replicas", "leases_differ", &text, remedy))
}

fn links(store: &StoreState, living: &[&ReplicaState], subject: &Subject<'_>) -> Check {
    let waiting = match store.waiting {
        0 => "no message waits".to_owned(),
        1 => "1 message waits".to_owned(),
        many => format!("{many} messages wait"),
    };
    let counts = format!("{} in the database, and {waiting}", store.links);
    if store.of_dead == 0 || living.is_empty() {
        return subject.passed("links", &counts);
    }
    let is_dead = |(_, owner): &&(String, u32)| !living.iter().any(|it| it.number == *owner);
    let dead = store.owners.iter().take_while(is_dead).take(NAMED);
    let named: Vec<_> = dead.map(|(name, owner)| format!("{name} (of {owner})")).collect();
    let more = if store.of_dead > named.len() as u64 { ", …" } else { "" };
    let text = format!(
        "{counts}; the replica that owned {} of them is dead: {}{more}",
        store.of_dead,
        named.join(", ")
    );
    let remedy = "Nothing, as a rule: a living replica takes each of them over as soon as its peer is back. If a peer \
                  stays away: paddington doctor PEER.";
    subject.warning("links", "owner_dead", &text, remedy)
}

/// Says that another replica has a link, so that nothing about it can be seen here.
pub(in super::super) fn elsewhere(peer: &str, evidence: &Evidence) -> Option<Check> {
    let own = evidence.status.as_ref().and_then(|status| status.service.replica.as_ref());
    let own = own.map(|replica| replica.number);
    let reports = evidence.databases.as_ref().ok()?;
    let number = reports.iter().find_map(|report| owner(report, peer))?;
    (own != Some(number)).then(|| {
        let text =
            format!("replica {number} owns the link; whether the peer is connected is seen there");
        Check::passed("link", text)
    })
}

/// Returns the living replica that owns the link with a peer.
fn owner(report: &DatabaseReport, peer: &str) -> Option<u32> {
    let Some(SchemaState::Store(store)) = &report.state.as_ref()?.schema else { return None };
    let (_, owner) = store.owners.iter().find(|(name, _)| name == peer)?;
    store.replicas.iter().any(|it| it.number == *owner && it.lives()).then_some(*owner)
}
