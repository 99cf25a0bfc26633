//! Whether the hosts of a database can be reached, and what to do where one cannot.

use paddington::database_report::{
    Access, DatabaseFault, DatabaseFaultKind, DatabaseReport, HostReport,
};

use super::super::report::Check;
use super::checks::Subject;

const CHECK: &str = "database";

/// Checks of the hosts. Where another one can be used, one that cannot is a warning.
pub(super) fn checks(report: &DatabaseReport, subject: &Subject<'_>) -> Vec<Check> {
    let faults = report.hosts.iter().filter_map(|host| {
        let fault = host.found.as_ref().err()?;
        let (code, remedy) = explained(fault, subject);
        let text = format!("{}: {}", host.host, fault.why);
        Some(match report.state {
            Some(_) => subject.warning(CHECK, code, &text, &remedy),
            None => subject.failed(CHECK, code, &text, &remedy),
        })
    });
    let mut checks: Vec<_> = faults.collect();
    if let Some(used) = report.state.as_ref().and_then(|state| report.hosts.get(state.host)) {
        checks.insert(0, usable(report, used, subject));
    }
    checks
}

/// Says which host is used, and what the others are.
fn usable(report: &DatabaseReport, used: &HostReport, subject: &Subject<'_>) -> Check {
    if used.found == Ok(Access::ReadsOnly) {
        let text =
            format!("{} is a standby or read-only, and nothing can be stored there", used.host);
        let remedy = "Name the primary in databases too, and add target_session_attrs=read-write to the URL.";
        return subject.failed(CHECK, "database_read_only", &text, remedy);
    }
    let standbys = report.hosts.iter().filter(|host| host.found == Ok(Access::ReadsOnly));
    let standbys: Vec<_> = standbys.map(|host| host.host.as_str()).collect();
    let more = match &standbys[..] {
        [] => String::new(),
        some => format!("; {} follows it", some.join(", ")),
    };
    subject.passed(CHECK, &format!("{} can be used, and is the primary{more}", used.host))
}

/// The code of a fault, and its remedy.
fn explained(fault: &DatabaseFault, subject: &Subject<'_>) -> (&'static str, String) {
    let password_file = subject.cluster.password_file();
    match fault.kind {
        DatabaseFaultKind::Name => {
            ("database_name_not_resolved", "Check the spelling of the host in databases, and DNS.".to_owned())
        }
        DatabaseFaultKind::Connection => (
            "database_unreachable",
            "Check that PostgreSQL runs there and listens for other machines (listen_addresses), and the \
             firewalls between."
                .to_owned(),
        ),
        DatabaseFaultKind::Tls => (
            "database_tls",
            "Name the authority that has signed its certificate: sslrootcert=/path/roots.pem in the URL, and its \
             host as the certificate has it. A server without TLS: ssl = on in postgresql.conf."
                .to_owned(),
        ),
        DatabaseFaultKind::Role => (
            "database_role_refused",
            "Check the role in the URL, and let pg_hba.conf admit it from this machine.".to_owned(),
        ),
        DatabaseFaultKind::Password => (
            "database_password",
            match password_file {
                Some(path) => format!("Write the role's password into {}, and nothing else.", path.display()),
                None => "Write the role's password into a file, and name it in [cluster]: password_file.".to_owned(),
            },
        ),
        DatabaseFaultKind::Database => {
            ("database_missing", "Make it: CREATE DATABASE; or correct the URL.".to_owned())
        }
        DatabaseFaultKind::Connections => ("too_few_connections", RAISE.to_owned()),
        DatabaseFaultKind::Starting => {
            ("database_starting", "Wait until it has started; see its log if that lasts.".to_owned())
        }
        DatabaseFaultKind::NoAnswer => {
            ("database_no_answer", "Check the load of the server, and whether its disk is full.".to_owned())
        }
        _ => ("database_failed", "See the log of PostgreSQL.".to_owned()),
    }
}

/// What helps against too few connections.
pub(super) const RAISE: &str = "Raise max_connections of the server, or the limit of the role or of the database, \
                                or put a pooler in session mode before it.";
