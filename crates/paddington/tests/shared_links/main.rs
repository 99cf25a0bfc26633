//! Links in the database that replicas share: `docs/cluster.md`, "Links".

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod agreeing;
mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use paddington::store::Mailbox;
use paddington::{
    AtRest, ConfigError, Delivered, Invite, KeySource, LinkError, Message, PurgeError, RemoveError,
    SendError, Service, ServiceConfig, Storage, Waiting,
};
use paddington_test_support::{Authority, Inbox, capture_logs_of_thread, eventually};
use paddington_wire::keys::Generation;
use tokio::time::{Instant, timeout};

use crate::world::{LEASE, PORT, World};

/// Returns an error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(chain).unwrap_or_default();
    format!("{error}: {cause}")
}

fn newest(service: &Service, peer: &str) -> Option<u64> {
    let ring = service.exchange().keys(peer)?;
    ring.generations().last().map(Generation::number)
}

/// Waits until all have these keys of the link with a peer, and no others.
async fn agreed(services: &[(&Service, &str)], number: u64) {
    let all = || async {
        services.iter().all(|(service, peer)| {
            let ring = service.exchange().keys(peer);
            ring.is_some_and(|ring| ring.generations().iter().map(Generation::number).eq([number]))
        })
    };
    timeout(Duration::from_secs(60), eventually(all)).await.unwrap();
}

fn is_connected(service: &Service, peer: &str) -> bool {
    service.peers().iter().any(|status| status.name.as_str() == peer && status.is_connected())
}

fn knows(service: &Service, peer: &str) -> bool {
    service.peers().iter().any(|status| status.name.as_str() == peer)
}

async fn passes(from: &Service, inbox: &Inbox, to: &str, text: &str) {
    from.send(Message::new(to, text)).await.unwrap();
    assert_eq!(inbox.text().await, text);
}

