//! The cost of a client that is configured and not connected, and of reading its configuration.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use allocation_counter::measure;
use paddington::{Message, Service, ServiceConfig};
use paddington_test_support::pair;

/// The most bytes that a client may take that was never connected.
const EACH: i64 = 1024 + 256;
const CLIENTS: usize = 1_000;
/// The most bytes that reading a client may take, together with what is made of it.
const READ: i64 = 896;

/// Returns the bytes that a server with so many more clients takes, with its configuration.
fn taken(clients: usize) -> i64 {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.unwrap();
    let pair = pair();
    let mut kept = None;
    let taken = measure(|| {
        let mut config =
            ServiceConfig::new("server", "ws://127.0.0.1:1", "127.0.0.1", &6501).unwrap();
        config.settings_mut().peers = config.settings().peers.max(clients);
        for client in 0..clients {
            config.add_client(&format!("client-{client}"), "127.0.0.0/8").unwrap();
        }
        let ignore = async |_: Message| Ok::<(), std::io::Error>(());
        let started = Service::start_on(pair.network.network(), &config, ignore);
        let server = runtime.block_on(started).unwrap();
        kept = Some((config, server));
    });
    runtime.block_on(async { kept.unwrap().1.shutdown().await });
    taken.bytes_current
}

#[test]
fn a_client_that_is_not_connected_takes_at_most_1_25_kib() {
    let each = (taken(1 + CLIENTS) - taken(1)) / CLIENTS as i64;
    assert!(each <= EACH, "{each} bytes");
}

#[test]
fn reading_a_client_takes_at_most_896_bytes() {
    let mut config = ServiceConfig::new("server", "ws://127.0.0.1:1", "127.0.0.1", &6501).unwrap();
    for client in 0..CLIENTS {
        config.add_client(&format!("client-{client}"), "127.0.0.0/8").unwrap();
    }
    let text = config.to_toml().unwrap();
    let mut read = None;
    let taken = measure(|| read = Some(ServiceConfig::from_toml(&text).unwrap()));
    assert_eq!(read.unwrap().peers().count(), CLIENTS);
    // What is taken at once stays with the process, scattered between what lives longer.
    let each = taken.bytes_max as i64 / CLIENTS as i64;
    assert!(each <= READ, "{each} bytes");
}
