//! The folder of links, whose files only the command writes, and what the configuration says of peers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use paddington::{LinkDetails, PeerRole, ServiceConfig, with_causes};

use super::Problem;
use super::document::Document;
use super::files::exposed;
use crate::hosts::is_own_machine;

pub(super) fn problems(document: &Document<'_>) -> Vec<Problem> {
    let Some(folder) = document.string(&["links"]).map(PathBuf::from) else {
        if document.get(&["cluster"]).is_some() {
            return Vec::new(); // which excludes such a folder
        }
        let what =
            "there is no folder of links, so keys are not renewed and invitations do not burn";
        return vec![Problem::at(None, what, "Add a line: links = \"links\"")];
    };
    let line = document.line(&["links"]);
    if !folder.exists() {
        return Vec::new(); // It is made with the first link.
    }
    if !folder.is_dir() {
        let what = format!("{} is no folder", folder.display());
        return vec![Problem::at(line, what, "Move it away, or name another path.")];
    }
    let mut problems: Vec<_> = exposed(&folder).into_iter().collect();
    problems.extend(files(&folder).iter().filter_map(|file| exposed(file)));
    let text = document.text();
    match ServiceConfig::from_toml(text) {
        Ok(config) => problems.extend(of_service(document, &config)),
        Err(error) if problems_of_links(&error) => {
            let remedy = remedy(&error);
            problems.push(Problem::of(
                folder.display().to_string(),
                None,
                with_causes(&error),
                remedy,
            ));
        }
        Err(_) => {} // It is told elsewhere.
    }
    problems
}

fn remedy(error: &paddington::ConfigError) -> &'static str {
    use paddington::{AtRestError, ConfigError, FileError};
    let ConfigError::File(FileError::AtRest { source, .. }) = error else { return RESTORE };
    match **source {
        AtRestError::NotSealed => "Stop the service, and run: paddington at-rest seal",
        AtRestError::NoKeyring { .. } => "Put the keyring back from a copy.",
        AtRestError::NoKey { .. } => {
            "Put the table [at_rest] back, as docs/deploy/at-rest.md shows it."
        }
        AtRestError::OtherKey { .. } => "Put back the keyring that belongs to these files.",
        _ => RESTORE,
    }
}

const RESTORE: &str = "Restore the file from a copy, or remove it and ask for a new invitation.";

/// Returns whether an error is one of the files in the folder.
fn problems_of_links(error: &paddington::ConfigError) -> bool {
    use paddington::{ConfigError, FileError};
    match error {
        ConfigError::File(FileError::Malformed { path, .. }) => path.extension().is_some(),
        ConfigError::File(_)
        | ConfigError::Ring { .. }
        | ConfigError::Lacks { .. }
        | ConfigError::Keys { .. }
        | ConfigError::SharedKey { .. } => true,
        _ => false,
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|it| it == "toml"))
        .collect()
}

fn of_service(document: &Document<'_>, config: &ServiceConfig) -> Vec<Problem> {
    let links = config.link_details();
    let mut problems: Vec<_> = links.iter().filter_map(|link| expired(config, link)).collect();
    problems.extend(unreachable(document, config, &links));
    if let Some(operation) = &document.operation {
        let unknown = |name: &&String| !links.iter().any(|link| link.name == **name);
        let names = operation.health.required.iter().filter(unknown);
        problems.extend(names.map(|name| {
            let what = format!("the required peer {name:?} is not known");
            let remedy = format!("Invite or join it, or take {name:?} out.");
            Problem::at(document.line(&["health", "required"]), what, remedy)
        }));
    }
    problems
}

fn expired(config: &ServiceConfig, link: &LinkDetails) -> Option<Problem> {
    let end = link.invitation?.expires?;
    let is_over = link.role == PeerRole::Client && end <= SystemTime::now();
    let file = config.links()?.join(format!("{}.toml", link.name)).display().to_string();
    is_over.then(|| {
        let since = humantime::format_rfc3339_seconds(end);
        let what =
            format!("the invitation of {} was not used before it expired at {since}", link.name);
        Problem::of(file, None, what, format!("Run: paddington renew {}", link.name))
    })
}

/// A service that listens on loopback, or says so, while its clients are elsewhere.
fn unreachable(
    document: &Document<'_>,
    config: &ServiceConfig,
    links: &[LinkDetails],
) -> Option<Problem> {
    let is_elsewhere = |link: &&LinkDetails| link.range.is_some_and(|range| !range.is_loopback());
    let client = links.iter().find(is_elsewhere)?;
    let further = config.fallback_urls().map(|url| ("fallback_urls", url));
    let mut urls = std::iter::once(("url", config.url())).chain(further);
    let (key, url) = urls.find(|(_, url)| is_own_machine(url.host()))?;
    let what = format!(
        "clients are told to connect to {:?}, which is their own machine, and {} connects from {}",
        url.host(),
        client.name,
        client.range.map(|range| range.to_string()).unwrap_or_default(),
    );
    let remedy = "Write the name by which they reach this machine, and invite them anew.";
    Some(Problem::at(document.line(&[key]), what, remedy))
}
