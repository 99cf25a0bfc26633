//! Links of running services: invited, burned at first contact, renewed, replaced, removed.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;
use std::time::Duration;

use paddington::{
    ConfigError, Event, FixedKeys, Invite, LinkDetails, LinkError, Message, PeerStatus,
    RemoveError, Service, ServiceConfig, Waiting,
};
use paddington_test_support::{Inbox, MemoryNetwork, eventually};
use paddington_wire::keys::Generation;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// A hub and its partners, each with a folder of links.
struct World {
    network: MemoryNetwork,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        Self { network: MemoryNetwork::new(), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, name: &str, folder: &Path) -> ServiceConfig {
        let mut config =
            ServiceConfig::new(name, "ws://hub.example:6501", "127.0.0.1", &6501).unwrap();
        config.set_links(folder).unwrap();
        config
    }

    async fn start(&self, name: &str, folder: &str) -> (Service, Inbox) {
        self.start_as(name, folder, "127.0.0.1").await
    }

    async fn start_as(&self, name: &str, folder: &str, source: &str) -> (Service, Inbox) {
        let config = self.config(name, &self.path(folder));
        let (inbox, handler) = Inbox::new();
        let network = self.network.from(source).network();
        (Service::start_on(network, &config, handler).await.unwrap(), inbox)
    }
}

fn link(service: &Service) -> LinkDetails {
    service.links().remove(0)
}

fn generation(service: &Service) -> Option<u64> {
    link(service).generation
}

