//! Every setting, its value, and where that comes from. Secrets are not shown.

use std::fmt;

use paddington::{Config, ProxyChoice};
use paddington_admin::Inbox;
use serde::Serialize;
use toml::Value;

use super::keys::known_paths;
use crate::folder::Operation;
use crate::layers::{Merged, Origin};

/// A setting.
#[derive(Debug, Serialize)]
pub(crate) struct Effective {
    key: String,
    /// Nothing if it is not set and has no default.
    value: Option<Value>,
    origin: Source,
    /// Whether another value counts, since messages go to consumers of the local API.
    overridden: bool,
}

/// Where a value comes from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase", tag = "layer")]
enum Source {
    Default,
    File { file: String, line: usize },
    Environment { variable: String },
    Flag { key: String },
}

/// Returns all settings, in the order of their tables.
pub(crate) fn origins(merged: &Merged) -> Vec<Effective> {
    let written: toml::Table = toml::from_str(merged.text()).unwrap_or_default();
    let defaults = defaults();
    let overridden = overridden(&written);
    let mut settings = Vec::new();
    for path in paths(merged) {
        let is_within = |other: &&Vec<String>| other.starts_with(&path) || path.starts_with(other);
        let origin = merged.origins().keys().find(is_within);
        let origin = origin.and_then(|other| merged.origins().get(other));
        let value = match origin {
            Some(_) => at(&written, &path).map(|value| shown(&path, value)),
            None => at(&defaults, &path).cloned(),
        };
        let overridden = overridden.contains(&path);
        settings.push(Effective { key: path.join("."), value, origin: origin.into(), overridden });
    }
    settings
}

/// Returns the paths of all settings, known and unknown: those of tables after those at the top.
fn paths(merged: &Merged) -> Vec<Vec<String>> {
    let mut paths = known_paths();
    for written in merged.origins().keys() {
        if !paths.iter().any(|path| path.starts_with(written) || written.starts_with(path)) {
            paths.push(written.clone());
        }
    }
    paths.sort_by_key(|path| path.len() > 1);
    // A value of several fields, such as `on_error`, is one entry for each that is written.
    let mut all = Vec::new();
    for path in paths {
        let fields = merged.origins().keys().filter(|written| written.starts_with(&path));
        let fields: Vec<_> = fields.cloned().collect();
        if fields.is_empty() { all.push(path) } else { all.extend(fields) }
    }
    all
}

/// Returns the settings of which others count than are written, since no program is set that messages are
/// handed to.
fn overridden(written: &toml::Table) -> Vec<Vec<String>> {
    let operation: Operation = written.clone().try_into().unwrap_or_default();
    let settings: Option<Config> =
        written.get("settings").cloned().and_then(|it| it.try_into().ok());
    let settings = settings.unwrap_or_default();
    if !operation.handler.exec.is_empty() || operation.handler.webhook.is_some() {
        return Vec::new();
    }
    let mut adapted = settings.clone();
    Inbox::adapt(&mut adapted);
    let table = |settings: &Config| {
        Some(toml::Table::from_iter([("settings".to_owned(), Value::try_from(settings).ok()?)]))
    };
    let (Some(settings), Some(adapted)) = (table(&settings), table(&adapted)) else {
        return Vec::new();
    };
    known_paths().into_iter().filter(|path| at(&settings, path) != at(&adapted, path)).collect()
}

fn defaults() -> toml::Table {
    let mut defaults = toml::Table::try_from(Operation::default()).unwrap_or_default();
    let settings = Value::try_from(Config::default()).ok();
    defaults.extend(settings.map(|settings| ("settings".to_owned(), settings)));
    defaults
}

fn at<'v>(table: &'v toml::Table, path: &[String]) -> Option<&'v Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(first)?, |value, key| value.get(key))
}

/// Returns what is shown of a value.
fn shown(path: &[String], value: &Value) -> Value {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    match (path.as_slice(), value) {
        (["clients" | "servers", ..], Value::Array(peers)) => {
            format!("number of peers: {}", peers.len()).into()
        }
        (["clients" | "servers", ..], _) => "not shown".into(),
        (["settings", "transport", "outbound", "proxy"], value) => proxy(value),
        // An address or an argument may hold a secret.
        (["handler", "webhook"], Value::String(url)) => {
            let host = crate::run::webhook_url(url).ok();
            let host = host.and_then(|url| Some(format!("{}://{}/…", url.scheme(), url.host()?)));
            host.unwrap_or_else(|| "…".to_owned()).into()
        }
        (["handler", "exec"] | ["at_rest", "key_command"], Value::Array(words)) => {
            let more = (words.len() > 1).then(|| Value::from("…"));
            Value::Array(words.iter().take(1).cloned().chain(more).collect())
        }
        _ if is_known(&path) => value.clone(),
        _ => "not shown".into(), // whatever it is
    }
}

fn is_known(path: &[&str]) -> bool {
    known_paths().iter().any(|known| {
        path.iter().zip(known).all(|(key, known)| key == known) && path.len() <= known.len()
    })
}

/// The proxy without its user's password. What cannot be read may be one.
fn proxy(value: &Value) -> Value {
    match value.clone().try_into() {
        Ok(ProxyChoice::Url(url)) => url.to_string().into(),
        Ok(_) => value.clone(),
        Err(_) => "…".into(),
    }
}

impl From<Option<&Origin>> for Source {
    fn from(origin: Option<&Origin>) -> Self {
        match origin.cloned() {
            None => Self::Default,
            Some(Origin::File(file, line)) => Self::File { file, line },
            Some(Origin::Variable(variable)) => Self::Environment { variable },
            Some(Origin::Flag(key)) => Self::Flag { key },
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Environment { variable } => f.write_str(variable),
            Self::Flag { .. } => f.write_str("--set"),
        }
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}  # {}", self.key, self.origin)?,
            None => write!(f, "# {} is not set", self.key)?,
        }
        match self.overridden {
            true => f.write_str("; without effect here, since messages go to the local API"),
            false => Ok(()),
        }
    }
}
