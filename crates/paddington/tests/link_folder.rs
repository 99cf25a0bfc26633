//! Links in a folder: what is written and read, who may change it, and what is refused without a change.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use paddington::{ConfigError, Encoding, FixedKeys, Invite, PeerRole, ServiceConfig};
use paddington_test_support::key_digits;

fn config(name: &str) -> ServiceConfig {
    ServiceConfig::new(name, "ws://localhost:1", "127.0.0.1", &1).unwrap()
}

fn with_links(name: &str, folder: &Path) -> ServiceConfig {
    let mut config = config(name);
    config.set_links(folder).unwrap();
    config
}

/// Returns the names and contents of the files of links.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let links = names.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    links.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect()
}

#[test]
fn links_are_read_back_as_they_were_and_only_their_owner_can_read_them() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("links");
    let mut hub = with_links("hub", &folder);
    let invite = hub.add_client("sensor", "192.0.2.0/24").unwrap();
    hub.add_client_with("old", "192.0.2.7", Encoding::Hex).unwrap();
    let mut other = config("other");
    hub.add_server(other.add_client("hub", "127.0.0.1").unwrap()).unwrap();

    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let before = files(&folder);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["old.toml", "other.toml", "sensor.toml"]);
    for name in before.keys() {
        let mode = fs::metadata(folder.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let again = with_links("hub", &folder);
    let details = |config: &ServiceConfig| {
        let mut details = config.link_details();
        details.sort_by(|a, b| a.name.cmp(&b.name));
        format!("{details:?}")
    };
    assert_eq!(details(&again), details(&hub));
    let sensor = again.link_details().into_iter().find(|link| link.name == "sensor").unwrap();
    assert_eq!((sensor.role, sensor.fixed, sensor.generation), (PeerRole::Client, None, None));
    let waiting = sensor.invitation.unwrap();
    assert_eq!((waiting.generation, waiting.expires), (0, invite.expires()));
    assert!(waiting.expires.is_some(), "it expires");
    let old = again.link_details().into_iter().find(|link| link.name == "old").unwrap();
    assert_eq!((old.fixed, old.invitation), (Some(FixedKeys::Hex), None));
    assert_eq!(files(&folder), before, "reading writes nothing");

    // The configuration itself holds no keys then.
    let path = temporary.path().join("hub.toml");
    again.save(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("links = ") && !text.contains("data = "), "{text}");
    assert_eq!(details(&ServiceConfig::load(&path).unwrap()), details(&hub));
}

#[test]
fn a_renewed_link_is_the_same_link_with_an_invitation_that_waits() {
    let temporary = tempfile::tempdir().unwrap();
    let mut hub = with_links("hub", &temporary.path().join("hub"));
    let mut sensor = with_links("sensor", &temporary.path().join("sensor"));
    let first = hub.add_client("sensor", "192.0.2.0/24").unwrap();
    sensor.add_server(first.clone()).unwrap();
    let link = hub.link_details()[0].link;
    assert_eq!(sensor.link_details()[0].link, link);

    let path = temporary.path().join("invitation.toml");
    hub.renew("sensor").unwrap().save(&path).unwrap();
    let renewed = Invite::load(&path).unwrap();
    assert_ne!(key_digits(&renewed), key_digits(&first));
    assert_eq!(renewed.url(), first.url(), "the bucket stays");
    sensor.replace_server(renewed.clone()).unwrap();
    for config in [&hub, &sensor] {
        let details = &config.link_details()[0];
        assert_eq!((details.link, details.invitation.unwrap().generation), (link, 1));
    }
    let seen = sensor.replace_server(renewed).unwrap_err();
    assert!(matches!(seen, ConfigError::SeenInvitation(_)), "{seen}");
    let seen = sensor.replace_server(first).unwrap_err();
    assert!(matches!(seen, ConfigError::SeenInvitation(_)), "{seen}");

    // Somebody who lost everything joins with the new one.
    let mut again = config("sensor");
    again.add_server(Invite::load(&path).unwrap()).unwrap();
    let details = &again.link_details()[0];
    assert_eq!((details.link, details.invitation.unwrap().generation), (link, 1));

    // A new link of the same names is another one.
    hub.remove("sensor").unwrap();
    let other = hub.add_client("sensor", "192.0.2.0/24").unwrap();
    let refused = sensor.replace_server(other).unwrap_err();
    assert!(matches!(refused, ConfigError::OtherLink(_)), "{refused}");
}

#[test]
fn without_a_folder_a_renewal_keeps_both_in_the_one_file() {
    let (mut hub, mut sensor) = (config("hub"), config("sensor"));
    sensor.add_server(hub.add_client("sensor", "127.0.0.1").unwrap()).unwrap();
    let invite = hub.renew("sensor").unwrap();
    assert_eq!(invite.expires(), None);
    sensor.replace_server(invite).unwrap();
    for config in [&hub, &sensor] {
        let again = ServiceConfig::from_toml(&config.to_toml().unwrap()).unwrap();
        assert_eq!(again.to_toml().unwrap(), config.to_toml().unwrap());
        let details = &again.link_details()[0];
        assert_eq!(details.fixed, Some(FixedKeys::NoFolder));
        assert_eq!(details.link, config.link_details()[0].link);
        assert_eq!(again.to_toml().unwrap().matches("data = ").count(), 4, "two pairs");
    }
}

#[test]
fn the_last_generation_is_written_and_read_and_none_above_it() {
    let temporary = tempfile::tempdir().unwrap();
    let mut hub = config("hub");
    let text = hub.add_client("sensor", "127.0.0.1").unwrap().to_toml().unwrap();
    let with = |number: u64| {
        let text =
            text.replacen("version = 1\n", &format!("version = 1\ngeneration = {number}\n"), 1);
        Invite::from_toml(&text)
    };
    let last = (1 << 63) - 1;
    assert!(with(last + 1).is_err());
    let mut sensor = with_links("sensor", &temporary.path().join("links"));
    sensor.add_server(with(last).unwrap()).unwrap();
    let again = with_links("sensor", &temporary.path().join("links"));
    assert_eq!(again.link_details()[0].invitation.unwrap().generation, last);

    // Formats that could hold more.
    let mut table: serde_json::Value = serde_json::to_value(with(last).unwrap()).unwrap();
    assert!(serde_json::from_value::<Invite>(table.clone()).is_ok());
    table["generation"] = (last + 1).into();
    let refused = serde_json::from_value::<Invite>(table).unwrap_err();
    assert!(refused.to_string().contains("above 2^63"), "{refused}");
}

#[test]
fn a_refused_change_changes_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("links");
    let mut hub = with_links("hub", &folder);
    hub.add_client("sensor", "192.0.2.0/24").unwrap();
    let before = (files(&folder), format!("{:?}", hub.link_details()));
    fs::create_dir(folder.join("blocked.toml")).unwrap();
    symlink("/etc/passwd", folder.join("linked.toml")).unwrap();
    let refused = [
        hub.add_client("blocked", "127.0.0.1").unwrap_err(),
        hub.add_client("linked", "127.0.0.1").unwrap_err(),
        hub.add_client("sensor", "127.0.0.1").unwrap_err(),
        hub.add_client("hub", "127.0.0.1").unwrap_err(),
        hub.add_client("wide", "everywhere").unwrap_err(),
        hub.renew("nobody").unwrap_err(),
        hub.remove("nobody").unwrap_err(),
        hub.set_range("sensor", "nowhere").unwrap_err(),
    ];
    for error in &refused {
        assert!(!error.to_string().is_empty(), "{error}");
    }
    fs::remove_dir(folder.join("blocked.toml")).unwrap();
    fs::remove_file(folder.join("linked.toml")).unwrap();
    assert_eq!((files(&folder), format!("{:?}", hub.link_details())), before);
}

