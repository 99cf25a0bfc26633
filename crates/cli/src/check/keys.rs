//! Keys that nobody knows: mostly typing errors.

use paddington::Config;

use super::Problem;
use super::document::{Document, Entry};

/// The keys at the top, beside those of the original paddington, which have no meaning here.
const TOP: [&str; 16] = [
    "name",
    "url",
    "fallback_urls",
    "ip",
    "port",
    "outbox",
    "links",
    "at_rest",
    "cluster",
    "tls",
    "settings",
    "clients",
    "servers",
    "api",
    "health",
    "handler",
];
const ORIGINAL: [&str; 4] = ["healthcheck_port", "heathcheck_port", "proxy_header", "encryption"];

/// Words that come closer than this to a known key are taken for it.
const SIMILAR: f64 = 0.75;

pub(super) fn problems(document: &Document<'_>) -> Vec<Problem> {
    let settings = toml::Value::try_from(Config::default()).ok();
    let unknown = |entry: &&Entry| is_unknown(entry, settings.as_ref());
    document.entries.iter().filter(unknown).map(|entry| problem(entry, settings.as_ref())).collect()
}

/// Returns whether a key is not known in its table. What is in an unknown table is not looked at.
fn is_unknown(entry: &Entry, settings: Option<&toml::Value>) -> bool {
    let Some((key, table)) = entry.path.split_last() else { return false };
    match known(table, settings) {
        Some(known) => !known.iter().any(|known| known == key),
        None => false,
    }
}

/// Returns the keys of a table, if it is known.
fn known(table: &[String], settings: Option<&toml::Value>) -> Option<Vec<String>> {
    let fixed = |keys: &[&str]| Some(keys.iter().map(|&key| key.to_owned()).collect());
    match table.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => fixed(&[TOP.as_slice(), ORIGINAL.as_slice()].concat()),
        ["tls"] => fixed(&["directory", "certificate", "key", "client_authorities"]),
        ["at_rest"] => {
            fixed(&["keyring", "key_file", "key_credential", "key_variable", "key_command"])
        }
        ["cluster"] => fixed(&["databases", "password_file", "schema", "lease"]),
        ["api"] => fixed(&["socket", "tcp", "token_file", "changes"]),
        ["health"] => fixed(&["required", "grace"]),
        ["handler"] => fixed(&["exec", "webhook"]),
        ["settings", "on_error"] => fixed(&["policy", "attempts", "backoff"]),
        ["settings", path @ ..] => {
            let step = |value: &'_ toml::Value, key: &&str| value.get(*key).cloned();
            let start = settings?.clone();
            let table = path.iter().try_fold(start, |value, key| step(&value, key))?;
            Some(table.as_table()?.keys().cloned().collect())
        }
        _ => None,
    }
}

/// Returns the paths of all settings that a service can have, without those of peers.
pub(crate) fn known_paths() -> Vec<Vec<String>> {
    let settings = toml::Value::try_from(Config::default()).ok();
    let mut paths = Vec::new();
    add_known(&mut Vec::new(), settings.as_ref(), &mut paths);
    paths
}

fn add_known(
    table: &mut Vec<String>,
    settings: Option<&toml::Value>,
    paths: &mut Vec<Vec<String>>,
) {
    let is_set_elsewhere =
        |key: &str| ["clients", "servers"].contains(&key) || ORIGINAL.contains(&key);
    for key in known(table, settings).unwrap_or_default() {
        if table.is_empty() && is_set_elsewhere(&key) {
            continue;
        }
        table.push(key);
        match known(table, settings) {
            Some(_) => add_known(table, settings, paths),
            None => paths.push(table.clone()),
        }
        table.pop();
    }
}

fn problem(entry: &Entry, settings: Option<&toml::Value>) -> Problem {
    let (key, table) = entry.path.split_last().map_or(("", &[][..]), |(key, table)| (key, table));
    let place = if table.is_empty() { String::new() } else { format!(" in [{}]", table.join(".")) };
    let what = format!("{key:?} is not known{place}");
    Problem::at(Some(entry.line), what, remedy(key, table, settings))
}

fn remedy(key: &str, table: &[String], settings: Option<&toml::Value>) -> String {
    // It may be a setting that is at home in another table.
    if let Some(home) = settings.and_then(|settings| home(key, settings, "settings")) {
        return format!("{key:?} belongs into [{home}].");
    }
    let near = known(table, settings).unwrap_or_default();
    let close = |known: &String| strsim::jaro_winkler(key, known);
    let best = near.iter().max_by(|a, b| close(a).total_cmp(&close(b)));
    match best.filter(|best| close(best) >= SIMILAR) {
        Some(best) => format!("Did you mean {best:?}?"),
        None if near.is_empty() => "Delete it.".into(),
        None => format!("Delete it; known are {}.", near.join(", ")),
    }
}

/// Returns the table that has a key of this name.
fn home(key: &str, value: &toml::Value, path: &str) -> Option<String> {
    let table = value.as_table()?;
    if table.contains_key(key) {
        return Some(path.to_owned());
    }
    table.iter().find_map(|(name, value)| home(key, value, &format!("{path}.{name}")))
}
