//! `paddington init`: the folder of a service.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use paddington::{Cluster, Endpoint, ServiceConfig};
use serde::Serialize;

use crate::args::Init;
use crate::failure::{Exit, Failure};
use crate::folder::{self, CONFIG};
use crate::output::Output;

/// The folder that was made.
#[derive(Serialize)]
struct Made {
    name: String,
    folder: String,
    config: String,
}

pub(crate) fn run(args: &Init, chosen: Option<&Path>, output: Output) -> Result<(), Failure> {
    let (folder, state) = folder::to_make(chosen);
    let url: Endpoint = args.url.parse().map_err(|error| Failure::of(Exit::Refused, &error))?;
    let listen = args.listen.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), url.port()));
    // The name, and the rest, are checked before anything is made.
    let (ip, port) = (listen.ip().to_string(), listen.port());
    let mut config = ServiceConfig::new(&args.name, &args.url, &ip, &port)?;
    if !args.database.is_empty() {
        let urls: Vec<_> = args.database.iter().map(String::as_str).collect();
        let cluster = Cluster::over(&urls).map_err(|error| Failure::of(Exit::Refused, &error))?;
        config.set_cluster(cluster)?;
    }
    make(&folder)?;
    if !state.as_os_str().is_empty() {
        make(&state)?;
    }
    let path = folder.join(CONFIG);
    write(&path, &text(&config, &args.url, listen, &state))?;
    let made = Made {
        name: config.name().to_owned(),
        folder: folder.display().to_string(),
        config: path.display().to_string(),
    };
    output.print(&made, |made| next_steps(made, listen, &folder))
}

fn make(folder: &Path) -> Result<(), Failure> {
    let unusable = |error: io::Error| {
        Failure::new(
            Exit::Files,
            format!("the folder {} cannot be made: {error}", folder.display()),
        )
    };
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder).map_err(unusable)
}

/// Writes the configuration where there is none yet.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let failed = |error: io::Error| {
        Failure::new(Exit::Files, format!("{} cannot be written: {error}", path.display()))
    };
    let mut file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(Exit::Refused, format!("{} is there already", path.display()))
                .with_remedy("Edit it, or choose another folder with -C DIR.")
        }
        _ => failed(error),
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// The settings of a service that keeps everything in files of its own.
fn own_files(links: &str, outbox: &str) -> String {
    format!(
        "\
links = {links}  # one file for each peer, with its keys; only the command writes there
outbox = {outbox}  # messages stay here until they are handled

"
    )
}

/// The settings of a service whose replicas share databases.
fn shared(cluster: &Cluster) -> String {
    let urls: Vec<_> = cluster.databases().collect();
    format!(
        "\
[cluster]  # replicas share links, keys and messages; this file is the same at each; docs/cluster.md explains it
databases = {}
# password_file = \"/run/secrets/database\"  # the password, if the database wants one
# lease = \"10s\"  # a replica that is out of touch for so long counts as dead

",
        toml::Value::from(urls)
    )
}

fn text(config: &ServiceConfig, url: &str, listen: SocketAddr, state: &Path) -> String {
    let name = config.name();
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let kept = |file: &str| quoted(&state.join(file).display().to_string());
    let own_socket = if state.as_os_str().is_empty() {
        String::new()
    } else {
        format!("socket = {}\n", kept("paddington.sock"))
    };
    let (own_files, database) = match config.cluster() {
        None => (own_files(&kept("links"), &kept("outbox.sqlite")), String::new()),
        Some(cluster) => (String::new(), shared(cluster)),
    };
    format!(
        "\
# The service {name}. This file is yours: no command ever rewrites it.
# `paddington check` tells what is wrong in it; docs/operate.md explains it.

name = {}
url = {}  # where clients reach it
# fallback_urls = [\"wss://hub2.example\"]  # where they try next, if that fails
ip = {}  # where it listens, once a client is invited
port = {}

{own_files}# [tls]  # this port speaks TLS itself; docs/deploy/tls.md explains it
# directory = \"/etc/letsencrypt/live/hub.example\"  # with fullchain.pem and privkey.pem

{database}# [at_rest]  # keys and messages are sealed where they are kept; docs/deploy/at-rest.md explains it
# key_file = \"/run/secrets/paddington\"  # the secret: 64 hexadecimal digits, or a passphrase

[settings]
# handler_timeout = 300  # seconds that a handler may take; 0 for any time
# renew_keys = 2592000  # seconds between two renewals of a link's keys

[api]
{own_socket}# tcp = \"127.0.0.1:6580\"  # the status page and the API for programs, for this machine alone
# changes = true  # whether peers may be changed there, too

[health]
# required = [\"hub\"]  # /readyz fails while one of these peers is away for longer than the grace
# grace = \"60s\"

[handler]
# exec = [\"./handle\"]  # each message goes to a new process of this command
# webhook = \"http://127.0.0.1:8080/messages\"  # or is posted to this URL
",
        quoted(name),
        quoted(url),
        quoted(&listen.ip().to_string()),
        listen.port(),
    )
}

fn next_steps(made: &Made, listen: SocketAddr, folder: &Path) -> String {
    let flag = match folder.to_str() {
        Some(".") => String::new(),
        _ => format!(" -C {}", folder.display()),
    };
    let range = match listen.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => "127.0.0.1",
        IpAddr::V6(ip) if ip.is_loopback() => "::1",
        _ => "192.0.2.7",
    };
    format!(
        "\
The service {} is in {}. Next, either
  invite a client:        paddington{flag} invite PEER --from {range}
  or join a server:       paddington{flag} join FILE
and then
  run it:                 paddington{flag} run",
        made.name, made.config
    )
}
