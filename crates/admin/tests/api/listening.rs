//! Where the local API listens: what it makes, replaces and refuses.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use crate::support::{Hub, settings, settings_with_tcp};
use paddington_admin::client::Client;
use paddington_admin::{Admin, BindError, Settings, Token, TokenError};

#[tokio::test]
async fn only_the_owner_can_open_the_socket() {
    let hub = Hub::start().await;
    let found = fs::symlink_metadata(hub.socket()).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.mode() & 0o777, 0o600);
    let others = fs::read_dir(hub.folder.path()).unwrap().count();
    assert_eq!(others, 1, "nothing else is left in the folder");
    hub.serving.end().await;
    assert!(!hub.folder.path().join("paddington.sock").exists());
}

#[tokio::test]
async fn a_socket_of_a_dead_process_is_replaced_and_a_live_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = settings(&folder).socket.unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "as a process leaves it that was killed");
    let live = Admin::bind(settings(&folder)).await.unwrap();
    let refused = Admin::bind(settings(&folder)).await.unwrap_err();
    assert!(matches!(&refused, BindError::InUse(it) if *it == path), "{refused}");
    assert!(refused.to_string().contains("another process runs this service"), "{refused}");
    drop(live);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_no_socket_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = settings(&folder).socket.unwrap();
    fs::write(&path, "precious").unwrap();
    let refused = Admin::bind(settings(&folder)).await.unwrap_err();
    assert!(matches!(refused, BindError::NotASocket(_)), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_socket_of_somebody_else_is_not_removed_at_the_end() {
    let hub = Hub::start().await;
    fs::remove_file(hub.socket()).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(hub.socket()).unwrap();
    let path = hub.socket();
    hub.serving.end().await;
    assert!(path.exists());
}

#[tokio::test]
async fn the_api_is_not_for_other_machines_and_not_without_a_token() {
    let folder = tempfile::tempdir().unwrap();
    for address in ["0.0.0.0:0", "192.0.2.1:80", "[::]:0"] {
        let tcp = Some(address.parse().unwrap());
        let refused =
            Admin::bind(Settings { tcp, ..settings_with_tcp(&folder) }).await.unwrap_err();
        assert!(matches!(refused, BindError::NotLoopback(_)), "{refused}");
    }
    let open = Settings { token: None, ..settings_with_tcp(&folder) };
    let refused = Admin::bind(open).await.unwrap_err();
    assert!(matches!(refused, BindError::NoToken(_)), "{refused}");
    assert!(!settings(&folder).socket.unwrap().exists(), "nothing is bound");
    let taken = Admin::bind(Settings { socket: None, ..settings_with_tcp(&folder) }).await.unwrap();
    let again = Settings { socket: None, tcp: taken.tcp(), ..settings_with_tcp(&folder) };
    let refused = Admin::bind(again).await.unwrap_err();
    assert!(matches!(refused, BindError::Tcp { .. }), "{refused}");
}

#[test]
fn a_token_is_made_once_and_is_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.token");
    let made = Token::load_or_create(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(text.trim().len(), 64, "256 bits in hexadecimal digits");
    let settings = Settings { token: Some(made), ..Settings::default() };
    let shown = format!("{settings:?}");
    assert!(!shown.contains(text.trim()) && shown.contains("Token(..)"), "{shown}");
    Token::load_or_create(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "it stays the same");
    let other = folder.path().join("other.token");
    Token::load_or_create(&other).unwrap();
    assert_ne!(fs::read_to_string(&other).unwrap(), text);
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let refused = Token::load_or_create(&path).unwrap_err();
    assert!(matches!(refused, TokenError::Open(_)), "{refused}");
}

#[test]
fn what_is_no_token_is_refused_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.token");
    let long = "x".repeat(5000);
    for text in ["", "\n", "short", "a token of several words that is long enough for one", &long] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let refused = Token::load_or_create(&path).unwrap_err();
        assert!(matches!(refused, TokenError::NotAToken(_)), "{refused}");
        assert!(text.len() < 5 || !refused.to_string().contains(text));
    }
    let folder_itself = Token::load_or_create(folder.path()).unwrap_err();
    assert!(matches!(folder_itself, TokenError::NotAToken(_)), "{folder_itself}");
    assert!(matches!(
        Token::load_or_create(folder.path().join("no/folder")),
        Err(TokenError::Unwritable { .. })
    ));
}

#[tokio::test]
async fn a_client_is_told_whether_nobody_runs_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let path = settings(&folder).socket.unwrap();
    assert!(Client::connect(&path).await.unwrap_err().is_not_running());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(Client::connect(&path).await.unwrap_err().is_not_running());
    fs::remove_file(&path).unwrap();
    let long = folder.path().join("x".repeat(200));
    assert!(!Client::connect(&long).await.unwrap_err().is_not_running());
}
