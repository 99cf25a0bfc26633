//! The folder of a service: where it is, and what its `service.toml` says.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use paddington::seconds;
use paddington_admin::{Settings, Token, TokenError};
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};

/// The file that a person edits. The command writes it once, when it makes the folder.
pub(crate) const CONFIG: &str = "service.toml";
/// The folder of a service that the system runs.
const SYSTEM: &str = "/etc/paddington";
/// Where such a service keeps what it writes.
const SYSTEM_STATE: &str = "/var/lib/paddington";

/// The settings of the command itself. An embedded service ignores them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Operation {
    pub(crate) api: Api,
    pub(crate) health: Health,
    pub(crate) handler: Program,
}

/// The local API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Api {
    /// The Unix socket of the local API; empty for none.
    pub(crate) socket: PathBuf,
    /// A loopback address for the status page, and for programs that cannot use the socket.
    pub(crate) tcp: Option<SocketAddr>,
    /// The file with the token that is asked for over TCP. It is made if it is not there.
    pub(crate) token_file: PathBuf,
    /// Whether peers can be changed over TCP and on the page.
    pub(crate) changes: bool,
}

/// The conditions of the service's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Health {
    /// The peers without which the service is not ready (`/readyz`). If another living replica owns the link of one, that
    /// replica answers for it.
    pub(crate) required: Vec<String>,
    /// How long one of them may be away.
    #[serde(with = "seconds::or_zero")]
    pub(crate) grace: Duration,
}

/// The program that messages are handed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Program {
    /// A command and its arguments, started for each message.
    pub(crate) exec: Vec<String>,
    /// A URL that each message is posted to.
    pub(crate) webhook: Option<String>,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            socket: "paddington.sock".into(),
            tcp: None,
            token_file: "api.token".into(),
            changes: false,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self { required: Vec::new(), grace: Duration::from_secs(60) }
    }
}

impl Operation {
    /// Returns the settings that differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let settings = [
            ("api.socket", self.api.socket != other.api.socket),
            ("api.tcp", self.api.tcp != other.api.tcp),
            ("api.token_file", self.api.token_file != other.api.token_file),
            ("api.changes", self.api.changes != other.api.changes),
            ("health.required", self.health.required != other.health.required),
            ("health.grace", self.health.grace != other.health.grace),
            ("handler.exec", self.handler.exec != other.handler.exec),
            ("handler.webhook", self.handler.webhook != other.handler.webhook),
        ];
        settings.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }

    /// The settings of the local API. A token is made if TCP is switched on.
    pub(crate) fn admin(&self) -> Result<Settings, Failure> {
        let token = |error: TokenError| Failure::of(Exit::Files, &error);
        Ok(Settings {
            socket: Some(self.api.socket.clone()).filter(|path| !path.as_os_str().is_empty()),
            tcp: self.api.tcp,
            token: match self.api.tcp {
                Some(_) => Some(Token::load_or_create(&self.api.token_file).map_err(token)?),
                None => None,
            },
            changes: self.api.changes,
            required: self.health.required.clone(),
            grace: self.health.grace,
            reload: None,
        })
    }
}

/// Enters the folder of a service, so that relative paths in its configuration count from there.
pub(crate) fn enter(chosen: Option<&Path>) -> Result<(), Failure> {
    let folder = find(chosen)?;
    env::set_current_dir(&folder).map_err(|error| {
        Failure::new(
            Exit::Files,
            format!("the folder {} cannot be used: {error}", folder.display()),
        )
    })
}

fn find(chosen: Option<&Path>) -> Result<PathBuf, Failure> {
    let named = chosen.map(Path::to_owned).or_else(|| {
        let here = Path::new(CONFIG).exists();
        let variable = || env::var_os("PADDINGTON_DIR").map(PathBuf::from);
        if here { Some(".".into()) } else { variable().filter(|it| !it.as_os_str().is_empty()) }
    });
    let folder = named.unwrap_or_else(|| SYSTEM.into());
    if folder.join(CONFIG).exists() {
        return Ok(folder);
    }
    let place = if chosen.is_some() || folder != Path::new(SYSTEM) {
        format!("{} holds no {CONFIG}", folder.display())
    } else {
        format!("there is no {CONFIG} in the current folder, nor in {SYSTEM}")
    };
    Err(Failure::new(Exit::Files, place).with_remedy(
        "Name the folder with -C DIR or $PADDINGTON_DIR, or make one: paddington init NAME --url URL",
    ))
}

/// Returns the folder that `init` makes, and where the service will keep what it writes.
pub(crate) fn to_make(chosen: Option<&Path>) -> (PathBuf, PathBuf) {
    let variable = || env::var_os("PADDINGTON_DIR").map(PathBuf::from);
    let folder = chosen.map(Path::to_owned).or_else(variable).unwrap_or_else(|| ".".into());
    let state = if folder == Path::new(SYSTEM) { SYSTEM_STATE.into() } else { PathBuf::new() };
    (folder, state)
}

/// Makes a path absolute that counts from the folder in which the command was called.
pub(crate) fn from_here(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::new(Exit::Files, format!("{}: {error}", path.display())))
}
