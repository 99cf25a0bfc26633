//! The page itself, and the test that it is up to date.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::{env, fs};

use paddington::Config;
use toml::Value;

use super::super::keys::known_paths;
use super::bounds;
use super::fields::{Setting, tables};
use crate::folder::Operation;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");

const INTRODUCTION: &str = "\
# Configuration

Every setting of a service. This page is made from the types, their comments and their defaults, and the bounds are those that were found by
trying; `UPDATE_REFERENCE=1 cargo test -p paddington-cli reference` writes it anew. [`operate.md`](operate.md) explains where settings
can be written: `service.toml`, `conf.d`, variables of the environment, flags. `paddington check` tells what is wrong with them, and
`paddington check --origin` shows those of a service.

A **time** is a number of seconds, or a text such as `\"30s\"`, `\"250ms\"` or `\"1day 12h\"`. A **size** is a number of bytes, or a text such as
`\"16 MiB\"`. A **path** counts from the service's folder. A setting that names others has to fit them as they are, which by default they do.

`paddington reload` and SIGHUP apply peers at once: those in `[[clients]]` and `[[servers]]`, and those in the folder of links. Everything else
takes effect with the next start, and a reload names each of these settings that differs. The files that `[tls]` names, the file of a
proxy's password and the certificate authorities of a server are read again while the service runs, without a reload.

While messages go to programs that fetch them through the local API (no `[handler]`, no `--exec`, no `--webhook`), `concurrency`, `handlers`,
`handler_timeout` and `crashes` have no effect: the API has bounds of its own ([`limits.md`](limits.md)).
";

#[test]
fn the_page_about_the_configuration_is_that_of_the_types() {
    let page = page();
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(PAGE, &page).unwrap();
    }
    let found = fs::read_to_string(PAGE).unwrap_or_default();
    let differs = page.lines().zip(found.lines()).find(|(made, found)| made != found);
    assert!(
        page == found,
        "docs/configuration.md is not up to date: UPDATE_REFERENCE=1 cargo test -p paddington-cli \
         reference; the first line that differs: {differs:?}"
    );
}

#[test]
fn the_page_has_every_setting_that_the_check_knows_and_no_other() {
    let tables = tables();
    let settings = tables.iter().filter(|(table, _)| !is_peers(table));
    let written: BTreeSet<_> =
        settings.flat_map(|(_, settings)| settings).map(|it| it.path.clone()).collect();
    assert_eq!(written, known_paths().into_iter().collect());
}

fn is_peers(table: &str) -> bool {
    ["clients", "servers"].contains(&table)
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (table, settings) in tables().iter().filter(|(_, settings)| !settings.is_empty()) {
        let reload = if is_peers(table) {
            "`paddington reload` applies these at once."
        } else {
            "These take effect with the next start."
        };
        let title = match table.as_str() {
            "" => "## At the top".to_owned(),
            table if is_peers(table) => format!("## `[[{table}]]`"),
            table => format!("## `[{table}]`"),
        };
        let head = "| Setting | Type | Default | Bounds | Effect |\n|---|---|---|---|---|";
        write!(page, "\n{title}\n\n{reload}{}\n\n{head}\n", remark(table)).unwrap();
        for setting in settings {
            page.push_str(&row(setting));
        }
    }
    page
}

/// Returns what is said about a table beside its settings.
fn remark(table: &str) -> &'static str {
    match table {
        "clients" | "servers" => {
            " The command keeps peers in the folder of links and writes none of these; a program that \
             embeds a service, and the original paddington, do."
        }
        "tls" => {
            " Without this table the port speaks no TLS. [`deploy/tls.md`](deploy/tls.md) explains it."
        }
        "at_rest" => {
            " Without this table nothing is sealed on the disk; with it, one of the four secrets is needed. \
             [`deploy/at-rest.md`](deploy/at-rest.md) explains it."
        }
        "cluster" => {
            " Without this table the service is one process. [`cluster.md`](cluster.md) explains it."
        }
        "settings.transport.outbound" => {
            " [`deploy/outbound-proxy.md`](deploy/outbound-proxy.md) explains it."
        }
        _ => "",
    }
}

