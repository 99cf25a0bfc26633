//! Health, metrics, streams and dead letters, of two services.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Hub, ignore, settings, settings_with_tcp};
use paddington::store::ReplicaId;
use paddington::{Event, Message, OnError, Storage};
use paddington_admin::Settings;
use paddington_admin::client::ClientError;
use paddington_admin::model::{EventEntry, LetterDetails, Letters, Outbox, Status};
use paddington_test_support::{
    MemoryDisk, MemoryNetwork, Pair, Random, SharedDisk, eventually, pair,
};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn a_required_peer_that_is_away_makes_the_service_not_ready() {
    let required = || vec!["client".to_owned()];
    let patient = |folder: &_| Settings { required: required(), ..settings(folder) };
    let hub = Hub::start_with(patient).await;
    let (code, text) = hub.client().await.text("/readyz").await.unwrap();
    assert_eq!((code, text.as_str()), (200, "ok\n"), "there is a grace");

    let grace = Duration::ZERO;
    let strict = |folder: &_| Settings { required: required(), grace, ..settings(folder) };
    let hub = Hub::start_with(strict).await;
    let mut client = hub.client().await;
    let (code, text) = client.text("/readyz").await.unwrap();
    assert_eq!(code, 503);
    assert!(text.starts_with("the required peer client is away for "), "{text}");
    assert_eq!(client.text("/livez").await.unwrap(), (200, "ok\n".to_owned()));
    let peer = hub.start_peer().await;
    assert_eq!(client.text("/readyz").await.unwrap().0, 200);
    let mut events = hub.service.exchange().events();
    peer.shutdown().await;
    while !matches!(events.recv().await.unwrap(), Event::Down { .. }) {}
    assert_eq!(client.text("/readyz").await.unwrap().0, 503);
    let status: Status = client.get("/v1/status").await.unwrap();
    assert!(!status.ready.ready && status.peers[0].required);

    let unknown = |folder: &_| Settings { required: vec!["no".to_owned()], ..settings(folder) };
    let hub = Hub::start_with(unknown).await;
    let (code, text) = hub.client().await.text("/readyz").await.unwrap();
    assert_eq!((code, text.as_str()), (503, "the required peer no is not known\n"));
}

#[tokio::test]
async fn a_stopped_handler_and_a_failing_store_make_the_service_not_ready() {
    let (mut pair, disk) = (pair(), MemoryDisk::default());
    pair.server.settings_mut().on_error = OnError::Stop;
    let fail = async |message: Message| {
        if message.is_control() { Ok(()) } else { Err("no") }
    };
    let hub = Hub::start_as(settings, pair, Some(disk.open()), fail).await;
    let peer = hub.start_peer().await;
    let mut client = hub.client().await;
    let mut events = hub.service.exchange().events();
    peer.send(Message::new("server", "hello")).await.unwrap();
    while !matches!(events.recv().await.unwrap(), Event::HandlingStopped { .. }) {}
    disk.set_broken(true);
    assert!(hub.service.send(Message::new("client", "hello")).await.is_err());
    let (code, text) = client.text("/readyz").await.unwrap();
    let reasons: Vec<&str> = text.lines().collect();
    assert_eq!((code, reasons.len()), (503, 2), "{text}");
    assert_eq!(reasons[0], "messages of client are not handled any more: the handler has failed");
    assert!(reasons[1].starts_with("the store accepts nothing: "), "{text}");
    peer.exchange().ask_to_shut_down_now(); // its message is never handled
}

#[tokio::test]
async fn a_replica_whose_lease_has_lapsed_is_not_ready() {
    let disk = SharedDisk::new(Duration::from_secs(1));
    let (id, store) = disk.open();
    let hub = Hub::start_as(settings, pair(), Storage::Shared(store), ignore).await;
    let ready = async || hub.client().await.text("/readyz").await.unwrap();
    eventually(async || ready().await.0 == 200).await; // a busy machine may beat too late
    disk.cut_off(id, true);
    eventually(async || {
        let (code, text) = ready().await;
        code == 503
            && text.contains("the lease of this replica has lapsed: its database does not answer")
    })
    .await;
    let status: Status = hub.client().await.get("/v1/status").await.unwrap();
    let lease = status.service.replica.unwrap().lease_seconds;
    assert!(!status.ready.ready && lease == 0.0, "{lease}");
    let (_, metrics) = hub.client().await.text("/metrics").await.unwrap();
    assert!(metrics.lines().any(|line| line == "paddington_lease_seconds 0"), "{metrics}");
    assert!(!metrics.contains("paddington_database_lease_seconds"), "there is only one");
    disk.cut_off(id, false);
    eventually(async || ready().await.0 == 200).await;
}

