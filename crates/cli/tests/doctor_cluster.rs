//! What the doctor says of the database that replicas share, and of the replicas, with a real PostgreSQL.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use paddington::{Cluster, ServiceConfig};
use paddington_test_support::PostgresServer;
use serde_json::Value;

use support::{Place, Running, eventually, free_port};

mod support;

/// The folders of two replicas of a hub, and of its sensor.
struct Service {
    replicas: [Place; 2],
    sensor: Place,
}

impl Service {
    /// A hub over a database, and a sensor that has its invitation.
    fn over(cluster: Cluster) -> Self {
        let temp = Arc::new(tempfile::tempdir().unwrap());
        let ports = [free_port(), free_port()];
        let [first, second] = ports.map(|port| format!("ws://127.0.0.1:{port}/"));
        let mut hub = ServiceConfig::new("hub", &first, "127.0.0.1", &ports[0]).unwrap();
        hub.set_fallback_urls(&[&second]).unwrap();
        hub.set_cluster(cluster).unwrap();
        let mut sensor = ServiceConfig::new("sensor", "ws://localhost:1", "127.0.0.1", &1).unwrap();
        sensor.add_server(hub.add_client("sensor", "127.0.0.1").unwrap()).unwrap();
        let place = |name: &str, config: &ServiceConfig| {
            let place = Place::init(&temp, name, "ws://localhost:1", 1);
            config.save(place.folder.join("service.toml")).unwrap();
            place
        };
        let replicas = [place("replica-1", &hub), place("replica-2", &hub)];
        replicas[1].edit(&format!("port = {}", ports[0]), &format!("port = {}", ports[1]));
        Self { replicas, sensor: place("sensor", &sensor) }
    }

    /// A hub over a schema of the server's that nobody else uses.
    fn at(server: &PostgresServer) -> Self {
        Self::over(Cluster::new(&server.url()).unwrap())
    }

    fn run(&self) -> [Running; 2] {
        self.replicas.each_ref().map(Place::run)
    }
}

/// The text of a check.
fn text(report: &Value, check: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|it| it["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {report:#}"))["text"].as_str().unwrap().to_owned()
}

/// Waits until the doctor warns of something, and returns what it says.
fn warns(place: &Place, code: &str) -> Value {
    let mut found = Value::Null;
    let ask = || {
        let report = place.doctor("sensor");
        let warnings = report["warnings"].as_array().unwrap();
        found = warnings.iter().find(|it| it["code"] == code).cloned().unwrap_or_default();
        !found.is_null()
    };
    eventually(ask, || format!("{:#}", place.doctor("sensor")));
    found
}

fn holds(words: &str, all: &[&str]) {
    for part in all {
        assert!(words.contains(part), "{part:?} is not in: {words}");
    }
}

/// Changes a setting of a server, and waits until it counts.
fn set(server: &PostgresServer, setting: &str, value: &str) {
    server.sql(&format!("ALTER SYSTEM SET {setting} = '{value}'"));
    server.sql("SELECT pg_reload_conf()");
    eventually(|| server.sql(&format!("SHOW {setting}")) == value, || setting.to_owned());
}

