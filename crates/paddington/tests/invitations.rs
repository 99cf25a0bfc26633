//! Invitations and configurations as files: they are read back as they were written, errors are
//! explained, no other file is overwritten, and no key is ever shown.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::error::Error;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use paddington::{ConfigError, Encoding, Invite, InviteOptions, ServiceConfig};
use paddington_test_support::{key_digits, pair};

const INNER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OUTER: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";

/// An invitation as the original writes it.
const ORIGINAL: &str = r#"name = "echo-server"
url = "ws://localhost:6501/"

[inner_key]
data = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

[outer_key]
data = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
"#;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invitation.toml");
    (folder, path)
}

fn config(name: &str) -> ServiceConfig {
    ServiceConfig::new(name, "http://localhost:6501", "127.0.0.1", &6501).unwrap()
}

/// Returns the text of an error and of all its causes.
fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn an_invitation_of_the_original_loads_as_it_is() {
    let invite = Invite::from_toml(ORIGINAL).unwrap();
    assert_eq!((invite.name(), invite.encoding()), ("echo-server", Encoding::Hex));
    assert_eq!(invite.url().to_string(), "ws://localhost:6501/");
    assert_eq!(key_digits(&invite), [INNER, OUTER]);
    config("echo-client").add_server(invite).unwrap();
    let more = format!("later = \"addition\"\n{ORIGINAL}\n[more]\nx = 1\n");
    assert_eq!(key_digits(&Invite::from_toml(&more).unwrap()), [INNER, OUTER]);
}

#[test]
fn an_invitation_is_read_back_as_it_was_written() {
    let (_folder, path) = folder();
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let written = config("hub").add_client_with("sensor", "10.0.0.0/8", encoding).unwrap();
        written.save(&path).unwrap();
        let read = Invite::load(&path).unwrap();
        assert_eq!(
            (read.name(), read.client(), read.encoding()),
            ("hub", Some("sensor"), encoding)
        );
        assert_eq!(key_digits(&read), key_digits(&written));
        assert_eq!(read.url(), written.url());
    }
}

#[test]
fn further_urls_are_told_in_invitations_and_kept_in_every_file() {
    let (folder, path) = folder();
    let told = ["wss://b.example:443/?b=000", "ws://10.0.0.7:6501/?b=000"];
    let texts = |urls: Vec<String>| assert_eq!(urls, told);
    let mut hub = config("hub");
    hub.set_fallback_urls(&["wss://b.example", "ws://10.0.0.7:6501"]).unwrap();
    let mut hub = ServiceConfig::from_toml(&hub.to_toml().unwrap()).unwrap();
    let invite = hub.add_client("sensor", "10.0.0.0/8").unwrap();
    invite.save_sealed(&path, "a long passphrase").unwrap();
    let read = Invite::load_sealed(&path, "a long passphrase").unwrap();
    texts(read.fallback_urls().map(ToString::to_string).collect());
    invite.save(&path).unwrap();
    let read = Invite::load(&path).unwrap();
    texts(read.fallback_urls().map(ToString::to_string).collect());

    let kept = |config: &ServiceConfig| {
        let urls = config.link_details()[0].fallback_urls.clone();
        urls.iter().map(ToString::to_string).collect()
    };
    let mut inline = config("sensor");
    inline.add_server(read.clone()).unwrap();
    texts(kept(&ServiceConfig::from_toml(&inline.to_toml().unwrap()).unwrap()));
    let links = folder.path().join("links");
    let mut sensor = config("sensor");
    sensor.set_links(&links).unwrap();
    sensor.add_server(read.clone()).unwrap();
    let mut again = config("sensor");
    again.set_links(&links).unwrap();
    texts(kept(&again));

    // A newer invitation replaces them.
    hub.set_fallback_urls(&[]).unwrap();
    again.replace_server(hub.renew("sensor").unwrap()).unwrap();
    assert_eq!(again.link_details()[0].fallback_urls, []);
    assert_eq!(read.at("ws://c.example").unwrap().fallback_urls().count(), 0);
    assert_eq!(Invite::from_toml(ORIGINAL).unwrap().fallback_urls().count(), 0);
}

