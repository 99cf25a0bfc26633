//! The command line. Help, completions and manual pages are made from these definitions.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::failure::Failure;
use crate::folder::from_here;

/// Run, use, see and mend links between services.
#[derive(Debug, Parser)]
#[command(
    name = "paddington",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Begin with `paddington init`. Exit codes: 0 done, 1 no, 2 wrong usage, 3 wrong files,\n\
                  4 no service, 5 no answer in time, 6 refused."
)]
pub(crate) struct Arguments {
    /// The service's folder [or this one, $PADDINGTON_DIR, /etc/paddington].
    #[arg(short = 'C', long = "dir", value_name = "DIR", global = true)]
    pub(crate) folder: Option<PathBuf>,

    /// Print data as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the folder of a service.
    Init(Init),
    /// Invite a client, and write its invitation.
    Invite(Invite),
    /// Accept an invitation.
    Join(Join),
    /// List the peers.
    Peers,
    /// Show one peer.
    Show(PeerName),
    /// Remove a peer: its link ends at once.
    Remove(Remove),
    /// Change the addresses that a client connects from.
    Range(Range),
    /// Write a new invitation for a client, or agree on new keys now.
    Renew(Renew),
    /// Delete what is stored for links that are gone.
    Purge(Purge),
    /// Seal what is kept on the disk or in a database, under another key, or not any more.
    AtRest(AtRest),
    /// Check the configuration, with every problem's line and remedy.
    Check(Check),
    /// Run the service in the foreground.
    Run(Run),
    /// Make the tables of a service with replicas, or bring them up to date.
    Migrate(Migrate),
    /// Let the running service read its configuration again.
    Reload,
    /// Show how the running service and its peers are.
    Status(Status),
    /// Send a message.
    Send(Send),
    /// Ask a peer, and print its reply.
    Request(Request),
    /// Print the messages that arrive.
    Listen(Listen),
    /// Measure round trips to a peer.
    Ping(Ping),
    /// See and mend messages that could not be handled.
    DeadLetters(DeadLetters),
    /// See and purge the messages that wait.
    Outbox(Outbox),
    /// Explain why a link does not come up.
    Doctor(Doctor),
    /// Print completions for a shell.
    Completions(Completions),
    /// Write the manual pages into a folder.
    Man(Man),
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Also tell the databases that they were restored from a copy of their disks. All replicas have to be
    /// stopped.
    #[arg(long)]
    pub(crate) restored: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AtRest {
    #[command(subcommand)]
    pub(crate) action: AtRestAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AtRestAction {
    /// Seal links and outbox as [at_rest] in service.toml says. The service, with all its replicas, has to be
    /// stopped.
    Seal,
    /// Write them as they were before they were sealed. The service, with all its replicas, has to be stopped.
    Unseal,
    /// Seal them under a new key, and the key under another secret or the same. The service, with all its
    /// replicas, has to be stopped.
    Rekey(Rekey),
}

/// What is made, and the secret.
#[derive(Debug, Args)]
pub(crate) struct Rekey {
    /// Only add the new key to the keyring, for replicas: copy it before anything depends on it. `at-rest seal` does the rest.
    #[arg(long)]
    pub(crate) keyring_only: bool,
    #[command(flatten)]
    pub(crate) secret: OtherSecret,
}

/// Where the other secret comes from.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct OtherSecret {
    /// The file with the new secret.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// The credential of systemd with the new secret.
    #[arg(long, value_name = "NAME")]
    pub(crate) key_credential: Option<String>,
    /// The variable of the environment with the new secret.
    #[arg(long, value_name = "NAME")]
    pub(crate) key_variable: Option<String>,
    /// The program, with its arguments, that prints the new secret.
    #[arg(long, value_name = "WORD", num_args = 1.., allow_hyphen_values = true)]
    pub(crate) key_command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The service's name, by which its peers call it.
    pub(crate) name: String,
    /// Where clients reach it, such as wss://hub.example/paddington, if it will invite any.
    #[arg(long, default_value = "ws://localhost:6501")]
    pub(crate) url: String,
    /// The address and port that it listens on, [::]:PORT for all addresses of both families [default:
    /// 127.0.0.1, the port of the URL].
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// The PostgreSQL that several replicas of the service share, such as
    /// postgres://paddington@db.example/paddington, without a password. Several of them, if one is not enough.
    #[arg(long, value_name = "URL")]
    pub(crate) database: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// The client's name.
    pub(crate) peer: String,
    /// The addresses that it connects from, such as 192.0.2.7 or 192.0.2.0/24.
    #[arg(long, value_name = "RANGE")]
    pub(crate) from: String,
    #[command(flatten)]
    pub(crate) how: Inviting,
    /// Invite a service that runs the original paddington.
    #[arg(long)]
    pub(crate) hex: bool,
}

/// How an invitation is written.
#[derive(Debug, Args)]
pub(crate) struct Inviting {
    /// How long the invitation is good for if it is not used, such as 7d, or `never`.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub(crate) expires: Option<Duration>,
    /// Seal the invitation with a passphrase, which is asked for.
    #[arg(long)]
    pub(crate) passphrase: bool,
    /// Read the passphrase from a file instead.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// The file to write [default: PEER.invitation.toml in the current folder].
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The invitation that the server's operator has handed over.
    pub(crate) file: PathBuf,
    /// The invitation is sealed: ask for its passphrase.
    #[arg(long)]
    pub(crate) passphrase: bool,
    /// Read the passphrase from a file instead.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Trust only the certificate authorities in this PEM file, for a wss server.
    #[arg(long, value_name = "FILE")]
    pub(crate) authorities: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PeerName {
    /// The peer's name.
    pub(crate) peer: String,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The peer's name.
    pub(crate) peer: String,
    /// Delete the messages that wait for it.
    #[arg(long, conflicts_with = "keep")]
    pub(crate) purge: bool,
    /// Keep the messages that wait for it in the outbox; nobody receives them.
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Range {
    /// The client's name.
    pub(crate) peer: String,
    /// The addresses that it connects from, such as 192.0.2.7 or 192.0.2.0/24.
    pub(crate) range: String,
}

#[derive(Debug, Args)]
pub(crate) struct Renew {
    /// The peer's name.
    pub(crate) peer: String,
    /// Agree on new keys over the connection, at once, instead of writing an invitation.
    #[arg(long, conflicts_with_all = ["expires", "passphrase", "passphrase_file", "output"])]
    pub(crate) keys: bool,
    #[command(flatten)]
    pub(crate) how: Inviting,
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// The link, as `paddington outbox list` names it [default: list them].
    pub(crate) link: Option<String>,
    /// Purge all links that are gone.
    #[arg(long, conflicts_with = "link")]
    pub(crate) all: bool,
}

/// Settings that override those of the files and the environment.
#[derive(Debug, Args)]
pub(crate) struct Setting {
    /// Override a setting for this run, such as settings.handler_timeout=30s; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Show every setting, its value, and where that comes from.
    #[arg(long)]
    pub(crate) origin: bool,
    #[command(flatten)]
    pub(crate) settings: Setting,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Hand each message to a new process of this command: its exit status decides.
    #[arg(long, value_name = "COMMAND", conflicts_with = "webhook")]
    pub(crate) exec: Option<String>,
    /// Hand each message to this URL by POST: 2xx is handled.
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    #[command(flatten)]
    pub(crate) settings: Setting,
    /// How the log is written.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) log: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines of text.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Keep showing it, live.
    #[arg(short, long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The peer's name.
    pub(crate) peer: String,
    /// The message: text, @FILE for the bytes of a file, or - for the standard input.
    #[arg(default_value = "-")]
    pub(crate) message: String,
    /// Wait until its outcome is known; the exit code tells it.
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// Give it up if it is not sent within this time, such as 10s.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Option<Duration>,
    /// Send bytes even where they are valid text.
    #[arg(long)]
    pub(crate) bytes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Request {
    /// The peer's name.
    pub(crate) peer: String,
    /// The request: text, @FILE for the bytes of a file, or - for the standard input.
    #[arg(default_value = "-")]
    pub(crate) message: String,
    /// How long to wait for the reply.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// Send bytes even where they are valid text.
    #[arg(long)]
    pub(crate) bytes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Only the messages of this peer.
    pub(crate) peer: Option<String>,
    /// Print the payloads alone, each as it is.
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// End after this many messages.
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// The peer's name.
    pub(crate) peer: String,
    /// How many round trips.
    #[arg(short = 'c', long, default_value_t = 4)]
    pub(crate) count: u32,
    /// The time between them.
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) interval: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    pub(crate) action: LetterAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LetterAction {
    /// List them.
    List,
    /// Show one, with its payload.
    Show {
        /// Its number.
        id: u64,
    },
    /// Hand it to the handler again; it is deleted if that succeeds.
    Retry {
        /// Its number.
        id: u64,
    },
    /// Delete it.
    Drop {
        /// Its number.
        id: u64,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Outbox {
    #[command(subcommand)]
    pub(crate) action: OutboxAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OutboxAction {
    /// List what waits, and how old it is.
    List,
    /// Delete what is stored for a link that is gone.
    Purge(Purge),
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The peer [default: all of them].
    pub(crate) peer: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder.
    pub(crate) folder: PathBuf,
}

/// Reads a lifetime; `never` is zero.
fn lifetime(text: &str) -> Result<Duration, String> {
    if text == "never" {
        return Ok(Duration::ZERO);
    }
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("write `never` for an invitation that does not expire".into()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error}; write for example 7d, 12h or never")),
    }
}

impl Command {
    /// Makes the files absolute that the command line names: the command changes into the folder of the
    /// service.
    pub(crate) fn with_absolute_files(mut self) -> Result<Self, Failure> {
        let mut paths = Vec::new();
        match &mut self {
            Self::Invite(args) => paths.extend(args.how.files()),
            Self::Renew(args) => paths.extend(args.how.files()),
            Self::AtRest(AtRest { action: AtRestAction::Rekey(args) }) => {
                paths.extend(args.secret.key_file.as_mut());
            }
            Self::Join(args) => {
                paths.push(&mut args.file);
                paths.extend(args.passphrase_file.as_mut());
                paths.extend(args.authorities.as_mut());
            }
            Self::Send(Send { message, .. }) | Self::Request(Request { message, .. }) => {
                if let Some(file) = message.strip_prefix('@') {
                    *message = format!("@{}", from_here(Path::new(file))?.display());
                }
            }
            _ => {}
        }
        for path in paths {
            *path = from_here(path)?;
        }
        Ok(self)
    }
}

impl Inviting {
    fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.passphrase_file.iter_mut().chain(&mut self.output)
    }
}
