//! A server looks for a client in the bucket that the query of its URL names (`docs/protocol.md`
//! §1.3 and §3.4).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use paddington::{Encoding, Invite, Message, ServiceConfig};
use paddington_test_support::{Pair, pair};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// Returns the text of a file that `save` writes.
fn text(save: impl FnOnce(&std::path::Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.toml");
    save(&path);
    std::fs::read_to_string(path).unwrap()
}

/// Changes the invitation of the client as text.
fn with_invitation(pair: &mut Pair, change: impl FnOnce(String) -> String) {
    let changed = change(text(|path| pair.invite.save(path).unwrap()));
    let mut client = ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    client.add_server(Invite::from_toml(&changed).unwrap()).unwrap();
    pair.client = client;
}

/// Changes the configuration of the server as text.
fn with_server(pair: &mut Pair, change: impl FnOnce(String) -> String) {
    let changed = change(text(|path| pair.server.save(path).unwrap()));
    pair.server = ServiceConfig::from_toml(&changed).unwrap();
}

async fn connects(pair: &Pair) -> bool {
    let (server, inbox) = pair.start_server().await;
    let (client, _) = pair.start_client().await;
    client.send(Message::new("server", "here")).await.unwrap();
    let connects = timeout(SECOND, inbox.text()).await.is_ok_and(|text| text == "here");
    client.shutdown().await;
    server.shutdown().await;
    connects
}

#[tokio::test(start_paused = true)]
async fn a_client_connects_with_the_bucket_of_its_invitation_and_with_no_other() {
    let cases: [(&str, bool); 8] = [
        ("?b=000", true),
        ("?x=1&b=000&y", true),
        ("", false),
        ("?b=001", false),
        ("?b=000&b=000", false),
        ("?b=0", false),
        ("?b=00g", false),
        ("?B=000", false),
    ];
    for (query, expected) in cases {
        let mut pair = pair();
        with_invitation(&mut pair, |text| text.replace("?b=000", query));
        assert_eq!(connects(&pair).await, expected, "{query:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invitation_without_a_bucket_goes_on_working() {
    let old = |text: String| text.replace("bucket = \"000\"\n", "");
    let mut pair = pair();
    with_server(&mut pair, |text| {
        assert!(text.contains("bucket = \"000\"\n"), "it is stored: {text}");
        old(text)
    });
    assert!(!connects(&pair).await, "it is not in that bucket any more");
    with_invitation(&mut pair, |text| text.replace("?b=000", ""));
    assert!(connects(&pair).await);
    pair.server.add_client("new", "127.0.0.1").unwrap();
    assert!(connects(&pair).await, "a newer one has a bucket");
}

#[tokio::test(start_paused = true)]
async fn a_client_in_any_of_many_buckets_connects() {
    let mut pair = pair();
    let mut invites = Vec::new();
    for number in 0..200 {
        invites.push(pair.server.add_client(&format!("c{number}"), "127.0.0.0/8").unwrap());
    }
    with_server(&mut pair, |text| text);
    let (_server, inbox) = pair.start_server().await;
    for (number, invite) in invites.into_iter().enumerate().step_by(23) {
        let name = format!("c{number}");
        let mut client = ServiceConfig::new(&name, "ws://c:1", "127.0.0.1", &1).unwrap();
        client.add_server(invite).unwrap();
        let (client, _) = pair.start(&client).await;
        client.send(Message::new("server", &*name)).await.unwrap();
        assert_eq!(timeout(SECOND, inbox.text()).await.unwrap(), name);
    }
}

#[test]
fn an_invitation_for_another_url_keeps_its_bucket() {
    let mut server = ServiceConfig::new("s", "ws://h:1/p?x=1", "127.0.0.1", &1).unwrap();
    let invite = server.add_client("client", "127.0.0.1").unwrap();
    assert_eq!(invite.url().to_string(), "ws://h:1/p?x=1&b=000");
    let moved = invite.at("wss://proxy.example/q?b=fff").unwrap();
    assert_eq!(moved.url().to_string(), "wss://proxy.example:443/q?b=000");
    assert_eq!(server.url().to_string(), "ws://h:1/p?x=1");
    let hex = server.add_client_with("original", "127.0.0.1", Encoding::Hex).unwrap();
    assert_eq!(hex.url().to_string(), "ws://h:1/p?x=1", "it drops the query");
}

#[tokio::test(start_paused = true)]
async fn the_log_says_what_to_do_for_a_client_whose_query_gets_lost() {
    let logs = paddington_test_support::capture_logs();
    let mut pair = pair();
    with_invitation(&mut pair, |text| text.replace("?b=000", ""));
    let (_server, _) = pair.start_server().await;
    let (_client, _) = pair.start_client().await;
    sleep(SECOND).await;
    let hint = "let a proxy pass on the query of the URL";
    assert!(logs.lines().iter().any(|line| line.contains(hint)), "{:?}", logs.lines());
}