#[test]
fn further_urls_that_cannot_be_used_are_refused() {
    let many: Vec<_> = (1..=8).map(|port| format!("ws://host.example:{port}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    for (urls, reason) in [
        (&["ftp://b.example"][..], "ws:// or wss://"),
        (&["wss://b.example", "https://b.example/"], "is there twice"),
        (&many, "7 at most"),
    ] {
        let error = config("hub").set_fallback_urls(urls).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        let text = config("hub").to_toml().unwrap();
        let text = text.replace("ip = ", &format!("fallback_urls = {urls:?}\nip = "));
        let error = ServiceConfig::from_toml(&text).unwrap_err();
        assert!(whole(&error).contains(reason), "{error}");
    }
}

#[test]
fn every_invitation_has_its_own_keys() {
    let mut hub = config("hub");
    let invites = ["a", "b"].map(|name| hub.add_client(name, "127.0.0.1").unwrap());
    let [first, second] = invites.map(|invite| key_digits(&invite));
    assert!(first.iter().all(|key| key.len() == 64 && !second.contains(key)));
    assert_ne!(first[0], first[1]);
}

#[test]
fn files_are_private_and_replace_only_files_of_their_kind() {
    let (folder, path) = folder();
    let invite = config("hub").add_client("sensor", "127.0.0.1").unwrap();
    invite.save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let newer = config("hub").add_client("sensor", "127.0.0.1").unwrap();
    newer.save(&path).unwrap();
    assert_eq!(key_digits(&Invite::load(&path).unwrap()), key_digits(&newer));

    let precious = folder.path().join("precious");
    fs::write(&precious, "do not lose me").unwrap();
    let link = folder.path().join("link");
    symlink(&precious, &link).unwrap();
    let dangling = folder.path().join("dangling");
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    let link_to_ours = folder.path().join("link-to-ours");
    symlink(&path, &link_to_ours).unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    for (occupied, what) in [
        (&precious, "is not an invitation"),
        (&link, "is a link"),
        (&dangling, "is a link"),
        (&link_to_ours, "is a link"),
        (&empty, "is not an invitation"),
        (&folder.path().to_owned(), "is not a file"),
    ] {
        let refused = invite.save(occupied).unwrap_err().to_string();
        assert!(refused.contains(what) && refused.contains("left as it is"), "{refused}");
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "do not lose me");
    assert!(!folder.path().join("nowhere").exists());
    let missing = folder.path().join("no/such/folder/invitation.toml");
    assert!(invite.save(missing).is_err());
    let leftovers = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(leftovers, 6, "no temporary file is left behind");
    let left_by_the_dead = folder.path().join(".paddington-x8s1kq.draft");
    fs::write(&left_by_the_dead, "keys").unwrap();
    newer.save(&path).unwrap();
    assert!(!left_by_the_dead.exists(), "keys that a killed process has left are removed");

    let service = folder.path().join("service.toml");
    config("hub").save(&service).unwrap();
    assert!(invite.save(&service).is_err(), "a configuration is not an invitation");
    assert!(config("hub").save(&path).is_err(), "an invitation is not a configuration");
}

#[test]
fn a_bad_invitation_is_explained_and_no_key_is_shown() {
    let sealed = format!("client = \"c\"\nencoding = \"sealed\"\nversion = 1\n{ORIGINAL}");
    Invite::from_toml(&sealed).unwrap();
    let cases = [
        (String::new(), "missing field `name`"),
        ("nonsense".to_owned(), "line 1"),
        (ORIGINAL.replace("echo-server", "no good name"), "is not a service name"),
        (ORIGINAL.replace("ws://", "ftp://"), "is not a server's URL"),
        (ORIGINAL.replace(INNER, &INNER[2..]), "line 5: a key is 64 hexadecimal digits"),
        (ORIGINAL.replace(INNER, &"0".repeat(64)), "a key must not be all zeros"),
        (ORIGINAL.replace(INNER, OUTER), "the inner and the outer key must differ"),
        (ORIGINAL.replace(&format!("\"{INNER}\""), INNER), "line 5"),
        (ORIGINAL.replace(&format!("\"{INNER}\""), "12345678901234567"), "line 5: invalid type"),
        (ORIGINAL.replace("[inner_key]\ndata = ", "inner_key = "), "line 4: invalid type: string"),
        (ORIGINAL.replace("[inner_key]", "[inner]"), "missing field `inner_key`"),
        (ORIGINAL.replace(&format!("{INNER}\""), INNER), "line 5"),
        (sealed.replace("version = 1", "version = 2"), "version 2 of the protocol"),
        (sealed.replace("version = 1\n", ""), "lacks \"version\""),
        (sealed.replace("client = \"c\"\n", ""), "lacks \"client\""),
        (sealed.replace("\"sealed\"", "\"plain\""), "line 2: unknown variant, expected"),
    ];
    for (text, expected) in cases {
        let error = whole(&Invite::from_toml(&text).unwrap_err());
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
        for secret in [&INNER[2..20], &OUTER[2..20], "12345678901234567"] {
            assert!(!error.contains(secret), "{error:?} shows a key");
        }
    }
}

#[test]
fn a_missing_or_unreadable_file_is_named() {
    let (folder, path) = folder();
    let missing = whole(&Invite::load(&path).unwrap_err());
    assert!(missing.contains("invitation.toml: the server's operator makes it"), "{missing}");
    let error = whole(&Invite::load(folder.path()).unwrap_err());
    assert!(error.contains("cannot be read"), "{error}");
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(whole(&Invite::load(&path).unwrap_err()).contains("cannot be read"));
    let huge = fs::File::create(&path).unwrap();
    huge.set_len(1 << 40).unwrap();
    assert!(whole(&Invite::load(&path).unwrap_err()).contains("too long"));
}

/// Checks that nothing but a file is read as an invitation or a configuration, directly or through a
/// link, and that a refusal comes at once.
#[test]
fn only_regular_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    symlink("/dev/zero", at("endless")).unwrap();
    symlink(at("pipe"), at("link-to-pipe")).unwrap();
    for name in ["pipe", "socket", "folder", "endless", "link-to-pipe"] {
        let errors = [
            whole(&Invite::load(at(name)).unwrap_err()),
            whole(&ServiceConfig::load(at(name)).unwrap_err()),
        ];
        for error in errors {
            let expected = format!("{name} cannot be read: it is not a regular file");
            assert!(error.contains(&expected), "{error}");
        }
    }
    pair().invite.save(at("real")).unwrap();
    symlink(at("real"), at("link-to-real")).unwrap();
    Invite::load(at("link-to-real")).unwrap();
}