#[tokio::test]
async fn a_replica_is_ready_as_long_as_it_lives_in_one_of_several_databases() {
    let disk = SharedDisk::with_shards(Duration::from_secs(1), 2);
    let (id, store) = disk.open();
    let hub = Hub::start_as(settings, pair(), Storage::Shared(store), ignore).await;
    let ready = async || hub.client().await.text("/readyz").await.unwrap();
    let leases = async || {
        let status: Status = hub.client().await.get("/v1/status").await.unwrap();
        status.service.replica.unwrap().database_lease_seconds
    };
    eventually(async || leases().await.iter().all(|lease| *lease > 0.0)).await;
    assert_eq!(leases().await.len(), 2);
    disk.cut_off_from(id, 1..2, true);
    eventually(async || {
        let leases = leases().await;
        leases[0] > 0.0 && leases[1] == 0.0 && ready().await.0 == 200
    })
    .await;
    let (_, metrics) = hub.client().await.text("/metrics").await.unwrap();
    let line = "paddington_database_lease_seconds{database=\"2\"} 0";
    assert!(metrics.lines().any(|it| it == line), "{metrics}");
    disk.cut_off(id, true);
    eventually(async || ready().await.0 == 503).await;
    disk.cut_off(id, false);
    eventually(async || ready().await.0 == 200).await;
}

/// The same service on a network that its peer does not get to.
fn elsewhere(here: &Pair) -> Pair {
    Pair {
        network: MemoryNetwork::new(),
        server: here.server.clone(),
        client: here.client.clone(),
        invite: here.invite.clone(),
    }
}

/// Settings with which the service is not ready once its client is away for longer than this.
fn requiring(grace: Duration) -> impl FnOnce(&TempDir) -> Settings {
    move |folder: &TempDir| {
        let required = vec!["client".to_owned()];
        Settings { required, grace, ..settings(folder) }
    }
}

/// Starts two replicas that require their client, which comes to the first one only. Returns that one's number, too.
async fn two_requiring(grace: Duration) -> (SharedDisk, ReplicaId, [Hub; 2]) {
    let disk = SharedDisk::new(Duration::from_secs(60));
    let (first, store) = disk.open();
    let other_store = disk.open().1;
    let here = pair();
    let there = elsewhere(&here);
    let one = Hub::start_as(requiring(grace), here, Storage::Shared(store), ignore).await;
    let two = Hub::start_as(requiring(grace), there, Storage::Shared(other_store), ignore).await;
    (disk, first, [one, two])
}

async fn ready(hub: &Hub) -> (u16, String) {
    hub.client().await.text("/readyz").await.unwrap()
}

