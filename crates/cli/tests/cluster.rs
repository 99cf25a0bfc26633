//! The command on a service whose replicas share a PostgreSQL: `docs/cluster.md`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![cfg(unix)]

mod support;

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use paddington_test_support::PostgresServer;
use serde_json::Value;
use support::{Place, eventually, free_port};

/// A replica in a folder of its own, over a schema that nobody else uses; nothing where there is no
/// PostgreSQL.
fn replica(temp: &Arc<tempfile::TempDir>, folder: &str, url: &str, port: u16) -> Option<Place> {
    let server = PostgresServer::shared()?;
    let listen = format!("127.0.0.1:{port}");
    let place = Place::at(temp, folder);
    let database = server.url();
    place.done(&["init", "hub", "--url", url, "--listen", &listen, "--database", &database]);
    place.edit("# password_file", &format!("schema = \"{}\"\n# password_file", schema(temp)));
    Some(place)
}

/// A schema for this test: the name of its folder is like no other.
fn schema(temp: &tempfile::TempDir) -> String {
    let name = temp.path().file_name().unwrap().to_str().unwrap().to_lowercase();
    name.replace('.', "t").replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

fn names(place: &Place) -> Vec<String> {
    let listed: Value = serde_json::from_str(&place.done(&["peers", "--json"])).unwrap();
    let peers = listed["peers"].as_array().unwrap();
    peers.iter().map(|peer| peer["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn peers_are_those_of_all_replicas_whether_or_not_one_runs_here() {
    let temp = Arc::new(tempfile::tempdir().unwrap());
    let ports = [free_port(), free_port()];
    let url = format!("ws://127.0.0.1:{}/", ports[1]);
    let Some(one) = replica(&temp, "one", &url, ports[0]) else { return };
    let two = replica(&temp, "two", &url, ports[1]).unwrap();
    let sensor = Place::init(&temp, "sensor", "ws://localhost:1", 1);

    // Nobody runs: the database has it.
    let invitation = one.invite("sensor", &["--from", "127.0.0.1"]);
    assert_eq!(names(&two), ["sensor"]);
    assert_eq!(two.done(&["outbox", "list"]).trim(), one.done(&["outbox", "list"]).trim());
    sensor.join(&invitation, &[]);

    // Replicas run: each knows what is done at another one, or by the command where none runs.
    let running = two.run();
    let _sensor = sensor.run();
    eventually(|| two.done(&["show", "sensor"]).contains("connected"), || two.log());
    one.invite("late", &["--from", "192.0.2.7"]);
    eventually(|| names(&two) == ["late", "sensor"], || two.log());
    one.done(&["range", "late", "192.0.2.8"]);
    eventually(|| two.done(&["show", "late"]).contains("192.0.2.8"), || two.log());
    let _one = one.run();
    eventually(|| two.done(&["status"]).contains("a commit takes"), || two.done(&["status"]));
    let status: Value = serde_json::from_str(&two.done(&["status", "--json"])).unwrap();
    let number = &status["service"]["replica"]["number"];
    assert!(number.is_u64(), "{status}");
    let told = |words: &str| one.done(&["status"]).contains(words);
    let owned = format!("replica {number} owns it");
    eventually(|| told(&owned), || one.done(&["status"]));
    two.done(&["remove", "late"]);
    eventually(|| names(&one) == ["sensor"], || one.log());
    sensor.has_generation("hub", 1);
    eventually(
        || one.done(&["show", "sensor", "--json"]).contains("\"generation\":1"),
        || one.done(&["show", "sensor", "--json"]),
    );

    // What is removed where nobody runs is gone everywhere.
    drop(running);
    eventually(|| told("no replica owns it"), || one.done(&["status"]));
    two.done(&["remove", "sensor"]);
    eventually(|| names(&one).is_empty(), || one.log());
    let refused = two.call(&["remove", "sensor"]);
    assert_eq!(refused.status.code(), Some(6), "{refused:?}");
    for place in [&one, &two] {
        let keys = std::fs::read_dir(&place.folder).unwrap().count();
        assert!(keys < 10 && !place.folder.join("links").exists(), "nothing is in files");
    }
}

/// Lets a replica seal, with the same secret as the others.
fn seals(place: &Place) {
    let (secret, path) = (place.folder.join("secret"), place.folder.join("service.toml"));
    std::fs::write(&secret, "5a".repeat(32)).unwrap();
    std::fs::set_permissions(secret, Permissions::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text + "\n[at_rest]\nkey_file = \"secret\"\n").unwrap();
}

#[test]
fn what_replicas_share_is_sealed_under_another_key_while_they_are_stopped() {
    let temp = Arc::new(tempfile::tempdir().unwrap());
    let ports = [free_port(), free_port()];
    let url = format!("ws://127.0.0.1:{}/", ports[1]);
    let Some(one) = replica(&temp, "one", &url, ports[0]) else { return };
    let two = replica(&temp, "two", &url, ports[1]).unwrap();
    seals(&one);
    seals(&two);
    let copy = || {
        std::fs::copy(one.folder.join("keyring.toml"), two.folder.join("keyring.toml")).unwrap();
    };
    let told = one.done(&["at-rest", "seal"]);
    assert!(told.contains("Copy keyring.toml to the other replicas"), "{told}");
    let refused = two.call(&["peers"]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && error.contains("copy the keyring and its"), "{error}");
    assert!(!two.folder.join("keyring.toml").exists(), "no other one is made");
    copy();
    one.invite("sensor", &["--from", "127.0.0.1"]);
    assert_eq!(names(&two), ["sensor"]);

    let running = two.run();
    let refused = one.call(&["at-rest", "rekey"]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(4), "{error}");
    assert!(error.contains("the replicas "), "{error}");
    assert!(error.contains("Stop all replicas first."), "{error}");
    drop(running);
    let told = one.done(&["at-rest", "rekey"]);
    assert!(told.starts_with("sealed under a new key: 1 link, "), "{told}");
    let refused = two.call(&["peers"]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && error.contains("copy the keyring"), "{error}");
    copy();
    assert_eq!(names(&two), ["sensor"]);
    let told = one.done(&["at-rest", "unseal", "--json"]);
    assert!(told.starts_with("{\"links\":1,"), "{told}");
}

#[test]
fn a_dead_letter_that_another_replica_handles_is_refused_and_the_replica_named() {
    let temp = Arc::new(tempfile::tempdir().unwrap());
    let ports = [free_port(), free_port()];
    let url = format!("ws://127.0.0.1:{}/", ports[0]);
    let Some(one) = replica(&temp, "one", &url, ports[0]) else { return };
    let two = replica(&temp, "two", &url, ports[1]).unwrap();
    let sensor = Place::init(&temp, "sensor", "ws://localhost:1", 1);
    sensor.join(&one.invite("sensor", &["--from", "127.0.0.1"]), &[]);
    // It fails as long as there is no gate; then it waits until that opens.
    let command = "test -p gate || exit 1; touch begun; cat gate";
    let (_one, _two) = (one.run_with(&["--exec", command]), two.run());
    let _sensor = sensor.run();
    let failed = sensor.call(&["send", "hub", "hello", "--wait"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let read = |json: &str| serde_json::from_str::<Value>(json).unwrap();
    let letters = read(&two.done(&["dead-letters", "list", "--json"]));
    let id = letters["letters"][0]["id"].to_string();
    let status = read(&one.done(&["status", "--json"]));
    let number = &status["service"]["replica"]["number"];

    let gate = one.folder.join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let retry = ["dead-letters", "retry", &id];
    let (handled, refused) = thread::scope(|scope| {
        let handled = scope.spawn(|| one.call(&retry));
        eventually(|| one.folder.join("begun").exists(), || one.log());
        let refused = two.call(&retry);
        std::fs::write(&gate, "").unwrap();
        (handled.join().unwrap(), refused)
    });
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(6), "{error}");
    let elsewhere = format!("dead letter {id} is being handled at replica {number}");
    let remedy = format!("wait until replica {number} has handled it, or try again there");
    assert!(error.contains(&elsewhere) && error.contains(&remedy), "{error}");
    assert!(handled.status.success(), "{handled:?}");
    let gone = two.call(&retry);
    let error = String::from_utf8(gone.stderr).unwrap();
    assert_eq!(gone.status.code(), Some(6), "{error}");
    assert!(error.contains(&format!("there is no dead letter {id}")), "{error}");
}

/// Handles one message as a web server, and returns the fence that it is told.
fn posted_fence(listener: &TcpListener) -> Option<u64> {
    let (stream, _) = listener.accept().unwrap();
    let mut lines = BufReader::new(&stream);
    let (mut length, mut fence) = (0, None);
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let line = line.trim_end().to_lowercase();
        match line.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("paddington-fence", value)) => fence = Some(value.parse().unwrap()),
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    lines.read_exact(&mut vec![0; length]).unwrap();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    (&stream).write_all(answer).unwrap();
    fence
}

#[test]
fn commands_and_webhooks_of_replicas_are_told_a_fence_that_grows_with_each_owner_of_the_link() {
    let temp = Arc::new(tempfile::tempdir().unwrap());
    let port = free_port();
    let Some(hub) = replica(&temp, "hub", &format!("ws://127.0.0.1:{port}/"), port) else { return };
    let sensor = Place::init(&temp, "sensor", "ws://localhost:1", 1);
    sensor.join(&hub.invite("sensor", &["--from", "127.0.0.1"]), &[]);
    let running = hub.run_with(&["--exec", "echo $PADDINGTON_FENCE >> fences"]);
    let _sensor = sensor.run();
    for text in ["one", "two"] {
        sensor.done(&["send", "hub", text, "--wait"]);
    }
    drop(running);

    // A process that is started again is another replica.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let _hub = hub.run_with(&["--webhook", &url]);
    let posted = thread::scope(|scope| {
        let sent = scope.spawn(|| sensor.done(&["send", "hub", "three", "--wait"]));
        let posted = posted_fence(&listener);
        sent.join().unwrap();
        posted
    });
    let fences = std::fs::read_to_string(hub.folder.join("fences")).unwrap();
    let fences: Vec<u64> = fences.lines().map(|fence| fence.parse().unwrap()).collect();
    let [one, two] = fences[..] else { unreachable!("{fences:?}") };
    assert!(one == two && Some(two) < posted, "{fences:?}, {posted:?}");
}

#[test]
fn a_password_in_the_url_is_refused_and_not_shown() {
    let temp = Arc::new(tempfile::tempdir().unwrap());
    let place = Place::at(&temp, "hub");
    let database = "postgres://me:geheim@db.example/x";
    let refused = place.call(&["init", "hub", "--database", database]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(6), "{error}");
    assert!(error.contains("password_file") && !error.contains("geheim"), "{error}");
    assert!(!place.folder.exists());
}
