//! A service with TLS of its own: what `check` finds in its files, and what the doctor says on both
//! sides of a link.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test says why it is skipped")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use paddington_test_support::Authority;
use rcgen::{KeyPair, date_time_ymd};

use support::{Pair, Place, free_port};

mod support;

/// Writes a certificate for a name, valid in these years, and its key into a folder.
fn issue(authority: &Authority, folder: &Path, name: &str, [from, to]: [i32; 2]) {
    let issued = authority.issue_with(name, |params| {
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
    });
    issued.save(folder);
    fs::set_permissions(folder.join("privkey.pem"), Permissions::from_mode(0o640)).unwrap();
}

/// Gives a service the table `[tls]`.
fn speak_tls(place: &Place) {
    place.edit("# [tls]  # this port", "[tls]  # this port");
    place.edit("# directory = \"/etc/letsencrypt/live/hub.example\"", "directory = \".\"");
}

/// Returns what `check` prints, which is one problem.
fn problem(place: &Place) -> String {
    let output = place.call(&["check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().filter(|line| !line.starts_with(' ')).count(), 1, "{text}");
    text
}

fn holds(text: &str, words: &[&str]) {
    for words in words {
        assert!(text.contains(words), "{words:?} is not in: {text}");
    }
}

#[test]
fn check_finds_what_is_wrong_with_the_files_of_tls() {
    let authority = Authority::new();
    let Pair { hub, .. } = Pair::strangers("wss://hub.example:6501/", free_port());
    speak_tls(&hub);
    holds(&problem(&hub), &["service.toml:", "./fullchain.pem", "could not be read"]);
    issue(&authority, &hub.folder, "hub.example", [2020, 2090]);
    holds(&hub.done(&["check"]), &["no problem"]);

    let key = hub.folder.join("privkey.pem");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    holds(&problem(&hub), &["others can read this key (mode 644)", "chmod o= ./privkey.pem"]);
    fs::set_permissions(&key, Permissions::from_mode(0o440)).unwrap();
    hub.done(&["check"]);

    issue(&authority, &hub.folder, "hub.example", [2020, 2021]);
    holds(&problem(&hub), &["fullchain.pem: the certificate of", "2021-01-01, has expired"]);
    issue(&authority, &hub.folder, "hub.example", [2089, 2090]);
    holds(&problem(&hub), &["is not valid yet"]);
    issue(&authority, &hub.folder, "other.example", [2020, 2090]);
    holds(&problem(&hub), &["service.toml:5", "is not for \"hub.example\""]);
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    holds(&problem(&hub), &["is not that of the certificate"]);

    issue(&authority, &hub.folder, "hub.example", [2020, 2090]);
    hub.edit("wss://hub.example", "ws://hub.example");
    holds(&problem(&hub), &["service.toml:5", "connect without: ws://hub.example", "wss://"]);
    // A proxy in front of it has a certificate of its own.
    let proxies = "[settings.transport.proxies]\nranges = [\"10.0.0.1\"]\n\n[api]";
    hub.edit("[api]", proxies);
    hub.done(&["check"]);

    hub.edit("directory = \".\"", "certificate = \"fullchain.pem\"");
    holds(&problem(&hub), &["certificate and key are needed", "docs/deploy/tls.md"]);
    hub.edit("certificate = \"fullchain.pem\"", "directory = \".\"\nclient_authority = \"a.pem\"");
    holds(&problem(&hub), &["Did you mean \"client_authorities\"?"]);
}

/// Returns the first block of code in a language behind a heading of the page, for this machine.
fn block(heading: &str, language: &str) -> String {
    let page = include_str!("../../../docs/deploy/tls.md");
    let (_, section) = page.split_once(&format!("# {heading}\n")).unwrap();
    let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0.replace("hub.example", "localhost")
}

#[test]
fn an_authority_of_ones_own_is_made_as_the_page_says() {
    const HEADING: &str = "With an authority of your own";
    let port = free_port();
    let pair = Pair::strangers(&format!("wss://localhost:{port}/"), port);
    let mut commands = Command::new("sh");
    commands.arg("-ec").arg(block(HEADING, "bash")).current_dir(&pair.hub.folder);
    let made = commands.output().unwrap();
    if made.status.code() == Some(127) {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    pair.hub.edit("[settings]", &format!("{}\n[settings]", block(HEADING, "toml")));
    pair.hub.done(&["check"]);
    let authorities = pair.hub.folder.join("ca.pem");
    let invitation = pair.hub.invite("sensor", &["--from", "127.0.0.1"]);
    pair.sensor.join(&invitation, &["--authorities", authorities.to_str().unwrap()]);
    let (_hub, _sensor) = (pair.hub.run(), pair.sensor.run());
    pair.hub.is_healthy("sensor");
    pair.sensor.is_healthy("hub");
}

#[test]
fn the_doctor_names_a_client_without_tls_and_one_that_does_not_trust_the_certificate() {
    let (authority, port) = (Authority::new(), free_port());
    let pair = Pair::strangers(&format!("wss://localhost:{port}/"), port);
    speak_tls(&pair.hub);
    issue(&authority, &pair.hub.folder, "localhost", [2020, 2090]);
    let invitation = pair.hub.invite("sensor", &["--from", "127.0.0.1"]);
    let text = fs::read_to_string(&invitation).unwrap();
    fs::write(&invitation, text.replace("wss://", "ws://")).unwrap();
    pair.sensor.join(&invitation, &[]);
    let _hub = pair.hub.run();
    {
        let _sensor = pair.sensor.run();
        holds(&pair.hub.names("sensor", "tls_expected"), &["wss://"]);
        holds(&pair.sensor.names("hub", "closed_without_answer"), &["paddington doctor sensor"]);
    }
    let authorities = pair.sensor.folder.join("authorities.pem");
    let rejoin = |pem: &str| {
        fs::write(&authorities, pem).unwrap();
        pair.sensor.done(&["remove", "hub"]);
        pair.hub.done(&["remove", "sensor"]);
        let invitation = pair.hub.invite("sensor", &["--from", "127.0.0.1"]);
        pair.sensor.join(&invitation, &["--authorities", authorities.to_str().unwrap()]);
        pair.sensor.run()
    };
    {
        let _sensor = rejoin(&Authority::new().pem);
        holds(&pair.hub.names("sensor", "certificate_not_trusted"), &["trust its authority"]);
        pair.sensor.names("hub", "tls_unknown_authority");
    }
    let _sensor = rejoin(&authority.pem);
    pair.hub.is_healthy("sensor");
    pair.sensor.is_healthy("hub");
}