/// Waits until a service is not ready because its client is away, and that is all that it says.
async fn misses_its_client(hub: &Hub) {
    eventually(async || {
        let (code, text) = ready(hub).await;
        code == 503
            && text.starts_with("the required peer client is away for ")
            && text.ends_with(" s are allowed\n")
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_required_peer_whose_link_another_living_replica_owns_is_missed_there_only() {
    let (disk, first, [one, two]) = two_requiring(Duration::ZERO).await;
    misses_its_client(&one).await;
    misses_its_client(&two).await;
    let peer = one.start_peer().await;
    assert_eq!(ready(&one).await, (200, "ok\n".to_owned()));
    eventually(async || ready(&two).await.0 == 200).await;
    let status: Status = two.client().await.get("/v1/status").await.unwrap();
    assert!(status.ready.ready && status.peers[0].required, "{:?}", status.ready);
    let mut events = one.service.exchange().events();
    peer.shutdown().await;
    while !matches!(events.recv().await.unwrap(), Event::Down { .. }) {}
    misses_its_client(&one).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(ready(&two).await.0, 200, "the other one answers for it");
    disk.kill(first);
    misses_its_client(&two).await;
}

#[tokio::test(start_paused = true)]
async fn the_grace_begins_when_no_other_replica_owns_the_link_of_a_required_peer_any_more() {
    let (disk, first, [one, two]) = two_requiring(Duration::from_secs(30)).await;
    let peer = one.start_peer().await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(ready(&two).await.0, 200);
    disk.kill(first);
    for expected in [200, 503] {
        sleep(Duration::from_secs(20)).await;
        let (code, text) = ready(&two).await;
        assert_eq!(code, expected, "{text}");
    }
    peer.exchange().ask_to_shut_down_now();
}

#[tokio::test(start_paused = true)]
async fn readiness_does_not_wait_for_a_database_that_hangs_and_tells_that_it_does_not_know() {
    let (disk, _, [one, two]) = two_requiring(Duration::ZERO).await;
    let peer = one.start_peer().await;
    eventually(async || ready(&two).await.0 == 200).await;
    disk.hold(true);
    eventually(async || {
        let (code, text) = ready(&two).await;
        let end = "; the database does not say whether another replica has it\n";
        code == 503
            && text.starts_with("the required peer client is away for ")
            && text.ends_with(end)
    })
    .await;
    let asked = Instant::now();
    assert_eq!(ready(&two).await.0, 503);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(ready(&one).await.0, 200, "its client is connected");
    disk.hold(false);
    eventually(async || ready(&two).await.0 == 200).await;
    peer.exchange().ask_to_shut_down_now();
}

#[tokio::test(start_paused = true)]
async fn a_status_waits_for_ten_seconds_for_a_store_that_does_not_answer() {
    const SECOND: Duration = Duration::from_secs(1);
    let disk = SharedDisk::new(60 * SECOND);
    let store = disk.open().1;
    let hub = Hub::start_as(settings, pair(), Storage::Shared(store), ignore).await;
    let mut client = hub.client().await;
    let status: serde_json::Value = client.get("/v1/status").await.unwrap();
    assert_eq!(status["orphans"], serde_json::json!([]));
    disk.delay(Random::new(1), 10_000 * SECOND);
    let asked = Instant::now();
    let status: serde_json::Value = client.get("/v1/status").await.unwrap();
    let took = asked.elapsed();
    assert!(took >= 10 * SECOND && took < 12 * SECOND, "{took:?}");
    assert_eq!(status.get("orphans"), Some(&serde_json::Value::Null), "nobody knows");
    assert_eq!(status["peers"][0]["name"], "client");
    let refused = client.get::<Outbox>("/v1/outbox").await.unwrap_err();
    let ClientError::Refused { status: 503, error } = refused else { unreachable!("{refused}") };
    assert_eq!(error.code, "store_failed");
    assert!(error.message.contains("it has not answered in time"), "{}", error.message);
}

#[tokio::test]
async fn a_replica_tells_which_other_one_owns_a_link() {
    let disk = SharedDisk::new(Duration::from_secs(60));
    let (first, store) = disk.open();
    let (second, other_store) = disk.open();
    let here = pair();
    let there = elsewhere(&here);
    let one = Hub::start_as(settings, here, Storage::Shared(store), ignore).await;
    let two = Hub::start_as(settings, there, Storage::Shared(other_store), ignore).await;
    let owner = async |hub: &Hub| {
        let peer: serde_json::Value = hub.client().await.get("/v1/peers/client").await.unwrap();
        let status: serde_json::Value = hub.client().await.get("/v1/status").await.unwrap();
        let listed: serde_json::Value = hub.client().await.get("/v1/peers").await.unwrap();
        assert_eq!(peer["owned"], hub.service.peers()[0].owned.unwrap());
        for other in [&status["peers"][0], &listed["peers"][0]] {
            assert_eq!(other.get("owner"), peer.get("owner"));
        }
        peer.get("owner").cloned()
    };
    assert_eq!(owner(&two).await, Some(serde_json::json!({"replica": null})));
    let peer = one.start_peer().await;
    assert_eq!(owner(&two).await, Some(serde_json::json!({"replica": first.0})));
    assert_eq!(owner(&one).await, None, "it is its own");
    let (_, metrics) = one.client().await.text("/metrics").await.unwrap();
    for line in ["paddington_links_claimed_total 1", "paddington_links_yielded_total 0"] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }

    let mut stream = two.client().await.events("/v1/status/stream").await.unwrap();
    disk.kill(first);
    loop {
        let event = stream.next().await.unwrap().unwrap();
        let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        if event.name == "peers"
            && data["peers"][0]["owner"] == serde_json::json!({"replica": null})
        {
            break;
        }
    }
    disk.cut_off(second, true);
    assert_eq!(owner(&two).await, None, "the database does not say");
    peer.exchange().ask_to_shut_down_now();
}

#[tokio::test]
async fn a_listener_that_is_down_makes_the_service_not_ready() {
    let hub = Hub::start().await;
    let ready = async || hub.client().await.text("/readyz").await.unwrap();
    assert_eq!(ready().await.0, 200);
    hub.pair.network.fail_listeners();
    let reason = "the service does not listen for its clients: ";
    eventually(async || {
        let (code, text) = ready().await;
        code == 503 && text.starts_with(reason)
    })
    .await;
    eventually(async || ready().await.0 == 200).await;
}

#[tokio::test]
async fn the_metrics_are_openmetrics() {
    let hub = Hub::start_with(settings_with_tcp).await;
    let peer = hub.start_peer().await;
    hub.service.send(Message::new("client", "hello")).await.unwrap().await;
    let (code, plain) = hub.client().await.text("/metrics").await.unwrap();
    assert_eq!(code, 200);
    let accept = ["accept: application/openmetrics-text; version=1.0.0"];
    let answer = hub.ask("GET /metrics", &accept, "").await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/openmetrics-text"), "{head}");
    assert_eq!(series(text), series(&plain), "the same in both formats");
    for line in [
        "paddington_peer_connected{peer=\"client\"} 1",
        "paddington_peer_outbox_messages{peer=\"client\"} 0",
        "paddington_peer_outbox_oldest_seconds{peer=\"client\"} 0.0",
        "paddington_peer_messages_accepted_total{peer=\"client\"} 1",
        "paddington_peer_messages_handled_total{peer=\"client\"} 1",
        "paddington_peer_messages_rejected_total{peer=\"client\"} 0",
        "paddington_peer_messages_expired_total{peer=\"client\"} 0",
        "paddington_peer_messages_too_long_total{peer=\"client\"} 0",
        "paddington_peer_received_handled_total{peer=\"client\"} 0",
        "paddington_peer_received_failed_total{peer=\"client\"} 0",
        "paddington_peer_dead_letters_total{peer=\"client\"} 0",
        "paddington_peer_sessions_total{peer=\"client\"} 1",
        "paddington_peers 1",
        "paddington_ready 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    assert!(text.ends_with("# EOF\n"));
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let families: Vec<&str> = families.filter_map(|line| line.split(' ').next()).collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = name.strip_suffix("_total").unwrap_or(name);
        assert!(families.contains(&family), "{line} has a type: {families:?}");
    }
    let page = include_str!("../../../../docs/api.md");
    for family in &families {
        let name = family.strip_prefix("paddington_peer_messages").map_or(*family, |last| last);
        assert!(page.contains(name), "docs/api.md has {family}");
    }
    let mut sorted = families.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), families.len(), "each family is there once");
    peer.shutdown().await;
}

