//! Files and programs that the configuration names, and who can read them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use paddington::{Cluster, Outbound, ProxyChoice, is_exposed, with_causes};

use super::Problem;
use super::document::Document;
use crate::folder::{CONFIG, Operation};
use crate::layers::{Merged, Origin};

const PROXY: [&str; 4] = ["settings", "transport", "outbound", "proxy"];

/// The longest path of a Unix socket, in bytes.
const SOCKET_PATH: usize = 107;

pub(super) fn problems(document: &Document<'_>) -> Vec<Problem> {
    let mut problems: Vec<_> = outbox(document).into_iter().collect();
    problems.extend(proxy_password(document));
    problems.extend(client_certificate(document));
    problems.extend(database_password(document));
    if let Some(operation) = &document.operation {
        problems.extend(socket(document, &operation.api.socket));
        problems.extend(operation.api.tcp.and_then(|address| tcp(document, address)));
        problems.extend(exposed(&operation.api.token_file));
        problems.extend(program(document, &operation.handler.exec));
        problems.extend(webhook(document, operation.handler.webhook.as_deref()));
        problems.extend(two_handlers(document, operation));
    }
    problems
}

/// Returns which files of the configuration others can read, although they hold secrets.
pub(crate) fn exposed_files(merged: &Merged, proxy: &ProxyChoice) -> Vec<Problem> {
    let path = PROXY.map(str::to_owned);
    let has_password = matches!(proxy, ProxyChoice::Url(url) if url.has_password());
    let further = match merged.origins().get(path.as_slice()) {
        Some(Origin::File(file, _)) if has_password && file != CONFIG => Some(file.as_str()),
        _ => None,
    };
    let files = [CONFIG].into_iter().chain(further);
    files.filter_map(|file| exposed(Path::new(file))).collect()
}

/// Returns the proxy that the configuration names.
pub(super) fn proxy(document: &Document<'_>) -> ProxyChoice {
    let text = document.string(&PROXY).map(toml::Value::String);
    text.and_then(|text| text.try_into().ok()).unwrap_or_default()
}

/// Returns whether others than its owner can read a file that holds secrets.
pub(super) fn exposed(path: &Path) -> Option<Problem> {
    let found = fs::metadata(path).ok().filter(|found| found.is_file() || found.is_dir())?;
    is_exposed(&found).then(|| {
        let path = path.display();
        let remedy = format!("Run: chmod go= {path}");
        let what = "others can read it";
        Problem { is_exposed: true, ..Problem::of(path.to_string(), None, what, remedy) }
    })
}

fn outbox(document: &Document<'_>) -> Option<Problem> {
    let path = PathBuf::from(document.string(&["outbox"])?);
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let line = document.line(&["outbox"]);
    if !folder.is_dir() {
        let what = format!("the outbox needs the folder {}, which is not there", folder.display());
        return Some(Problem::at(line, what, format!("Run: mkdir -p {}", folder.display())));
    }
    if path.is_dir() {
        let what = format!("the outbox {} is a folder", path.display());
        return Some(Problem::at(line, what, "Name a file."));
    }
    exposed(&path)
}

/// Returns what is wrong with the file that holds the password for the proxy.
fn proxy_password(document: &Document<'_>) -> Option<Problem> {
    const SETTING: [&str; 4] = ["settings", "transport", "outbound", "proxy_password_file"];
    let path = document.string(&SETTING).filter(|path| !path.is_empty()).map(PathBuf::from)?;
    let outbound = Outbound { proxy_password_file: path.clone(), ..Outbound::default() };
    match outbound.check_password_file() {
        Ok(()) => exposed(&path),
        Err(error) => {
            let what = format!("the password for the proxy, {}: {error}", path.display());
            let remedy = "Put the password, and nothing else, into a file that this user can read.";
            Some(Problem::at(document.line(&SETTING), what, remedy))
        }
    }
}

/// Returns what is wrong with the file that holds the password for the databases of replicas.
fn database_password(document: &Document<'_>) -> Option<Problem> {
    let cluster = document.read::<Cluster>(&["cluster"])?.ok()?;
    let path = cluster.password_file()?;
    match cluster.check_password_file() {
        Ok(()) => exposed(path),
        Err(error) => {
            let remedy = "Put the password, and nothing else, into a file that this user can read.";
            let line = document.line(&["cluster", "password_file"]);
            Some(Problem::at(line, with_causes(&error), remedy))
        }
    }
}

/// Returns what is wrong with the certificate for servers that ask for one, or with its key.
fn client_certificate(document: &Document<'_>) -> Option<Problem> {
    let setting = |name| ["settings", "transport", "outbound", name];
    let path = |name| document.string(&setting(name)).map(PathBuf::from).unwrap_or_default();
    let outbound = Outbound {
        client_certificate: path("client_certificate"),
        client_key: path("client_key"),
        ..Outbound::default()
    };
    match outbound.check_certificate() {
        Ok(()) => exposed(&outbound.certificate()?.key()),
        Err(error) => {
            let remedy =
                "Name the two PEM files that belong together: docs/deploy/tls.md shows how.";
            let line = document.line(&setting("client_certificate"));
            Some(Problem::at(line, with_causes(&error), remedy))
        }
    }
}

fn socket(document: &Document<'_>, path: &Path) -> Option<Problem> {
    let line = document.line(&["api", "socket"]);
    let len = path.as_os_str().len();
    if len > SOCKET_PATH {
        let what = format!("the path of the socket has {len} bytes, and {SOCKET_PATH} are allowed");
        return Some(Problem::at(line, what, "Choose a shorter one, relative to this folder."));
    }
    if path.exists() && !is_socket(path) {
        let what = format!("{} is there, and it is no socket", path.display());
        return Some(Problem::at(line, what, "Move it away, or name another path."));
    }
    None
}

fn is_socket(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
    }
    #[cfg(not(unix))]
    {
        _ = path;
        false
    }
}

fn tcp(document: &Document<'_>, address: SocketAddr) -> Option<Problem> {
    (!address.ip().is_loopback()).then(|| {
        let what =
            format!("the API would be open to other machines: {address} is no loopback address");
        let remedy =
            "Write for example tcp = \"127.0.0.1:6580\", and put a proxy with TLS before it.";
        Problem::at(document.line(&["api", "tcp"]), what, remedy)
    })
}

fn program(document: &Document<'_>, exec: &[String]) -> Option<Problem> {
    let line = document.line(&["handler", "exec"]);
    let Some(command) = exec.first() else {
        return line.map(|line| {
            let remedy = "Write for example exec = [\"./handle\"], or delete the line.";
            Problem::at(Some(line), "exec names no command", remedy)
        });
    };
    if crate::run::find_program(command).is_none() {
        let what = format!("there is no program {command:?} that can be run");
        return Some(Problem::at(line, what, "Name its path, and make it executable: chmod +x."));
    }
    None
}

fn webhook(document: &Document<'_>, url: Option<&str>) -> Option<Problem> {
    let error = crate::run::webhook_url(url?).err()?;
    let remedy = "Write for example webhook = \"http://127.0.0.1:8080/messages\".";
    Some(Problem::at(document.line(&["handler", "webhook"]), error, remedy))
}

fn two_handlers(document: &Document<'_>, operation: &Operation) -> Option<Problem> {
    let both = !operation.handler.exec.is_empty() && operation.handler.webhook.is_some();
    both.then(|| {
        let what = "both exec and webhook are there, and each message goes to one of them only";
        Problem::at(document.line(&["handler", "webhook"]), what, "Delete one of the two lines.")
    })
}
