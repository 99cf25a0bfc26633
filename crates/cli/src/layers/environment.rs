//! Settings in the environment: `PADDINGTON__SETTINGS__HANDLERS=64` is `settings.handlers = 64`.
//!
//! Two underscores separate, since names have single ones, and since platforms make variables such as
//! `PADDINGTON_PORT` of their own (`docs/decisions/0022-configuration-in-layers.md`).

use std::env;
use std::ffi::OsString;

use paddington::{AtRest, KeySource};

use super::Origin;
use super::given::{self, Given};
use crate::check::{Problem, known_paths};

const PREFIX: &str = "PADDINGTON__";
const SEPARATOR: &str = "__";

/// Variables that are no settings, whose names come closer than this to a setting's are taken for it.
const SIMILAR: f64 = 0.9;

/// The variables with one underscore that have a meaning: the folder, and what a handler is told.
const OTHERS: [&str; 8] = [
    "PADDINGTON_DIR",
    "PADDINGTON_SERVICE",
    "PADDINGTON_PEER",
    "PADDINGTON_KIND",
    "PADDINGTON_CONTENT",
    "PADDINGTON_ID",
    "PADDINGTON_FENCE",
    "PADDINGTON_SECONDS_LEFT",
];

/// Returns the variable that sets a key.
fn variable_of(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join(SEPARATOR).to_uppercase())
}

/// Reads the settings in the environment, in the order of their names.
pub(super) fn read() -> Vec<Result<Vec<Given>, Problem>> {
    read_from(env::vars_os())
}

/// Returns the problems with variables that look as if they were meant as settings, and are none. The one
/// from which the secret of what is sealed at rest comes is not looked at.
pub(crate) fn strays(at_rest: Option<&AtRest>) -> Vec<Problem> {
    let secret = match at_rest.map(AtRest::source) {
        Some(KeySource::Variable(name)) => name,
        _ => "",
    };
    strays_in(env::vars_os().filter(|(name, _)| name != secret))
}

