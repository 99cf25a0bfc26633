//! A PostgreSQL server of a test's own, where PostgreSQL is installed.

use std::env;
use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Issued, free_port};

/// A server in a temporary folder, which listens at a socket there. It ends soon after the last process
/// that uses it has ended or dropped it, however that happened.
#[derive(Debug)]
pub struct PostgresServer {
    folder: PathBuf,
    programs: PathBuf,
    /// The user that runs it, if this one is root, whom it refuses.
    user: Option<&'static str>,
    /// Is locked, by all who use the server.
    _used: File,
}

/// Settings beside those of a new server. Syncs count, or a store refuses the server.
const SETTINGS: &str = "-c listen_addresses='' -c max_connections=500 -c shared_buffers=64MB -c ssl=off \
                        -c log_min_messages=fatal -c log_min_error_statement=panic -c autovacuum_naptime=5s \
                        -c unix_socket_permissions=0777";

impl PostgresServer {
    /// Starts a server. Returns `None`, and says so, where PostgreSQL is not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_in(new_folder(), false, Self::create)
    }

    /// The server that all tests share which run at the same time, in whichever process.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<PostgresServer>> = OnceLock::new();
        let folder = env::temp_dir().join(format!("paddington-postgres-{}", user_id()));
        SHARED.get_or_init(|| Self::start_in(folder, true, Self::create)).as_ref()
    }

    /// Starts the server in a folder, unless it runs.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests has to know what was skipped")]
    fn start_in(folder: PathBuf, is_shared: bool, create: impl FnOnce(&Self)) -> Option<Self> {
        let Some(programs) = programs() else {
            let (test, missing) =
                (std::thread::current(), "PostgreSQL is not installed (Debian: postgresql)");
            eprintln!("skipped: {}: {missing}", test.name().unwrap_or("a test"));
            return None;
        };
        let is_root = user_id() == "0";
        let user = is_root.then(|| if has_user("postgres") { "postgres" } else { "nobody" });
        std::fs::create_dir_all(&folder).unwrap();
        let found = std::fs::symlink_metadata(&folder).unwrap();
        assert!(
            found.is_dir() && found.uid().to_string() == user_id(),
            "{} is not ours",
            folder.display()
        );
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        // Whoever holds the lock starts the server, or ends it.
        let starting = File::create(folder.join("lock")).unwrap();
        starting.lock().unwrap();
        let used = File::create(folder.join("used")).unwrap();
        used.lock_shared().unwrap();
        let server = Self { folder, programs, user, _used: used };
        if !server.is_ready() {
            let home = server.home();
            server.create_home();
            create(&server);
            server.resume();
            server.watch(if is_shared { &home } else { &server.folder });
        }
        Some(server)
    }

    fn is_ready(&self) -> bool {
        let mut ask = Command::new(self.programs.join("pg_isready"));
        run(ask.arg("-q").arg("-h").arg(self.home())).status.success()
    }

    /// Makes the server's own folder, which belongs to its user.
    fn create_home(&self) {
        let home = self.home();
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir(&home).unwrap();
        if let Some(user) = self.user {
            check(Command::new("chown").arg(user).arg(&home));
        }
    }

    fn create(&self) {
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(self.data()).args(["-U", "postgres", "-A", "trust", "-E", "UTF8"]);
        check(initdb.args(["--locale=C", "--no-sync"]));
    }

    /// Starts a process that ends the server once nobody uses it.
    fn watch(&self, removed: &Path) {
        let stop = "while sleep 2; do \
                        flock \"$1/lock\" flock -n \"$1/used\" sh -c \"$3; rm -rf '$2'\" warden && exit; \
                        test -d \"$1/home\" || exit; \
                    done";
        let end = format!(
            "{} '{}/pg_ctl' -D '{}' -m immediate stop",
            as_user(self.user).join(" "),
            self.programs.display(),
            self.data().display()
        );
        let mut warden = Command::new("setsid");
        warden.args(["--fork", "sh", "-c", stop, "warden"]).arg(&self.folder).arg(removed).arg(end);
        warden.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(warden.status().unwrap().success());
    }

    /// The URL of its database, as a superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as("postgres")
    }

    /// The URL of its database, as a role.
    #[must_use]
    pub fn url_as(&self, role: &str) -> String {
        format!("postgres:///postgres?user={role}&host={}", self.home().display())
    }

    /// Starts a standby, which follows this server.
    #[must_use]
    pub fn standby(&self) -> Option<Self> {
        Self::start_in(new_folder(), false, |standby| {
            let mut copy = standby.command("pg_basebackup");
            copy.arg("-h").arg(self.home()).args([
                "-U",
                "postgres",
                "-c",
                "fast",
                "-R",
                "--no-sync",
                "-D",
            ]);
            check(copy.arg(standby.data()));
        })
    }

    /// Lets every commit wait until a standby has it.
    pub fn synchronize(&self) {
        self.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'");
        self.sql("SELECT pg_reload_conf()");
        let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'";
        while self.sql(synchronous) != "1" {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until a standby can be read as far as its primary has written.
    pub fn catch_up(&self, primary: &Self) {
        let written = primary.sql("SELECT pg_current_wal_lsn()");
        let reached = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
        while self.sql(&reached) != "t" {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Keeps a standby from learning more.
    pub fn cut_off(&self) {
        self.sql("ALTER SYSTEM SET primary_conninfo = ''");
        self.sql("SELECT pg_reload_conf()");
        while self.sql("SELECT count(*) FROM pg_stat_wal_receiver") != "0" {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Makes a standby a server of its own.
    pub fn promote(&self) {
        assert_eq!(self.sql("SELECT pg_promote()"), "t");
    }

    /// The folder with its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.home()
    }

    /// Ends the server at once, as a crash does.
    pub fn crash(&self) {
        let mut stop = self.command("pg_ctl");
        check(stop.arg("-D").arg(self.data()).args(["-m", "immediate", "stop"]));
    }

    /// Starts the server again.
    pub fn resume(&self) {
        self.resume_with("");
    }

    /// Restarts the server with a certificate, and returns the port of this machine where it listens.
    pub fn restart_with_tls(&self, issued: &Issued) -> u16 {
        let port = free_port();
        for (name, text) in [("certificate", &issued.certificate), ("key", &issued.key)] {
            let path = self.home().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            if let Some(user) = self.user {
                check(Command::new("chown").arg(user).arg(&path));
            }
        }
        self.crash();
        let home = self.home().display().to_string();
        self.resume_with(&format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c ssl=on -c ssl_cert_file={home}/certificate -c ssl_key_file={home}/key"
        ));
        port
    }

    /// Starts the server again, without TLS, and returns the port of this machine where it listens.
    #[must_use]
    pub fn resume_at_port(&self) -> u16 {
        let port = free_port();
        self.resume_with(&format!("-c listen_addresses=127.0.0.1 -c port={port}"));
        port
    }

    /// Asks every role but its superuser for a password.
    pub fn require_password(&self) {
        let path = self.data().join("pg_hba.conf");
        std::fs::write(
            path,
            "local all postgres trust\nlocal all nobody reject\nlocal all all scram-sha-256\n",
        )
        .unwrap();
        self.sql("SELECT pg_reload_conf()");
        while self.sql("SELECT count(*) FROM pg_hba_file_rules") != "3" {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn resume_with(&self, more: &str) {
        let options = format!("{SETTINGS} -k {} {more}", self.home().display());
        let mut start = self.command("pg_ctl");
        start.arg("-D").arg(self.data()).arg("-l").arg(self.home().join("log"));
        check(start.args(["-w", "-s", "-o"]).arg(options).arg("start"));
    }

    /// Runs SQL, and returns what it answers as text.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    /// Runs SQL in one of its databases.
    pub fn sql_in(&self, database: &str, sql: &str) -> String {
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
            database,
        ]);
        let output = run(psql.arg("-h").arg(self.home()).arg("-c").arg(sql));
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Starts PgBouncer in front of the server, in a mode of pooling. Returns the URL of the database through
    /// it, and the process; or `None`, and says so, where PgBouncer is not installed.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "whoever runs the tests has to know what was skipped")]
    pub fn pooler(&self, mode: &str) -> Option<(String, Pooler)> {
        let found = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&found).chain(["/usr/sbin".into()]);
        let Some(program) = folders.map(|it| it.join("pgbouncer")).find(|it| it.exists()) else {
            eprintln!("skipped: PgBouncer is not installed (Debian: pgbouncer)");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("pgb").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let path = folder.path().join("pgbouncer.ini");
        let config = format!(
            "[databases]\n* = host={} user=postgres\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {}\n\
             auth_type = any\npool_mode = {mode}\nignore_startup_parameters = options\n",
            self.home().display(),
            folder.path().display()
        );
        std::fs::write(&path, config).unwrap();
        // `runuser` would stay as its parent, and could not be ended with it.
        let mut pooler =
            Command::new(if self.user.is_some() { Path::new("setpriv") } else { &program });
        if let Some(user) = self.user {
            pooler.arg(format!("--reuid={user}")).args(["--clear-groups", "--"]).arg(&program);
        }
        pooler.arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = pooler.spawn().unwrap();
        let socket = folder.path().join(".s.PGSQL.6432");
        while !socket.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let url = format!(
            "postgres:///postgres?user=postgres&port=6432&host={}",
            folder.path().display()
        );
        Some((url, Pooler { child, _folder: folder }))
    }

    /// The folder of the server's user, with its socket.
    fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    fn data(&self) -> PathBuf {
        self.home().join("data")
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
        command.current_dir(self.home()).env_remove("PGDATA");
        command
    }
}

/// A pooler, which runs until it is dropped.
#[derive(Debug)]
pub struct Pooler {
    child: Child,
    _folder: TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn new_folder() -> PathBuf {
    tempfile::Builder::new().prefix("pg").tempdir().map(TempDir::keep).unwrap()
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

pub(crate) fn user_id() -> String {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&id.stdout).trim().to_owned()
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
