//! Faults of links, each of which the doctor names, from the side that can know it, with what to do.
//! The services are processes of the command, and a fault is asked for until it shows.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs::{File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use rcgen::date_time_ymd;

use support::{Pair, TlsServer, free_port, web_server};

mod support;

fn holds(remedy: &str, words: &[&str]) {
    for words in words {
        assert!(remedy.contains(words), "{words:?} is not in: {remedy}");
    }
}

#[test]
fn a_link_that_is_up_has_nothing_wrong() {
    let pair = Pair::at_free_port();
    holds(&pair.sensor.names("hub", "connection_refused"), &["paddington status"]);
    let _hub = pair.hub.run();
    // The server waits, and can be reached; the client does not run.
    holds(&pair.hub.names("sensor", "nothing_arrives"), &["paddington doctor hub"]);
    holds(&pair.sensor.names("hub", "not_running"), &["paddington run"]);
    let _sensor = pair.sensor.run();
    pair.hub.is_healthy("sensor");
    pair.sensor.is_healthy("hub");
    // Both sides see the same words, and no key.
    let words = |report: serde_json::Value| {
        let keys = report["peers"][0]["checks"][0]["text"].as_str().unwrap().to_owned();
        keys.split_once("words: ").unwrap().1.to_owned()
    };
    assert_eq!(words(pair.hub.doctor("sensor")), words(pair.sensor.doctor("hub")));
}

#[test]
fn a_server_with_several_urls_of_which_one_works() {
    let (dead, port) = (free_port(), free_port());
    let (dead, good) = (format!("ws://127.0.0.1:{dead}/"), format!("ws://127.0.0.1:{port}/"));
    let pair = Pair::strangers(&dead, port);
    pair.hub.edit("\nip = ", &format!("\nfallback_urls = [\"{good}\"]\nip = "));
    pair.sensor.join(&pair.hub.invite("sensor", &["--from", "127.0.0.1"]), &[]);
    pair.hub.done(&["check"]);
    let shown = pair.sensor.done(&["show", "hub"]);
    assert!(shown.contains(&dead) && shown.contains(&good), "{shown}");
    // What each of them fails with.
    let report = pair.sensor.doctor("hub");
    let codes: Vec<_> =
        report["diagnoses"].as_array().unwrap().iter().map(|it| &it["code"]).collect();
    assert_eq!(codes.iter().filter(|code| **code == "connection_refused").count(), 2, "{report:#}");

    let _hub = pair.hub.run();
    let _sensor = pair.sensor.run();
    pair.sensor.is_healthy("hub");
    let urls = |text: &str| {
        let line =
            |url: &str| text.lines().find(|line| line.contains(url)).unwrap_or_default().to_owned();
        holds(text, &["(in use)", "(failed at "]);
        (line(&dead), line(&good))
    };
    for command in [&["show", "hub"][..], &["status"]] {
        let (failed, used) = urls(&pair.sensor.done(command));
        holds(&failed, &["(failed at ", "127.0.0.1"]);
        holds(&used, &["(in use)"]);
    }
    holds(&pair.sensor.doctor("hub").to_string(), &["(in use)", "(failed at "]);
}

#[test]
fn a_name_that_does_not_resolve() {
    let pair = Pair::new("ws://nowhere.invalid:6501/", free_port());
    holds(&pair.sensor.names("hub", "name_not_resolved"), &["DNS"]);
}

#[test]
fn another_web_server() {
    let other =
        web_server("HTTP/1.1 404 Not Found\r\nserver: other\r\ncontent-length: 4\r\n\r\nnone");
    let pair = Pair::new(&format!("ws://{other}/paddington"), free_port());
    holds(&pair.sensor.names("hub", "other_server"), &["the host, the port and the path"]);
}

#[test]
fn a_proxy_that_swallows_the_upgrade() {
    let proxy =
        web_server("HTTP/1.1 400 Bad Request\r\nserver: nginx\r\ncontent-length: 0\r\n\r\n");
    let pair = Pair::new(&format!("ws://{proxy}/"), free_port());
    holds(&pair.sensor.names("hub", "proxy_without_upgrade"), &["proxy_set_header Upgrade"]);
}

#[test]
fn a_proxy_without_its_service() {
    let proxy =
        web_server("HTTP/1.1 502 Bad Gateway\r\nserver: nginx\r\ncontent-length: 0\r\n\r\n");
    let pair = Pair::new(&format!("ws://{proxy}/"), free_port());
    holds(&pair.sensor.names("hub", "proxy_without_service"), &["its ip and port"]);
}

