//! What is kept on a disk is sealed, and opens with the right secret only. `docs/deploy/at-rest.md`

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use paddington::{
    AtRest, AtRestError, KeySource, Message, Rewritten, Service, ServiceConfig, with_causes,
};
use paddington_test_support::{Pair, eventually, pair};
use tempfile::TempDir;

/// A text that is not to be found on the disk.
const WORD: &str = "the reading of the sensor";

/// A client whose links and outbox are in a folder.
struct Client {
    pair: Pair,
    folder: TempDir,
}

impl Client {
    fn new() -> Self {
        let client = Self { pair: pair(), folder: tempfile::tempdir().unwrap() };
        client.secret("secret", &"5a".repeat(32));
        client
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn secret(&self, name: &str, text: &str) {
        paddington::save_private(self.at(name), text).unwrap();
    }

    /// The settings with the secret in a file.
    fn at_rest(&self, secret: &str) -> AtRest {
        AtRest::new(self.at("keyring.toml"), KeySource::File(self.at(secret)))
    }

    /// The configuration, sealed if a secret is named.
    fn config(&self, secret: Option<&str>) -> Result<ServiceConfig, paddington::ConfigError> {
        let mut config = self.pair.client.clone();
        if let Some(secret) = secret {
            config.set_at_rest(self.at_rest(secret));
        }
        config.set_outbox(self.at("outbox"));
        config.set_links(self.at("links"))?;
        Ok(config)
    }

    async fn start(&self, secret: Option<&str>) -> Service {
        let handler = async |_: Message| Ok::<(), paddington::Error>(());
        let config = self.config(secret).unwrap();
        Service::start_on(self.pair.network.network(), &config, handler).await.unwrap()
    }

    /// Leaves messages in the outbox.
    async fn leave(&self, secret: Option<&str>, numbers: std::ops::Range<u32>) {
        let service = self.start(secret).await;
        for number in numbers {
            let text = format!("{WORD} {number}");
            let message = match number % 2 {
                0 => Message::new("server", text),
                _ => Message::with_bytes("server", text.into_bytes()),
            };
            service.send(message).await.unwrap();
        }
        service.shutdown().await;
    }

    /// Starts both sides, and checks that these messages arrive, once and in order.
    async fn arrive(&self, secret: Option<&str>, numbers: std::ops::Range<u32>) {
        let (given, mut messages) = tokio::sync::mpsc::channel(1_000);
        let keep = move |message: Message| std::future::ready(given.try_send(message));
        let handler = paddington::accept_bytes(keep);
        let network = self.pair.network.network();
        let server = Service::start_on(network, &self.pair.server, handler).await.unwrap();
        let client = self.start(secret).await;
        for number in numbers {
            let message = loop {
                let message = messages.recv().await.unwrap();
                if !message.is_control() {
                    break message;
                }
            };
            assert_eq!(message.bytes(), format!("{WORD} {number}").as_bytes());
            assert_eq!(message.is_bytes(), number % 2 == 1);
        }
        eventually(async || client.peers()[0].outbox_messages == 0).await;
        client.shutdown().await;
        server.shutdown().await;
    }

    /// All files, by their paths.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for folder in [self.folder.path().to_owned(), self.at("links")] {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    found.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        found
    }

    /// Whether a text is in any file.
    fn shows(&self, text: &str) -> bool {
        let files = self.files();
        let mut shows = files.values().flat_map(|file| file.windows(text.len()));
        shows.any(|part| part == text.as_bytes())
    }

    fn seal(&self, secret: &str) -> Result<Rewritten, AtRestError> {
        self.at_rest(secret).seal(Some(&self.at("links")), Some(&self.at("outbox")))
    }

    fn unseal(&self, secret: &str) -> Result<Rewritten, AtRestError> {
        self.at_rest(secret).unseal(Some(&self.at("links")), Some(&self.at("outbox")))
    }

    fn rekey(&self, secret: &str, to: &str) -> Result<Rewritten, AtRestError> {
        let to = Some(KeySource::File(self.at(to)));
        self.at_rest(secret).rekey(to, Some(&self.at("links")), Some(&self.at("outbox")))
    }

    fn link(&self) -> PathBuf {
        self.at("links").join("server.toml")
    }
}

fn rewritten(links: u64, payloads: u64) -> Rewritten {
    Rewritten { links, payloads, older_keys: 0 }
}

/// The keys of a link as they would be in its file.
fn digits(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("data = "));
    lines.map(|line| line.trim_matches('"').to_owned()).collect()
}

