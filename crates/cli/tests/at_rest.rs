//! `paddington at-rest`: links and outbox are sealed, and the service goes on.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::{Pair, Place};

/// Writes a file that only its owner can read.
fn secret(place: &Place, name: &str, text: &str) {
    fs::write(place.folder.join(name), text).unwrap();
    fs::set_permissions(place.folder.join(name), fs::Permissions::from_mode(0o600)).unwrap();
}

/// Writes the table, in the place of an older one.
fn write(place: &Place, table: &str) {
    let path = place.folder.join("service.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.split("\n[at_rest]").next().unwrap().to_owned();
    fs::write(path, text + table).unwrap();
}

fn link(place: &Place) -> String {
    fs::read_to_string(place.folder.join("links/hub.toml")).unwrap()
}

fn problems(place: &Place) -> String {
    let output = place.call(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_service_is_sealed_rekeyed_and_unsealed_and_no_message_is_lost() {
    let pair = Pair::at_free_port();
    let sensor = &pair.sensor;
    let running = sensor.run();
    sensor.done(&["send", "hub", "before it is sealed"]);
    let refused = sensor.call(&["at-rest", "seal"]);
    assert_eq!(refused.status.code(), Some(3), "no secret is named");
    secret(sensor, "secret", "correct horse battery staple\n");
    write(sensor, "\n[at_rest]\nkey_file = \"secret\"\n");
    let refused = sensor.call(&["at-rest", "seal"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Stop the service first."));
    drop(running);

    assert!(problems(sensor).contains("paddington at-rest seal"), "{}", problems(sensor));
    assert_eq!(sensor.done(&["at-rest", "seal"]).trim(), "sealed 1 link, 1 message");
    assert!(link(sensor).contains("sealed_with") && !link(sensor).contains("inner_key"));
    sensor.done(&["check"]);
    assert!(sensor.done(&["outbox", "list"]).contains("19 B"));

    secret(sensor, "wrong", "correct house\n");
    write(sensor, "\n[at_rest]\nkey_file = \"wrong\"\n");
    let before = link(sensor);
    assert!(problems(sensor).contains("the keyring was sealed under last"));
    assert_eq!(sensor.call(&["run"]).status.code(), Some(3));
    assert!(link(sensor) == before);

    write(sensor, "\n[at_rest]\nkey_file = \"secret\"\n");
    let new = "5a".repeat(32);
    secret(sensor, "new", &new);
    let told = sensor.done(&["at-rest", "rekey", "--key-command", "cat", "new"]);
    assert!(told.contains("key_command = [\"cat\", \"new\"]"), "{told}");
    write(sensor, "\n[at_rest]\nkey_command = [\"cat\", \"new\"]\n");

    let (_hub, running) = (pair.hub.run(), sensor.run());
    sensor.done(&["send", "hub", "after it was sealed"]);
    let heard = pair.hub.done(&["listen", "--count", "2", "--json"]);
    let texts: Vec<_> = heard.lines().collect();
    assert!(texts[0].contains("before it is sealed") && texts[1].contains("after it was sealed"));
    drop(running);
    for log in [pair.hub.log(), sensor.log()] {
        assert!(!log.contains(&new) && !log.contains("battery"), "{log}");
    }

    let told = sensor.done(&["at-rest", "unseal", "--json"]);
    // Messages that were handled may still be there: a service that is killed has not tidied up.
    assert!(told.starts_with("{\"links\":1,"), "{told}");
    assert!(problems(sensor).contains("paddington at-rest seal"), "[at_rest] is still there");
    write(sensor, "");
    sensor.done(&["check"]);
    assert!(link(sensor).contains("inner_key"));
}

#[test]
fn the_secret_comes_from_a_credential_of_systemd_or_from_the_environment() {
    let pair = Pair::at_free_port();
    let sensor = &pair.sensor;
    let credentials = sensor.folder.join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("sealing"), format!("{}\n", "5a".repeat(32))).unwrap();
    write(sensor, "\n[at_rest]\nkey_credential = \"sealing\"\n");
    let with = |name: &str, value: &str, arguments: &[&str]| {
        let mut command = support::paddington();
        command.arg("-C").arg(&sensor.folder).args(arguments).env(name, value);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let given = |arguments| with("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap(), arguments);
    let (code, error) = with("UNRELATED", "", &["at-rest", "seal"]);
    assert_eq!(code, Some(3));
    assert!(error.contains("LoadCredential=sealing:PATH"), "{error}");
    assert_eq!(given(&["at-rest", "seal"]), (Some(0), String::new()));
    assert_eq!(given(&["check"]).0, Some(0));
    let to_variable = ["at-rest", "rekey", "--key-variable", "SEALING"];
    let (code, error) = given(&to_variable);
    assert_eq!(code, Some(3));
    assert!(error.contains("the variable SEALING: it is not set"), "{error}");

    write(sensor, "\n[at_rest]\nkey_variable = \"SEALING\"\n");
    let (code, error) = with("SEALING", "another secret", &["at-rest", "seal"]);
    assert_eq!(code, Some(3), "the keyring is sealed under the credential");
    assert!(error.contains("does not open the keyring"), "{error}");
    assert_eq!(with("SEALING", &"5a".repeat(32), &["peers"]).0, Some(0));
}

#[test]
fn the_check_looks_at_the_outbox_and_shows_no_secret_that_is_in_the_wrong_place() {
    let pair = Pair::at_free_port();
    let sensor = &pair.sensor;
    let running = sensor.run();
    sensor.done(&["send", "hub", "a message"]);
    drop(running);
    secret(sensor, "secret", &"5a".repeat(32));
    write(sensor, "\n[at_rest]\nkey_file = \"secret\"\n");
    sensor.done(&["at-rest", "seal"]);
    let sealed = fs::read(sensor.folder.join("keyring.toml")).unwrap();
    write(sensor, "");
    assert!(problems(sensor).contains("outbox.sqlite is sealed under the key"));
    write(sensor, "\n[at_rest]\nkey_file = \"secret\"\n");
    fs::remove_file(sensor.folder.join("keyring.toml")).unwrap();
    assert!(problems(sensor).contains("Put the keyring back from a copy"));
    assert_eq!(sensor.call(&["at-rest", "seal"]).status.code(), Some(3));
    assert!(!sensor.folder.join("keyring.toml").exists(), "no other takes its place");
    fs::write(sensor.folder.join("keyring.toml"), sealed).unwrap();
    sensor.done(&["check"]);

    for table in ["key_command = \"vault -token=hunter2\"", "key_file = [\"hunter2\"]"] {
        write(sensor, &format!("\n[at_rest]\n{table}\n"));
        for arguments in [&["check"][..], &["peers"], &["run"], &["at-rest", "seal"]] {
            let output = sensor.call(arguments);
            assert!(!output.status.success(), "{arguments:?}");
            let told = [output.stdout, output.stderr].concat();
            let told = String::from_utf8_lossy(&told);
            assert!(!told.contains("hunter2"), "{arguments:?}: {told}");
        }
    }
    write(sensor, "\n[at_rest]\nkey_file = \"secret\"\n");
    for wrong in ["handler = \"x\"", "api = 3"] {
        let path = sensor.folder.join("conf.d");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("wrong.toml"), wrong).unwrap();
        fs::set_permissions(path.join("wrong.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(problems(sensor).contains("invalid type"), "{wrong}: {}", problems(sensor));
    }
}

#[test]
fn a_handler_does_not_get_the_secret() {
    let pair = Pair::at_free_port();
    let hub = &pair.hub;
    write(hub, "\n[at_rest]\nkey_variable = \"SEALING\"\n");
    let with_secret = |arguments: &[&str]| {
        let mut command = support::paddington();
        command.arg("-C").arg(&hub.folder).args(arguments);
        command.env("SEALING", "a secret of several words").env("CREDENTIALS_DIRECTORY", "/x");
        command
    };
    assert!(with_secret(&["at-rest", "seal"]).status().unwrap().success());
    let command = "env > told; mv told env";
    let mut running = with_secret(&["run", "--exec", command]).spawn().unwrap();
    let _sensor = pair.sensor.run();
    pair.sensor.done(&["send", "hub", "hello", "--wait"]);
    let env = fs::read_to_string(hub.folder.join("env")).unwrap();
    assert!(env.contains("PADDINGTON_PEER=sensor"), "{env}");
    assert!(!env.contains("SEALING") && !env.contains("CREDENTIALS_DIRECTORY"), "{env}");
    running.kill().unwrap();
    running.wait().unwrap();
}