fn read_from(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<Result<Vec<Given>, Problem>> {
    let mut found: Vec<_> = variables
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    found.sort();
    found.iter().map(|(name, value)| one(name, value)).collect()
}

fn one(name: &str, value: &OsString) -> Result<Vec<Given>, Problem> {
    let origin = Origin::Variable(name.to_owned());
    let keys = name.strip_prefix(PREFIX).unwrap_or_default();
    let path: Vec<_> = keys.split(SEPARATOR).map(str::to_lowercase).collect();
    if path.iter().any(String::is_empty) || name != variable_of(&path) {
        let what = "this is no name of a setting";
        return Err(Problem::from(
            &origin,
            what,
            "Write for example PADDINGTON__SETTINGS__HANDLERS.",
        ));
    }
    match value.to_str() {
        Some(value) => given::read(path, value, &origin),
        None => Err(Problem::from(&origin, "its value is not UTF-8", "Write it as UTF-8.")),
    }
}

fn strays_in(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<Problem> {
    let mut known: Vec<_> = known_paths().iter().map(|path| variable_of(path)).collect();
    known.push(OTHERS[0].to_owned());
    let mut names: Vec<_> = variables.filter_map(|(name, _)| name.into_string().ok()).collect();
    names.sort();
    names.iter().filter_map(|name| stray(name, &known)).collect()
}

fn stray(name: &str, known: &[String]) -> Option<Problem> {
    let is_other = !name.starts_with("PADDINGTON_") || name.starts_with(PREFIX);
    if is_other || OTHERS.contains(&name) || is_of_kubernetes(name) {
        return None;
    }
    let plain = |name: &str| {
        let name = name.replace(SEPARATOR, "_");
        name.strip_prefix("PADDINGTON_").map(str::to_owned).unwrap_or(name)
    };
    let close = |known: &String| strsim::jaro_winkler(&plain(name), &plain(known));
    let best = known.iter().max_by(|a, b| close(a).total_cmp(&close(b)))?;
    (close(best) >= SIMILAR).then(|| {
        let origin = Origin::Variable(name.to_owned());
        Problem::from(&origin, "this is no name of a setting", format!("Did you mean {best}?"))
    })
}

/// Returns whether Kubernetes makes such a variable for a Service whose name begins with `paddington`.
fn is_of_kubernetes(name: &str) -> bool {
    let is_port = |rest: &str| rest.is_empty() || rest.starts_with('_');
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.split_once("_PORT").is_some_and(|(_, rest)| is_port(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(all: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
        let owned = |&(name, value): &(&str, &str)| (name.into(), value.into());
        all.iter().map(owned).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn two_underscores_separate_tables_and_values_are_toml_or_text() {
        let all = variables(&[
            ("PADDINGTON__URL", "wss://hub.example"),
            ("PADDINGTON__SETTINGS__TRANSPORT__TIMEOUTS__PING_INTERVAL", "30s"),
            ("PADDINGTON__HEALTH", "{ required = [\"hub\"] }"),
            ("PADDINGTON__PORT", "6502"),
            ("PADDINGTON__API__SOCKET", ""),
            ("PADDINGTON__NAME", "\"7\""),
            ("PADDINGTON__LINKS", "a = 1\nb = 2"),
            ("PADDINGTON_DIR", "/x"),
            ("HOME", "/"),
        ]);
        let read: Vec<_> = read_from(all)
            .into_iter()
            .flat_map(Result::unwrap)
            .map(|it| (it.path.join("."), it.value.to_string()))
            .collect();
        let text = |it: &str| toml::Value::from(it).to_string();
        assert_eq!(
            read,
            [
                ("api.socket".to_owned(), text("")),
                ("health.required".to_owned(), "[\"hub\"]".to_owned()),
                ("links".to_owned(), text("a = 1\nb = 2")),
                ("name".to_owned(), text("7")),
                ("port".to_owned(), "6502".to_owned()),
                ("settings.transport.timeouts.ping_interval".to_owned(), text("30s")),
                ("url".to_owned(), text("wss://hub.example")),
            ]
        );
    }

    #[test]
    fn keys_are_not_taken_from_the_environment() {
        for name in ["PADDINGTON__CLIENTS", "PADDINGTON__SERVERS__INNER_KEY__DATA"] {
            let problem = read_from(variables(&[(name, "5ec3e7")])).remove(0).err().unwrap();
            assert_eq!(problem.file, format!("variable {name}"));
            assert!(problem.what.contains("keys cannot be set here"), "{problem}");
            assert!(!problem.to_string().contains("5ec3e7"), "{problem}");
        }
    }

    #[test]
    fn a_variable_whose_name_is_malformed_is_refused() {
        for name in ["PADDINGTON__", "PADDINGTON____PORT", "PADDINGTON__port", "PADDINGTON__API__"]
        {
            let problem = read_from(variables(&[(name, "1")])).remove(0).err().unwrap();
            assert!(problem.what.contains("no name of a setting"), "{name}: {problem}");
        }
    }

    #[test]
    fn a_variable_that_was_meant_as_a_setting_is_told() {
        for (name, meant) in [
            ("PADDINGTON_SETTINGS_HANDLERS", "PADDINGTON__SETTINGS__HANDLERS"),
            ("PADDINGTON_SETTINGS__HANDLER", "PADDINGTON__SETTINGS__HANDLERS"),
            ("PADDINGTON_OUTBOX", "PADDINGTON__OUTBOX"),
            ("PADDINGTON_API_TCP", "PADDINGTON__API__TCP"),
            ("PADDINGTON_DIRS", "PADDINGTON_DIR"),
        ] {
            let problems = strays_in(variables(&[(name, "x")]));
            assert_eq!(problems.len(), 1, "{name}");
            assert_eq!(problems[0].remedy, format!("Did you mean {meant}?"));
        }
        let silent = [
            "PADDINGTON_DIR",
            "PADDINGTON_PEER",
            "PADDINGTON_BIN",
            "PADDINGTON_VERSION",
            // Of a Service called `paddington`, and of one called `paddington-api`.
            "PADDINGTON_SERVICE_HOST",
            "PADDINGTON_SERVICE_PORT_HTTP",
            "PADDINGTON_PORT",
            "PADDINGTON_PORT_6501_TCP_ADDR",
            "PADDINGTON_API_PORT",
            "PADDINGTON__PORT",
        ];
        assert_eq!(strays_in(variables(&silent.map(|name| (name, "x")))), []);
    }
}
