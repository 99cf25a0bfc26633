//! The server of a database: its version, what it does with commits, its distance, its clock, its connections.

use std::time::Duration;

use paddington::database_report::{DatabaseState, ServerState, StoreState};

use super::super::report::Check;
use super::checks::Subject;
use super::reach::RAISE;
use crate::view::seconds;

/// The part of the lease that a round trip may take without a word.
const MUCH: u32 = 20;
/// The number of beats in a lease: a round trip that takes longer than the time between two is too slow.
const BEATS: u32 = 4;
/// The difference of two clocks from which on it is told, in milliseconds.
const APART: i64 = 1_000;

pub(super) fn checks(state: &DatabaseState, subject: &Subject<'_>) -> Vec<Check> {
    let server = &state.server;
    let mut checks = vec![version(server, subject)];
    if state.is_pooled {
        let text = "a pooler in transaction mode is in front of it, and replicas need sessions";
        let remedy = "Connect to PostgreSQL itself, or set pool_mode = session for this database.";
        checks.push(subject.failed("pooler", "database_pooler", text, remedy));
    }
    checks.push(durability(server, subject));
    checks.push(distance(server.round_trip, subject));
    checks.push(clock(server.clock_ahead, subject));
    checks
}

fn version(server: &ServerState, subject: &Subject<'_>) -> Check {
    let text = format!("PostgreSQL {}", server.version);
    if server.is_too_old {
        let text = format!("{text} is too old: replicas need 14 or newer");
        return subject.failed("server", "database_too_old", &text, "Upgrade PostgreSQL.");
    }
    subject.passed("server", &text)
}

/// Whether what was committed survives the server, and its machine.
fn durability(server: &ServerState, subject: &Subject<'_>) -> Check {
    const CHECK: &str = "durability";
    let settings = [("fsync", server.fsync), ("full_page_writes", server.full_page_writes)];
    if let Some((setting, _)) = settings.into_iter().find(|(_, is_on)| !is_on) {
        let text = format!("{setting} is off, so that the server loses what it has accepted");
        let remedy = format!("Run: ALTER SYSTEM SET {setting} = on; SELECT pg_reload_conf();");
        return subject.failed(CHECK, "database_unsafe", &text, &remedy);
    }
    let names = &server.standby_names;
    if names.is_empty() {
        let text = "commits are synced by this server only (synchronous_standby_names is empty): if its disk is \
                    lost, so are the last messages";
        let remedy =
            "If that must not be: give it a standby, and name it in synchronous_standby_names.";
        return subject.warning(CHECK, "no_synchronous_standby", text, remedy);
    }
    if server.standbys == 0 || server.synchronous == Some(0) {
        let text = format!(
            "commits wait for standbys ({names}), and none of them is connected: nothing is accepted"
        );
        let remedy = "Start one of them, and see SELECT * FROM pg_stat_replication; or change \
                      synchronous_standby_names.";
        return subject.failed(CHECK, "synchronous_standby_away", &text, remedy);
    }
    // Replicas set synchronous_commit themselves.
    let text = format!("commits are synced by this server, and wait for standbys ({names})");
    subject.passed(CHECK, &text)
}

/// Whether beats get there in time.
fn distance((fastest, slowest): (Duration, Duration), subject: &Subject<'_>) -> Check {
    const CHECK: &str = "distance";
    let lease = subject.cluster.lease();
    let taken = format!(
        "a round trip takes {} to {}",
        seconds(fastest.as_secs_f64()),
        seconds(slowest.as_secs_f64())
    );
    let lease_of = format!("the lease is {}", seconds(lease.as_secs_f64()));
    let remedy = "Move the replica nearer to its database, look for what is slow, or raise lease in [cluster].";
    if slowest > lease / BEATS {
        let text = format!("{taken}, longer than the time between two beats; {lease_of}");
        return subject.failed(CHECK, "database_slow", &text, remedy);
    }
    if slowest > lease / MUCH {
        let text = format!("{taken}, and {lease_of}: each message that is stored takes that long");
        return subject.warning(CHECK, "database_slow", &text, remedy);
    }
    subject.passed(CHECK, &format!("{taken}; {lease_of}"))
}

/// Leases count by the clock of the database, and replicas count intervals: a difference of clocks costs no message.
fn clock(ahead: i64, subject: &Subject<'_>) -> Check {
    let apart = Duration::from_millis(ahead.unsigned_abs());
    if ahead.abs() < APART {
        return subject.passed("clock", "it shows the same time as this machine's");
    }
    let which = if ahead > 0 { "behind" } else { "ahead of" };
    let text = format!(
        "the clock of this machine is {} {which} the database's; leases count by the database's, so that no message is lost",
        seconds(apart.as_secs_f64())
    );
    let remedy = "Set the clock that is wrong (chrony, systemd-timesyncd): times in logs, and the ends of \
                  invitations and certificates, are wrong with it.";
    subject.warning("clock", "clock_differs", &text, remedy)
}

/// Whether all replicas that live, and this one, can have their connections.
pub(super) fn connections(
    server: &ServerState,
    store: &StoreState,
    subject: &Subject<'_>,
) -> Check {
    let found = server.connections;
    let living = store.replicas.iter().filter(|replica| replica.lives());
    let replicas = living.count() as u64 + u64::from(subject.own.is_none());
    let missing = (replicas * found.of_replica).saturating_sub(found.of_role);
    let text = format!(
        "{} of {} connections are in use, and {} are free for this role; a replica opens up to {}",
        found.used, found.allowed, found.free, found.of_replica
    );
    if missing > found.free {
        let text = format!("{text}, and {missing} are missing for {replicas}");
        return subject.failed("connections", "too_few_connections", &text, RAISE);
    }
    subject.passed("connections", &text)
}

#[cfg(test)]
mod tests {
    use paddington::Cluster;

    use super::*;

    /// What the check of `check` says for a lease of 10 s, with its outcome and its code.
    fn said(check: impl Fn(&Subject<'_>) -> Check) -> String {
        let cluster = Cluster::new("postgres:///x").unwrap_or_else(|error| unreachable!("{error}"));
        let subject = Subject { name: String::new(), list: (1, 1), cluster: &cluster, own: None };
        serde_json::to_string(&check(&subject)).unwrap_or_default()
    }

    #[test]
    fn a_round_trip_may_take_a_twentieth_of_the_lease_and_must_not_take_a_beat() {
        for (millis, expected) in [
            (500, "\"passed\""),
            (501, "\"warning\""),
            (2_500, "\"warning\""),
            (2_501, "\"failed\""),
        ] {
            let round_trip = (Duration::from_millis(1), Duration::from_millis(millis));
            let text = said(|subject| distance(round_trip, subject));
            assert!(text.contains(expected), "{millis}: {text}");
        }
    }

    #[test]
    fn clocks_that_differ_by_a_second_are_a_warning_that_says_which_way() {
        for (ahead, expected) in [
            (999, "\"passed\""),
            (-999, "\"passed\""),
            (1_500, "is 1.5 s behind the database's"),
            (-3_000, "is 3.0 s ahead of the database's"),
        ] {
            let text = said(|subject| clock(ahead, subject));
            assert!(text.contains(expected) && !text.contains("failed"), "{ahead}: {text}");
        }
    }
}