/// Waits until both sides use this generation, and no other.
async fn agreed(services: [&Service; 2], number: u64) {
    let both = || async {
        services.iter().all(|service| {
            let name = link(service).name;
            let ring = service.exchange().keys(&name).unwrap();
            ring.generations().iter().map(Generation::number).eq([number])
        })
    };
    timeout(Duration::from_secs(60), eventually(both)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_invitation_burns_at_first_contact_and_the_keys_outlive_both_processes() {
    let world = World::new();
    let (hub, received) = world.start("hub", "hub").await;
    let (sensor, _) = world.start("sensor", "sensor").await;
    assert_eq!(hub.address(), None, "nobody is invited yet");

    let invite = hub.add_client("sensor", "127.0.0.0/8").await.unwrap();
    sensor.add_server(invite.clone()).await.unwrap();
    sensor.send(Message::new("hub", "one")).await.unwrap();
    assert_eq!(received.text().await, "one");
    agreed([&hub, &sensor], 1).await;
    assert_eq!(hub.peers()[0].counters.sessions, 1, "it costs no session");

    // Somebody with the file that was handed over gets nowhere, and is noticed.
    let mut events = hub.exchange().events();
    let mut thief = ServiceConfig::new("sensor", "ws://x.example:1", "127.0.0.1", &1).unwrap();
    thief.add_server(invite).unwrap();
    let (stolen, handler) = Inbox::new();
    let network = world.network.from("127.0.0.9").network();
    let thief = Service::start_on(network, &thief, handler).await.unwrap();
    let alarm = async {
        loop {
            if let Event::BurnedKeys { peer, address, generation } = events.recv().await.unwrap() {
                return (peer.to_string(), address.to_string(), generation);
            }
        }
    };
    let alarm = timeout(Duration::from_secs(60), alarm).await.unwrap();
    assert_eq!(alarm, ("sensor".to_owned(), "127.0.0.9".to_owned(), 0));
    eventually(async || hub.refusals().iter().any(|it| it.cause.contains("burned keys"))).await;
    assert!(!thief.peers()[0].is_connected());
    assert_eq!((link(&hub).fixed, link(&thief).fixed), (None, Some(FixedKeys::NoFolder)));
    thief.shutdown().await;
    drop(stolen);

    for (name, folder) in [("hub", "hub"), ("sensor", "sensor")] {
        let text = std::fs::read_dir(world.path(folder)).unwrap().count();
        assert!(text > 0, "{name}");
    }
    hub.shutdown().await;
    sensor.shutdown().await;
    drop((hub, sensor));
    let (hub, received) = world.start("hub", "hub").await;
    let (sensor, _) = world.start("sensor", "sensor").await;
    sensor.send(Message::new("hub", "two")).await.unwrap();
    assert_eq!(received.text().await, "two");
    eventually(|| async { [&hub, &sensor].iter().all(|it| generation(it) == Some(1)) }).await;
    hub.shutdown().await;
    sensor.shutdown().await;
}

/// Introduces a sensor to a hub, until the invitation is burned.
async fn introduced(world: &World) -> ((Service, Inbox), (Service, Inbox)) {
    let (hub, sensor) = (world.start("hub", "hub").await, world.start("sensor", "sensor").await);
    let invite = hub.0.add_client("sensor", "127.0.0.0/8").await.unwrap();
    sensor.0.add_server(invite).await.unwrap();
    agreed([&hub.0, &sensor.0], 1).await;
    (hub, sensor)
}

#[tokio::test(start_paused = true)]
async fn keys_are_renewed_by_age_and_on_request_of_either_side() {
    let world = World::new();
    let ((hub, received), (sensor, _)) = introduced(&world).await;
    for (asks, name, number) in [(&hub, "sensor", 2), (&sensor, "hub", 3)] {
        asks.renew_keys(name).await.unwrap();
        let waits = || async {
            let newest = |service: &Service, name| {
                service.exchange().keys(name).unwrap().generations().last().unwrap().number()
            };
            newest(&hub, "sensor") == number && newest(&sensor, "hub") == number
        };
        timeout(Duration::from_secs(60), eventually(waits)).await.unwrap();
        hub.disconnect("sensor").await.unwrap();
        agreed([&hub, &sensor], number).await;
    }
    // After 30 days there are new keys; the next connection, at most 1.1 days later, uses them.
    sleep(Duration::from_secs(32 * 24 * 60 * 60)).await;
    agreed([&hub, &sensor], 4).await;
    sensor.send(Message::new("hub", "still there")).await.unwrap();
    assert_eq!(received.text().await, "still there");
    hub.shutdown().await;
    sensor.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_partner_who_has_lost_everything_joins_again_and_gets_what_waits() {
    let world = World::new();
    let ((hub, _), (sensor, _)) = introduced(&world).await;
    sensor.shutdown().await;
    drop(sensor);
    hub.send(Message::new("sensor", "for you")).await.unwrap();
    let before = link(&hub).link;

    let path = world.path("invitation.toml");
    hub.renew("sensor").await.unwrap().save(&path).unwrap();
    let (again, received) = world.start("sensor", "another folder").await;
    again.add_server(Invite::load(&path).unwrap()).await.unwrap();
    assert_eq!(received.text().await, "for you");
    assert_eq!((link(&hub).link, link(&again).link), (before, before));
    agreed([&hub, &again], 3).await;
    let refused = again.replace_server(Invite::load(&path).unwrap()).await.unwrap_err();
    let LinkError::Config(ConfigError::SeenInvitation(_)) = refused else { panic!("{refused}") };

    // The old copy is of no use any more.
    let (old, _) = world.start_as("sensor", "sensor", "127.0.0.7").await;
    let mut events = hub.exchange().events();
    let alarm = async {
        while !matches!(events.recv().await.unwrap(), Event::BurnedKeys { generation: 1, .. }) {}
    };
    timeout(Duration::from_secs(120), alarm).await.unwrap();
    assert!(!old.peers()[0].is_connected());
    for service in [hub, again, old] {
        service.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_invitation_overlaps_with_the_keys_that_it_replaces() {
    let world = World::new();
    let ((hub, received), (sensor, _)) = introduced(&world).await;
    let invite = hub.renew("sensor").await.unwrap();
    hub.shutdown().await;
    drop(hub);
    // After a restart, too, the sensor with its old keys is welcome.
    let (hub, received) = {
        drop(received);
        world.start("hub", "hub").await
    };
    sensor.send(Message::new("hub", "with the old keys")).await.unwrap();
    assert_eq!(received.text().await, "with the old keys");
    assert_eq!(link(&hub).invitation.unwrap().generation, 2);
    sensor.replace_server(invite).await.unwrap();
    hub.disconnect("sensor").await.unwrap();
    agreed([&hub, &sensor], 3).await;
    hub.shutdown().await;
    sensor.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_invitation_that_nobody_has_used_expires() {
    let world = World::new();
    let (hub, _) = world.start("hub", "hub").await;
    let invite = hub.add_client("sensor", "127.0.0.0/8").await.unwrap();
    sleep(Duration::from_secs(8 * 24 * 60 * 60)).await;
    let (sensor, _) = world.start("sensor", "sensor").await;
    sensor.add_server(invite).await.unwrap();
    sleep(Duration::from_secs(600)).await;
    assert!(!sensor.peers()[0].is_connected());
    sensor.replace_server(hub.renew("sensor").await.unwrap()).await.unwrap();
    agreed([&hub, &sensor], 2).await;
    hub.shutdown().await;
    sensor.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_peer_is_gone_from_the_disk_and_a_successor_is_another() {
    let world = World::new();
    let ((hub, _), (sensor, _)) = introduced(&world).await;
    let file = world.path("hub").join("sensor.toml");
    assert!(file.exists());
    sensor.shutdown().await;
    hub.send(Message::new("sensor", "secret of the first")).await.unwrap();
    let refused = hub.remove("sensor", Waiting::Refuse).await.unwrap_err();
    let LinkError::Remove(RemoveError::Waiting { messages: 1, .. }) = refused else {
        panic!("{refused}")
    };
    assert!(file.exists());
    let removed = hub.remove("sensor", Waiting::Purge).await.unwrap();
    assert_eq!(removed.messages, 1);
    assert!(!file.exists() && hub.peers().is_empty() && hub.links().is_empty());

    let invite = hub.add_client("sensor", "127.0.0.0/8").await.unwrap();
    let (second, received) = world.start("sensor", "second").await;
    second.add_server(invite).await.unwrap();
    hub.send(Message::new("sensor", "hello")).await.unwrap();
    assert_eq!(received.text().await, "hello");
    hub.shutdown().await;
    second.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_stored_changes_nothing() {
    let world = World::new();
    let ((hub, _), (sensor, _)) = introduced(&world).await;
    let folder = world.path("hub");
    std::fs::create_dir(folder.join("blocked.toml")).unwrap();
    let refused = hub.add_client("blocked", "127.0.0.1").await.unwrap_err();
    assert!(matches!(refused, LinkError::Add(_)), "{refused}");
    assert_eq!(hub.peers().len(), 1);
    let file = folder.join("sensor.toml");
    let kept = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    for refused in [
        hub.renew("sensor").await.map(drop).unwrap_err(),
        hub.set_range("sensor", "10.0.0.0/8").await.unwrap_err(),
        hub.remove("sensor", Waiting::Purge).await.map(drop).unwrap_err(),
    ] {
        assert!(!refused.to_string().is_empty());
    }
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, kept).unwrap();
    assert_eq!(link(&hub).range.unwrap().to_string(), "127.0.0.0/8");
    hub.disconnect("sensor").await.unwrap();
    eventually(|| async { hub.peers()[0].is_connected() }).await;
    agreed([&hub, &sensor], 1).await;
    hub.shutdown().await;
    sensor.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_configuration_is_applied_and_other_links_are_not_touched() {
    let network = MemoryNetwork::new();
    let mut config =
        ServiceConfig::new("hub", "ws://hub.example:6501", "127.0.0.1", &6501).unwrap();
    let invites: Vec<_> = ["attic", "cellar"]
        .iter()
        .map(|name| config.add_client(name, "127.0.0.1").unwrap())
        .collect();
    let (inbox, handler) = Inbox::new();
    let hub = Service::start_on(network.network(), &config, handler).await.unwrap();
    let mut peers = Vec::new();
    for (name, invite) in ["attic", "cellar"].iter().zip(invites) {
        let mut peer = ServiceConfig::new(name, "ws://x.example:1", "127.0.0.1", &1).unwrap();
        peer.add_server(invite).unwrap();
        let (_, handler) = Inbox::new();
        peers.push(Service::start_on(network.network(), &peer, handler).await.unwrap());
    }
    eventually(|| async { hub.peers().iter().all(PeerStatus::is_connected) }).await;
    config.remove("attic").unwrap();
    config.add_client("garden", "127.0.0.2").unwrap();
    config.set_range("cellar", "127.0.0.0/8").unwrap();
    config.settings_mut().handlers = 7;
    let changes = hub.apply(&config, Waiting::Refuse).await.unwrap();
    assert_eq!(changes.added, ["garden"]);
    assert_eq!(changes.removed, ["attic"]);
    assert_eq!(changes.changed, ["cellar"]);
    assert_eq!(changes.restart, ["settings.handlers"]);
    assert!(changes.refused.is_empty());
    assert_eq!(
        hub.peers().iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>(),
        ["cellar", "garden"]
    );
    assert_eq!(hub.peers()[0].counters.sessions, 1);
    let nothing = hub.apply(&config, Waiting::Refuse).await.unwrap();
    assert!(nothing.added.is_empty() && nothing.removed.is_empty() && nothing.changed.is_empty());
    peers[1].send(Message::new("hub", "here")).await.unwrap();
    assert_eq!(inbox.text().await, "here");
    let other = ServiceConfig::new("other", "ws://hub.example:6501", "127.0.0.1", &6501).unwrap();
    assert!(hub.apply(&other, Waiting::Purge).await.is_err());
    assert_eq!(hub.peers().len(), 2);
    hub.shutdown().await;
    for peer in peers {
        peer.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_a_folder_keeps_its_keys_and_the_other_side_says_so() {
    let world = World::new();
    let (hub, _) = world.start("hub", "hub").await;
    let mut sensor = ServiceConfig::new("sensor", "ws://x.example:1", "127.0.0.1", &1).unwrap();
    sensor.add_server(hub.add_client("sensor", "127.0.0.0/8").await.unwrap()).unwrap();
    let (_inbox, handler) = Inbox::new();
    let sensor = Service::start_on(world.network.network(), &sensor, handler).await.unwrap();
    eventually(|| async { hub.peers().iter().all(PeerStatus::is_connected) }).await;
    assert_eq!(link(&hub).fixed, Some(FixedKeys::Peer));
    assert_eq!(link(&sensor).fixed, Some(FixedKeys::NoFolder));
    let refused = hub.renew_keys("sensor").await.unwrap_err();
    assert!(refused.to_string().contains("on both sides"), "{refused}");
    // Used as it is, the invitation does not expire.
    sleep(Duration::from_secs(30 * 24 * 60 * 60)).await;
    let sessions = hub.peers()[0].counters.sessions;
    hub.disconnect("sensor").await.unwrap();
    eventually(async || hub.peers()[0].counters.sessions > sessions).await;
    hub.shutdown().await;
    sensor.shutdown().await;
}

/// Hours of virtual time; `HOURS=24` for a whole day, which takes a minute.
fn hours() -> u64 {
    std::env::var("HOURS").ok().and_then(|hours| hours.parse().ok()).unwrap_or(1)
}

#[tokio::test(start_paused = true)]
async fn keys_are_renewed_every_minute_for_hours_and_nothing_else_is_noticed() {
    let world = World::new();
    let mut started = Vec::new();
    for name in ["hub", "sensor"] {
        let mut config = world.config(name, &world.path(name));
        let settings = config.settings_mut();
        settings.renew_keys = Duration::from_secs(60);
        settings.transport.timeouts.session_age = Duration::from_secs(60);
        let (inbox, handler) = Inbox::new();
        let network = world.network.network();
        started.push((Service::start_on(network, &config, handler).await.unwrap(), inbox));
    }
    let (sensor, _inbox) = started.pop().unwrap();
    let (hub, received) = started.pop().unwrap();
    sensor.add_server(hub.add_client("sensor", "127.0.0.0/8").await.unwrap()).await.unwrap();
    let mut events = hub.exchange().events();
    for minute in 0..hours() * 60 {
        sensor.send(Message::new("hub", minute.to_string())).await.unwrap();
        assert_eq!(received.text().await, minute.to_string());
        sleep(Duration::from_secs(60)).await;
        while let Ok(event) = events.try_recv() {
            assert!(!matches!(event, Event::BurnedKeys { .. }), "{event:?}");
        }
    }
    let reached = generation(&hub).unwrap();
    assert!(reached >= hours() * 20, "generation {reached} after {} hours", hours());
    assert!(hub.peers()[0].is_conserved() && sensor.peers()[0].is_conserved());
    hub.shutdown().await;
    sensor.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_was_made_before_renewals_starts_with_the_present_keys() {
    let world = World::new();
    let mut hub = world.config("hub", &world.path("hub"));
    let mut sensor = world.config("sensor", &world.path("sensor"));
    sensor.add_server(hub.add_client("sensor", "127.0.0.0/8").unwrap()).unwrap();
    for round in 0..3 {
        let ((inbox, hub_handler), (_other, sensor_handler)) = (Inbox::new(), Inbox::new());
        let network = world.network.network();
        let started = Service::start_on(network.clone(), &hub, hub_handler).await.unwrap();
        let other = Service::start_on(network, &sensor, sensor_handler).await.unwrap();
        other.send(Message::new("hub", round.to_string())).await.unwrap();
        assert_eq!(inbox.text().await, round.to_string());
        eventually(|| async { generation(&started) == Some(1) && generation(&other) == Some(1) })
            .await;
        other.shutdown().await;
        started.shutdown().await;
    }
}
