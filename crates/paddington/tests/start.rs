//! What a service says when it starts.

use std::time::Duration;

use paddington::{Message, Service, ServiceConfig};
use paddington_test_support::{capture_logs, pair};
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn a_service_that_does_not_listen_says_so_once() {
    let logs = capture_logs();
    let mut pair = pair();
    let said = |level: &str, text: &str| {
        let lines = logs.lines();
        lines.iter().filter(|line| line.starts_with(level) && line.contains(text)).count()
    };
    let (server, _) = pair.start_server().await;
    assert_eq!((said("INFO", "listening"), said("INFO", "not listening")), (1, 0));
    server.shutdown().await;

    let (client, _) = pair.start_client().await;
    assert_eq!(said("INFO", "not listening, because no client is invited"), 1);
    client.shutdown().await;

    pair.client = ServiceConfig::new("lonely", "ws://localhost:1", "127.0.0.1", &1).unwrap();
    let (lonely, _) = pair.start_client().await;
    assert_eq!(said("WARN", "neither listening nor connecting"), 1);
    lonely.shutdown().await;
    assert_eq!(said("INFO", "not listening"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_port_in_use_is_an_error_at_once_or_waited_for() {
    let mut pair = pair();
    let (first, _) = pair.start_server().await;
    let start = |pair: &paddington_test_support::Pair| {
        let (network, config) = (pair.network.network(), pair.server.clone());
        async move {
            let ignore = async |_: Message| Ok::<(), std::io::Error>(());
            Service::start_on(network, &config, ignore).await
        }
    };
    let begun = Instant::now();
    let refused = start(&pair).await.unwrap_err().to_string();
    assert!(refused.contains("another process uses this port"), "{refused}");
    assert!(refused.contains("listen_wait"), "{refused}");
    assert!(begun.elapsed().is_zero(), "{:?}", begun.elapsed());

    pair.server.settings_mut().listen_wait = Duration::from_secs(10);
    let refused = start(&pair).await.unwrap_err().to_string();
    assert!(refused.contains("another process uses this port"), "{refused}");
    assert_eq!(begun.elapsed().as_secs(), 10);

    let waiting = tokio::spawn(start(&pair));
    sleep(Duration::from_secs(5)).await;
    first.shutdown().await;
    let freed = Instant::now();
    let second = waiting.await.unwrap().unwrap();
    assert!(freed.elapsed() <= Duration::from_millis(200), "{:?}", freed.elapsed());
    second.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn more_peers_than_the_setting_allows_are_refused_by_name_of_it() {
    let mut pair = pair();
    pair.server.settings_mut().peers = 1;
    let (server, _) = pair.start_server().await;
    server.shutdown().await;
    pair.server.add_client("second", "127.0.0.1").unwrap();
    let ignore = async |_: Message| Ok::<(), std::io::Error>(());
    let refused = Service::start_on(pair.network.network(), &pair.server, ignore).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("2 peers"), "{refused}");
}

/// The time for which this thread has had a processor, however busy the machine is.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::from_secs(time.tv_sec.unsigned_abs())
}

/// The numbers are for a debug build on a slow machine; a start that is quadratic takes minutes.
#[test]
fn a_configuration_of_many_clients_is_made_written_and_read_in_seconds() {
    let begun = processor_time();
    let mut config = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &1).unwrap();
    for number in 0..20_000 {
        config.add_client(&format!("client-{number}"), "10.0.0.0/8").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.toml");
    config.save(&path).unwrap();
    let read = ServiceConfig::load(&path).unwrap();
    assert_eq!(read.peers().count(), 20_000);
    let took = processor_time() - begun;
    assert!(took < Duration::from_secs(60), "{took:?}");
}
