//! A client that is refused tries more and more seldom (`docs/protocol.md` §9), and is back within
//! seconds when somebody has mended its link.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use paddington::{Encoding, Invite, Message, ServiceConfig};
use paddington_test_support::{
    FakeServer, Pair, RawServer, capture_logs, credentials, pair, pair_with,
};
use paddington_wire::{CloseCode, Frame};
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);
/// The duration of a good session.
const GOOD: Duration = Duration::from_secs(12);

/// Returns a pair whose server has given its client another invitation since.
fn estranged_pair(encoding: Encoding) -> Pair {
    let (mut pair, other) = (pair_with(encoding), pair_with(encoding));
    pair.client = other.client;
    pair
}

/// Returns a pair whose client asks for the wrong path.
fn lost_pair() -> Pair {
    let mut pair = pair();
    let mut client = ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    client.add_server(pair.invite.clone().at("ws://server.example:6501/no").unwrap()).unwrap();
    pair.client = client;
    pair
}

#[tokio::test(start_paused = true)]
async fn what_only_a_person_can_mend_is_tried_once_a_minute_in_the_end() {
    for (what, pair) in [
        ("wrong keys", estranged_pair(Encoding::Sealed)),
        ("wrong keys, hex", estranged_pair(Encoding::Hex)),
        ("wrong path", lost_pair()),
    ] {
        let (_server, _) = pair.start_server().await;
        let (_client, _) = pair.start_client().await;
        sleep(10 * MINUTE).await;
        let first = pair.network.dialled();
        assert!((10..=18).contains(&first), "{what}: {first} attempts in ten minutes");
        sleep(100 * MINUTE).await;
        let more = pair.network.dialled() - first;
        assert!((100..=112).contains(&more), "{what}: {more} attempts in 100 minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_stopped_and_started_is_found_within_seconds_after_many_refusals() {
    let pair = estranged_pair(Encoding::Sealed);
    let (server, _) = pair.start_server().await;
    let (_client, _) = pair.start_client().await;
    sleep(10 * MINUTE).await;
    server.shutdown().await;
    sleep(2 * MINUTE).await;
    let before = pair.network.dialled();
    let (_server, _) = pair.start_server().await;
    sleep(Duration::from_secs(6)).await;
    assert!(pair.network.dialled() > before, "it is tried again within seconds");
}

#[tokio::test(start_paused = true)]
async fn a_newer_invitation_takes_effect_within_seconds_after_many_refusals() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invitation.toml");
    estranged_pair(Encoding::Sealed).invite.save(&path).unwrap();
    let pair = pair();
    let mut client = ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    client.add_server(Invite::load(&path).unwrap()).unwrap();
    let (_server, inbox) = pair.start_server().await;
    let (client, _) = pair.start(&client).await;
    client.send(Message::new("server", "mended")).await.unwrap();
    sleep(10 * MINUTE).await;
    pair.invite.save(&path).unwrap();
    let mended = Instant::now();
    assert_eq!(inbox.text().await, "mended");
    assert!(mended.elapsed() <= Duration::from_secs(6), "{:?}", mended.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_second_process_takes_over_soon_after_the_first_has_ended() {
    for overlap in [1, 5, 20, 55, 300] {
        let pair = pair();
        let (_server, inbox) = pair.start_server().await;
        let (first, _) = pair.start_client().await;
        first.send(Message::new("server", "first")).await.unwrap();
        assert_eq!(inbox.text().await, "first");
        let (second, _) = pair.start_client().await;
        second.send(Message::new("server", "second")).await.unwrap();
        sleep(Duration::from_secs(overlap)).await;
        first.shutdown().await;
        let ended = Instant::now();
        assert_eq!(inbox.text().await, "second");
        let limit = Duration::from_secs((2 * overlap).clamp(6, 61));
        assert!(ended.elapsed() <= limit, "{overlap}: {:?}", ended.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_link_was_removed_says_so_and_tries_again_seldom() {
    let logs = capture_logs();
    let pair = pair();
    let link = credentials(&pair.invite);
    let mut server = FakeServer::new(&pair.network, "127.0.0.1:6501").await;
    let (_client, _) = pair.start_client().await;
    let (mut peer, mut session) = RawServer::establish(&mut server, &link).await;
    sleep(GOOD).await;
    peer.say(&mut session, &Frame::Close(CloseCode::Removed)).await;
    while peer.hear(&mut session).await.is_some() {} // it hangs up
    let told = |line: &String| line.contains("removed this link; ask for a new invitation");
    assert_eq!(logs.lines().iter().filter(|line| told(line)).count(), 1, "{:?}", logs.lines());

    let (begun, before) = (Instant::now(), pair.network.dialled());
    let refused = Frame::Close(CloseCode::Removed);
    for _ in 0..15 {
        RawServer::refuse(&mut server, &link, &refused).await;
    }
    let minutes = begun.elapsed().as_secs() / 60;
    assert!((10..=13).contains(&minutes), "15 attempts in {minutes} minutes");
    assert_eq!(pair.network.dialled() - before, 15);
    let told = logs.lines().iter().filter(|line| told(line)).count();
    assert_eq!(told, 2, "once for the session, once for all attempts: {:?}", logs.lines());
}

#[tokio::test(start_paused = true)]
async fn a_code_that_is_not_known_ends_a_session_and_nothing_else() {
    let pair = pair();
    let link = credentials(&pair.invite);
    let mut server = FakeServer::new(&pair.network, "127.0.0.1:6501").await;
    let (_client, _) = pair.start_client().await;
    for code in [0, 8, u64::MAX] {
        let (mut peer, mut session) = RawServer::establish(&mut server, &link).await;
        sleep(GOOD).await;
        let closed = Instant::now();
        peer.say(&mut session, &Frame::Close(CloseCode::from(code))).await;
        while peer.hear(&mut session).await.is_some() {}
        drop(peer);
        drop(RawServer::establish(&mut server, &link).await);
        assert!(closed.elapsed() < Duration::from_secs(1), "{code}: {:?}", closed.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_invitation_takes_effect_within_seconds_after_the_link_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invitation.toml");
    let (pair, old) = (pair(), estranged_pair(Encoding::Sealed).invite);
    old.save(&path).unwrap();
    let mut client = ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    client.add_server(Invite::load(&path).unwrap()).unwrap();
    let mut server = FakeServer::new(&pair.network, "127.0.0.1:6501").await;
    let (client, _) = pair.start(&client).await;
    client.send(Message::new("server", "mended")).await.unwrap();
    let refused = Frame::Close(CloseCode::Removed);
    for _ in 0..10 {
        RawServer::refuse(&mut server, &credentials(&old), &refused).await;
    }
    drop(server);
    let (_server, inbox) = pair.start_server().await;
    pair.invite.save(&path).unwrap();
    let mended = Instant::now();
    assert_eq!(inbox.text().await, "mended");
    assert!(mended.elapsed() <= Duration::from_secs(6), "{:?}", mended.elapsed());
}
