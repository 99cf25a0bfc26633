//! A PostgreSQL server of a test's own, where PostgreSQL is installed.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// A server in a temporary folder, which listens at a socket there. It ends when it is dropped, or with
/// the process, however that ends.
#[derive(Debug)]
pub struct PostgresServer {
    folder: PathBuf,
    programs: PathBuf,
    /// The user that runs it, if this one is root, whom it refuses.
    user: Option<&'static str>,
    /// Stops the server and removes the folder once its input ends.
    warden: Child,
}

/// Settings beside those of a new server. Syncs count, or a store refuses the server.
const SETTINGS: &str = "-c listen_addresses='' -c max_connections=500 -c shared_buffers=64MB -c ssl=off \
                        -c log_min_messages=fatal -c log_min_error_statement=panic -c autovacuum_naptime=5s \
                        -c unix_socket_permissions=0777";

impl PostgresServer {
    /// Starts a server. Returns `None`, and says so, where PostgreSQL is not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// Does the same with options of the server's command line.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "whoever runs the tests has to know what was skipped")]
    pub fn start_with(options: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            let (test, missing) =
                (std::thread::current(), "PostgreSQL is not installed (Debian: postgresql)");
            eprintln!("skipped: {}: {missing}", test.name().unwrap_or("a test"));
            return None;
        };
        let user = is_root().then(|| if has_user("postgres") { "postgres" } else { "nobody" });
        let folder = tempfile::Builder::new().prefix("pg").tempdir().map(TempDir::keep).unwrap();
        if let Some(user) = user {
            assert!(run(Command::new("chown").arg(user).arg(&folder)).status.success());
        }
        let stop = "read _; \"$0\" \"$1/pg_ctl\" -D \"$2/data\" -m immediate stop; rm -rf \"$2\"";
        let mut warden = Command::new("sh");
        warden.args(["-c", &stop.replace("\"$0\"", &as_user(user).join(" "))]).arg("warden");
        warden.arg(&programs).arg(&folder).stdin(Stdio::piped()).stdout(Stdio::null());
        let warden = warden.stderr(Stdio::null()).spawn().unwrap();
        let server = Self { folder, programs, user, warden };
        let data = server.data();
        let mut initdb = server.command("initdb");
        initdb.arg("-D").arg(&data);
        check(initdb.args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]));
        let settings = format!("{SETTINGS} -k {} {options}", server.folder.display());
        std::fs::write(server.folder.join("options"), settings).unwrap();
        server.resume();
        Some(server)
    }

    /// The server that the tests of one program share.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<PostgresServer>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// The URL of its database, as a superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as("postgres")
    }

    /// The URL of its database, as a role.
    #[must_use]
    pub fn url_as(&self, role: &str) -> String {
        format!("postgres:///postgres?user={role}&host={}", self.folder.display())
    }

    /// The folder with its socket.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends the server at once, as a crash does.
    pub fn crash(&self) {
        let mut stop = self.command("pg_ctl");
        check(stop.arg("-D").arg(self.data()).args(["-m", "immediate", "stop"]));
    }

    /// Starts the server again.
    pub fn resume(&self) {
        let options = std::fs::read_to_string(self.folder.join("options")).unwrap();
        let mut start = self.command("pg_ctl");
        start.arg("-D").arg(self.data()).arg("-l").arg(self.folder.join("log"));
        check(start.args(["-w", "-s", "-o"]).arg(options).arg("start"));
    }

    /// Runs SQL, and returns what it answers as text.
    pub fn sql(&self, sql: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            "postgres",
        ]);
        let output = run(psql.arg("-h").arg(&self.folder).arg("-c").arg(sql));
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A program of the server, run by the server's user.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let before = as_user(self.user);
        let mut command = match before.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(&self.folder).env_remove("PGDATA");
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.warden.stdin.take());
        let _ = self.warden.wait();
    }
}

fn as_user(user: Option<&'static str>) -> Vec<&'static str> {
    user.map_or_else(Vec::new, |user| vec!["runuser", "-u", user, "--"])
}

/// The folder of the server's programs.
fn programs() -> Option<PathBuf> {
    let asked = Command::new("pg_config").arg("--bindir").output().ok();
    let asked = asked.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    found.sort();
    found.into_iter().rev().chain(asked).find(|folder| folder.join("initdb").exists())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    env::consts::FAMILY == "unix" && id.is_ok_and(|output| output.stdout == b"0\n")
}

fn has_user(name: &str) -> bool {
    Command::new("id").arg(name).output().is_ok_and(|output| output.status.success())
}

/// Runs a command whose children may live on, and must not keep its output open.
fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn check(command: &mut Command) {
    let mut errors = tempfile::tempfile().unwrap();
    let sink = errors.try_clone().unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(sink);
    let status = command.status().unwrap();
    let mut text = String::new();
    let _ = std::io::Seek::rewind(&mut errors);
    let _ = std::io::Read::read_to_string(&mut errors, &mut text);
    assert!(status.success(), "{command:?}: {text}");
}
