//! Settings that make no sense together.

use paddington::{Config, StartError};

use super::Problem;
use super::document::{Document, Entry};

pub(super) fn problems(document: &Document<'_>) -> Vec<Problem> {
    let Ok(whole) = toml::from_str::<toml::Table>(document.text()) else { return Vec::new() };
    let Some(mut settings) = whole.get("settings").cloned() else { return Vec::new() };
    let mut problems: Vec<_> = unread_header(document, &settings).into_iter().collect();
    // Those that are found are taken out, so that the next ones show.
    while let Ok(config) = settings.clone().try_into::<Config>() {
        let Err(error) = config.check() else { break };
        let find = |name| written(document, &settings, name);
        let written: Vec<_> = names(&error).into_iter().filter_map(find).collect();
        let line = written.first().map(|entry| entry.line);
        problems.push(Problem::at(line, error.to_string(), remedy(&error)));
        if written.is_empty() {
            break;
        }
        for entry in written {
            take_out(&mut settings, entry.path.get(1..).unwrap_or_default());
        }
    }
    problems
}

/// Returns whether the header of requests is set beside the PROXY protocol, for which it is not read.
fn unread_header(document: &Document<'_>, settings: &toml::Value) -> Option<Problem> {
    const PROXIES: [&str; 3] = ["settings", "transport", "proxies"];
    let written = document.line(&[&PROXIES[..], &["header"]].concat())?;
    let proxies = PROXIES[1..].iter().try_fold(settings, |value, key| value.get(key))?;
    (proxies.get("proxy_protocol")?.as_bool()?).then(|| {
        let what = "the header of requests is not read, because proxy_protocol is set";
        let remedy =
            "Delete the line, or proxy_protocol: the proxies report their clients in one way.";
        Problem::at(Some(written), what, remedy)
    })
}

/// Returns the names of the settings that an error is about.
fn names(error: &StartError) -> Vec<&str> {
    match error {
        StartError::Zero(name) | StartError::Time(name) => vec![name],
        StartError::NotShorter { setting, other, .. } => vec![setting, other],
        StartError::OutboxTooSmall { setting, .. } => vec![setting, "max_payload"],
        StartError::RefusedTooSoon { .. } => vec!["refused", "interval"],
        StartError::MaxPayload(_) => vec!["max_payload"],
        StartError::ProxyPassword => vec!["proxy_password_file"],
        StartError::NoTrustedProxies => vec!["proxy_protocol"],
        StartError::HalfCertificate => vec!["client_certificate", "client_key"],
        _ => Vec::new(),
    }
}

fn remedy(error: &StartError) -> String {
    match error {
        StartError::NotShorter { setting, other, .. } => {
            format!("Make {setting} smaller, or {other} larger.")
        }
        StartError::OutboxTooSmall { needed, setting, .. } => {
            format!("Make {setting} at least {needed}, or max_payload smaller.")
        }
        StartError::ProxyPassword => {
            "Write for example proxy = \"http://user@proxy.example:3128\", or delete the line."
                .into()
        }
        StartError::NoTrustedProxies => {
            "Write for example ranges = [\"192.0.2.1\"], or delete the line.".into()
        }
        StartError::HalfCertificate => "Name both files, or none.".into(),
        StartError::RefusedTooSoon { .. } => "Make refused at least as large as interval.".into(),
        _ => "docs/configuration.md has its meaning and its bounds.".into(),
    }
}

/// Returns where a setting is written, if it was not taken out.
fn written<'d>(document: &'d Document<'_>, left: &toml::Value, name: &str) -> Option<&'d Entry> {
    let is_left = |entry: &&Entry| {
        let path = entry.path.get(1..).unwrap_or_default();
        let found = path.iter().try_fold(left, |value, key| value.get(key.as_str()));
        entry.path.first().is_some_and(|first| first == "settings") && found.is_some()
    };
    let named = |entry: &&Entry| entry.path.last().is_some_and(|last| last == name);
    document.entries.iter().filter(named).find(is_left)
}

fn take_out(settings: &mut toml::Value, path: &[String]) {
    let Some((key, table)) = path.split_last() else { return };
    let table = table.iter().try_fold(settings, |value, key| value.get_mut(key.as_str()));
    if let Some(table) = table.and_then(toml::Value::as_table_mut) {
        table.remove(key);
    }
}