#[test]
fn an_invitation_for_another_service_is_refused() {
    let invite = pair().invite;
    let refused = config("somebody-else").add_server(invite).unwrap_err();
    assert!(matches!(refused, ConfigError::NotInvited { .. }));
    assert!(refused.to_string().contains("made for client"), "{refused}");
}

#[test]
fn a_peer_is_known_only_once() {
    let mut hub = config("hub");
    hub.add_client("sensor", "127.0.0.1").unwrap();
    let duplicate = |refused| matches!(refused, Err(ConfigError::Duplicate(_)));
    assert!(duplicate(hub.add_client("sensor", "10.0.0.1").map(drop)));
    let from_sensor = config("sensor").add_client("hub", "127.0.0.1").unwrap();
    assert!(duplicate(hub.add_server(from_sensor)), "as client and as server");
    let from_other = config("other").add_client("hub", "127.0.0.1").unwrap();
    hub.add_server(from_other.clone()).unwrap();
    assert!(duplicate(hub.add_server(from_other)));
    assert!(matches!(hub.add_client("hub", "127.0.0.1"), Err(ConfigError::Own(_))));
}

#[test]
fn a_bad_name_url_or_address_is_refused() {
    let new = ServiceConfig::new;
    assert!(matches!(new("a b", "ws://x:1", "127.0.0.1", &1), Err(ConfigError::Name(_))));
    assert!(matches!(new("a", "x:1", "127.0.0.1", &1), Err(ConfigError::Url(_))));
    assert!(matches!(new("a", "ws://x:1", "localhost", &1), Err(ConfigError::Ip(_))));
    let refused = config("hub").add_client("sensor", "10.0.0.0/99").unwrap_err();
    assert!(refused.to_string().contains("10.0.0.0/255.0.0.0"), "{refused}");
}

#[test]
fn a_configuration_is_read_back_with_all_its_peers() {
    let (_folder, path) = folder();
    let mut hub = config("hub");
    let invite = hub.add_client("sensor", "2001:db8::/32").unwrap();
    hub.add_client_with("old", "10.0.0.0/255.0.0.0", Encoding::Hex).unwrap();
    hub.add_server(config("top").add_client("hub", "127.0.0.1").unwrap()).unwrap();
    hub.settings_mut().transport.limits.max_payload = 1234;
    hub.save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let read = ServiceConfig::load(&path).unwrap();
    assert_eq!(read.peers().collect::<Vec<_>>(), ["sensor", "old", "top"]);
    assert_eq!(read.settings().transport.limits.max_payload, 1234);
    assert_eq!((read.name(), read.url()), (hub.name(), hub.url()));
    let text = fs::read_to_string(&path).unwrap();
    assert!(key_digits(&invite).iter().all(|key| text.contains(key)));
    read.save(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "and it is written as before");
}

