//! Links whose peers, or whose operators, do what they should not.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;
use std::time::Duration;

use paddington::{
    Changes, ConfigError, Encoding, Invite, Message, PeerStatus, Service, ServiceConfig, Waiting,
};
use paddington_test_support::{Inbox, MemoryNetwork, eventually};
use paddington_wire::keys::Generation;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

fn config(name: &str) -> ServiceConfig {
    ServiceConfig::new(name, "ws://hub.example:6501", "127.0.0.1", &6501).unwrap()
}

fn with_links(name: &str, folder: &Path) -> ServiceConfig {
    let mut config = config(name);
    config.set_links(folder).unwrap();
    config
}

async fn start(network: &MemoryNetwork, config: &ServiceConfig) -> (Service, Inbox) {
    let (inbox, handler) = Inbox::new();
    (Service::start_on(network.network(), config, handler).await.unwrap(), inbox)
}

async fn connected(service: &Service) {
    eventually(|| async { service.peers().iter().all(PeerStatus::is_connected) }).await;
}

/// Returns the numbers of the generations that a service keeps of the link with a peer.
fn numbers(service: &Service, peer: &str) -> Vec<u64> {
    let ring = service.exchange().keys(peer).unwrap();
    ring.generations().iter().map(Generation::number).collect()
}

/// A hub and a sensor with folders of links, in which they have an invitation.
fn invited(folder: &TempDir) -> [ServiceConfig; 2] {
    let [mut hub, mut sensor] =
        ["hub", "sensor"].map(|name| with_links(name, &folder.path().join(name)));
    if hub.peers().count() == 0 {
        sensor.add_server(hub.add_client("sensor", "127.0.0.0/8").unwrap()).unwrap();
    }
    [hub, sensor]
}

/// A hub and a sensor with folders of links, which have agreed on generation 1.
async fn introduced(network: &MemoryNetwork, folder: &TempDir) -> [(Service, Inbox); 2] {
    let [hub, sensor] = invited(folder);
    let [hub, sensor] = [start(network, &hub).await, start(network, &sensor).await];
    let both = || async { numbers(&hub.0, "sensor") == [1] && numbers(&sensor.0, "hub") == [1] };
    eventually(both).await;
    [hub, sensor]
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_again_and_again_gets_new_keys_no_more_often() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let [(hub, _inbox), (sensor, _)] = introduced(&network, &folder).await;
    sensor.shutdown().await;
    drop(sensor);
    let config = with_links("sensor", &folder.path().join("sensor"));
    let (began, mut sessions) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(60) {
        let (sensor, _inbox) = start(&network, &config).await;
        connected(&sensor).await;
        sensor.renew_keys("hub").await.unwrap();
        sleep(Duration::from_millis(300)).await;
        sensor.shutdown().await;
        sessions += 1;
    }
    let newest = numbers(&hub, "sensor").pop().unwrap();
    assert!(sessions > 30 && newest > 3, "{sessions} sessions, generation {newest}");
    assert!(newest <= 1 + 7, "{newest} generations in a minute");
    hub.shutdown().await;
}

/// A hub that keeps its links in one file, and knows a sensor, with the sensor's invitation.
async fn hub_in_one_file(network: &MemoryNetwork) -> (Service, Inbox, ServiceConfig, Invite) {
    let mut config = config("hub");
    let invite = config.add_client("sensor", "127.0.0.0/8").unwrap();
    let (hub, inbox) = start(network, &config).await;
    (hub, inbox, config, invite)
}

/// A sensor that keeps its links in one file.
async fn sensor_with(network: &MemoryNetwork, invite: Invite) -> (Service, Inbox) {
    let mut config = config("sensor");
    config.add_server(invite).unwrap();
    start(network, &config).await
}

/// The same configuration with another text.
fn edited(config: &ServiceConfig, edit: impl FnOnce(&mut toml::Table)) -> ServiceConfig {
    let mut table: toml::Table = toml::from_str(&config.to_toml().unwrap()).unwrap();
    edit(&mut table);
    ServiceConfig::from_toml(&toml::to_string(&table).unwrap()).unwrap()
}