#[tokio::test]
async fn messages_outlive_the_process_and_nothing_is_readable() {
    let client = Client::new();
    client.leave(Some("secret"), 0..50).await;
    assert!(!client.shows(WORD) && !client.shows("inner_key"));
    let sealed = fs::read_to_string(client.link()).unwrap();
    assert!(sealed.contains("sealed_with") && sealed.contains("peer = \"server\""), "{sealed}");
    client.leave(Some("secret"), 50..60).await;
    client.arrive(Some("secret"), 0..60).await;
}

#[tokio::test]
async fn what_was_there_before_is_sealed_and_comes_back() {
    let client = Client::new();
    client.leave(None, 0..20).await;
    let keys = digits(&client.link());
    assert!(keys.len() >= 2 && client.shows(WORD) && client.shows(&keys[0]));
    let refused = client.config(Some("secret")).unwrap_err();
    assert!(with_causes(&refused).contains("it is not sealed"), "{}", with_causes(&refused));

    assert_eq!(client.seal("secret").unwrap(), rewritten(1, 20));
    assert!(!client.shows(WORD) && keys.iter().all(|key| !client.shows(key)));
    assert_eq!(client.seal("secret").unwrap(), Rewritten::default(), "it is sealed already");
    client.leave(Some("secret"), 20..30).await;

    let refused = with_causes(&client.config(None).unwrap_err());
    assert!(refused.contains("no key is set: at_rest in the configuration"), "{refused}");
    assert_eq!(client.unseal("secret").unwrap(), rewritten(1, 30));
    assert!(client.shows(WORD) && digits(&client.link()) == keys);
    client.arrive(None, 0..30).await;
}

#[tokio::test]
async fn a_new_key_takes_the_place_of_the_old_one_and_a_new_secret_too() {
    let client = Client::new();
    client.leave(Some("secret"), 0..10).await;
    let old = client.files();
    client.secret("new", "a passphrase of several words\n");
    assert_eq!(client.rekey("secret", "new").unwrap(), rewritten(1, 10));
    let now = client.files();
    for name in ["keyring.toml", "outbox", "links/server.toml"] {
        assert!(now[&client.at(name)] != old[&client.at(name)], "{name}");
    }
    let refused = with_causes(&client.config(Some("secret")).unwrap_err());
    assert!(refused.contains("does not open the keyring"), "{refused}");
    // What was sealed before is of no use with the keyring of now.
    fs::write(client.link(), &old[&client.link()]).unwrap();
    let refused = with_causes(&client.config(Some("new")).unwrap_err());
    assert!(refused.contains("which is not in the keyring"), "{refused}");
    fs::write(client.link(), &now[&client.link()]).unwrap();
    client.arrive(Some("new"), 0..10).await;
}

#[tokio::test]
async fn what_is_not_there_while_keys_change_opens_later_and_is_sealed_then() {
    let client = Client::new();
    client.leave(Some("secret"), 0..10).await;
    // As if its volume were not mounted; so it is with a change that was interrupted.
    let away = client.at("away");
    fs::rename(client.at("outbox"), &away).unwrap();
    let one_is_kept = Rewritten { older_keys: 1, ..rewritten(1, 0) };
    assert_eq!(client.rekey("secret", "secret").unwrap(), one_is_kept);
    fs::rename(&away, client.at("outbox")).unwrap();
    client.leave(Some("secret"), 10..20).await;
    assert_eq!(client.seal("secret").unwrap(), rewritten(0, 20));

    let links = client.at("links");
    fs::rename(&links, &away).unwrap();
    assert_eq!(client.rekey("secret", "secret").unwrap().older_keys, 1, "there is none");
    fs::create_dir(&links).unwrap();
    assert_eq!(client.rekey("secret", "secret").unwrap().older_keys, 2, "it is empty");
    fs::remove_dir_all(&links).unwrap();
    fs::rename(&away, &links).unwrap();
    client.leave(Some("secret"), 20..22).await;
    assert_eq!(client.seal("secret").unwrap(), rewritten(1, 0));
    client.arrive(Some("secret"), 0..22).await;
}

#[tokio::test]
async fn an_outbox_that_is_in_use_keeps_everything_as_it_is() {
    let client = Client::new();
    client.leave(Some("secret"), 0..3).await;
    let held = client.config(Some("secret")).unwrap().open_outbox().unwrap().unwrap();
    let links = client.at("links");
    let before = [client.link(), client.at("keyring.toml")].map(|path| fs::read(path).unwrap());
    for links in [Some(&*links), None] {
        let outbox = client.at("outbox");
        let refused = client.at_rest("secret").rekey(None, links, Some(&outbox)).unwrap_err();
        assert!(matches!(refused, AtRestError::OpenOutbox(_)), "{refused}");
        let after = [client.link(), client.at("keyring.toml")].map(|path| fs::read(path).unwrap());
        assert!(before == after);
    }
    held.close().await.unwrap();
}