#[test]
fn a_bad_configuration_is_explained_with_its_line_and_no_key_is_shown() {
    let (_folder, path) = folder();
    let mut hub = config("hub");
    let invite = hub.add_client("sensor", "127.0.0.1").unwrap();
    hub.save(&path).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    let [inner, outer] = key_digits(&invite);
    let cases = [
        (good.replace("port =", "prot ="), "line 4: unknown field `prot`"),
        (good.replace("port = 6501", "port = 65536"), "line 4: invalid value: integer"),
        (good.replace("\"127.0.0.1\"\nport", "\"localhost\"\nport"), "line 3"),
        (
            good.replace("range = \"127.0.0.1\"", "range = \"10.0.0.0/99\""),
            "is not an address range",
        ),
        (good.replace("\"sealed\"", "\"seald\""), "unknown variant, expected"),
        (good.replace("data =", "date ="), "missing field `data`"),
        (
            format!("{good}\n[settings.transport.limits]\npending = \"many\"\n"),
            "invalid type: string",
        ),
        (format!("{good}\n[settings.transport.timeouts]\ndead = 0\n"), "more than 0"),
        (format!("{good}\n[settings.transport.timeouts]\ndaed = 1\n"), "unknown field `daed`"),
        (
            format!("{good}\n[settings.transport.timeouts]\ndead = 5\n"),
            "the setting ping_interval (10 s) must be shorter than dead (5 s)",
        ),
        (
            format!(
                "{good}\n{}",
                good.split_once("[[").map(|(_, rest)| format!("[[{rest}")).unwrap()
            ),
            "known already",
        ),
    ];
    for (text, expected) in cases {
        fs::write(&path, &text).unwrap();
        let error = whole(&ServiceConfig::load(&path).unwrap_err());
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
        assert!(!error.contains(&inner[..16]) && !error.contains(&outer[..16]), "{error:?}");
    }
}

/// Checks that each of these lines, in the file of a service, causes an error that begins like this.
fn explains(cases: &[(&str, &str)]) {
    let start = "name = \"hub\"\nurl = \"ws://hub:1\"\nip = \"127.0.0.1\"\nport = 1\n";
    for (text, expected) in cases {
        let error = whole(&ServiceConfig::from_toml(&format!("{start}{text}\n")).unwrap_err());
        assert!(error.contains(expected), "{text:?}: {error:?} lacks {expected:?}");
    }
}

#[test]
fn a_time_or_a_size_that_is_none_is_named_with_what_it_takes() {
    explains(&[
        (
            "[settings.transport.timeouts]\ndead = \"soon\"",
            "line 6: this is no time: write seconds, or numbers with units such as ms, s, m, h or days \
             (field `dead`)",
        ),
        (
            "[settings.transport.timeouts]\ndead = -1",
            "line 6: a duration must be more than 0 and at most 1e9 seconds (field `dead`)",
        ),
        (
            "settings.transport = { timeouts = { connect = 3, dead = true } }",
            "line 5: invalid type: boolean, expected a number of seconds, or a time such as \"30s\" or \
             \"5m\" (field `dead`)",
        ),
        ("settings.listen_wait = -1", "line 5: a duration must be from 0 to 1e9 seconds (field `"),
        (
            "[settings]\nwindow = 5000000000",
            "line 6: 5000000000 bytes are too many here (field `window`)",
        ),
        (
            "[settings]\nwindow = \"large\"",
            "line 6: this is no size: write bytes, or a number with a unit such as kB, KiB or MiB \
             (field `window`)",
        ),
    ]);
}

/// An operator who mistypes a setting reads which one, where, and what it takes.
#[test]
fn a_setting_of_the_wrong_type_is_named_with_what_it_takes() {
    let cases = [
        (
            "[settings.transport.limits]\npending = \"many\"",
            "line 6: invalid type: string, expected a whole number, 0 or more (field `pending`)",
        ),
        (
            "[settings.transport.limits]\npending = -1",
            "line 6: invalid value: integer, expected a whole number, 0 or more (field `pending`)",
        ),
        (
            "[settings]\nhandlers = 2.5",
            "line 6: invalid type: floating point, expected a whole number, 0 or more (field `handlers`)",
        ),
        (
            "settings.handlers = [1]",
            "line 5: invalid type: sequence, expected a whole number, 0 or more (field `settings.handlers`)",
        ),
        (
            "settings.transport = 3",
            "line 5: invalid type: integer, expected a table (field `settings.transport`)",
        ),
        ("outbox = 7", "line 5: invalid type: integer, expected text in quotes (field `outbox`)"),
        ("clients = 7", "line 5: invalid type: integer, expected a list (field `clients`)"),
        (
            "[settings]\non_error = { policy = \"again\" }",
            "line 6: unknown variant, expected one of `next`, `retry`, `stop` (field `",
        ),
        (
            "[settings]\non_error = \"next\"",
            "line 6: invalid type: string, expected a table (field `on_error`)",
        ),
        (
            "[settings]\nhandelrs = 1",
            "line 6: unknown field `handelrs`, expected one of `transport`, `software`",
        ),
    ];
    explains(&cases);
}

