//! `wss`: a link over TLS, with a private certificate authority.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use paddington::{ConfigError, Encoding, Invite, Message, Service, ServiceConfig};
use paddington_test_support::{CapturedLogs, Inbox, capture_logs, quick};

use tls_proxy::TlsProxy;

mod tls_proxy;

fn client(invite: paddington::Invite, authorities: Option<PathBuf>) -> ServiceConfig {
    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &1).unwrap();
    client.add_server_with(invite, authorities).unwrap();
    client
}

/// Replaces a file: whoever reads it meanwhile finds all of the old one or all of the new one.
fn replace(path: &Path, content: impl AsRef<[u8]>) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Waits until a line of the log holds both texts.
async fn logged(logs: &CapturedLogs, texts: [&str; 2]) {
    let found = async {
        while !logs.lines().iter().any(|line| texts.iter().all(|text| line.contains(text))) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found).await.unwrap();
}

#[tokio::test]
async fn a_server_behind_tls_is_reached_if_its_authority_is_trusted() {
    let logs = capture_logs();
    a_file_of_authorities_that_is_replaced_is_read_again(&logs).await;
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let (inbox, handler) = Inbox::new();
        let mut server =
            ServiceConfig::new("server", "wss://localhost:1", "127.0.0.1", &0).unwrap();
        let invite = server.add_client_with("client", "127.0.0.1", encoding).unwrap();
        let server = Service::start(&server, handler).await.unwrap();
        let proxy = TlsProxy::start("localhost", server.address().unwrap()).await;
        let url = format!("wss://localhost:{}/", proxy.address.port());
        let invite = invite.at(&url).unwrap();

        let config = client(invite.clone(), Some(proxy.authorities.clone()));
        let trusting = Service::start(&config, Inbox::new().1).await.unwrap();
        trusting.send(Message::new("server", "through TLS")).await.unwrap();
        assert_eq!(inbox.text().await, "through TLS");
        trusting.shutdown().await;

        // this authority is not one of the platform's
        let doubting = Service::start(&client(invite, None), Inbox::new().1).await.unwrap();
        logged(&logs, [&url, "TLS handshake failed"]).await;
        assert!(!doubting.peers()[0].is_connected());
    }
}

async fn a_file_of_authorities_that_is_replaced_is_read_again(logs: &CapturedLogs) {
    let (inbox, handler) = Inbox::new();
    let mut server = ServiceConfig::new("server", "wss://localhost:1", "127.0.0.1", &0).unwrap();
    let invite = server.add_client("client", "127.0.0.1").unwrap();
    quick(&mut server);
    let server = Service::start(&server, handler).await.unwrap();
    let proxy = TlsProxy::start("localhost", server.address().unwrap()).await;
    let url = format!("wss://localhost:{}/", proxy.address.port());
    let invite = invite.at(&url).unwrap();
    let other = TlsProxy::start("localhost", server.address().unwrap()).await;

    let path = other.authorities.clone();
    let mut config = client(invite, Some(path.clone()));
    quick(&mut config);
    let client = Service::start(&config, Inbox::new().1).await.unwrap();
    logged(logs, [&url, "TLS handshake failed"]).await;
    replace(&path, std::fs::read(&proxy.authorities).unwrap());
    client.send(Message::new("server", "read again")).await.unwrap();
    assert_eq!(inbox.text().await, "read again");

    // One that is broken changes nothing.
    replace(&path, "-----BEGIN CERTIFICATE-----\nbroken");
    for text in ["once", "twice"] {
        proxy.cut.notify_waiters();
        client.send(Message::new("server", text)).await.unwrap();
        assert_eq!(inbox.text().await, text);
    }
    logged(logs, ["ERROR", "are trusted still"]).await;
    let errors = logs.lines().into_iter().filter(|line| line.contains("are trusted still"));
    assert_eq!(errors.count(), 1);
}

#[tokio::test]
async fn a_renewed_invitation_may_move_a_server_behind_tls_and_back() {
    let (inbox, handler) = Inbox::new();
    let mut server = ServiceConfig::new("server", "ws://localhost:1", "127.0.0.1", &0).unwrap();
    let invite = server.add_client("client", "127.0.0.1").unwrap();
    let server = Service::start(&server, handler).await.unwrap();
    let plain = server.address().unwrap();
    let proxy = TlsProxy::start("localhost", plain).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invitation.toml");
    let save = |url: &str| invite.clone().at(url).unwrap().save(&path).unwrap();

    // The client is started with `before`, which does not work, and finds `after` while it tries.
    for (before, after) in [
        (
            format!("ws://localhost:{}/", proxy.address.port()),
            format!("wss://localhost:{}/", proxy.address.port()),
        ),
        (format!("wss://localhost:{}/", plain.port()), format!("ws://localhost:{}/", plain.port())),
    ] {
        save(&before);
        let config = client(Invite::load(&path).unwrap(), Some(proxy.authorities.clone()));
        save(&after);
        let client = Service::start(&config, Inbox::new().1).await.unwrap();
        client.send(Message::new("server", after.as_str())).await.unwrap();
        assert_eq!(inbox.text().await, after);
        client.shutdown().await;
    }
}

#[tokio::test]
async fn a_bad_file_of_authorities_is_refused_with_its_path() {
    let mut server = ServiceConfig::new("server", "wss://localhost:1", "127.0.0.1", &0).unwrap();
    let invite = server.add_client("client", "127.0.0.1").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for path in [folder.path().join("missing.pem"), empty] {
        let config = client(invite.clone(), Some(path.clone()));
        let refused = Service::start(&config, Inbox::new().1).await.unwrap_err();
        let paddington::ServiceError::Config(ConfigError::Tls { source, .. }) = refused else {
            unreachable!("{refused}")
        };
        assert!(source.to_string().contains(path.to_str().unwrap()), "{source}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn authorities_are_read_from_regular_files_of_bounded_length_only() {
    let mut server = ServiceConfig::new("server", "wss://localhost:1", "127.0.0.1", &0).unwrap();
    let invite = server.add_client("client", "127.0.0.1").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (pipe, long) = (folder.path().join("pipe.pem"), folder.path().join("long.pem"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::write(&long, vec![b'\n'; 4 * 1024 * 1024 + 1]).unwrap();
    for (path, cause) in [
        (pipe, "not a regular file"),
        (PathBuf::from("/dev/zero"), "not a regular file"),
        (folder.path().to_owned(), "not a regular file"),
        (long, "longer than 4194304 bytes"),
    ] {
        let config = client(invite.clone(), Some(path.clone()));
        let refused = Service::start(&config, Inbox::new().1).await.unwrap_err();
        let mut error: &dyn std::error::Error = &refused;
        let mut text = error.to_string();
        while let Some(source) = error.source() {
            text = format!("{text}: {source}");
            error = source;
        }
        assert!(text.contains(cause), "{text}");
    }
}
