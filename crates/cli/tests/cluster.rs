//! The command on a service whose replicas share a PostgreSQL: `docs/cluster.md`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![cfg(unix)]

mod support;

use std::sync::Arc;

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
    two.done(&["remove", "late"]);
    eventually(|| names(&one) == ["sensor"], || one.log());
    sensor.has_generation("hub", 1);
    eventually(
        || one.done(&["show", "sensor", "--json"]).contains("\"generation\":1"),
        || one.done(&["show", "sensor", "--json"]),
    );

    // What is removed where nobody runs is gone everywhere.
    drop(running);
    two.done(&["remove", "sensor"]);
    eventually(|| names(&one).is_empty(), || one.log());
    let refused = two.call(&["remove", "sensor"]);
    assert_eq!(refused.status.code(), Some(6), "{refused:?}");
    for place in [&one, &two] {
        let keys = std::fs::read_dir(&place.folder).unwrap().count();
        assert!(keys < 10 && !place.folder.join("links").exists(), "nothing is in files");
    }
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