/// Two replicas and a sensor that was invited by the first one, and is connected to the second one.
async fn introduced(world: &World) -> ([Service; 2], (Service, Inbox)) {
    let (one, two) = (world.replica(1).await, world.replica(2).await);
    let sensor = world.client("sensor").await;
    world.lead_to(2);
    let invite = one.add_client("sensor", "127.0.0.0/8").await.unwrap();
    sensor.0.add_server(invite).await.unwrap();
    passes(&one, &sensor.1, "sensor", "welcome").await;
    assert!(is_connected(&two, "sensor") && !is_connected(&one, "sensor"));
    agreed(&[(&one, "sensor"), (&two, "sensor"), (&sensor.0, "hub")], 1).await;
    eventually(async || world.disk.messages() == 0).await;
    ([one, two], sensor)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_one_replica_invites_is_known_to_all_and_its_keys_are_renewed_at_each() {
    let world = World::new();
    let ([one, two], (sensor, inbox)) = introduced(&world).await;
    for (at, asks) in [(1, &one), (1, &sensor), (1, &one)] {
        world.lead_to(at);
        let (here, other) = if at == 1 { (&one, &two) } else { (&two, &one) };
        eventually(async || is_connected(here, "sensor") && !is_connected(other, "sensor")).await;
        passes(other, &inbox, "sensor", "here").await;
        let number = newest(&sensor, "hub").unwrap() + 1;
        let peer = if asks.name() == "hub" { "sensor" } else { "hub" };
        asks.renew_keys(peer).await.unwrap();
        let agree = async || {
            [(&one, "sensor"), (&two, "sensor"), (&sensor, "hub")]
                .iter()
                .all(|(service, peer)| newest(service, peer) == Some(number))
        };
        timeout(Duration::from_secs(60), eventually(agree)).await.unwrap();
        world.lead_to(3 - at);
        passes(&one, &inbox, "sensor", &format!("with keys {number}")).await;
        agreed(&[(&one, "sensor"), (&two, "sensor"), (&sensor, "hub")], number).await;
    }
    // A replica that starts later begins with the keys of the others.
    let three = world.replica(3).await;
    assert_eq!(newest(&three, "sensor"), newest(&one, "sensor"));
    assert_eq!(three.links()[0].fixed, None);
    world.lead_to(3);
    passes(&two, &inbox, "sensor", "at the third").await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_removed_at_one_replica_is_gone_at_the_other_within_a_second() {
    let world = World::new();
    let ([one, two], (sensor, _inbox)) = introduced(&world).await;
    let begun = Instant::now();
    one.remove("sensor", Waiting::Refuse).await.unwrap();
    eventually(async || !knows(&two, "sensor") && !is_connected(&sensor, "hub")).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    for replica in [&one, &two] {
        let refused = replica.send(Message::new("sensor", "late")).await.unwrap_err();
        assert!(matches!(refused, SendError::UnknownPeer { .. }), "{refused}");
        assert_eq!(replica.links().len(), 0);
    }
    // The name is free, for another link.
    let invite = two.add_client("sensor", "127.0.0.0/8").await.unwrap();
    eventually(async || knows(&one, "sensor")).await;
    let another = world.client("sensor-2").await;
    assert!(another.0.add_server(invite).await.is_err(), "it is for the sensor");
    let refused = two.add_client("sensor", "127.0.0.0/8").await.unwrap_err();
    assert!(matches!(refused, LinkError::Config(ConfigError::Duplicate(_))), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_peer_keeps_it_from_being_removed_at_any_replica() {
    let world = World::new();
    let ([one, two], (sensor, _inbox)) = introduced(&world).await;
    sensor.shutdown().await;
    one.send(Message::new("sensor", "waits")).await.unwrap();
    let refused = two.remove("sensor", Waiting::Refuse).await.unwrap_err();
    assert!(matches!(refused, LinkError::Remove(RemoveError::Waiting { .. })), "{refused}");
    two.remove("sensor", Waiting::Purge).await.unwrap();
    eventually(async || !knows(&one, "sensor")).await;
    assert_eq!(world.disk.messages(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_range_of_a_client_counts_at_all_replicas() {
    let world = World::new();
    let ([one, two], (sensor, _inbox)) = introduced(&world).await;
    one.set_range("sensor", "192.0.2.7").await.unwrap();
    eventually(async || !is_connected(&sensor, "hub")).await;
    assert_eq!(two.links()[0].range.unwrap().to_string(), "192.0.2.7");
    two.set_range("sensor", "127.0.0.1").await.unwrap();
    eventually(async || is_connected(&sensor, "hub")).await;
    assert_eq!(one.links()[0].range.unwrap().to_string(), "127.0.0.1");
}

#[tokio::test(start_paused = true)]
async fn of_two_changes_at_the_same_time_one_is_made_and_the_other_is_told() {
    let world = World::new();
    let ([one, two], (sensor, inbox)) = introduced(&world).await;
    let (a, b) = tokio::join!(one.renew("sensor"), two.renew("sensor"));
    let refused = [a.as_ref().err(), b.as_ref().err()];
    let refused: Vec<_> = refused.iter().flatten().map(|error| chain(error)).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains("changed elsewhere at the same time"), "{refused:?}");
    let invite = a.or(b).unwrap();
    // Both replicas have the one that was written.
    eventually(async || newest(&one, "sensor") == newest(&two, "sensor")).await;
    sensor.replace_server(invite).await.unwrap();
    for at in [1, 2] {
        world.lead_to(at);
        passes(&one, &inbox, "sensor", &at.to_string()).await;
    }
    let same = async || {
        let rings: Vec<_> = [(&one, "sensor"), (&two, "sensor"), (&sensor, "hub")]
            .iter()
            .map(|(service, peer)| newest(service, peer))
            .collect();
        rings[0].is_some() && rings.iter().all(|it| *it == rings[0])
    };
    eventually(same).await;
    // Two with one name, at the same time.
    let (a, b) = tokio::join!(one.add_client("twin", "::/0"), two.add_client("twin", "::/0"));
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1, "{a:?} {b:?}");
    eventually(async || knows(&one, "twin") && knows(&two, "twin")).await;
    let link =
        |replica: &Service| replica.links().into_iter().find(|it| it.name == "twin").unwrap();
    assert_eq!(link(&one).link, link(&two).link);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_told_is_found_with_the_next_beat() {
    let world = World::new();
    let ([one, two], _sensor) = introduced(&world).await;
    world.disk.deafen(true);
    let begun = Instant::now();
    one.add_client("late", "::/0").await.unwrap();
    eventually(async || knows(&two, "late")).await;
    assert!(begun.elapsed() <= LEASE / 4 + Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn changes_that_cannot_be_read_once_are_read_again() {
    let (logs, _guard) = capture_logs_of_thread();
    let world = World::new();
    let (one, two) = (world.replica(1).await, world.replica(2).await);
    world.disk.refuse_links(8); // both of them read
    let invited = one.add_client("late", "::/0").await.unwrap();
    assert_eq!(invited.client(), Some("late"));
    eventually(async || knows(&two, "late")).await;
    eventually(async || world.disk.links_refused() == 0).await;
    tokio::time::sleep(LEASE).await; // the one that has invited reads again, too
    let told = |text: &str| logs.lines().iter().filter(|line| line.contains(text)).count();
    assert_eq!(told("are not known yet"), told("are known again"), "{:?}", logs.lines());
    assert!((1..=2).contains(&told("are not known yet")), "once per replica: {:?}", logs.lines());
}

#[tokio::test(start_paused = true)]
async fn the_links_of_a_configuration_are_the_first_state_only() {
    let world = World::new();
    let mut config = World::config();
    let invite = config.add_client("sensor", "127.0.0.0/8").unwrap();
    config.add_client("gone", "127.0.0.0/8").unwrap();
    let (one, two) = tokio::join!(world.replica_of(1, &config), world.replica_of(2, &config));
    let (one, two) = (one.unwrap(), two.unwrap());
    let (sensor, inbox) = world.client("sensor").await;
    sensor.add_server(invite).await.unwrap();
    passes(&two, &inbox, "sensor", "welcome").await;
    agreed(&[(&one, "sensor"), (&two, "sensor")], 1).await;
    two.remove("gone", Waiting::Refuse).await.unwrap();
    eventually(async || !knows(&one, "gone")).await;
    // The same file again: neither the first keys nor what was removed come back.
    let three = world.replica_of(3, &config).await.unwrap();
    assert_eq!((newest(&three, "sensor"), knows(&three, "gone")), (Some(1), false));
    one.set_range("sensor", "127.0.0.0/16").await.unwrap();
    eventually(async || three.links()[0].range.unwrap().to_string() == "127.0.0.0/16").await;
    let invite = config.add_client("new", "::/0").unwrap();
    let changes = three.apply(&config, Waiting::Refuse).await.unwrap();
    let changed = (&changes.added[..], &changes.removed[..], &changes.changed[..]);
    assert_eq!(changed, (&["new".to_owned()][..], &[][..], &[][..]));
    assert!(changes.refused.is_empty() && changes.restart == ["port"], "{changes:?}");
    assert_eq!(one.links()[0].range.unwrap().to_string(), "127.0.0.0/16");
    assert_eq!(invite.client(), Some("new"));
    assert_eq!(newest(&three, "sensor"), Some(1));
    // What is in the database is not written into a file.
    assert!(!three.config().to_toml().unwrap().contains("sensor"));
    // Another link with the same peer is no older state of it.
    let mut other = World::config();
    other.add_client("sensor", "127.0.0.0/8").unwrap();
    let refused = world.replica_of(4, &other).await.unwrap_err();
    assert!(refused.to_string().contains("sensor"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_a_failover_has_lost_is_written_again_by_a_replica_that_knows_it() {
    let world = World::new();
    let ([one, two], (sensor, inbox)) = introduced(&world).await;
    one.add_client("removed", "::/0").await.unwrap();
    let before = world.disk.copy_of_links();
    two.renew_keys("sensor").await.unwrap();
    eventually(async || newest(&sensor, "hub") == Some(2)).await;
    world.network.cut(); // they are used from the next session on
    agreed(&[(&one, "sensor"), (&two, "sensor"), (&sensor, "hub")], 2).await;
    one.remove("removed", Waiting::Refuse).await.unwrap();
    one.add_client("added", "::/0").await.unwrap();
    eventually(async || knows(&two, "added") && !knows(&two, "removed")).await;
    world.disk.lose_links_since(&before);
    let whole = async || {
        let three = world.replica(3).await;
        let is_whole = newest(&three, "sensor") == Some(2) && knows(&three, "added");
        let is_whole = is_whole && !knows(&three, "removed");
        three.shutdown().await;
        is_whole
    };
    timeout(Duration::from_secs(60), eventually(whole)).await.unwrap();
    world.lead_to(1);
    passes(&two, &inbox, "sensor", "still here").await;
    one.set_range("sensor", "127.0.0.1").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_is_dialled_where_its_newer_invitation_says_by_whichever_replica() {
    let world = World::new();
    let (one, two) = (world.replica(1).await, world.replica(2).await);
    let serve = async |port: u16| {
        let url = format!("ws://partner.example:{port}");
        let mut config = ServiceConfig::new("partner", &url, "127.0.0.1", &port).unwrap();
        config.set_links(world.folder.path().join("partner")).unwrap();
        let (inbox, handler) = Inbox::new();
        (Service::start_on(world.network.network(), &config, handler).await.unwrap(), inbox)
    };
    let (partner, inbox) = serve(7000).await;
    let invite: Invite = partner.add_client("hub", "127.0.0.0/8").await.unwrap();
    one.add_server(invite).await.unwrap();
    eventually(async || knows(&two, "partner")).await;
    passes(&two, &inbox, "partner", "first").await;
    partner.shutdown().await;
    drop((partner, inbox));
    let (partner, inbox) = serve(7001).await;
    two.replace_server(partner.renew("hub").await.unwrap()).await.unwrap();
    passes(&one, &inbox, "partner", "second").await;
    // Whichever replica dials now, the other one does it after it.
    let dials = if is_connected(&one, "partner") { &one } else { &two };
    dials.shutdown().await;
    let left = if std::ptr::eq(dials, &one) { &two } else { &one };
    passes(left, &inbox, "partner", "third").await;
}

/// The same holds for a server that is new, and for one whose place is.
#[tokio::test(start_paused = true)]
async fn a_server_whose_certificate_authorities_come_late_is_taken_over_when_they_are_there() {
    let (logs, _guard) = capture_logs_of_thread();
    let world = World::new();
    let (one, two) = (world.replica(1).await, world.replica(2).await);
    let authority = Authority::new();
    let authorities = world.folder.path().join("authorities.pem");
    let is_at = |service: &Service, place: &str| {
        let link = service.links().into_iter().find(|link| link.name == "partner");
        link.and_then(|link| link.url).is_some_and(|url| url.to_string().starts_with(place))
    };
    let told = |text: &str| logs.lines().iter().filter(|line| line.contains(text)).count();
    let (mut partner, name) =
        (ServiceConfig::new("partner", "ws://x.example:1", "::", &1).unwrap(), "hub");
    let mut invite = Some(partner.add_client(name, "::/0").unwrap());
    for (times, place) in [(1, "wss://partner.example:7000/"), (2, "wss://partner.example:7001/")] {
        std::fs::write(&authorities, &authority.pem).unwrap();
        match invite.take() {
            Some(invite) => {
                let invite = invite.at(place).unwrap();
                one.add_server_with(invite, Some(authorities.clone())).await.unwrap();
            }
            None => {
                let invite = partner.renew(name).unwrap();
                one.replace_server(invite.at(place).unwrap()).await.unwrap();
            }
        }
        std::fs::remove_file(&authorities).unwrap(); // the other replica has not had its turn yet
        eventually(async || told("is not taken over") == times).await;
        assert!(is_at(&one, place));
        assert!(!is_at(&two, place));
        if times == 1 {
            // What waits for a link that a replica could not take over is of use to the others.
            one.send(Message::new("partner", "kept")).await.unwrap();
            assert!(two.orphans().await.unwrap().is_empty());
            let details = one.links().into_iter().find(|link| link.name == "partner").unwrap();
            let mailbox = Mailbox { link: details.link, peer: "partner".parse().unwrap() };
            let refused = two.purge(&mailbox).await.unwrap_err();
            assert!(matches!(refused, LinkError::Purge(PurgeError::Known(_))), "{refused}");
        }
        // Other links go on meanwhile, and it is told once.
        let other = format!("client-{times}");
        two.add_client(&other, "::/0").await.unwrap();
        one.add_client(&format!("{other}-of-one"), "::/0").await.unwrap();
        eventually(async || knows(&one, &other) && knows(&two, &format!("{other}-of-one"))).await;
        tokio::time::sleep(10 * LEASE).await;
        assert_eq!(told("is not taken over"), times, "{:?}", logs.lines());
        std::fs::write(&authorities, &authority.pem).unwrap();
        timeout(LEASE * 4, eventually(async || is_at(&two, place))).await.unwrap();
    }
    one.shutdown().await;
    two.shutdown().await;
}

/// Returns whether anything that is stored holds this text.
async fn is_in_database(world: &World, text: &str) -> bool {
    let (_, store) = world.disk.open();
    let entries = store.entries(0).await.unwrap();
    let mut texts = entries.iter().filter_map(|entry| entry.text.as_ref());
    texts.any(|it| it.contains(text)) || world.disk.holds(text.as_bytes())
}

#[tokio::test(start_paused = true)]
async fn what_replicas_share_is_sealed_if_what_is_kept_is() {
    let world = World::new();
    let secret = world.folder.path().join("secret");
    paddington::save_private(&secret, "a long passphrase, for this test").unwrap();
    let sealed = |keyring: &str| {
        let mut config = World::config();
        let keyring = world.folder.path().join(keyring);
        config.set_at_rest(AtRest::new(keyring, KeySource::File(secret.clone())));
        config
    };
    let one = world.replica_of(1, &sealed("keyring")).await.unwrap();
    let two = world.replica_of(2, &sealed("keyring")).await.unwrap();
    let (sensor, inbox) = world.client("sensor").await;
    let invite = one.add_client("sensor", "127.0.0.0/8").await.unwrap();
    one.send(Message::new("sensor", "a secret of the hub")).await.unwrap();
    assert!(!is_in_database(&world, "a secret of the hub").await);
    assert!(!is_in_database(&world, "inner_key").await);
    assert!(is_in_database(&world, "sealed_with").await);
    eventually(async || knows(&two, "sensor")).await;
    world.lead_to(2);
    sensor.add_server(invite).await.unwrap();
    assert_eq!(inbox.text().await, "a secret of the hub");
    agreed(&[(&one, "sensor"), (&two, "sensor"), (&sensor, "hub")], 1).await;
    passes(&one, &inbox, "sensor", "another one").await;

    // A request at the replica that does not have the peer.
    let stored = Arc::new(Mutex::new(Vec::new()));
    let (disk, seen) = (world.disk.clone(), Arc::clone(&stored));
    let oracle = world.client_with("oracle", move |message: Message| {
        if message.payload() != "a question" {
            return std::future::ready(Ok(())); // it is told that it is connected
        }
        seen.lock().unwrap().push(disk.requests() > 0 && !disk.holds(b"a question"));
        std::future::ready(message.reply("an answer"))
    });
    let oracle = oracle.await;
    oracle.add_server(one.add_client("oracle", "127.0.0.0/8").await.unwrap()).await.unwrap();
    eventually(async || is_connected(&two, "oracle")).await;
    let question = Message::new("oracle", "a question");
    let reply = one.request(question, Duration::from_secs(20)).await.unwrap();
    assert_eq!(reply.payload(), "an answer");
    assert_eq!(*stored.lock().unwrap(), [true]);

    // Neither without the key nor with another one is anything read, or written over.
    for config in [World::config(), sealed("other")] {
        let refused = world.replica_of(3, &config).await.unwrap_err();
        let refused = chain(&refused);
        assert!(refused.contains("the link with sensor in the database"), "{refused}");
    }
    passes(&two, &inbox, "sensor", "still here").await;
}

#[tokio::test(start_paused = true)]
async fn a_sealed_dead_letter_is_opened_for_the_handler() {
    let world = World::new();
    let secret = world.folder.path().join("secret");
    paddington::save_private(&secret, "a long passphrase, for this test").unwrap();
    let mut config = World::config();
    config.set_at_rest(AtRest::new(world.folder.path().join("keyring"), KeySource::File(secret)));
    config.set_port(PORT + 1);
    let got = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let got = Arc::clone(&got);
        move |message: Message| {
            let mut got = got.lock().unwrap();
            if !message.is_control() {
                got.push(message.payload().to_owned());
            }
            // It fails on the first message, once.
            std::future::ready(if got.len() == 1 { Err("not yet") } else { Ok(()) })
        }
    };
    let storage = Storage::Shared(world.disk.open().1);
    let network = world.network.network();
    let hub = Service::start_with(network, storage, &config, handler).await.unwrap();
    let (sensor, _) = world.client("sensor").await;
    sensor.add_server(hub.add_client("sensor", "127.0.0.0/8").await.unwrap()).await.unwrap();
    let sent = sensor.send(Message::new("hub", "a secret of the sensor")).await.unwrap();
    assert!(matches!(sent.await, Delivered::Rejected(_)));
    let stored = world.disk.open().1.letters().await.unwrap();
    let [(id, letter)] = &stored[..] else { unreachable!("{stored:?}") };
    let holds = |text: &[u8]| letter.payload.windows(text.len()).any(|part| part == text);
    assert!(!holds(b"a secret of the sensor"));
    hub.exchange().retry_letter(*id).await.unwrap();
    assert_eq!(*got.lock().unwrap(), ["a secret of the sensor"; 2]);
}
