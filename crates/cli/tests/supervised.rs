//! A service under a supervisor: one that has opened its socket, that wants to know whether it is alive,
//! or that allows core dumps and few open files.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{Pair, Place, eventually};

mod support;

/// Takes the place of systemd: the socket is file descriptor 3 of the process, which is told so.
const SUPERVISOR: &str = r#"
ulimit -S -c 1024 2>/dev/null
ulimit -S -n 256
exec 3<&0 </dev/null
LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"
"#;

/// Starts a service that is given the socket.
fn start(place: &Place, socket: &TcpListener, environment: &[(&str, &str)]) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", SUPERVISOR, "sh", env!("CARGO_BIN_EXE_paddington"), "-C"]);
    command.arg(&place.folder).arg("run").envs(environment.iter().copied());
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    let log = File::options().create(true).append(true).open(place.folder.join("log")).unwrap();
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn end(mut child: Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").arg(&id).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_restart_refuses_nobody_and_loses_nothing() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let pair = Pair::new(&format!("ws://{address}/"), 1); // its own port counts for nothing
    let hub = start(&pair.hub, &socket, &[]);
    let _sensor = pair.sensor.run();
    pair.sensor.is_healthy("hub");
    let log = || pair.hub.log();
    let ready = format!("ready service=\"hub\" address={address}");
    eventually(|| log().contains(&ready), log);

    end(hub);
    TcpStream::connect(address).unwrap(); // it waits
    pair.sensor.done(&["send", "hub", "meanwhile"]);
    let hub = start(&pair.hub, &socket, &[]);
    pair.sensor.is_healthy("hub");
    let listened = pair.hub.done(&["listen", "-n", "1", "--raw"]);
    assert_eq!(listened.trim_end(), "meanwhile");
    end(hub);
}

#[test]
fn the_supervisor_is_told_that_the_service_is_ready_and_alive() {
    let pair = Pair::at_free_port();
    let path = pair.hub.folder.join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let watched = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "20000")];
    let hub = start(&pair.hub, &socket, &watched);
    let mut heard = Vec::new();
    let mut hears = |word: &str| {
        let mut told = [0; 1024];
        let length = supervisor.recv(&mut told).unwrap();
        heard.push(String::from_utf8_lossy(&told[..length]).into_owned());
        heard.iter().filter(|it| it.contains(word)).count()
    };
    eventually(|| hears("WATCHDOG=1") >= 3, String::new);
    assert!(hears("READY=1") >= 1);
    end(hub);
}

#[test]
fn the_configuration_is_read_again() {
    let pair = Pair::at_free_port();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let hub = start(&pair.hub, &socket, &[]);
    eventually(|| pair.hub.call(&["status"]).status.success(), String::new);
    assert_eq!(pair.hub.done(&["reload"]), "nothing has changed\n");

    let link = pair.hub.folder.join("links/sensor.toml");
    let text = std::fs::read_to_string(&link).unwrap();
    assert!(text.contains("127.0.0.1"), "it has the range");
    std::fs::write(&link, text.replace("127.0.0.1", "127.0.0.2")).unwrap();
    pair.hub.edit("# renew_keys = 2592000", "renew_keys = 1000000");
    pair.hub.edit("# grace = \"60s\"", "grace = \"5s\"");
    let told = pair.hub.done(&["reload"]);
    assert_eq!(
        told,
        "changed: sensor\nwith the next start only: settings.renew_keys, health.grace\n"
    );
    assert!(pair.hub.done(&["show", "sensor"]).contains("127.0.0.2"));

    // What cannot be used changes nothing, and does not end the service.
    pair.hub.edit("renew_keys = 1000000", "renew_keys = \"soon\"");
    let refused = pair.hub.call(&["reload"]);
    assert_eq!(refused.status.code(), Some(6), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("everything is as before"));
    let hang_up = || Command::new("kill").args(["-HUP", &hub.id().to_string()]).status().unwrap();
    assert!(hang_up().success());
    let log = || pair.hub.log();
    eventually(|| log().contains("the configuration cannot be used; everything is as before"), log);
    pair.hub.edit("renew_keys = \"soon\"", "renew_keys = 1000000");
    let before = log().matches("the configuration was read again").count();
    assert!(hang_up().success());
    eventually(|| log().matches("the configuration was read again").count() > before, log);
    end(hub);
}

#[test]
#[cfg(target_os = "linux")]
fn a_service_writes_no_core_dump_and_may_open_as_many_files_as_its_supervisor_allows() {
    let pair = Pair::at_free_port();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let hub = start(&pair.hub, &socket, &[]);
    eventually(|| pair.hub.call(&["status"]).status.success(), String::new);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", hub.id())).unwrap();
    let limit = |name: &str| -> Vec<&str> {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().collect()
    };
    assert_eq!(limit("Max core file size")[0], "0", "{limits}");
    let files = limit("Max open files");
    let most = files[1].parse().map_or(65_536, |most: u64| most.min(65_536));
    assert_eq!(files[0], most.to_string(), "{limits}");
    end(hub);
}
