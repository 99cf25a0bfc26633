//! No key and no payload is logged, whole or in part: everything that can fail is made to fail,
//! while the logs of all crates are captured at all levels.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::time::Duration;

use paddington::{Encoding, Message, Service, ServiceConfig};
use paddington_test_support::{
    Intruder, Pair, REQUEST, RawClient, RawFrame, capture_logs, credentials, key_digits, pair_with,
};
use paddington_wire::{Frame, Instance};

/// The text that all payloads contain.
const CANARY: &str = "canary-7f3a9c";
const SERVER: &str = "127.0.0.1:6501";

#[tokio::test(start_paused = true)]
async fn no_key_and_no_payload_is_logged_whatever_happens() {
    let logs = capture_logs();
    let mut secrets = vec![CANARY.to_owned(), hex(CANARY.as_bytes())];
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let mut pair = pair_with(encoding);
        secrets.extend(key_digits(&pair.invite));
        pair.server.settings_mut().transport.limits.attempts = 1_000;
        misuse(&pair).await;
    }
    secrets.extend(connect_with_the_wrong_invitation().await);

    let lines = logs.lines();
    for expected in
        ["panicked", "because the handler failed", "refused a connection", "not connected"]
    {
        assert!(lines.iter().any(|line| line.contains(expected)), "{expected} was never logged");
    }
    assert!(lines.iter().any(|line| line.starts_with("TRACE") || line.starts_with("DEBUG")));
    for secret in &secrets {
        for start in (0..secret.len() - 11).step_by(4) {
            let part = &secret[start..start + 12];
            let shown = lines.iter().find(|line| line.contains(part));
            assert_eq!(shown, None, "{part} of a secret is in the log");
        }
    }
}

/// Provokes log lines: messages that are handled, fail or panic, connections that are cut or
/// frozen, strangers, and a peer that breaks the protocol.
async fn misuse(pair: &Pair) {
    let handler = async |message: Message| match message.payload() {
        text if text.ends_with("panic") => panic!("as asked"),
        text if text.ends_with("fail") => Err("as asked"),
        _ => Ok(()),
    };
    let network = pair.network.network();
    let server = Service::start_on(network, &pair.server, handler).await.unwrap();
    let (client, _) = pair.start_client().await;
    for kind in ["fine", "panic", "fail"] {
        client.send(Message::new("server", format!("{CANARY}-{kind}"))).await.unwrap();
        server.send(Message::new("client", format!("{CANARY}-{kind}"))).await.unwrap();
    }
    let refused = client.send(Message::new("nobody", CANARY)).await.unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains(CANARY));
    tokio::time::sleep(Duration::from_secs(60)).await;
    pair.network.cut();
    tokio::time::sleep(Duration::from_secs(60)).await;
    pair.network.freeze();
    tokio::time::sleep(Duration::from_secs(60)).await;

    for hello in [RawFrame::binary(&[7; 1344]), RawFrame::text(&"0".repeat(544))] {
        let mut stranger = RawClient::connect(&pair.network, SERVER).await;
        stranger.write(REQUEST.as_bytes()).await;
        stranger.head().await;
        stranger.send(&hello).await;
        stranger.rest().await;
    }
    client.shutdown().await;
    if pair.invite.encoding() == Encoding::Sealed {
        let (link, instance) = (credentials(&pair.invite), Instance::from([1; 16]));
        let (mut rogue, mut session) =
            Intruder::establish(&pair.network, SERVER, &link, instance).await;
        rogue.say(&mut session, &Frame::Drain).await;
        rogue.client.send(&RawFrame::binary(&[9; 50])).await;
        rogue.client.rest().await;
    }
    server.shutdown().await;
}

/// Connects with keys that the server does not know, and returns them.
async fn connect_with_the_wrong_invitation() -> [String; 2] {
    let (pair, other) = (pair_with(Encoding::Sealed), pair_with(Encoding::Sealed));
    let mut client = ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    client.add_server(other.invite.clone()).unwrap();
    let (_server, _) = pair.start_server().await;
    let (_client, _) = pair.start(&client).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    key_digits(&other.invite)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