#[test]
fn a_folder_that_another_process_has_locked_is_not_changed() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("links");
    let mut hub = with_links("hub", &folder);
    let lock = fs::File::options().append(true).create(true).open(folder.join(".lock")).unwrap();
    lock.lock().unwrap();
    let error = hub.add_client("sensor", "127.0.0.1").unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
    assert_eq!(hub.peers().count(), 0);
    drop(lock);
    hub.add_client("sensor", "127.0.0.1").unwrap();
}

#[test]
fn what_a_dead_process_has_left_is_removed_with_the_first_change_of_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut hub = with_links("hub", folder.path());
    let left = folder.path().join(".paddington-x8s1kq.draft");
    let leave = || fs::write(&left, "keys of a process that was killed").unwrap();
    leave();
    hub.add_client("attic", "127.0.0.1").unwrap();
    assert!(!left.exists());
    leave();
    hub.add_client("cellar", "127.0.0.1").unwrap();
    assert!(left.exists(), "a folder with many links is not listed for each of them");
    with_links("hub", folder.path()).add_client("roof", "127.0.0.1").unwrap();
    assert!(!left.exists());
}

#[test]
fn links_of_a_configuration_in_one_file_are_moved_into_the_folder_once() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("links");
    let mut hub = config("hub");
    hub.add_client("sensor", "127.0.0.1").unwrap();
    let text = hub.to_toml().unwrap();
    let text = text.replacen("port = 1\n", &format!("port = 1\nlinks = {folder:?}\n"), 1);
    let moved = ServiceConfig::from_toml(&text).unwrap();
    assert_eq!(files(&folder).len(), 1);
    let again = ServiceConfig::from_toml(&text).unwrap();
    assert_eq!(again.link_details()[0].link, moved.link_details()[0].link);
    // A link that was removed does not come back with its first keys.
    let mut without = ServiceConfig::from_toml(&text).unwrap();
    without.remove("sensor").unwrap();
    assert_eq!(ServiceConfig::from_toml(&text).unwrap().peers().count(), 0);
    without.add_client("sensor", "127.0.0.1").unwrap();
    assert_eq!(ServiceConfig::from_toml(&text).unwrap().peers().count(), 1);
    // Another link with that name does not take its place.
    let mut other = config("hub");
    other.add_client("sensor", "127.0.0.1").unwrap();
    let other = other.to_toml().unwrap();
    let other = other.replacen("port = 1\n", &format!("port = 1\nlinks = {folder:?}\n"), 1);
    assert!(matches!(ServiceConfig::from_toml(&other), Err(ConfigError::Duplicate(_))));
}

