//! Services of the command in folders of their own, and servers that are none.

#![allow(dead_code, reason = "each test uses its part")]

use std::fs::DirBuilder;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use paddington_test_support::Authority;
pub(crate) use paddington_test_support::free_port;
use rcgen::CertificateParams;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of a service.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    _temp: Arc<tempfile::TempDir>,
}

/// A service that runs, and is killed in the end.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two services: a hub, and a sensor that has joined it. Neither runs.
pub(crate) struct Pair {
    pub(crate) hub: Place,
    pub(crate) sensor: Place,
}

impl Place {
    /// A folder that is not there yet.
    pub(crate) fn at(temp: &Arc<tempfile::TempDir>, name: &str) -> Self {
        Self { folder: temp.path().join(name), _temp: Arc::clone(temp) }
    }

    pub(crate) fn init(temp: &Arc<tempfile::TempDir>, name: &str, url: &str, port: u16) -> Self {
        let place = Self::at(temp, name);
        let listen = format!("127.0.0.1:{port}");
        place.done(&["init", name, "--url", url, "--listen", &listen]);
        place
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Output {
        let mut command = paddington();
        command.arg("-C").arg(&self.folder).args(arguments).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// Carries out a command that succeeds, and returns what it prints.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Invites a client, and returns the file of the invitation.
    pub(crate) fn invite(&self, peer: &str, more: &[&str]) -> PathBuf {
        let file = self.folder.join(format!("{peer}.invitation"));
        let mut arguments = vec!["invite", peer, "--output", file.to_str().unwrap()];
        arguments.extend(more);
        self.done(&arguments);
        file
    }

    pub(crate) fn join(&self, invitation: &Path, more: &[&str]) {
        let mut arguments = vec!["join", invitation.to_str().unwrap()];
        arguments.extend(more);
        self.done(&arguments);
    }

    /// Starts the service, and waits until it can be asked.
    pub(crate) fn run(&self) -> Running {
        self.run_with(&[])
    }

    /// Starts the service with these flags, and waits until it can be asked.
    pub(crate) fn run_with(&self, flags: &[&str]) -> Running {
        let mut command = paddington();
        command.arg("-C").arg(&self.folder).arg("run").args(flags).stdin(Stdio::null());
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let running = Running(child);
        eventually(|| self.call(&["status"]).status.success(), || self.log());
        running
    }

    /// Returns what the service has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// A copy of the folder as a thief, or a careless person, makes it.
    pub(crate) fn copied(&self, name: &str) -> Self {
        let folder = self.folder.with_file_name(name);
        for folder in [&folder, &folder.join("links")] {
            DirBuilder::new().mode(0o700).create(folder).unwrap();
        }
        for file in ["service.toml", "links/hub.toml"] {
            std::fs::copy(self.folder.join(file), folder.join(file)).unwrap();
        }
        Self { folder, _temp: Arc::clone(&self._temp) }
    }

    pub(crate) fn edit(&self, from: &str, to: &str) {
        let path = self.folder.join("service.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }

    /// Lets the service connect through a proxy.
    pub(crate) fn go_through(&self, proxy: &str) {
        let table = format!("[settings.transport.outbound]\nproxy = \"{proxy}\"\n\n[api]");
        self.edit("[api]", &table);
    }

    pub(crate) fn doctor(&self, peer: &str) -> Value {
        let output = self.call(&["doctor", peer, "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let code = if report["healthy"] == true { 0 } else { 1 };
        assert_eq!(output.status.code(), Some(code), "{report:#}");
        report
    }

    /// Waits until the doctor names a cause first, and returns its remedy.
    pub(crate) fn names(&self, peer: &str, code: &str) -> String {
        let mut report = Value::Null;
        let mut asked = || {
            report = self.doctor(peer);
            report["diagnoses"][0]["code"] == code
        };
        let began = Instant::now();
        while !asked() {
            assert!(began.elapsed() < PATIENCE, "{peer}: no {code} in {report:#}");
        }
        let first = &report["diagnoses"][0];
        let remedy = first["remedy"].as_str().unwrap().to_owned();
        let shown = String::from_utf8(self.call(&["doctor", peer]).stdout).unwrap();
        assert!(shown.contains(&format!("[{code}]")), "{shown}");
        remedy
    }

    /// Waits until the doctor finds nothing.
    pub(crate) fn is_healthy(&self, peer: &str) {
        eventually(|| self.doctor(peer)["healthy"] == true, || format!("{:#}", self.doctor(peer)));
    }

    /// Waits until the keys of a link are of this generation at least.
    pub(crate) fn has_generation(&self, peer: &str, generation: u64) {
        let shown = || self.done(&["show", peer, "--json"]);
        let found = || {
            let entry: Value = serde_json::from_str(&shown()).unwrap();
            entry["keys"]["generation"].as_u64() >= Some(generation)
        };
        eventually(found, shown);
    }
}

impl Pair {
    /// A hub at `port`, whose clients are told to connect to `url`.
    pub(crate) fn new(url: &str, port: u16) -> Self {
        let pair = Self::strangers(url, port);
        pair.sensor.join(&pair.hub.invite("sensor", &["--from", "127.0.0.1"]), &[]);
        pair
    }

    /// A hub and a sensor that do not know each other.
    pub(crate) fn strangers(url: &str, port: u16) -> Self {
        let temp = Arc::new(tempfile::tempdir().unwrap());
        let hub = Place::init(&temp, "hub", url, port);
        let sensor = Place::init(&temp, "sensor", "ws://localhost:1", 1);
        Self { hub, sensor }
    }

    /// A hub at a port that is free.
    pub(crate) fn at_free_port() -> Self {
        let port = free_port();
        Self::new(&format!("ws://127.0.0.1:{port}/"), port)
    }
}

/// The command, in an environment that names no proxies.
pub(crate) fn paddington() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paddington"));
    for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

/// Waits until something is so.
pub(crate) fn eventually(mut is_so: impl FnMut() -> bool, seen: impl Fn() -> String) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{}", seen());
        thread::yield_now();
    }
}

/// A web server that gives each request the same answer.
pub(crate) fn web_server(answer: &'static str) -> SocketAddr {
    serve(move |mut stream| {
        // A request arrives as a whole on this machine; the client may be gone.
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(answer.as_bytes());
    })
}

fn serve(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
    address
}

/// A certificate authority, and a server with a certificate of it.
pub(crate) struct TlsServer {
    pub(crate) port: u16,
    /// The authority's certificate.
    pub(crate) pem: String,
}

impl TlsServer {
    pub(crate) fn start(
        authority_name: &str,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let authority = Authority::named(authority_name);
        let config = authority.issue_with(name, change).server();
        let address = serve(move |mut stream| {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            // Clients that do not trust it hang up.
            while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
        });
        Self { port: address.port(), pem: authority.pem }
    }
}
