//! Links whose peers, or whose operators, do what they should not.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;
use std::time::Duration;

use paddington::{PeerStatus, Service, ServiceConfig};
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

/// A hub and a sensor with folders of links, which have agreed on generation 1.
async fn introduced(network: &MemoryNetwork, folder: &TempDir) -> [(Service, Inbox); 2] {
    let mut hub = with_links("hub", &folder.path().join("hub"));
    let mut sensor = with_links("sensor", &folder.path().join("sensor"));
    sensor.add_server(hub.add_client("sensor", "127.0.0.0/8").unwrap()).unwrap();
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
