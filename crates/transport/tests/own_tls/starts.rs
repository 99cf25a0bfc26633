//! Starts that are refused, because the files cannot be used.

use std::fs;

use paddington::{Encoding, Service, ServiceConfig, TlsFiles, with_causes};
use paddington_test_support::{Authority, Inbox};

use crate::certificates::{HOST, Secured};

/// Returns why a start is refused.
async fn refused(secured: &Secured) -> String {
    let network = secured.network().network();
    let started = Service::start_on(network, &secured.pair.server, Inbox::new().1).await;
    with_causes(&started.unwrap_err())
}

#[tokio::test(start_paused = true)]
async fn a_start_with_files_that_cannot_be_used_is_refused_with_name_and_reason() {
    let other = Authority::new().issue(HOST);
    let secret = "MC4CAQAwBQYDK2VwBCIEIF";
    let broken = format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n");
    let open = format!("-----BEGIN PRIVATE KEY-----\n{secret}\n");
    let cut = format!("-----BEGIN {secret}\n{secret}\n");
    let sealed = broken.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let cases = [
        ("fullchain.pem", None, "could not be read"),
        ("fullchain.pem", Some(""), "no certificate"),
        ("fullchain.pem", Some("-----BEGIN CERTIFICATE-----\nAA=="), "could not be read"),
        (
            "fullchain.pem",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "cannot be used",
        ),
        ("privkey.pem", None, "could not be read"),
        ("privkey.pem", Some(""), "no key"),
        ("privkey.pem", Some(&*broken), "cannot be used"),
        ("privkey.pem", Some(&*open), "no key"),
        ("privkey.pem", Some(&*cut), "no key"),
        ("privkey.pem", Some(&*sealed), "needs no passphrase"),
        ("privkey.pem", Some(&*other.key), "is not that of the certificate"),
        ("clients.pem", None, "could not be read"),
        ("clients.pem", Some(""), "no certificate authority"),
    ];
    for (name, content, reason) in cases {
        let mut secured = Secured::new(Encoding::Sealed);
        let files = TlsFiles::in_directory(secured.folder.path());
        if name == "clients.pem" {
            secured.pair.server.set_tls(files.with_client_authorities(secured.file(name)));
        }
        match content {
            Some(content) => fs::write(secured.file(name), content).unwrap(),
            None => _ = fs::remove_file(secured.file(name)),
        }
        let error = refused(&secured).await;
        assert!(error.contains(secured.file(name).to_str().unwrap()), "{error}");
        assert!(error.contains(reason), "{reason:?}: {error}");
        assert!(!error.contains(secret), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_nobody_is_invited_to_does_not_start_with_broken_files_either() {
    let mut alone = ServiceConfig::new("alone", "wss://alone.example", "127.0.0.1", &0).unwrap();
    alone.set_tls(TlsFiles::new("/nowhere/cert.pem", "/nowhere/key.pem"));
    let error = Service::start(&alone, Inbox::new().1).await.unwrap_err();
    assert!(with_causes(&error).contains("/nowhere/cert.pem"), "{error:?}");
}

#[test]
fn files_are_written_as_they_were_read() {
    let text = "name = \"hub\"\nurl = \"wss://hub.example:443/\"\nip = \"0.0.0.0\"\nport = 443\n";
    for table in [
        "\n[tls]\ndirectory = \"/etc/hub\"\n",
        "\n[tls]\ncertificate = \"hub.pem\"\nkey = \"hub.key\"\nclient_authorities = \"ca.pem\"\n",
    ] {
        let config = ServiceConfig::from_toml(&format!("{text}{table}")).unwrap();
        assert_eq!(*config.to_toml().unwrap(), format!("{text}{table}"));
    }
    for table in [
        "",
        "directory = \"a\"\nkey = \"b\"\n",
        "certificate = \"b\"\n",
        "key = \"b\"\n",
        "directory = \"a\"\nkye = \"b\"\n",
    ] {
        let refused = ServiceConfig::from_toml(&format!("{text}\n[tls]\n{table}"));
        assert!(refused.is_err(), "{table}");
    }
}
