//! What a service says when it starts.

use paddington::ServiceConfig;
use paddington_test_support::{capture_logs, pair};

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
