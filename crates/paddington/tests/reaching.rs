//! A server is asked whether it can be reached, without a handshake.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use paddington::{ConfigError, DialError, Message, Service, ServiceConfig, UpgradeError};
use paddington_test_support::{Inbox, eventually};
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(5);

fn client() -> ServiceConfig {
    ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &1).unwrap()
}

#[tokio::test]
async fn asking_uses_no_key_and_no_attempt() {
    let mut server = ServiceConfig::new("server", "ws://localhost:1", "127.0.0.1", &0).unwrap();
    server.settings_mut().transport.limits.attempts = 1;
    let invite = server.add_client("client", "127.0.0.1").unwrap();
    let (inbox, handler) = Inbox::new();
    let server = Service::start(&server, handler).await.unwrap();
    let address = server.address().unwrap();
    let mut client = client();
    client.add_server(invite.at(&format!("ws://{address}/")).unwrap()).unwrap();

    for _ in 0..8 {
        // The one place of this address may still be that of the one before.
        eventually(async || client.reach("server", LIMIT).await.unwrap().outcome.is_ok()).await;
    }
    let reach = client.reach("server", LIMIT).await.unwrap();
    assert_eq!((&reach.addresses[..], reach.connected), (&[address][..], Some(address)));
    assert!(!reach.secured && reach.certificates.is_empty());
    let client = Service::start(&client, Inbox::new().1).await.unwrap();
    client.send(Message::new("server", "still welcome")).await.unwrap();
    assert_eq!(inbox.text().await, "still welcome");
    let refusals = server.refusals();
    assert!(!refusals.iter().any(|it| it.cause.contains("failed attempts")), "{refusals:?}");
    client.shutdown().await;
    server.shutdown().await;
}

#[tokio::test]
async fn it_is_told_how_far_an_attempt_came() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = ServiceConfig::new("server", "ws://localhost:1", "127.0.0.1", &1).unwrap();
    let invite = server.add_client("client", "127.0.0.1").unwrap();
    let mut client = client();
    client.add_server(invite.at(&format!("ws://{address}/")).unwrap()).unwrap();

    let reaching = client.reach("server", LIMIT);
    let closing = async { drop(listener.accept().await.unwrap()) };
    let (reach, ()) = tokio::join!(reaching, closing);
    let reach = reach.unwrap();
    assert_eq!(reach.connected, Some(address));
    let Err(DialError::Upgrade(error)) = &reach.outcome else { unreachable!("{reach:?}") };
    assert!(error.is_silence(), "{error:?}");

    // Nobody answers in time.
    let reach = client.reach("server", Duration::from_millis(50)).await.unwrap();
    assert!(matches!(reach.outcome, Err(DialError::Timeout(_))), "{reach:?}");
    drop(listener);
    let reach = client.reach("server", LIMIT).await.unwrap();
    assert!(matches!(reach.outcome, Err(DialError::Connect { .. })), "{reach:?}");
    assert_eq!((&reach.addresses[..], reach.connected), (&[address][..], None));
    let unknown = client.reach("nobody", LIMIT).await;
    assert!(matches!(unknown, Err(ConfigError::Unknown(_))), "{unknown:?}");
}

#[tokio::test]
async fn asking_for_a_wrong_path_is_one_attempt_as_any_other() {
    let mut server = ServiceConfig::new("server", "ws://localhost:1", "127.0.0.1", &0).unwrap();
    let invite = server.add_client("client", "127.0.0.1").unwrap();
    let server = Service::start(&server, Inbox::new().1).await.unwrap();
    let mut client = client();
    let url = format!("ws://{}/elsewhere", server.address().unwrap());
    client.add_server(invite.at(&url).unwrap()).unwrap();
    let reach = client.reach("server", LIMIT).await.unwrap();
    let Err(DialError::Upgrade(UpgradeError::Refused { status, by_service })) = reach.outcome
    else {
        unreachable!("{reach:?}")
    };
    assert_eq!((status.as_u16(), by_service), (404, true));
    eventually(async || !server.refusals().is_empty()).await;
    assert_eq!(server.refusals()[0].count, 1);
    server.shutdown().await;
}