fn row(setting: &Setting) -> String {
    let name = setting.path.last().unwrap();
    let (kind, default, effect) = (kind(setting), default_of(setting), &setting.effect);
    let bounds = Some(bounds::of(setting)).filter(|bounds| !bounds.is_empty());
    let bounds = bounds.as_deref().unwrap_or("–");
    format!("| `{name}` | {kind} | {default} | {bounds} | {effect} |\n")
}

fn kind(setting: &Setting) -> &'static str {
    let kind =
        setting.kind.strip_prefix("Option<").map_or(&*setting.kind, |kind| &kind[..kind.len() - 1]);
    match kind {
        "time" | "time or 0" => "time (seconds)",
        kind if kind.starts_with("size of ") => "size (bytes)",
        "u16" | "u32" | "u64" | "usize" => "number",
        "bool" => "`true` or `false`",
        "PathBuf" => "path",
        "String" | "PeerName" | "Software" | "HeaderName" | "Identity" | "Bucket" => "text",
        "Endpoint" => "URL",
        "Vec<DatabaseUrl>" => "list of URLs",
        "Fallbacks" => "list of URLs",
        "IpAddr" => "IP address",
        "SocketAddr" => "IP address and port",
        "AddressRange" => "range of addresses",
        "Vec<AddressRange>" => "list of ranges",
        "Vec<String>" | "Vec<HostPattern>" => "list of texts",
        "ProxyChoice" => "`\"environment\"`, `\"none\"` or a URL",
        "Encoding" => "`\"sealed\"` or `\"hex\"`",
        "KeyTable" => "table with `data`: 64 hexadecimal digits",
        "Vec<KeysEntry>" => "tables with keys",
        "policy" => "`\"next\"`, `\"retry\"` or `\"stop\"`",
        other => unreachable!("a type that the page has no word for: {other} of {setting:?}"),
    }
}

fn default_of(setting: &Setting) -> String {
    if setting.is_required {
        let is_of_policy = setting.path.iter().any(|key| key == "on_error");
        return if is_of_policy { "needed with `\"retry\"`" } else { "needed" }.to_owned();
    }
    let settings = Value::try_from(Config::default()).unwrap();
    let mut whole = Value::try_from(Operation::default()).unwrap();
    whole.as_table_mut().unwrap().insert("settings".to_owned(), settings);
    let found = setting.path.iter().try_fold(&whole, |value, key| value.get(key));
    match found {
        Some(Value::String(text)) if text.is_empty() => "none".to_owned(),
        Some(Value::Array(list)) if list.is_empty() => "none".to_owned(),
        Some(Value::Float(seconds)) => format!("`\"{}\"`", time(*seconds)),
        Some(Value::Integer(bytes)) if setting.kind.starts_with("size") => size(*bytes),
        Some(value) => format!("`{value}`"),
        None => of_peer(setting),
    }
}

/// Returns the default of a field of a peer, or of one that has none.
fn of_peer(setting: &Setting) -> String {
    match setting.path.last().map(String::as_str) {
        Some("lease") => "`\"10s\"`".to_owned(),
        Some("schema") => "`\"paddington\"`".to_owned(),
        Some("databases") => "needed".to_owned(),
        Some("encoding") => "`\"hex\"`".to_owned(),
        Some("generation") => "`0`".to_owned(),
        Some("keyring") => "`\"keyring.toml\"`".to_owned(),
        _ => "none".to_owned(),
    }
}

fn time(seconds: f64) -> String {
    humantime::format_duration(std::time::Duration::from_secs_f64(seconds)).to_string()
}

fn size(bytes: i64) -> String {
    match (bytes % (1 << 20), bytes % (1 << 10)) {
        (0, _) => format!("`\"{} MiB\"`", bytes >> 20),
        (_, 0) => format!("`\"{} KiB\"`", bytes >> 10),
        _ => format!("`{bytes}`"),
    }
}