#[tokio::test]
async fn the_dashboard_has_each_number_that_only_a_replica_has() {
    let alone = families(Storage::Own(MemoryDisk::default().open())).await;
    let store = SharedDisk::new(Duration::from_secs(60)).open().1;
    let replica = families(Storage::Shared(store)).await;
    let own: Vec<_> = replica.difference(&alone).collect();
    assert_eq!(own.len(), 5, "{own:?}");
    let dashboard = include_str!("../../../../docs/grafana/paddington.json");
    for family in own {
        assert!(dashboard.contains(family), "the dashboard has {family}");
    }
}

/// Starts a service, and returns the names of its metrics.
async fn families(storage: Storage) -> BTreeSet<String> {
    let hub = Hub::start_as(settings, pair(), storage, ignore).await;
    let (_, text) = hub.client().await.text("/metrics").await.unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn ten_thousand_peers_have_numbers_of_their_own_and_the_others_are_counted() {
    let mut pair = paddington_test_support::pair();
    for number in 0..10_000 {
        pair.server.add_client(&format!("sensor-{number:05}"), "192.0.2.0/24").unwrap();
    }
    let hub = Hub::start_as(settings, pair, Storage::Memory, ignore).await;
    let (code, text) = hub.client().await.text("/metrics").await.unwrap();
    assert_eq!(code, 200);
    let own = |text: &str, name: &str| {
        let series = text.lines().filter(|line| line.starts_with(name));
        series.filter(|line| line[name.len()..].starts_with("{peer=")).count()
    };
    for name in ["paddington_peer_connected", "paddington_peer_sessions_total"] {
        assert_eq!(own(&text, name), 10_000, "{name}");
    }
    assert!(text.contains("{peer=\"client\"}") && text.contains("{peer=\"sensor-09998\"}"));
    assert!(!text.contains("sensor-09999"), "the last one by name");
    assert!(text.lines().any(|line| line == "paddington_peers 10001"));
}

#[tokio::test]
async fn a_stream_tells_everything_once_and_then_what_changes() {
    let hub = Hub::start().await;
    let mut stream = hub.client().await.events("/v1/status/stream").await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(first.name, "status");
    let status: Status = serde_json::from_str(&first.data).unwrap();
    assert_eq!((status.peers.len(), status.events.len()), (1, 0));
    let peer = hub.start_peer().await;
    let (mut up, mut connected) = (false, false);
    while !(up && connected) {
        let event = stream.next().await.unwrap().unwrap();
        let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        up |= event.name == "event" && data["kind"] == "up";
        connected |= event.name == "peers" && data["peers"][0]["state"] == "connected";
    }
    hub.service.remove("client", paddington::Waiting::Purge).await.unwrap();
    loop {
        let event = stream.next().await.unwrap().unwrap();
        let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        if event.name == "peers" && data["removed"][0] == "client" {
            break;
        }
    }
    let mut events = hub.client().await.events("/v1/events").await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    let first: EventEntry = serde_json::from_str(&first.data).unwrap();
    assert_eq!((first.kind.as_str(), first.peer.as_deref()), ("up", Some("client")));
    hub.serving.end().await;
    assert!(matches!(stream.next().await, Ok(None) | Err(_)), "the stream has ended");
    peer.shutdown().await;
}

#[tokio::test]
async fn a_dead_letter_is_shown_tried_again_and_deleted() {
    let works = Arc::new(AtomicBool::new(false));
    let handler = {
        let works = Arc::clone(&works);
        move |message: Message| {
            let works = message.is_control() || works.load(Ordering::Relaxed);
            async move { if works { Ok(()) } else { Err("not yet") } }
        }
    };
    let disk = MemoryDisk::default();
    let hub = Hub::start_as(settings, pair(), Some(disk.open()), handler).await;
    let peer = hub.start_peer().await;
    for text in ["one", "two"] {
        peer.send(Message::new("server", text)).await.unwrap().await;
    }
    let mut client = hub.client().await;
    let letters: Letters = client.get("/v1/dead-letters").await.unwrap();
    let [one, two] = &letters.letters[..] else { unreachable!("{letters:?}") };
    assert_eq!((one.peer.as_str(), one.code.as_str(), one.bytes), ("client", "failed", 3));
    let path = format!("/v1/dead-letters/{}", one.id);
    let shown: LetterDetails = client.get(&path).await.unwrap();
    assert_eq!(shown.content.text.as_deref(), Some("one"));
    let again = client.post::<()>(&format!("{path}/retry"), &()).await.unwrap_err();
    let ClientError::Refused { status: 502, error } = again else { unreachable!("{again}") };
    assert_eq!(error.message, "the handler has failed again: not yet");
    works.store(true, Ordering::Relaxed);
    client.post::<()>(&format!("{path}/retry"), &()).await.unwrap();
    client.delete::<()>(&format!("/v1/dead-letters/{}", two.id)).await.unwrap();
    let letters: Letters = client.get("/v1/dead-letters").await.unwrap();
    assert!(letters.letters.is_empty());
    let gone = client.post::<()>(&format!("{path}/retry"), &()).await.unwrap_err();
    assert!(matches!(gone, ClientError::Refused { status: 404, .. }), "{gone}");
    peer.shutdown().await;
}

#[tokio::test]
async fn a_dead_letter_that_another_replica_handles_is_a_conflict_that_names_it() {
    let (begun, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (begun, end) = (Arc::clone(&begun), Arc::clone(&end));
        move |message: Message| {
            let (begun, end) = (Arc::clone(&begun), Arc::clone(&end));
            async move {
                if message.is_control() {
                    return Ok(());
                }
                if !message.redelivered() {
                    return Err("not yet");
                }
                begun.notify_one();
                end.notified().await;
                Ok(())
            }
        }
    };
    let disk = SharedDisk::new(Duration::from_secs(60));
    let (first, store) = disk.open();
    let other_store = disk.open().1;
    let here = pair();
    let there = elsewhere(&here);
    let one = Hub::start_as(settings, here, Storage::Shared(store), handler).await;
    let two = Hub::start_as(settings, there, Storage::Shared(other_store), ignore).await;
    let peer = one.start_peer().await;
    peer.send(Message::new("server", "one")).await.unwrap().await;
    let mut client = one.client().await;
    let letters: Letters = client.get("/v1/dead-letters").await.unwrap();
    let id = letters.letters[0].id;
    let path = format!("/v1/dead-letters/{id}/retry");
    let meanwhile = async {
        begun.notified().await;
        let refused = two.client().await.post::<()>(&path, &()).await.unwrap_err();
        let ClientError::Refused { status: 409, error } = refused else {
            unreachable!("{refused}")
        };
        assert_eq!(error.code, "handled_elsewhere");
        let text = format!("dead letter {id} is being handled at replica {first}");
        assert_eq!(error.message, text);
        let remedy = format!("wait until replica {first} has handled it, or try again there");
        assert_eq!(error.remedy, Some(remedy));
        end.notify_one();
    };
    let (handled, ()) = tokio::join!(client.post::<()>(&path, &()), meanwhile);
    handled.unwrap();
    let gone = two.client().await.post::<()>(&path, &()).await.unwrap_err();
    let ClientError::Refused { status: 404, error } = gone else { unreachable!("{gone}") };
    assert_eq!(error.code, "unknown_letter");
    peer.exchange().ask_to_shut_down_now();
}

/// Returns the names of the series, with their labels.
fn series(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(' ').next()).collect()
}

/// The route that the document does not describe: the page, which is not for programs.
const UNDESCRIBED: [&str; 1] = ["get /"];

#[tokio::test]
async fn the_document_and_the_page_describe_the_same_routes() {
    let hub = Hub::start().await;
    let document: serde_json::Value = hub.client().await.get("/v1/openapi.json").await.unwrap();
    let mut described = BTreeSet::from(UNDESCRIBED.map(str::to_owned));
    for (path, operations) in document["paths"].as_object().unwrap() {
        let methods = operations.as_object().unwrap().keys();
        described.extend(methods.map(|method| format!("{method} {path}")));
    }
    let page = include_str!("../../../../docs/api.md");
    let named: BTreeSet<_> = page.split('`').filter_map(route).collect();
    assert_eq!(named, described);
}

/// Reads `GET /v1/status?x=y`.
fn route(code: &str) -> Option<String> {
    let (method, path) = code.split_once(' ')?;
    let is_method = matches!(method, "GET" | "POST" | "PUT" | "DELETE") && path.starts_with('/');
    let path = path.split([' ', '?']).next()?;
    is_method.then(|| format!("{} {path}", method.to_lowercase()))
}
