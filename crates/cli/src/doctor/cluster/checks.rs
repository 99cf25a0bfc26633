//! What is looked at in each database, and in which order.

use paddington::Cluster;
use paddington::database_report::{DatabaseReport, DatabaseState, SchemaState};
use paddington::with_causes;

use super::super::evidence::Evidence;
use super::super::report::{Check, Finding};
use super::{reach, replicas, schema, seal, server};

/// A database, and what its findings are compared with.
pub(super) struct Subject<'a> {
    /// How it is named at the beginning of a text: not at all if it is the only one.
    pub(super) name: String,
    /// Its place in the list, from 1, and the length of the list.
    pub(super) list: (usize, usize),
    pub(super) cluster: &'a Cluster,
    /// The number of the replica that runs here, if one does.
    pub(super) own: Option<u32>,
}

/// Checks of all databases; none for a service that is one process.
pub(in super::super) fn checks(evidence: &Evidence) -> Vec<Check> {
    let Some(cluster) = evidence.config.as_ref().and_then(|config| config.cluster()) else {
        return Vec::new();
    };
    let reports = match &evidence.databases {
        Ok(reports) => reports,
        Err(error) => {
            let remedy = "Correct [cluster] in service.toml: docs/cluster.md shows it.";
            let finding = Finding::new("database_settings", with_causes(error), remedy);
            return vec![Check::failed("database", finding)];
        }
    };
    let status = evidence.status.as_ref();
    let own = status.and_then(|status| status.service.replica.as_ref()).map(|it| it.number);
    let of = reports.len();
    reports
        .iter()
        .enumerate()
        .flat_map(|(at, report)| {
            let name = if of > 1 { format!("{}: ", report.place) } else { String::new() };
            of_database(report, &Subject { name, list: (at + 1, of), cluster, own })
        })
        .collect()
}

fn of_database(report: &DatabaseReport, subject: &Subject<'_>) -> Vec<Check> {
    let mut checks = reach::checks(report, subject);
    let Some(state) = &report.state else { return checks };
    checks.extend(server::checks(state, subject));
    checks.extend(of_schema(state, subject));
    checks
}

fn of_schema(state: &DatabaseState, subject: &Subject<'_>) -> Vec<Check> {
    let mut checks: Vec<_> =
        state.schema.iter().map(|found| schema::check(found, subject)).collect();
    if let Some(SchemaState::Store(store)) = &state.schema {
        checks.extend(seal::check(store, subject));
        checks.push(server::connections(&state.server, store, subject));
        checks.extend(replicas::checks(store, subject));
    }
    checks
}

impl Subject<'_> {
    pub(super) fn passed(&self, check: &'static str, text: &str) -> Check {
        Check::passed(check, format!("{}{text}", self.name))
    }

    pub(super) fn failed(
        &self,
        check: &'static str,
        code: &str,
        text: &str,
        remedy: &str,
    ) -> Check {
        Check::failed(check, Finding::new(code, format!("{}{text}", self.name), remedy))
    }

    pub(super) fn warning(
        &self,
        check: &'static str,
        code: &str,
        text: &str,
        remedy: &str,
    ) -> Check {
        Check::warning(check, Finding::new(code, format!("{}{text}", self.name), remedy))
    }
}