#[test]
fn two_replicas_that_live_have_nothing_wrong_and_know_of_each_other() {
    let Some(server) = PostgresServer::start() else { return };
    let service = Service::at(&server);
    let [one, other] = &service.replicas;
    holds(&one.names("sensor", "schema_missing"), &["paddington migrate"]);
    one.done(&["migrate"]);
    holds(&one.names("sensor", "not_running"), &["paddington run"]);
    holds(&one.doctor("late").to_string(), &["ask where a replica runs"]);
    let before = server.sql("SELECT count(*), max(n) FROM paddington.replica");
    assert_eq!(text(&one.doctor("sensor"), "replicas"), "none lives");
    assert_eq!(server.sql("SELECT count(*), max(n) FROM paddington.replica"), before);

    let [first, _second] = service.run();
    let sensor = service.sensor.run();
    one.is_healthy("sensor");
    let report = one.doctor("sensor");
    holds(&text(&report, "replicas"), &["2 live: ", ", here)", env!("CARGO_PKG_VERSION")]);
    holds(&text(&report, "database"), &["can be used, and is the primary"]);
    holds(&text(&report, "links"), &["1 in the database, and no message waits"]);
    holds(&text(&report, "distance"), &["the lease is 10.0 s"]);
    holds(&text(&report, "clock"), &["the same time"]);
    holds(&text(&report, "connections"), &["a replica opens up to 16"]);
    // What is with the other replica is nothing wrong here.
    other.is_healthy("sensor");
    let report = other.doctor("sensor");
    let checks = report["peers"][0]["checks"].to_string();
    holds(&checks, &["owns the link; whether the peer is connected is seen there"]);
    let warning = warns(other, "no_synchronous_standby");
    holds(warning["text"].as_str().unwrap(), &["synchronous_standby_names is empty"]);
    let shown = String::from_utf8(other.call(&["doctor"]).stdout).unwrap();
    holds(&shown, &["Nothing is wrong.", "[no_synchronous_standby]"]);

    // The other replica is of another version, and has another lease.
    let own = "n <> (SELECT max(n) FROM paddington.replica)";
    server.sql(&format!(
        "UPDATE paddington.replica SET version = '0.0.9', lease = 60000 WHERE {own}"
    ));
    let warning = warns(other, "versions_differ");
    holds(warning["text"].as_str().unwrap(), &["0.0.9 and ", env!("CARGO_PKG_VERSION")]);
    let warning = warns(other, "leases_differ");
    holds(warning["text"].as_str().unwrap(), &["is 60.0 s, and here it is 10.0 s"]);

    // The peer does not come back, and the replica that had it is gone.
    drop(sensor);
    drop(first);
    let warning = warns(other, "owner_dead");
    holds(
        warning["text"].as_str().unwrap(),
        &["the replica that owned 1 of them is dead: sensor (of "],
    );
}

#[test]
fn each_fault_of_a_database_is_named_with_what_to_do() {
    let Some(server) = PostgresServer::start() else { return };
    let names = |cluster: Cluster, code: &str, remedy: &[&str]| {
        holds(&Service::over(cluster).replicas[0].names("sensor", code), remedy);
    };
    let cluster = |url: &str| Cluster::new(url).unwrap();
    let closed = format!("postgres://me@127.0.0.1:{}/x", free_port());
    names(cluster(&closed), "database_unreachable", &["listen_addresses"]);
    names(cluster("postgres://me@nowhere.invalid/x"), "database_name_not_resolved", &["DNS"]);
    names(cluster(&server.url_as("nobody")), "database_role_refused", &["pg_hba.conf"]);
    let gone = server.url().replace("/postgres?", "/gone?");
    names(cluster(&gone), "database_missing", &["CREATE DATABASE"]);
    let no_file = cluster(&server.url()).with_password_file("/no/such/file");
    names(no_file, "database_settings", &["[cluster]"]);

    server.sql("CREATE ROLE limited LOGIN CONNECTION LIMIT 2; CREATE SCHEMA other; CREATE TABLE other.orders(id int)");
    names(cluster(&server.url()).with_schema("other"), "schema_foreign", &["schema in [cluster]"]);
    Service::at(&server).replicas[0].done(&["migrate"]);
    names(
        cluster(&server.url_as("limited")),
        "database_rights",
        &["GRANT USAGE ON SCHEMA paddington"],
    );
    server.sql("GRANT USAGE ON SCHEMA paddington TO limited; GRANT ALL ON ALL TABLES IN SCHEMA paddington TO limited");
    server.sql("ALTER ROLE limited CONNECTION LIMIT 12");
    names(cluster(&server.url_as("limited")), "too_few_connections", &["max_connections"]);
    server.sql("UPDATE paddington.meta SET value = value + 1 WHERE key = 'format'");
    names(cluster(&server.url()), "schema_format", &["Update this command"]);
    server.sql("UPDATE paddington.meta SET value = value - 1 WHERE key = 'format'");
    server.sql("INSERT INTO paddington.meta VALUES ('service', 7)");
    names(cluster(&server.url()), "schema_of_another", &["a database of its own"]);
    server.sql("DELETE FROM paddington.meta WHERE key = 'service'");

    set(&server, "fsync", "off");
    names(cluster(&server.url()), "database_unsafe", &["ALTER SYSTEM SET fsync = on"]);
    set(&server, "fsync", "on");
    set(&server, "synchronous_standby_names", "ANY 1 (db2)");
    names(cluster(&server.url()), "synchronous_standby_away", &["pg_stat_replication"]);
    set(&server, "synchronous_standby_names", "");
    let Some(standby) = server.standby() else { return };
    names(cluster(&standby.url()), "database_read_only", &["target_session_attrs=read-write"]);
    let Some((url, _pooler)) = server.pooler("transaction") else { return };
    names(cluster(&url), "database_pooler", &["pool_mode = session"]);
}