fn nothing(changes: &Changes) -> bool {
    changes.added.is_empty()
        && changes.removed.is_empty()
        && changes.changed.is_empty()
        && changes.refused.is_empty()
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_older_than_the_keys_locks_nobody_out() {
    let network = MemoryNetwork::new();
    let (hub, _inbox, before, _) = hub_in_one_file(&network).await;
    let invite = hub.renew("sensor").await.unwrap();
    let after = hub.config();
    let newest_only = edited(&after, |table| {
        let client = table["clients"][0].as_table_mut().unwrap();
        assert!(client.remove("older").is_some());
    });
    for config in [&before, &after, &newest_only] {
        assert!(nothing(&hub.apply(config, Waiting::Refuse).await.unwrap()));
        assert_eq!(numbers(&hub, "sensor"), [0, 1]);
    }
    let (sensor, _other) = sensor_with(&network, invite).await;
    connected(&sensor).await;
    eventually(|| async { numbers(&hub, "sensor") == [1] }).await;
    for config in [&before, &after, &newest_only] {
        assert!(nothing(&hub.apply(config, Waiting::Refuse).await.unwrap()));
        assert_eq!(numbers(&hub, "sensor"), [1]);
    }
    hub.disconnect("sensor").await.unwrap();
    connected(&sensor).await;
    connected(&hub).await;
    hub.shutdown().await;
    sensor.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_configuration_that_nobody_has_seen_are_an_invitation_beside_the_others() {
    let network = MemoryNetwork::new();
    let (hub, _inbox, mut before, first) = hub_in_one_file(&network).await;
    let (sensor, _other) = sensor_with(&network, first.clone()).await;
    connected(&sensor).await;
    let mut config = hub.config();
    let second = config.renew("sensor").unwrap();
    let changes = hub.apply(&config, Waiting::Refuse).await.unwrap();
    assert_eq!(changes.changed, ["sensor"]);
    assert_eq!(numbers(&hub, "sensor"), [0, 1]);
    assert!(nothing(&hub.apply(&config, Waiting::Refuse).await.unwrap()));
    hub.disconnect("sensor").await.unwrap();
    connected(&sensor).await; // with those that it has

    // The sensor's operator has a configuration, too.
    let mut config = sensor.config();
    config.replace_server(second).unwrap();
    let changes = sensor.apply(&config, Waiting::Refuse).await.unwrap();
    assert_eq!(changes.changed, ["hub"]);
    hub.disconnect("sensor").await.unwrap();
    eventually(|| async { numbers(&hub, "sensor") == [1] && numbers(&sensor, "hub") == [1] }).await;
    let mut forgotten =
        ServiceConfig::new("sensor", "ws://hub.example:6501", "127.0.0.1", &6501).unwrap();
    forgotten.add_server(first).unwrap();
    assert!(nothing(&sensor.apply(&forgotten, Waiting::Refuse).await.unwrap()));

    // A number that other keys have is no newer one.
    before.renew("sensor").unwrap();
    before.set_range("sensor", "127.0.0.1").unwrap();
    let changes = hub.apply(&before, Waiting::Refuse).await.unwrap();
    assert_eq!((changes.changed.len(), changes.refused.len()), (0, 1), "{changes:?}");
    assert_eq!(numbers(&hub, "sensor"), [1]);
    assert_eq!(hub.links()[0].range.unwrap().to_string(), "127.0.0.0/8");
    hub.shutdown().await;
    sensor.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn another_name_or_another_role_is_another_link_and_another_encoding_is_refused() {
    let network = MemoryNetwork::new();
    let (hub, _inbox, config, invite) = hub_in_one_file(&network).await;
    let (sensor, _other) = sensor_with(&network, invite.clone()).await;
    connected(&sensor).await;
    let first = |table: &mut toml::Table, field: &str, value: &str| {
        table["clients"][0].as_table_mut().unwrap().insert(field.to_owned(), value.into());
    };
    let as_hex = edited(&config, |table| {
        first(table, "encoding", "hex");
        first(table, "range", "127.0.0.1");
    });
    let changes = hub.apply(&as_hex, Waiting::Refuse).await.unwrap();
    assert_eq!((changes.changed.len(), changes.refused.len()), (0, 1), "{changes:?}");
    assert_eq!(hub.links()[0].encoding, Encoding::Sealed);
    assert_eq!(hub.links()[0].range.unwrap().to_string(), "127.0.0.0/8");

    // While a message waits, the link is not removed, and nothing takes its keys.
    sensor.shutdown().await;
    hub.send(Message::new("sensor", "waits")).await.unwrap();
    let renamed = edited(&config, |table| first(table, "name", "other"));
    let changes = hub.apply(&renamed, Waiting::Refuse).await.unwrap();
    assert_eq!((changes.added.len(), changes.removed.len()), (0, 0), "{changes:?}");
    assert_eq!(changes.refused.len(), 2);
    let mut turned = turned_config(&invite);
    turned.set_outbox("elsewhere");
    let changes = hub.apply(&turned, Waiting::Refuse).await.unwrap();
    assert_eq!((changes.added.len(), changes.refused.len()), (0, 1), "{changes:?}");
    let (sensor, received) = sensor_with(&network, invite).await;
    assert_eq!(received.text().await, "waits");

    let changes = hub.apply(&renamed, Waiting::Purge).await.unwrap();
    assert_eq!(
        (changes.added, changes.removed),
        (vec!["other".to_owned()], vec!["sensor".to_owned()])
    );
    let changes = hub.apply(&turned, Waiting::Purge).await.unwrap();
    assert_eq!(changes.added, ["sensor"], "{changes:?}");
    hub.shutdown().await;
    sensor.shutdown().await;
}

/// A hub to which the sensor is a server, with keys of the hub's own invitation.
fn turned_config(invite: &Invite) -> ServiceConfig {
    let text = invite.to_toml().unwrap();
    let text = text.replacen("name = \"hub\"", "name = \"sensor\"", 1);
    let text = text.replacen("client = \"sensor\"", "client = \"hub\"", 1);
    let mut config = config("hub");
    config.add_server(Invite::from_toml(&text).unwrap()).unwrap();
    config
}

#[tokio::test(start_paused = true)]
async fn a_hex_link_does_not_become_a_sealed_one() {
    let network = MemoryNetwork::new();
    let mut config = config("hub");
    config.add_client_with("old", "127.0.0.1", Encoding::Hex).unwrap();
    let (hub, _inbox) = start(&network, &config).await;
    let as_sealed = edited(&config, |table| {
        let client = table["clients"][0].as_table_mut().unwrap();
        client.insert("encoding".to_owned(), "sealed".into());
    });
    let changes = hub.apply(&as_sealed, Waiting::Refuse).await.unwrap();
    assert_eq!((changes.changed.len(), changes.refused.len()), (0, 1), "{changes:?}");
    assert_eq!(hub.config().to_toml().unwrap(), config.to_toml().unwrap());
    config.renew("old").unwrap();
    assert_eq!(hub.apply(&config, Waiting::Refuse).await.unwrap().changed, ["old"]);
    assert!(nothing(&hub.apply(&config, Waiting::Refuse).await.unwrap()));
    assert_eq!(hub.config().to_toml().unwrap(), config.to_toml().unwrap());
    hub.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_configuration_in_memory_does_not_write_old_keys_over_those_of_a_service_that_has_run() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let [stale_hub, stale_sensor] = invited(&folder);
    let [(hub, _inbox), (sensor, _other)] = introduced(&network, &folder).await;
    let refused = stale_hub.clone().set_range("sensor", "127.0.0.1").unwrap_err();
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    hub.add_client("attic", "127.0.0.1").await.unwrap();
    hub.shutdown().await;
    sensor.shutdown().await;
    drop((hub, sensor));

    // Nothing is known of what the services have done, and yet it stays.
    let mut config = stale_hub.clone();
    let twice = config.add_client("attic", "127.0.0.1").unwrap_err();
    assert!(matches!(twice, ConfigError::Duplicate(_)), "{twice}");
    config.set_range("sensor", "127.0.0.0/16").unwrap();
    let details = config.link_details().into_iter().find(|link| link.name == "sensor").unwrap();
    assert_eq!((details.generation, details.invitation), (Some(1), None));
    let invite = config.renew("sensor").unwrap();
    stale_sensor.clone().replace_server(invite).unwrap();
    for (name, path) in [("hub", "hub"), ("sensor", "sensor")] {
        let config = with_links(name, &folder.path().join(path));
        let details = config.link_details();
        let details = details.iter().find(|link| link.name != "attic").unwrap();
        assert_eq!((details.generation, details.invitation.unwrap().generation), (Some(1), 2));
    }
    let (hub, _inbox) = start(&network, &stale_hub).await;
    let (sensor, _other) = start(&network, &stale_sensor).await;
    eventually(|| async { numbers(&hub, "sensor") == [3] && numbers(&sensor, "hub") == [3] }).await;
    hub.remove("sensor", Waiting::Purge).await.unwrap();
    hub.shutdown().await;
    sensor.shutdown().await;
    drop(hub);
    for refused in [
        config.renew("sensor").map(drop).unwrap_err(),
        config.set_range("sensor", "127.0.0.1").unwrap_err(),
        config.remove("sensor").unwrap_err(),
    ] {
        assert!(matches!(refused, ConfigError::Unknown(_)), "{refused}");
    }
    assert_eq!(
        with_links("hub", &folder.path().join("hub")).peers().collect::<Vec<_>>(),
        ["attic"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_that_a_person_could_not_make_does_not_put_off_what_is_to_be_stored_again() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let [hub, sensor] = invited(&folder);
    let (hub, _inbox) = start(&network, &hub).await;
    let file = folder.path().join("hub/sensor.toml");
    let kept = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let (sensor, _other) = start(&network, &sensor).await;
    connected(&hub).await;
    sleep(Duration::from_secs(9)).await;
    hub.renew("sensor").await.unwrap_err();
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, kept).unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!((numbers(&hub, "sensor"), numbers(&sensor, "hub")), (vec![1], vec![1]));
    hub.shutdown().await;
    sensor.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_keys_while_an_invitation_waits_is_told_so_and_no_session_ends() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let [(hub, _inbox), (sensor, _other)] = introduced(&network, &folder).await;
    let invite = hub.renew("sensor").await.unwrap();
    for _ in 0..3 {
        let refused = hub.renew_keys("sensor").await.unwrap_err();
        assert!(refused.to_string().contains("new invitation"), "{refused}");
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(hub.peers()[0].counters.sessions, 1);
    assert_eq!(numbers(&hub, "sensor"), [1, 2]);

    // The sensor has it, and uses it when its keys are to be renewed.
    sensor.replace_server(invite).await.unwrap();
    sensor.renew_keys("hub").await.unwrap();
    sleep(Duration::from_secs(20)).await;
    assert_eq!((numbers(&hub, "sensor"), numbers(&sensor, "hub")), (vec![3], vec![3]));
    hub.renew_keys("sensor").await.unwrap();
    hub.shutdown().await;
    sensor.shutdown().await;
}
