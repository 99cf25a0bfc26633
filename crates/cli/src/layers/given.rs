//! Settings from outside of files: what may be given there, and what is not written where others read it.

use paddington::ProxyChoice;
use serde::Deserialize;

use super::Origin;
use crate::check::Problem;

/// The tables that hold keys.
pub(super) const PEERS: [&str; 2] = ["clients", "servers"];

/// A setting that was given by a variable or a flag.
pub(super) struct Given {
    pub(super) path: Vec<String>,
    pub(super) value: toml::Value,
    pub(super) origin: Origin,
}

/// Reads a setting: its value as TOML if it is a value of TOML, or else as a text. What is in a table is
/// a setting each.
pub(super) fn read(path: Vec<String>, text: &str, origin: &Origin) -> Result<Vec<Given>, Problem> {
    if path.first().is_some_and(|first| PEERS.contains(&first.as_str())) {
        let what = "peers and their keys cannot be set here, where others may read them";
        return Err(Problem::from(origin, what, "Use `paddington invite` and `paddington join`."));
    }
    let value = text.parse().unwrap_or_else(|_| toml::Value::String(text.to_owned()));
    let mut given = Vec::new();
    add(path, value, origin, &mut given);
    match given.iter().any(Given::is_password_on_command_line) {
        true => {
            let what = "every user of this machine can read a password on a command line";
            let remedy = "Put it into a file, and name that in \
                          settings.transport.outbound.proxy_password_file.";
            Err(Problem::from(origin, what, remedy))
        }
        false => Ok(given),
    }
}

fn add(path: Vec<String>, value: toml::Value, origin: &Origin, given: &mut Vec<Given>) {
    match value {
        toml::Value::Table(table) if !table.is_empty() => {
            for (key, value) in table {
                let path = path.iter().cloned().chain([key]).collect();
                add(path, value, origin, given);
            }
        }
        value => given.push(Given { path, value, origin: origin.clone() }),
    }
}

impl Given {
    fn is_password_on_command_line(&self) -> bool {
        matches!(self.origin, Origin::Flag(_)) && {
            let proxy = ProxyChoice::deserialize(self.value.clone());
            matches!(proxy, Ok(ProxyChoice::Url(url)) if url.has_password())
        }
    }
}