#[test]
fn a_password_is_asked_for_and_never_shown() {
    let Some(server) = PostgresServer::start() else { return };
    server.sql(
        "CREATE ROLE guarded LOGIN PASSWORD 'sesame'; GRANT CREATE ON DATABASE postgres TO guarded",
    );
    server.require_password();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let guarded = || Cluster::new(&server.url_as("guarded")).unwrap();
    let service = Service::over(guarded());
    holds(&service.replicas[0].names("sensor", "database_password"), &["password_file"]);
    let service = Service::over(guarded().with_password_file(&file));
    let replica = &service.replicas[0];
    std::fs::write(&file, "mellon\n").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    holds(&replica.names("sensor", "database_password"), &[file.to_str().unwrap()]);
    assert!(!replica.doctor("sensor").to_string().contains("mellon"));
    std::fs::write(&file, "sesame\n").unwrap();
    holds(&replica.names("sensor", "schema_missing"), &["paddington migrate"]);
    assert!(!replica.doctor("sensor").to_string().contains("sesame"));

    let check = || String::from_utf8(replica.call(&["check"]).stdout).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    holds(&check(), &[&format!("{}: others can read it", file.display())]);
    std::fs::write(&file, "two\nlines\n").unwrap();
    holds(&check(), &["holds more than one line of text", "Put the password, and nothing else"]);
    std::fs::write(&file, "sesame\n").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    replica.done(&["check"]);
}

#[test]
fn one_of_two_hosts_that_is_away_and_another_list_of_databases() {
    let Some(server) = PostgresServer::start() else { return };
    let both = server.url().replace("&host=", "&host=/no/such/folder,");
    let service = Service::over(Cluster::new(&both).unwrap());
    let [replica, _] = &service.replicas;
    replica.done(&["migrate"]);
    let warning = warns(replica, "database_unreachable");
    holds(warning["text"].as_str().unwrap(), &["/no/such/folder: "]);
    let running = replica.run();
    let _sensor = service.sensor.run();
    replica.is_healthy("sensor");
    drop(running);
    server.sql("CREATE DATABASE second");
    let second = server.url().replace("/postgres?", "/second?");
    let longer = Cluster::over(&[&server.url(), &second]).unwrap();
    holds(&Service::over(longer).replicas[0].names("sensor", "database_list"), &["as it was"]);
}

#[test]
fn a_change_of_keys_that_was_interrupted_is_told_with_its_database() {
    let Some(server) = PostgresServer::start() else { return };
    server.sql("CREATE DATABASE second");
    let second = server.url().replace("/postgres?", "/second?");
    let service = Service::over(Cluster::over(&[&server.url(), &second]).unwrap());
    let replica = &service.replicas[0];
    replica.done(&["migrate"]);
    let meta =
        |change: &str| server.sql_in("second", &format!("{change} WHERE key = 'converting'"));
    server.sql_in(
        "second",
        "INSERT INTO paddington.meta VALUES ('sealed', 1), ('converting', 7), ('converting_plain', 0)",
    );
    holds(&replica.names("sensor", "seal_interrupted"), &["paddington at-rest rekey, or seal"]);
    let told = replica.doctor("sensor");
    holds(
        told["diagnoses"][0]["text"].as_str().unwrap(),
        &["/second: what is in the schema", "sealed under the key 0000000000000007 when that"],
    );
    assert_eq!(replica.call(&["doctor"]).status.code(), Some(1));
    meta("UPDATE paddington.meta SET value = 0");
    holds(&replica.names("sensor", "seal_interrupted"), &["paddington at-rest unseal"]);
    meta("DELETE FROM paddington.meta");
    replica.names("sensor", "not_running");
    holds(&text(&replica.doctor("sensor"), "seal"), &["is sealed under the key 0000000000000001"]);
}

#[test]
fn every_code_is_in_the_page_about_the_doctor() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../../docs/doctor.md")).unwrap();
    let is_code =
        |text: &str| text.contains('_') && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(root.join("src/doctor/cluster")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let quoted = text.split('"').filter(|it| is_code(it)).map(str::to_owned);
        found.extend(quoted.filter(|it| it != "full_page_writes"));
    }
    assert!(found.len() > 20, "{found:?}");
    for code in found {
        assert!(page.contains(&format!("`{code}`")), "{code} is not in docs/doctor.md");
    }
}