#[test]
fn a_proxy_of_this_side_that_opens_no_way() {
    for (answer, code, remedy) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "proxy_wants_password",
            "proxy_password_file",
        ),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "proxy_refused", "allow CONNECT to hub.invalid:6501"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "proxy_cannot_reach_server", "check that hub runs"),
        ("220 mail.example ESMTP\r\n", "proxy_answer_invalid", "an HTTP proxy"),
        ("", "proxy_no_answer", "an HTTP proxy"),
    ] {
        let proxy = web_server(answer);
        let pair = Pair::new("ws://hub.invalid:6501/", free_port());
        pair.sensor.go_through(&format!("http://{proxy}"));
        holds(&pair.sensor.names("hub", code), &[remedy]);
        let report = pair.sensor.doctor("hub").to_string();
        let named =
            format!("{proxy}, which settings.transport.outbound names, accepts connections");
        assert!(report.contains(&named), "{report}");
    }
    let pair = Pair::new("ws://hub.invalid:6501/", free_port());
    pair.sensor.go_through(&format!("http://user:sesame@127.0.0.1:{}", free_port()));
    holds(&pair.sensor.names("hub", "proxy_unreachable"), &["the proxy runs"]);
    assert!(!pair.sensor.doctor("hub").to_string().contains("sesame"));

    let pair = Pair::new("ws://hub.invalid:6501/", free_port());
    let proxy = web_server("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    pair.sensor.go_through(&format!("http://user@{proxy}"));
    let file = pair.sensor.folder.join("password");
    pair.sensor.edit("\n[api]", &format!("proxy_password_file = {file:?}\n\n[api]"));
    holds(&pair.sensor.names("hub", "proxy_settings"), &["proxy_password_file"]);
    std::fs::write(&file, "sesame\n").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let check = pair.sensor.call(&["check"]);
    let check = String::from_utf8(check.stdout).unwrap();
    assert!(
        check.contains(&format!("{}: others can read it", file.display()))
            && !check.contains("sesame"),
        "{check}"
    );
}

#[test]
fn a_port_that_speaks_something_else() {
    let other = web_server("220 mail.example ESMTP\r\n");
    let pair = Pair::new(&format!("ws://{other}/"), free_port());
    holds(&pair.sensor.names("hub", "not_http"), &["port"]);
    let pair = Pair::new(&format!("wss://localhost:{}/", other.port()), free_port());
    let pem = TlsServer::start("authority", "localhost", |_| {}).pem;
    assert_eq!(tls_fault(&pair, &pem), "tls_not_spoken");
}

#[test]
fn the_wrong_path() {
    let port = free_port();
    let pair = Pair::strangers(&format!("ws://127.0.0.1:{port}/paddington"), port);
    let invitation = pair.hub.invite("sensor", &["--from", "127.0.0.1"]);
    let text = std::fs::read_to_string(&invitation).unwrap();
    std::fs::write(&invitation, text.replace("/paddington", "/elsewhere")).unwrap();
    pair.sensor.join(&invitation, &[]);
    let _hub = pair.hub.run();
    holds(&pair.sensor.names("hub", "wrong_path"), &["renew the invitation"]);
    holds(&pair.hub.names("sensor", "wrong_path"), &["agree"]);
}

/// Joins anew with these authorities, and returns the cause that is named.
fn tls_fault(pair: &Pair, pem: &str) -> String {
    let file = pair.sensor.folder.join("authorities.pem");
    std::fs::write(&file, pem).unwrap();
    pair.sensor.done(&["remove", "hub"]);
    pair.hub.done(&["remove", "sensor"]);
    let invitation = pair.hub.invite("sensor", &["--from", "127.0.0.1"]);
    pair.sensor.join(&invitation, &["--authorities", file.to_str().unwrap()]);
    let report = pair.sensor.doctor("hub");
    let first = &report["diagnoses"][0];
    if let Some(text) = first["text"].as_str().filter(|text| text.contains("certificate of")) {
        holds(text, &["issued by", "valid 20"]);
    }
    assert!(!first["remedy"].as_str().unwrap().is_empty());
    first["code"].as_str().unwrap().to_owned()
}

#[test]
fn certificates_that_are_not_trusted() {
    let authority = |name| TlsServer::start(name, "localhost", |_| {}).pem;
    let (other, namesake) = (Some(authority("other")), Some(authority("authority")));
    for (name, from, to, trusted, code) in [
        ("localhost", 2020, 2090, &other, "tls_unknown_authority"),
        ("localhost", 2020, 2090, &namesake, "tls_unknown_authority"),
        ("localhost", 2020, 2021, &None, "tls_expired"),
        ("localhost", 2089, 2090, &None, "tls_not_yet_valid"),
        ("other.example", 2020, 2090, &None, "tls_wrong_name"),
        // This one is good, and then nothing answers the request.
        ("localhost", 2020, 2090, &None, "closed_without_answer"),
    ] {
        let server = TlsServer::start("authority", name, |params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        });
        let pair = Pair::new(&format!("wss://localhost:{}/", server.port), free_port());
        assert_eq!(tls_fault(&pair, trusted.as_ref().unwrap_or(&server.pem)), code);
    }
}

#[test]
fn an_address_that_no_invitation_allows() {
    let port = free_port();
    let pair = Pair::strangers(&format!("ws://127.0.0.1:{port}/"), port);
    pair.sensor.join(&pair.hub.invite("sensor", &["--from", "127.0.0.2"]), &[]);
    let _hub = pair.hub.run();
    let sensor = pair.sensor.run();
    let here = pair.sensor.names("hub", "closed_without_answer");
    holds(&here, &["ask hub's operator to run there: paddington doctor sensor"]);
    let there = pair.hub.names("sensor", "address_not_admitted");
    holds(&there, &["paddington range sensor 127.0.0.1"]);
    // The remedy is carried out.
    drop(sensor);
    pair.hub.done(&["range", "sensor", "127.0.0.1"]);
    let _sensor = pair.sensor.run();
    pair.hub.is_healthy("sensor");
}

