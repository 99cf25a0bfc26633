//! Values that cannot be used, each looked at alone, so that one does not hide another.

use paddington::{Cluster, Config, OnError, ServiceConfig, with_causes, without_values};

use super::document::{Document, Entry};
use super::{Problem, at_rest, tls};
use crate::folder::Operation;

/// The fields that a service needs, with values that are right.
const REQUIRED: [(&str, &str, &str); 4] = [
    ("name", "\"hub\"", "the name by which its peers call it"),
    ("url", "\"ws://localhost:6501\"", "where clients reach it"),
    ("ip", "\"127.0.0.1\"", "the address that it listens on"),
    ("port", "6501", "the port that it listens on"),
];

pub(super) fn problems(document: &Document<'_>) -> Vec<Problem> {
    let missing = REQUIRED.iter().filter(|(key, ..)| document.get(&[key]).is_none());
    let missing = missing.map(|(key, example, what)| {
        let what = format!("{key:?} is missing: {what}");
        Problem::at(None, what, format!("Add a line such as: {key} = {example}"))
    });
    let values = document.entries.iter().filter_map(|entry| of_one(document, entry));
    let mut problems: Vec<_> = missing.chain(values).collect();
    if problems.is_empty() {
        problems.extend(of_peers(document));
    }
    problems
}

fn of_one(document: &Document<'_>, entry: &Entry) -> Option<Problem> {
    let path: Vec<_> = entry.path.iter().map(String::as_str).collect();
    let error = match path.as_slice() {
        [key @ ("name" | "url" | "fallback_urls" | "ip" | "port" | "outbox")] => {
            of_field(key, document.written(entry))
        }
        ["tls"] => of_table(&tls::files(document)?.err()?),
        ["at_rest"] => of_table(&at_rest::settings(document)?.err()?),
        ["cluster"] => of_table(&document.read::<Cluster>(&["cluster"])?.err()?),
        ["settings", "on_error"] => of_policy(document),
        ["settings", "on_error", ..] => None, // its fields make sense together only
        ["settings", .., _] if !entry.is_table => of_setting(&path, document.written(entry)),
        ["api" | "health" | "handler", _] => of_operation(&path, document.written(entry)),
        ["api" | "health" | "handler"] if !entry.is_table => {
            of_operation(&path, document.written(entry))
        }
        _ => None,
    }?;
    Some(Problem::at(Some(entry.line), format!("{}: {error}", path.join(".")), remedy(&path)))
}

/// Returns what is wrong with a field of the service.
fn of_field(key: &str, written: &str) -> Option<String> {
    let others = REQUIRED.iter().filter(|(other, ..)| *other != key);
    let lines = others.map(|(other, value, _)| format!("{other} = {value}\n"));
    let text = format!("{}{key} = {written}\n", lines.collect::<String>());
    match ServiceConfig::from_toml(&text) {
        Ok(_) => None,
        Err(paddington::ConfigError::File(paddington::FileError::Malformed { reason, .. })) => {
            Some(reason)
        }
        Err(error) => Some(with_causes(&error)),
    }
}

/// Returns what is wrong with a setting. Unknown ones are told elsewhere.
fn of_setting(path: &[&str], written: &str) -> Option<String> {
    let name = path.get(1..)?.join(".");
    let error = toml::from_str::<Config>(&format!("{name} = {written}\n")).err()?;
    let message = error.message();
    (!message.starts_with("unknown field")).then(|| message.to_owned())
}

/// Returns what is wrong with the policy for failed messages. Unknown keys are told elsewhere.
fn of_policy(document: &Document<'_>) -> Option<String> {
    let error = document.read::<OnError>(&["settings", "on_error"])?.err()?;
    let message = error.message();
    (!message.starts_with("unknown field")).then(|| message.to_owned())
}

/// Returns what is wrong with a table. Unknown keys are told elsewhere.
fn of_table(error: &toml::de::Error) -> Option<String> {
    let message = error.message();
    (!message.starts_with("unknown field")).then(|| without_values(message))
}

fn of_operation(path: &[&str], written: &str) -> Option<String> {
    let error = toml::from_str::<Operation>(&format!("{} = {written}\n", path.join("."))).err()?;
    let message = error.message();
    (!message.starts_with("unknown field")).then(|| message.to_owned())
}

fn remedy(path: &[&str]) -> String {
    match path {
        ["name"] => "Letters, digits, '-', '_' and '.' make a name.".into(),
        ["url"] => {
            "Write for example \"wss://hub.example/paddington\" or \"ws://192.0.2.1:6501\".".into()
        }
        ["fallback_urls"] => {
            "Write for example [\"wss://hub2.example/paddington\"]: seven at most, each once.".into()
        }
        ["ip"] => "Write for example \"127.0.0.1\", \"0.0.0.0\", or \"::\" for IPv4 and IPv6.".into(),
        ["port"] => "Write a number from 1 to 65535.".into(),
        ["tls"] => {
            "Write for example directory = \"/etc/letsencrypt/live/hub.example\"; docs/deploy/tls.md \
             explains it."
                .into()
        }
        ["at_rest"] => {
            "Write for example key_file = \"/run/secrets/paddington\"; docs/deploy/at-rest.md explains it."
                .into()
        }
        ["cluster"] => {
            "Write for example databases = [\"postgres://paddington@db.example/paddington\"]; \
             docs/cluster.md explains it."
                .into()
        }
        ["settings", .., name] => match default_of(path) {
            Some(value) => format!("Its default is {name} = {value}."),
            None => "docs/configuration.md has its meaning and its bounds.".into(),
        },
        _ => "docs/operate.md shows it.".into(),
    }
}

/// Returns the default of a setting as it would be written.
fn default_of(path: &[&str]) -> Option<String> {
    let mut value = toml::Value::try_from(Config::default()).ok()?;
    for key in path.get(1..)? {
        value = value.get(key)?.clone();
    }
    (!value.is_table()).then(|| value.to_string())
}

/// Returns what is wrong with the peers in the configuration, and with the rest as a whole.
fn of_peers(document: &Document<'_>) -> Option<Problem> {
    // The folder of links is looked at elsewhere; reading it here would make it.
    let mut text = document.text().to_owned();
    if let Some(entry) = document.get(&["links"]) {
        let line = text.lines().nth(entry.line - 1)?.to_owned();
        text = text.replacen(&line, "", 1);
    }
    use paddington::{ConfigError, FileError};
    match ServiceConfig::from_toml(&text) {
        Ok(_) => None,
        // A key that nobody knows is told elsewhere.
        Err(ConfigError::File(FileError::Malformed { reason, .. }))
            if reason.starts_with("unknown field") =>
        {
            None
        }
        Err(ConfigError::File(FileError::Malformed { line, reason, .. })) => {
            Some(Problem::at(line, reason, "docs/links.md shows how peers are written."))
        }
        // Settings that do not fit together are told elsewhere.
        Err(ConfigError::Settings(_)) => None,
        Err(error) => Some(Problem::at(None, with_causes(&error), "Remove one of the two.")),
    }
}
