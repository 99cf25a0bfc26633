//! Everything that the signatures of this crate mention can be named by its users.

use std::time::Duration;

use paddington::{
    Counts, Delivered, Instance, MessageId, PeerStatus, RejectCode, ServiceConfig, TrustedProxies,
};

/// Parts of a status, by the names of their types.
struct Parts {
    instance: Option<Instance>,
    counts: Option<Counts>,
}

fn parts(status: &PeerStatus) -> Parts {
    Parts { instance: status.instance, counts: status.counts }
}

fn rejection(delivered: Delivered) -> Option<RejectCode> {
    if let Delivered::Rejected(code) = delivered { Some(code) } else { None }
}

#[test]
fn settings_are_built_from_types_of_this_crate() -> Result<(), paddington::ConfigError> {
    let mut config = ServiceConfig::new("hub", "ws://hub.example:6501", "127.0.0.1", &6501)?;
    config.settings_mut().transport = paddington::TransportConfig {
        limits: paddington::Limits { pending: 8, ..paddington::Limits::default() },
        timeouts: paddington::Timeouts { dead: Duration::from_secs(20), ..Default::default() },
        retry: paddington::Retry { interval: Duration::from_secs(1), ..Default::default() },
        outbound: paddington::Outbound {
            proxy: paddington::ProxyChoice::None,
            no_proxy: vec!["example.org".parse::<paddington::HostPattern>().unwrap()],
            ..paddington::Outbound::default()
        },
        proxies: TrustedProxies::default(),
    };
    assert_eq!(config.settings().transport.limits.pending, 8);
    Ok(())
}

#[tokio::test]
async fn a_status_can_be_taken_apart() -> Result<(), Box<dyn std::error::Error>> {
    let pair = paddington_test_support::pair();
    let (client, _) = pair.start_client().await;
    let parts = parts(&client.peers()[0]);
    assert_eq!((parts.instance, parts.counts), (None, Some(Counts::default())));
    client.shutdown().await;
    Ok(())
}

#[test]
fn outcomes_and_errors_can_be_named() {
    assert_eq!(rejection(Delivered::Rejected(RejectCode::FAILED)), Some(RejectCode::FAILED));
    let id = MessageId { stream: Instance::from([1; 16]), number: 1 };
    assert!(id.to_string().ends_with("/1"));
    let name: Result<paddington::PeerName, paddington::NameError> = "no name".parse();
    assert!(name.is_err());
    let range: Result<paddington::AddressRange, paddington::RangeError> = "nowhere".parse();
    assert!(range.is_err());
}