#[test]
fn keys_that_the_server_does_not_know() {
    let pair = Pair::at_free_port();
    pair.hub.done(&["remove", "sensor"]);
    let _hub = pair.hub.run();
    holds(&pair.hub.names("sensor", "unknown_peer"), &["paddington invite sensor"]);
    pair.hub.invite("sensor", &["--from", "127.0.0.1"]);
    let _sensor = pair.sensor.run();
    holds(&pair.sensor.names("hub", "keys_refused"), &["paddington doctor sensor"]);
    holds(&pair.hub.names("sensor", "unknown_keys"), &["compare the words", "paddington renew"]);
}

#[test]
fn an_invitation_that_somebody_else_has_used_first() {
    let pair = Pair::at_free_port();
    let robbed = pair.sensor.copied("robbed");
    let _hub = pair.hub.run();
    let thief = pair.sensor.run();
    pair.hub.has_generation("sensor", 1);
    drop(thief);
    let _robbed = robbed.run();
    holds(&robbed.names("hub", "keys_refused"), &["paddington doctor sensor"]);
    holds(&pair.hub.names("sensor", "burned_keys"), &["paddington remove sensor"]);
}

#[test]
fn an_invitation_that_has_expired() {
    let port = free_port();
    let pair = Pair::strangers(&format!("ws://127.0.0.1:{port}/"), port);
    let invitation = pair.hub.invite("sensor", &["--from", "127.0.0.1", "--expires", "1s"]);
    pair.sensor.join(&invitation, &[]);
    holds(&pair.hub.names("sensor", "invitation_expired"), &["paddington renew sensor"]);
    let _hub = pair.hub.run();
    let _sensor = pair.sensor.run();
    holds(&pair.hub.names("sensor", "invitation_expired"), &["paddington renew sensor"]);
    holds(&pair.sensor.names("hub", "keys_refused"), &["paddington doctor sensor", "expired"]);
}

#[test]
fn a_second_process_with_the_same_invitation() {
    let pair = Pair::at_free_port();
    let _hub = pair.hub.run();
    let _sensor = pair.sensor.run();
    pair.sensor.has_generation("hub", 1);
    pair.sensor.is_healthy("hub");
    let second = pair.sensor.copied("second");
    let _second = second.run();
    holds(&second.names("hub", "duplicate_process"), &["top the other process"]);
    holds(&pair.hub.names("sensor", "duplicate_process"), &["stop one of them"]);
}

#[test]
fn an_outbox_that_cannot_be_written() {
    let pair = Pair::at_free_port();
    let _hub = pair.hub.run();
    let folder = if cfg!(target_os = "linux") { "/proc" } else { "/" };
    pair.sensor.edit("outbox = \"outbox.sqlite\"", &format!("outbox = \"{folder}/outbox.sqlite\""));
    holds(&pair.sensor.names("hub", "not_writable"), &["own it"]);
}

#[test]
fn files_that_others_can_read() {
    let pair = Pair::at_free_port();
    let file = pair.sensor.folder.join("service.toml");
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    holds(&pair.sensor.names("hub", "file_mode"), &["chmod go= service.toml"]);
}

#[test]
fn a_configuration_with_a_mistake() {
    let pair = Pair::at_free_port();
    pair.sensor.edit("[settings]", "[settings]\nhandler_timout = 3");
    holds(&pair.sensor.names("hub", "configuration"), &["handler_timeout"]);
}

#[test]
fn a_port_and_a_folder_that_another_process_uses() {
    let port = free_port();
    let pair = Pair::new(&format!("ws://127.0.0.1:{port}/"), port);
    let held = TcpListener::bind(("127.0.0.1", port)).unwrap();
    holds(&pair.hub.names("sensor", "port_in_use"), &["End that process"]);
    drop(held);
    let lock = File::open(pair.hub.folder.join("links/.lock")).unwrap();
    lock.lock().unwrap();
    holds(&pair.hub.names("sensor", "folder_in_use"), &["fuser"]);
}

#[test]
fn two_encodings() {
    let port = free_port();
    let pair = Pair::strangers(&format!("ws://127.0.0.1:{port}/"), port);
    pair.sensor.join(&pair.hub.invite("sensor", &["--from", "127.0.0.1", "--hex"]), &[]);
    pair.hub.done(&["remove", "sensor"]);
    pair.hub.invite("sensor", &["--from", "127.0.0.1"]);
    let _hub = pair.hub.run();
    let _sensor = pair.sensor.run();
    holds(&pair.sensor.names("hub", "encoding_mismatch"), &["write a new invitation"]);
    holds(&pair.hub.names("sensor", "encoding_mismatch"), &["paddington invite --hex"]);
}
