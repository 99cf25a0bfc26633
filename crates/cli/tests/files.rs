//! The command on the files of services that do not run: who can read them, what is printed, and how it
//! ends.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the command in a folder.
fn paddington(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paddington"));
    command.env_remove("PADDINGTON_DIR").env("NO_COLOR", "1").current_dir(folder).args(arguments);
    command.output().unwrap()
}

/// Runs the command, which has to succeed, and returns what it prints.
fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = paddington(folder, arguments);
    let (out, error) = texts(&output);
    assert!(output.status.success(), "{arguments:?}: {out}{error}");
    out
}

/// Runs the command, which has to fail with this exit code, and returns what it complains.
fn refused(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let output = paddington(folder, arguments);
    let (out, error) = texts(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{error}");
    error
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A hub and a sensor, each in a folder of its own.
fn two() -> (tempfile::TempDir, tempfile::TempDir) {
    let (hub, sensor) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    done(hub.path(), &["init", "hub", "--url", "ws://127.0.0.1:6501"]);
    done(sensor.path(), &["init", "sensor"]);
    (hub, sensor)
}

/// Returns all keys in a folder of links or an invitation, as they are written.
fn keys(text: &str) -> Vec<String> {
    let is_key = |word: &&str| word.len() == 64 && word.bytes().all(|it| it.is_ascii_hexdigit());
    text.split('"').filter(is_key).map(str::to_owned).collect()
}

#[test]
fn two_services_are_introduced() {
    let (hub, sensor) = two();
    let told = done(hub.path(), &["invite", "sensor", "--from", "127.0.0.1"]);
    let file = hub.path().join("sensor.invitation.toml");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&hub.path().join("links")), 0o700);
    assert_eq!(mode(&hub.path().join("links/sensor.toml")), 0o600);
    let words = told.lines().find(|line| line.contains("Both compare")).unwrap();
    let words = words.trim().trim_start_matches("Both compare").trim();
    assert_eq!(words.split(' ').count(), 6);

    let joined = done(sensor.path(), &["join", file.to_str().unwrap()]);
    assert!(joined.contains(words), "{joined}");
    let listed = done(sensor.path(), &["peers", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["running"], false);
    assert_eq!(listed["peers"][0]["name"], "hub");
    assert_eq!(listed["peers"][0]["role"], "server");

    let text = fs::read_to_string(&file).unwrap();
    let keys = keys(&text);
    assert_eq!(keys.len(), 2);
    let shown = [
        told,
        joined,
        done(hub.path(), &["show", "sensor"]),
        done(hub.path(), &["peers", "--json"]),
        done(sensor.path(), &["show", "hub", "--json"]),
    ];
    for shown in shown {
        assert!(keys.iter().all(|key| !shown.contains(key.as_str())), "{shown}");
    }
}

#[test]
fn a_person_edits_the_configuration_and_no_command_does() {
    let (hub, _sensor) = two();
    let path = hub.path().join("service.toml");
    assert_eq!(mode(&path), 0o600);
    let edited = fs::read_to_string(&path).unwrap() + "\n# mine, see ticket 12\n";
    fs::write(&path, &edited).unwrap();
    done(hub.path(), &["invite", "sensor", "--from", "127.0.0.1"]);
    done(hub.path(), &["renew", "sensor"]);
    done(hub.path(), &["check"]);
    done(hub.path(), &["remove", "sensor"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), edited);
    let again = refused(hub.path(), 6, &["init", "hub", "--url", "ws://127.0.0.1:1"]);
    assert!(again.contains("is there already"), "{again}");
    assert_eq!(fs::read_to_string(&path).unwrap(), edited);
}

#[test]
fn what_is_refused_changes_nothing_and_says_what_to_do() {
    let (hub, sensor) = two();
    done(hub.path(), &["invite", "sensor", "--from", "127.0.0.1", "-o", "one.toml"]);
    let before = fs::read_to_string(hub.path().join("links/sensor.toml")).unwrap();
    refused(hub.path(), 6, &["invite", "sensor", "--from", "127.0.0.1"]);
    refused(hub.path(), 6, &["invite", "hub", "--from", "127.0.0.1"]);
    refused(hub.path(), 6, &["invite", "attic", "--from", "somewhere"]);
    refused(hub.path(), 6, &["remove", "attic"]);
    refused(hub.path(), 6, &["show", "attic"]);
    refused(hub.path(), 3, &["invite", "attic", "--from", "127.0.0.1", "-o", "nowhere/x.toml"]);
    fs::write(hub.path().join("mine.txt"), "mine").unwrap();
    let kept =
        refused(hub.path(), 6, &["invite", "attic", "--from", "127.0.0.1", "-o", "mine.txt"]);
    assert!(kept.contains("--output"), "{kept}");
    assert_eq!(fs::read_to_string(hub.path().join("mine.txt")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(hub.path().join("links/sensor.toml")).unwrap(), before);
    assert_eq!(fs::read_dir(hub.path().join("links")).unwrap().count(), 2); // with the lock

    let own = hub.path().join("one.toml");
    refused(hub.path(), 6, &["join", own.to_str().unwrap()]); // it was made for another one
    done(sensor.path(), &["join", own.to_str().unwrap()]);
    refused(sensor.path(), 6, &["join", own.to_str().unwrap()]);
    refused(sensor.path(), 3, &["join", "nowhere.toml"]);
    let asked = refused(sensor.path(), 4, &["send", "hub", "hello"]);
    assert!(asked.contains("paddington run"), "{asked}");
    for command in ["status", "listen"] {
        refused(sensor.path(), 4, &[command]);
    }
    refused(sensor.path(), 4, &["ping", "hub"]);
    refused(sensor.path(), 2, &["send"]);
}

#[test]
fn an_invitation_is_sealed_with_a_passphrase_from_a_file() {
    let (hub, sensor) = two();
    fs::write(hub.path().join("words"), "four score and seven\n").unwrap();
    let sealed = ["--passphrase-file", "words", "-o", "sealed.toml"];
    done(hub.path(), &[&["invite", "sensor", "--from", "127.0.0.1"], &sealed[..]].concat());
    let file = hub.path().join("sealed.toml");
    assert!(keys(&fs::read_to_string(&file).unwrap()).is_empty());
    let file = file.to_str().unwrap();
    fs::write(sensor.path().join("wrong"), "two").unwrap();
    refused(sensor.path(), 3, &["join", file, "--passphrase-file", "wrong"]);
    let words = hub.path().join("words");
    done(sensor.path(), &["join", file, "--passphrase-file", words.to_str().unwrap()]);
}

#[test]
fn the_folder_is_found_by_flag_place_and_variable() {
    let (hub, _sensor) = two();
    let elsewhere = tempfile::tempdir().unwrap();
    done(elsewhere.path(), &["-C", hub.path().to_str().unwrap(), "check"]);
    let missing = refused(elsewhere.path(), 3, &["check"]);
    assert!(missing.contains("paddington init"), "{missing}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_paddington"));
    command.env("PADDINGTON_DIR", hub.path()).current_dir(elsewhere.path());
    assert!(command.args(["check"]).output().unwrap().status.success());
    // Files on the command line count from where it was called.
    let folder = hub.path().to_str().unwrap();
    done(
        elsewhere.path(),
        &["-C", folder, "invite", "sensor", "--from", "127.0.0.1", "-o", "here.toml"],
    );
    assert!(elsewhere.path().join("here.toml").exists());
}

#[test]
fn check_tells_every_problem_and_ends_with_one() {
    let (hub, _sensor) = two();
    let path = hub.path().join("service.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text
        .replace("port = 6501", "potr = 6501")
        .replace("[health]", "[health]\nrequired = [\"attic\"]");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let output = paddington(hub.path(), &["check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems: Vec<_> =
        found["problems"].as_array().unwrap().iter().map(ToString::to_string).collect();
    for part in ["\\\"port\\\" is missing", "Did you mean \\\"port\\\"", "can read it"] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:?}");
    }
    assert!(!hub.path().join("links").exists(), "check makes nothing");
}

/// Returns what a shell completes the last of some words to.
fn completed(folder: &Path, words: &str) -> String {
    let script = format!(
        "source ./completions && COMP_WORDS=({words}) && COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) && \
         _paddington paddington \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\" && echo \"${{COMPREPLY[@]}}\""
    );
    let mut bash = Command::new("bash");
    let output = bash.args(["--noprofile", "--norc", "-c", &script]).current_dir(folder).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn completions_and_manual_pages_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let script = done(folder.path(), &["completions", "bash"]);
    fs::write(folder.path().join("completions"), script).unwrap();
    for (words, expected) in [
        ("paddington inv", "invite"),
        ("paddington at-rest re", "rekey"),
        ("paddington invite sensor --fr", "--from"),
        ("paddington dead-letters dr", "drop"),
    ] {
        assert_eq!(completed(folder.path(), words), expected, "{words}");
    }
    done(folder.path(), &["man", "pages"]);
    let page = fs::read_to_string(folder.path().join("pages/paddington-invite.1")).unwrap();
    assert!(page.contains("Invite a client"), "{page}");
    let help = done(folder.path(), &["--help"]);
    assert!(help.lines().count() <= 38, "help fits a screen");
}
