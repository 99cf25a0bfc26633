//! TLS of the service itself: its files, its certificate, and what the url says of them.

use std::path::Path;
use std::time::SystemTime;

use paddington::{Endpoint, ServerTls, TlsFiles, with_causes};

use super::document::Document;
use super::{Problem, urls};
use crate::certificate::{Certificate, Validity};

const RENEW: &str = "Get a new one: docs/deploy/tls.md shows how.";

/// Returns the files that the configuration names, if it has a table for them.
pub(super) fn files(document: &Document<'_>) -> Option<Result<TlsFiles, toml::de::Error>> {
    document.read(&["tls"])
}

pub(super) fn problems(document: &Document<'_>) -> Vec<Problem> {
    let Some(Ok(files)) = files(document) else { return Vec::new() };
    let mut problems: Vec<_> = exposed(&files.key()).into_iter().collect();
    problems.extend(of_url(document));
    let path = files.certificate().display().to_string();
    match ServerTls::load(files) {
        Ok(tls) => problems.extend(of_certificate(document, &path, &tls)),
        Err(error) => {
            let remedy =
                "docs/deploy/tls.md shows which files are needed, and where they come from.";
            problems.push(Problem::at(document.line(&["tls"]), with_causes(&error), remedy));
        }
    }
    problems
}

/// Returns whether everybody can read a key. That a group can is how platforms hand it to a service.
fn exposed(key: &Path) -> Option<Problem> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let mode = std::fs::metadata(key).ok()?.mode();
        (mode & 0o007 != 0).then(|| {
            let what = format!("others can read this key (mode {:03o})", mode & 0o777);
            let path = key.display();
            let remedy = format!("Run: chmod o= {path}");
            Problem { is_exposed: true, ..Problem::of(path.to_string(), None, what, remedy) }
        })
    }
    #[cfg(not(unix))]
    {
        _ = key;
        None
    }
}

/// A service with TLS whose clients are told to connect without.
fn of_url(document: &Document<'_>) -> Vec<Problem> {
    let plain = urls(document).into_iter().filter(|(_, url)| !url.is_secure());
    let problem = |(key, url): (&str, Endpoint)| {
        let what =
            format!("this service speaks TLS, and its clients are told to connect without: {url}");
        let remedy = format!("Begin {key} with wss://, and renew the invitations of the clients.");
        Problem::at(document.line(&[key]), what, remedy)
    };
    plain.map(problem).collect()
}

fn of_certificate(document: &Document<'_>, path: &str, tls: &ServerTls) -> Vec<Problem> {
    let certificate = Certificate::read(&tls.certificate());
    let shown =
        certificate.as_ref().map_or_else(|| "the certificate".to_owned(), ToString::to_string);
    let mut problems = Vec::new();
    let mut tell = |what: &str| {
        problems.push(Problem::of(path, None, format!("{shown}, {what}"), RENEW));
    };
    match certificate.map(|certificate| certificate.validity(SystemTime::now())) {
        Some(Validity::Expired) => tell("has expired"),
        Some(Validity::NotYet) => tell("is not valid yet, by the clock of this machine"),
        Some(Validity::Valid) | None => {}
    }
    let foreign = urls(document).into_iter().filter(|(_, url)| !tls.is_for(url.host()));
    problems.extend(foreign.map(|(key, url)| {
        let host = url.host();
        let what = format!("{shown}, is not for {host:?}, to which clients are told to connect");
        let remedy = format!(
            "Write the name that it is for into {key} and renew the invitations of the clients, or get \
             a certificate for this one."
        );
        Problem::at(document.line(&[key]), what, remedy)
    }));
    problems
}

/// Returns all URLs, with their keys, unless they lead to proxies, which have certificates of their own.
fn urls(document: &Document<'_>) -> Vec<(&'static str, Endpoint)> {
    if urls::is_behind_proxies(document) { Vec::new() } else { urls::all(document) }
}
