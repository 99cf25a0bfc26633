//! What an invitation and a configuration refuse: passphrases that do not fit, and keys that two links
//! would share.

use std::fs;

use paddington::{ConfigError, Encoding, Invite, InviteError, ServiceConfig};
use paddington_test_support::key_digits;

#[test]
fn a_sealed_invitation_opens_with_its_passphrase_only_and_shows_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invitation.toml");
    let mut hub = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &1).unwrap();
    let invite = hub.add_client("later", "192.0.2.7").unwrap();
    assert!(matches!(invite.save_sealed(&path, ""), Err(InviteError::EmptyPassphrase)));
    assert!(!path.exists());
    invite.save_sealed(&path, "correct horse").unwrap();

    let text = fs::read_to_string(&path).unwrap();
    for digits in key_digits(&invite) {
        assert!(!text.contains(&digits) && !text.contains("inner_key"));
    }
    let opened = Invite::load_sealed(&path, "correct horse").unwrap();
    assert_eq!(key_digits(&opened), key_digits(&invite));
    assert_eq!(opened.url(), invite.url());
    assert!(matches!(Invite::load(&path), Err(InviteError::Sealed)));
    for wrong in ["", "correct house", "Correct horse"] {
        let error = Invite::load_sealed(&path, wrong).unwrap_err();
        assert!(matches!(error, InviteError::Passphrase), "{error}");
    }

    // The keys are bound to both names, and a reader does not pay any price.
    for (from, to, sealed) in [
        ("client = \"later\"", "client = \"other\"", "passphrase"),
        ("iterations = 3", "iterations = 4", "passphrase"),
        ("iterations = 3", "iterations = 4000000000", "cannot be used"),
        ("memory = 65536", "memory = 4294967295", "cannot be used"),
        ("salt = \"", "salt = \"00", "passphrase"),
        ("data = \"", "data = \"00", "passphrase"),
    ] {
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let error = Invite::load_sealed(&path, "correct horse").unwrap_err();
        assert!(error.to_string().contains(sealed), "{to}: {error}");
    }
    invite.save(&path).unwrap();
    let error = Invite::load_sealed(&path, "correct horse").unwrap_err();
    assert!(matches!(error, InviteError::NotSealed), "{error}");
}

#[test]
fn two_links_with_a_common_key_are_refused_in_either_encoding() {
    let original = |name: &str, inner: &str, outer: &str| {
        let text = format!(
            "name = {name:?}\nurl = \"ws://localhost:6501/\"\n[inner_key]\ndata = {inner:?}\n\
             [outer_key]\ndata = {outer:?}\n"
        );
        Invite::from_toml(&text).unwrap()
    };
    let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(64));
    let mut config = ServiceConfig::new("own", "ws://localhost:1", "127.0.0.1", &1).unwrap();
    config.add_server(original("first", &a, &b)).unwrap();
    for (inner, outer) in [(&a, &b), (&b, &a), (&a, &c), (&c, &a)] {
        let error = config.add_server(original("second", inner, outer)).unwrap_err();
        assert!(matches!(&error, ConfigError::SharedKey { .. }), "{error}");
        assert!(error.to_string().contains("first and second"), "{error}");
    }

    let mut hub = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &1).unwrap();
    hub.add_client("one", "127.0.0.1").unwrap();
    hub.add_client_with("two", "127.0.0.1", Encoding::Hex).unwrap();
    let text = hub.to_toml().unwrap();
    let keys: Vec<_> = text.lines().filter(|line| line.starts_with("data = ")).collect();
    let doubled = text.replacen(keys[2], keys[1], 1);
    let error = ServiceConfig::from_toml(&doubled).unwrap_err();
    assert!(error.to_string().contains("one and two have a key in common"), "{error}");
}