#[test]
fn a_bad_file_of_a_link_is_explained_and_no_key_is_shown() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("links");
    with_links("hub", &folder).add_client("sensor", "127.0.0.1").unwrap();
    let path = folder.join("sensor.toml");
    let good = fs::read_to_string(&path).unwrap();
    let key = good.lines().find(|line| line.starts_with("data = ")).unwrap();
    for (from, to, said) in [
        ("peer = \"sensor\"", "peer = \"other\"", "named otherwise"),
        ("range = \"127.0.0.1\"\n", "", "lacks \"range\""),
        ("role = \"client\"", "role = \"boss\"", "line 2"),
        ("generation = 0", "generation = -1", "generation"),
        ("generation = 0", "generation = 9223372036854775808", "HighNumber"),
        ("since = \"", "since = \"x", "a time is written"),
        (key, "data = \"00\"", "64 hexadecimal digits"),
        ("origin = \"invitation\"", "origin = \"invitation\"\nmore = 1", "unknown field"),
    ] {
        assert!(good.contains(from), "{from}: {good}");
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        let error = config("hub").set_links(&folder).unwrap_err();
        let text = format!("{error} {:?}", std::error::Error::source(&error));
        assert!(text.contains(said), "{to}: {text}");
        assert!(!text.contains(&key[8..40]), "{text}");
    }
    fs::write(&path, good.replace("[[keys]]", "[[keyss]]")).unwrap();
    assert!(config("hub").set_links(&folder).is_err());
}
