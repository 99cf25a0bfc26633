//! Checks of this service itself: its configuration, its files, its disk, its port, and whether it runs.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use paddington::{PeerRole, ServiceConfig};

use super::evidence::Evidence;
use super::report::{CONFIGURATION, Check, Finding, NOT_READY, NOT_RUNNING};
use super::{cluster, disk, port, processor};
use crate::check;
use crate::folder::CONFIG;
use crate::layers::{self, Overrides};

pub(super) fn checks(evidence: &Evidence) -> Vec<Check> {
    let mut checks = configuration();
    if let Some(config) = &evidence.config {
        checks.extend(storage(config));
        if evidence.status.is_none() && evidence.unreachable.is_none() {
            let lock = config.links().and_then(in_use);
            let is_free = lock.is_none();
            checks.extend(lock.map(|finding| Check::failed("folder", finding)));
            checks.extend(config_port(config).filter(|_| is_free));
        }
    }
    checks.extend(processor::check());
    checks.extend(cluster::checks(evidence));
    checks.push(service(evidence));
    checks
}

/// The findings of `paddington check`.
fn configuration() -> Vec<Check> {
    let (modes, others): (Vec<_>, Vec<_>) =
        check::problems(&Overrides::default()).into_iter().partition(|problem| problem.is_exposed);
    let mut checks: Vec<_> =
        [("configuration", CONFIGURATION, others), ("files", "file_mode", modes)]
            .into_iter()
            .flat_map(|(name, code, problems)| {
                problems.into_iter().map(move |problem| {
                    let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
                    let text = format!("{}{line}: {}", problem.file, problem.what);
                    Check::failed(name, Finding::new(code, text, problem.remedy))
                })
            })
            .collect();
    if checks.is_empty() {
        checks.push(Check::passed(
            "configuration",
            format!("{CONFIG} and its files have no problem"),
        ));
    }
    checks
}

/// Whether the outbox and the links can be written.
fn storage(config: &ServiceConfig) -> Vec<Check> {
    let outbox = config.outbox().map(|path| parent(path).to_owned());
    let links = config.links().map(Path::to_owned);
    let mut folders: Vec<PathBuf> = [outbox, links].into_iter().flatten().collect();
    folders.retain(|folder| folder.is_dir()); // those that are missing are told elsewhere
    folders.dedup();
    let mut findings: Vec<_> = folders
        .iter()
        .filter_map(|folder| disk::unwritable(folder).or_else(|| disk::nearly_full(folder)))
        .collect();
    findings.extend(config.outbox().and_then(disk::unwritable_file));
    if findings.is_empty() {
        let shown: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        let text = format!("there is room, and the right to write, in {}", shown.join(" and "));
        return shown.first().map(|_| Check::passed("disk", text)).into_iter().collect();
    }
    findings.into_iter().map(|finding| Check::failed("disk", finding)).collect()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns whether another process holds the folder of links, although nobody answers at the socket. The
/// lock is held for a moment only.
fn in_use(links: &Path) -> Option<Finding> {
    let lock = File::open(links.join(".lock")).ok()?;
    let Err(TryLockError::WouldBlock) = lock.try_lock_shared() else { return None };
    let links = links.display();
    Some(Finding::new(
        "folder_in_use",
        format!("another process uses {links}, and does not answer at the socket of this service"),
        format!(
            "Find it (`fuser {links}/.lock`): it may be a program that has this service built in, a \
             service without a socket, or one that hangs. Only one of them can use the folder."
        ),
    ))
}

/// Whether the service could listen. One without clients does not.
fn config_port(config: &ServiceConfig) -> Option<Check> {
    let has_clients = config.link_details().iter().any(|link| link.role == PeerRole::Client);
    let address = listen_address()?;
    if !has_clients {
        return None;
    }
    Some(match port::unusable(address) {
        Some(finding) => Check::failed("port", finding),
        None => Check::passed("port", format!("{address} is free")),
    })
}

/// Returns where the configuration says that the service listens.
pub(super) fn listen_address() -> Option<SocketAddr> {
    let merged = layers::read(&Overrides::default()).ok()?;
    let table: toml::Table = toml::from_str(merged.text()).ok()?;
    let ip = table.get("ip")?.as_str()?.parse().ok()?;
    let port = table.get("port")?.as_integer()?.try_into().ok()?;
    Some(SocketAddr::new(ip, port))
}

fn service(evidence: &Evidence) -> Check {
    if let Some(finding) = &evidence.unreachable {
        return Check::failed("service", finding.clone());
    }
    let Some(status) = &evidence.status else {
        let what = "the service does not run, or has no socket";
        let remedy = "Start it: paddington run";
        return Check::failed("service", Finding::new(NOT_RUNNING, what, remedy));
    };
    if !status.ready.ready {
        let what = format!("the service is not ready: {}", status.ready.reasons.join("; "));
        let remedy = "Mend what it names; the log of the service says more.";
        return Check::failed("service", Finding::new(NOT_READY, what, remedy));
    }
    let up = crate::view::seconds(status.service.uptime_seconds);
    Check::passed("service", format!("{} runs for {up}", status.service.name))
}