#[test]
fn a_time_that_may_be_zero_is_written_and_read() {
    let mut pair = pair();
    for wait in [Duration::ZERO, Duration::from_millis(2_500)] {
        pair.server.settings_mut().listen_wait = wait;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("service.toml");
        pair.server.save(&path).unwrap();
        assert_eq!(ServiceConfig::load(&path).unwrap().settings().listen_wait, wait);
    }
}

#[test]
fn debug_output_shows_no_key() {
    let mut pair = pair();
    let [inner, outer] = key_digits(&pair.invite);
    pair.server.settings_mut().outbox_messages = 7;
    let shown = format!("{:?} {:#?} {pair:?} {pair:#?}", pair.invite, pair.server);
    assert!(shown.contains("SecretKey(..)") && shown.contains("client"));
    for secret in [&inner, &outer] {
        for start in (0..secret.len() - 8).step_by(2) {
            assert!(!shown.contains(&secret[start..start + 8]), "{shown}");
        }
        let bytes = (0..8).map(|at| u8::from_str_radix(&secret[2 * at..2 * at + 2], 16).unwrap());
        let listed = bytes.map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
        assert!(!shown.contains(&listed), "{shown}");
    }
}

#[test]
fn a_file_that_others_can_read_causes_a_warning() {
    let logs = paddington_test_support::capture_logs();
    let (_folder, path) = folder();
    pair().invite.save(&path).unwrap();
    Invite::load(&path).unwrap();
    let warned = |path: &Path| {
        let path = path.display().to_string();
        logs.lines().iter().any(|line| line.starts_with("WARN") && line.contains(&path))
    };
    assert!(!warned(&path));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    Invite::load(&path).unwrap();
    assert!(warned(&path), "{:?}", logs.lines());
}

#[test]
fn the_lifetime_of_one_invitation_can_be_chosen() {
    let (folder, _) = folder();
    let mut hub = config("hub");
    let never = InviteOptions { lifetime: Some(Duration::ZERO), ..InviteOptions::default() };
    let hour = Duration::from_secs(3600);
    let short = InviteOptions { lifetime: Some(hour), ..InviteOptions::default() };
    // Without a folder of links, none expires.
    assert_eq!(hub.add_client_with("one", "10.0.0.1", short).unwrap().expires(), None);
    hub.set_links(folder.path().join("links")).unwrap();
    let lasts = |invite: Invite| {
        invite.expires().map(|end| end.duration_since(SystemTime::now()).unwrap_or_default())
    };
    let near = |time: Option<Duration>, wanted: Duration| {
        time.is_some_and(|time| time <= wanted && wanted - time < Duration::from_secs(60))
    };
    assert!(near(lasts(hub.add_client_with("two", "10.0.0.1", short).unwrap()), hour));
    assert_eq!(lasts(hub.add_client_with("three", "10.0.0.1", never).unwrap()), None);
    assert!(near(lasts(hub.add_client("four", "10.0.0.1").unwrap()), 7 * 24 * hour));
    assert!(near(lasts(hub.renew_for("three", Some(hour)).unwrap()), hour));
    assert_eq!(lasts(hub.renew_for("four", Some(Duration::ZERO)).unwrap()), None);
}

#[test]
fn a_fingerprint_tells_keys_apart_and_not_places() {
    let mut hub = config("hub");
    let written = hub.add_client("sensor", "10.0.0.1").unwrap();
    let moved = written.clone().at("wss://proxy.example/hub").unwrap();
    assert_eq!(moved.fingerprint(), written.fingerprint());
    assert_ne!(hub.renew("sensor").unwrap().fingerprint(), written.fingerprint());
    assert_eq!(Invite::from_toml(ORIGINAL).unwrap().fingerprint(), None);
}

#[test]
fn a_service_in_a_program_ignores_the_settings_of_the_command() {
    let text = "name = \"hub\"\nurl = \"ws://localhost:1\"\nip = \"127.0.0.1\"\nport = 1\n[api]\ntcp = \"x\"\n\
                [health]\nrequired = []\n[handler]\nexec = [\"x\"]\n";
    let hub = ServiceConfig::from_toml(text).unwrap();
    assert!(!hub.to_toml().unwrap().contains("api"));
}