#[test]
fn a_secret_that_is_never_the_same_is_refused_before_anything_is_sealed_under_it() {
    let client = Client::new();
    client.config(None).unwrap();
    let words = ["sh", "-c", "head -c 16 /dev/urandom | od -An -tx1"].map(str::to_owned);
    let settings = AtRest::new(client.at("keyring.toml"), KeySource::Command(words.to_vec()));
    let before = client.files();
    let refused = settings.seal(Some(&client.at("links")), None).unwrap_err();
    assert!(refused.to_string().contains("another one each time it is read"), "{refused}");
    assert!(client.files() == before);
}

#[tokio::test]
async fn a_wrong_secret_or_a_lost_keyring_changes_nothing() {
    let client = Client::new();
    client.leave(Some("secret"), 0..3).await;
    client.secret("other", &"6b".repeat(32));
    client.secret("words", "words");
    client.secret("empty", "\n");
    client.secret("zero", &"0".repeat(64));
    let before = client.files();
    for (secret, expected) in [
        ("other", "does not open the keyring"),
        ("words", "does not open the keyring"),
        ("empty", "it is empty"),
        ("zero", "all zeros"),
        ("none", "cannot be read from the file"),
    ] {
        let loaded = with_causes(&client.config(Some(secret)).unwrap_err());
        assert!(loaded.contains(expected), "{loaded}");
        for refused in [client.seal(secret), client.unseal(secret), client.rekey(secret, "secret")]
        {
            let refused = with_causes(&refused.unwrap_err());
            assert!(refused.contains(expected), "{refused}");
        }
        assert!(client.files() == before, "{secret}");
    }
    let keyring = fs::read(client.at("keyring.toml")).unwrap();
    fs::remove_file(client.at("keyring.toml")).unwrap();
    let lost = with_causes(&client.config(Some("secret")).unwrap_err());
    assert!(lost.contains("there is no keyring"), "{lost}");
    for refused in
        [client.seal("secret"), client.unseal("secret"), client.rekey("secret", "secret")]
    {
        assert!(matches!(refused, Err(AtRestError::NoKeyring { .. })), "{refused:?}");
    }
    assert!(!client.at("keyring.toml").exists());
    for damage in [&b"version = 1\nkeys = []\n"[..], b"version = 2\nkeys = []", b"?"] {
        fs::write(client.at("keyring.toml"), damage).unwrap();
        client.config(Some("secret")).unwrap_err();
    }
    fs::write(client.at("keyring.toml"), keyring).unwrap();
    client.arrive(Some("secret"), 0..3).await;
}

#[tokio::test]
async fn nothing_can_be_put_in_another_place_or_changed() {
    let client = Client::new();
    client.leave(Some("secret"), 0..2).await;
    let sealed = fs::read_to_string(client.link()).unwrap();
    let other = client.at("links").join("other.toml");
    fs::write(&other, sealed.replace("\"server\"", "\"other\"")).unwrap();
    let refused = with_causes(&client.config(Some("secret")).unwrap_err());
    assert!(refused.contains("other.toml") && refused.contains("exchanged"), "{refused}");
    fs::remove_file(other).unwrap();
    let at = sealed.rfind('"').unwrap() - 1;
    for digits in ["x", "", "00", if sealed[at..].starts_with('0') { "1" } else { "0" }] {
        let changed = format!("{}{digits}{}", &sealed[..at], &sealed[at + 1..]);
        fs::write(client.link(), changed).unwrap();
        let refused = with_causes(&client.config(Some("secret")).unwrap_err());
        assert!(refused.contains("was changed"), "{digits:?}: {refused}");
    }
}

#[tokio::test]
async fn a_running_service_is_left_alone() {
    let client = Client::new();
    let service = client.start(Some("secret")).await;
    let before = client.files();
    for refused in
        [client.seal("secret"), client.unseal("secret"), client.rekey("secret", "secret")]
    {
        let refused = with_causes(&refused.unwrap_err());
        assert!(refused.contains("in use by another process"), "{refused}");
    }
    let after = client.files();
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for path in [client.link(), client.at("keyring.toml")] {
        assert!(after[&path] == before[&path], "{path:?}");
    }
    service.shutdown().await;
}

#[test]
fn settings_come_back_from_a_file() {
    let client = Client::new();
    let config = client.config(Some("secret")).unwrap();
    config.save(client.at("service.toml")).unwrap();
    let again = ServiceConfig::load(client.at("service.toml")).unwrap();
    assert_eq!(again.at_rest(), Some(&client.at_rest("secret")));
    assert_eq!(again.peers().collect::<Vec<_>>(), ["server"]);
    let debug = format!("{again:?}");
    assert!(!debug.contains("5a5a"), "{debug}");
}
