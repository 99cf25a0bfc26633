//! The configuration in layers: which one wins, where a value comes from, and what is said of a wrong one.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![cfg(unix)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::{Pair, Place, free_port};

/// Runs the command in a folder, with these variables.
fn paddington(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paddington"));
    command.envs(variables.iter().copied()).env("NO_COLOR", "1").arg("-C").arg(folder);
    command.args(arguments).output().unwrap()
}

fn output(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// The folder of a service with these files in `conf.d`.
fn hub(further: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = paddington(folder.path(), &[], &["init", "hub", "--url", "ws://127.0.0.1:6501"]);
    assert!(made.status.success(), "{}", output(&made));
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    for (name, text) in further {
        fs::write(folder.path().join("conf.d").join(name), text).unwrap();
    }
    folder
}

/// Returns the value of a setting, and the layer that it comes from.
fn setting(shown: &Value, key: &str) -> (Value, String) {
    let settings = shown["settings"].as_array().unwrap();
    let found = settings.iter().find(|setting| setting["key"] == key).unwrap();
    let origin = &found["origin"];
    let place = ["file", "variable", "key"].map(|it| origin[it].as_str().unwrap_or_default());
    let line = origin["line"].as_u64().map(|line| format!(":{line}")).unwrap_or_default();
    let layer = origin["layer"].as_str().unwrap();
    (found["value"].clone(), format!("{layer} {}{line}", place.concat()))
}

#[test]
fn each_layer_overrides_those_before_it() {
    let folder = hub(&[
        ("20-second.toml", "[settings]\nconcurrency = 3\ncrashes = 3\nhandlers = 3\n"),
        ("10-first.toml", "[settings]\nconcurrency = 2\ncrashes = 2\nhandlers = 2\npeers = 2\n"),
        (".hidden.toml", "this is an editor's"),
        ("README", "this is no TOML"),
    ]);
    let path = folder.path().join("service.toml");
    let text = fs::read_to_string(&path).unwrap();
    let settings =
        "[settings]\nconcurrency = 1\ncrashes = 1\nhandlers = 1\npeers = 1\nrequests = 1\n";
    fs::write(&path, text.replace("[settings]\n", settings)).unwrap();
    let line = 1 + text.lines().position(|line| line == "[settings]").unwrap();

    let variables =
        [("PADDINGTON__SETTINGS__CRASHES", "4"), ("PADDINGTON__SETTINGS__HANDLERS", "4")];
    let arguments = ["check", "--origin", "--json", "--set", "settings.handlers=5"];
    let shown = paddington(folder.path(), &variables, &arguments);
    assert!(shown.status.success(), "{}", output(&shown));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    for (key, value, layer) in [
        ("settings.handlers", 5, "flag settings.handlers".to_owned()),
        ("settings.crashes", 4, "environment PADDINGTON__SETTINGS__CRASHES".to_owned()),
        ("settings.concurrency", 3, "file conf.d/20-second.toml:2".to_owned()),
        ("settings.peers", 2, "file conf.d/10-first.toml:5".to_owned()),
        ("settings.requests", 1, format!("file service.toml:{}", line + 5)),
        ("settings.outbox_messages", 1024, "default ".to_owned()),
    ] {
        let (found, from) = setting(&shown, key);
        assert_eq!(from, layer, "{key}");
        if layer != "default " {
            assert_eq!(found, value, "{key}");
        }
    }
    assert_eq!(setting(&shown, "api.token_file").0, "api.token");
    assert_eq!(setting(&shown, "api.tcp"), (Value::Null, "default ".to_owned()));

    let words = output(&paddington(folder.path(), &variables, &["check", "--origin"]));
    for line in [
        "name = \"hub\"  # service.toml:4",
        "settings.crashes = 4  # PADDINGTON__SETTINGS__CRASHES; without effect here, since messages go to \
         the local API",
        "settings.peers = 2  # conf.d/10-first.toml:5",
        "health.grace = 60.0  # default",
        "# tls.directory is not set",
    ] {
        assert!(words.lines().any(|shown| shown == line), "{line}\n{words}");
    }
}

#[test]
fn what_is_wrong_names_its_layer_and_the_remedy() {
    let good = "[settings]\ncrashes = 2\n";
    for (further, variable, flag, place, named) in [
        ("\n[setings]\ncrashes = 2\n", None, None, "conf.d/10.toml:3: ", "\"settings\""),
        ("settings.crashes = \"x\"\n", None, None, "conf.d/10.toml:1: ", "default is crashes = 5"),
        ("[[clients]]\n", None, None, "conf.d/10.toml:1: ", "docs/links.md"),
        ("port 1\n", None, None, "conf.d/10.toml:1: ", "as TOML"),
        (
            good,
            Some(("PADDINGTON__SETTINGS__HANDLER", "1")),
            None,
            "variable PADDINGTON__SETTINGS__HANDLER: ",
            "Did you mean \"handlers\"?",
        ),
        (
            good,
            Some(("PADDINGTON__PORT", "many")),
            None,
            "variable PADDINGTON__PORT: ",
            "from 1 to 65535",
        ),
        (
            good,
            Some(("PADDINGTON__SETTINGS__TRANSPORT__TIMEOUTS__PING_INTERVAL", "2m")),
            None,
            "variable PADDINGTON__SETTINGS__TRANSPORT__TIMEOUTS__PING_INTERVAL: ",
            "Make ping_interval smaller",
        ),
        (
            good,
            Some(("PADDINGTON__SERVERS", "[]")),
            None,
            "variable PADDINGTON__SERVERS: ",
            "paddington join",
        ),
        (good, None, Some("settings.crash=3"), "flag --set settings.crash: ", "\"crashes\""),
        (good, None, Some("settings.crashes"), "flag --set …: ", "settings.handler_timeout=30s"),
        (
            good,
            None,
            Some("settings.transport.outbound.proxy=http://me:sesame@proxy.example:3128"),
            "flag --set settings.transport.outbound.proxy: ",
            "proxy_password_file",
        ),
    ] {
        let folder = hub(&[("10.toml", further)]);
        let variables: Vec<_> = variable.into_iter().collect();
        for command in ["check", "run"] {
            let mut arguments = vec![command];
            arguments.extend(flag.into_iter().flat_map(|flag| ["--set", flag]));
            let refused = paddington(folder.path(), &variables, &arguments);
            let told = output(&refused);
            assert!(!refused.status.success(), "{told}");
            assert!(
                told.contains(place) && told.contains(named),
                "{command}: {place}{named}\n{told}"
            );
            assert!(!told.contains("sesame"), "{told}");
        }
    }
}

#[test]
fn a_variable_that_was_meant_as_a_setting_is_told_by_the_check() {
    let folder = hub(&[]);
    let meant = [("PADDINGTON_SETTINGS_HANDLERS", "4")];
    let told = output(&paddington(folder.path(), &meant, &["check"]));
    assert!(told.contains("variable PADDINGTON_SETTINGS_HANDLERS: "), "{told}");
    assert!(told.contains("Did you mean PADDINGTON__SETTINGS__HANDLERS?"), "{told}");
    let secret = [
        ("PADDINGTON_AT_REST_KEY", "5ec3e7"),
        ("PADDINGTON__AT_REST__KEY_VARIABLE", "PADDINGTON_AT_REST_KEY"),
    ];
    let check = output(&paddington(folder.path(), &secret, &["check"]));
    assert!(!check.contains("Did you mean") && !check.contains("5ec3e7"), "{check}");
    let others = [("PADDINGTON_BIN", "x"), ("PADDINGTON_PORT", "tcp://10.0.0.1:6501")];
    let check = paddington(folder.path(), &others, &["check"]);
    assert!(check.status.success(), "{}", output(&check));
}

#[test]
fn secrets_are_not_shown_with_their_origin() {
    let folder = hub(&[(
        "10.toml",
        "settings.transport.outbound.proxy = \"http://me:sesame@proxy.example:3128\"\n\
         handler.webhook = \"http://127.0.0.1:8080/sesame?key=sesame\"\n\
         [tls]\nkey = \"hub.key\"\n",
    )]);
    let exposed = output(&paddington(folder.path(), &[], &["check"]));
    assert!(exposed.contains("Run: chmod go= conf.d/10.toml"), "{exposed}");
    let path = folder.path().join("service.toml");
    let secret = "5ec3e700".repeat(8);
    let client = format!(
        "[[clients]]\nname = \"attic\"\nrange = \"127.0.0.1\"\nencoding = \"sealed\"\n\
         inner_key.data = \"{secret}\"\nouter_key.data = \"{}\"\n",
        "00c0ffee".repeat(8)
    );
    fs::write(&path, fs::read_to_string(&path).unwrap() + &client).unwrap();
    for flags in [&["check", "--origin"][..], &["check", "--origin", "--json"]] {
        let shown = output(&paddington(folder.path(), &[], flags));
        assert!(shown.contains("proxy.example:3128"), "{shown}");
        assert!(shown.contains("http://127.0.0.1/…"), "{shown}");
        assert!(shown.contains("number of peers: 1"), "{shown}");
        for secret in ["sesame", "5ec3e700", "00c0ffee"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    fs::write(folder.path().join("conf.d/20.toml"), "password = \"sesame\"\n").unwrap();
    let unknown = output(&paddington(folder.path(), &[], &["check", "--origin"]));
    assert!(unknown.contains("password = \"not shown\"  # conf.d/20.toml:1"), "{unknown}");
    assert!(!unknown.contains("sesame"), "{unknown}");
    fs::remove_file(folder.path().join("conf.d/20.toml")).unwrap();
    let exec = ["check", "--origin", "--set", "handler.exec=[\"true\", \"sesame\"]"];
    let shown = output(&paddington(folder.path(), &[], &exec));
    assert!(shown.contains("handler.exec = [\"true\", \"…\"]"), "{shown}");
    assert!(!shown.contains("\"sesame\""), "{shown}");
    let secret = ["check", "--origin", "--set", "at_rest.key_command=[\"echo\", \"sesame\"]"];
    let shown = output(&paddington(folder.path(), &[], &secret));
    assert!(shown.contains("at_rest.key_command = [\"echo\", \"…\"]"), "{shown}");
    assert!(!shown.contains("\"sesame\""), "{shown}");
}

#[test]
fn a_broken_file_of_a_link_is_told_whatever_else_the_check_has_to_say() {
    let proxies =
        "[settings.transport.proxies]\nranges = [\"10.0.0.0/8\"]\nproxy_protocol = true\n";
    let folder = hub(&[("10.toml", &format!("{proxies}header = \"x-real-ip\"\n"))]);
    fs::create_dir(folder.path().join("links")).unwrap();
    fs::write(folder.path().join("links/attic.toml"), "nonsense").unwrap();
    let told = output(&paddington(folder.path(), &[], &["peers"]));
    assert!(told.contains("links/attic.toml"), "{told}");
}

#[test]
fn a_service_runs_with_all_layers_and_a_reload_keeps_the_flags() {
    let pair = Pair::at_free_port();
    let Pair { hub, .. } = &pair;
    fs::create_dir(hub.folder.join("conf.d")).unwrap();
    let further = |text: &str| fs::write(hub.folder.join("conf.d/api.toml"), text).unwrap();
    further("[api]\nsocket = \"other.sock\"\n");
    let port = free_port();
    let _running = hub.run_with(&["--set", &format!("port={port}")]);
    assert!(hub.folder.join("other.sock").exists());
    let status: Value = serde_json::from_str(&hub.done(&["status", "--json"])).unwrap();
    assert_eq!(status["service"]["listening"], format!("127.0.0.1:{port}"));

    let reload = |place: &Place| place.done(&["reload"]);
    assert_eq!(reload(hub), "nothing has changed\n");
    further("[api]\nsocket = \"other.sock\"\n[settings]\npeers = 7\n[health]\ngrace = 5\n");
    assert_eq!(reload(hub), "with the next start only: settings.peers, health.grace\n");
}
