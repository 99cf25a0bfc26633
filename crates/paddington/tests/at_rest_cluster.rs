//! What replicas share in a database is sealed under another key, or not any more. `docs/cluster.md` §4

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![cfg(unix)]

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::time::SystemTime;

use paddington::store::{Bounds, Claimed, DeadLetter, Fence, Mailbox, Submission};
use paddington::{AtRest, Cluster, KeySource, Rewritten, ServiceConfig};
use paddington_crypto::{SecretKey, StorageKey};
use paddington_test_support::PostgresServer;
use paddington_wire::{Instance, MessageId, Payload, RejectCode};
use tempfile::TempDir;

/// A service whose replicas share a schema that nobody else uses.
struct Hub {
    server: &'static PostgresServer,
    schema: String,
    folder: TempDir,
    databases: Vec<String>,
}

/// Ends the test where there is no PostgreSQL.
macro_rules! hub {
    () => {
        match Hub::new() {
            Some(hub) => hub,
            None => return,
        }
    };
}

const SECRET: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

fn text(number: u64) -> String {
    format!("a reading {number}")
}

impl Hub {
    fn new() -> Option<Self> {
        let server = PostgresServer::shared()?;
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().file_name().unwrap().to_str().unwrap().to_lowercase();
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let schema = format!("rekey_{name}");
        let hub = Self { server, schema, folder, databases: vec!["postgres".to_owned()] };
        paddington::save_private(hub.at("secret"), SECRET).unwrap();
        Some(hub)
    }

    /// The same service over two databases, of which the second is named like the schema.
    fn over_two(mut self) -> Self {
        self.server.sql(&format!("CREATE DATABASE {}", self.schema));
        self.databases.push(self.schema.clone());
        self
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration of a replica that does not seal.
    fn plain(&self) -> ServiceConfig {
        let mut config = ServiceConfig::new("hub", "ws://127.0.0.1:1", "127.0.0.1", &0).unwrap();
        let url = |name| self.server.url().replace("/postgres?", &format!("/{name}?"));
        let urls: Vec<_> = self.databases.iter().map(url).collect();
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        let cluster = Cluster::over(&urls).unwrap().with_schema(&self.schema);
        config.set_cluster(cluster).unwrap();
        config
    }

    /// The configuration of a replica with this keyring.
    fn with(&self, keyring: &str) -> ServiceConfig {
        let mut config = self.plain();
        let secret = KeySource::File(self.at("secret"));
        config.set_at_rest(AtRest::new(self.at(keyring), secret));
        config
    }

    /// Keeps a copy of the keyring.
    fn copy(&self, name: &str) {
        fs::copy(self.at("keyring"), self.at(name)).unwrap();
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(&format!("SET search_path = {}; {sql}", self.schema))
    }

    /// What each database says of its seal.
    fn marks(&self) -> Vec<String> {
        let sql = format!("SELECT value FROM {}.meta WHERE key = 'sealed'", self.schema);
        self.databases.iter().map(|name| self.server.sql_in(name, &sql)).collect()
    }

    /// Lets a database say that it is sealed under the key with this id, or not at all.
    fn mark(&self, database: usize, key: u64) {
        let (schema, key) = (&self.schema, key.cast_signed());
        let sql = format!("UPDATE {schema}.meta SET value = {key} WHERE key = 'sealed'");
        self.server.sql_in(&self.databases[database], &sql);
    }

    /// Starts a replica, and ends it.
    async fn start(&self, mut config: ServiceConfig) {
        let shared = config.open_shared_links().await.unwrap().unwrap();
        shared.store().close().await.unwrap();
    }

    /// Leaves a link, messages and a dead letter.
    async fn leave(&self, config: &ServiceConfig, numbers: Range<u64>) {
        let mut config = config.clone();
        config.add_client("sensor", "127.0.0.0/8").unwrap();
        let shared = config.open_shared_links().await.unwrap().unwrap();
        let (store, mailbox) = (shared.store(), mailbox(&config));
        let Claimed::Owned(owned) = store.claim(&mailbox, Fence::default()).await.unwrap() else {
            panic!("nobody else owns it");
        };
        let bounds = Bounds { messages: u64::MAX, bytes: u64::MAX };
        let accept = |number: u64| {
            let payload = match number % 2 {
                0 => Payload::bytes(text(number)),
                _ => Payload::text(text(number)),
            };
            store.accept(&mailbox, Submission { payload, ttl: None, bounds })
        };
        for accepted in numbers.map(accept).collect::<Vec<_>>() {
            accepted.await.unwrap();
        }
        let letter = DeadLetter {
            mailbox: mailbox.clone(),
            id: MessageId { stream: Instance::from([7; Instance::LEN]), number: 9 },
            code: RejectCode::FAILED,
            at: SystemTime::UNIX_EPOCH,
            payload: Payload::text("a letter"),
        };
        store.add_letter(letter, owned.fence).await.unwrap();
        store.close().await.unwrap();
    }

    /// Reads all of it, and checks that nothing is missing.
    async fn is_whole(&self, mut config: ServiceConfig, numbers: Range<u64>) {
        let shared = config.open_shared_links().await.unwrap().unwrap();
        let (store, mailbox) = (shared.store(), mailbox(&config));
        let Claimed::Owned(owned) = store.claim(&mailbox, Fence::default()).await.unwrap() else {
            panic!("nobody else owns it");
        };
        let (mut found, stream) = (Vec::new(), &owned.streams[0]);
        loop {
            let number = stream.base + found.len() as u64;
            let first = MessageId { stream: stream.instance, number };
            let read = store.read(&mailbox, first, 100_000).await.unwrap();
            if read.is_empty() {
                break;
            }
            found.extend(read);
        }
        let lens: Vec<_> = stream.messages.iter().map(|message| message.len as usize).collect();
        assert_eq!(lens, found.iter().map(|payload| payload.len()).collect::<Vec<_>>());
        let expected: Vec<_> = numbers.clone().map(text).collect();
        let texts: Vec<_> =
            found.iter().map(|it| String::from_utf8(it.to_vec()).unwrap()).collect();
        assert_eq!(texts, expected);
        let kinds: Vec<_> = found.iter().map(Payload::is_bytes).collect();
        assert_eq!(kinds, numbers.map(|number| number % 2 == 0).collect::<Vec<_>>());
        let letters = store.letters().await.unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].1.payload, "a letter");
        store.close().await.unwrap();
        let counted = format!(
            "SET search_path = {}; \
             SELECT l.bytes = sum(octet_length(o.body)) FROM link l JOIN outbox o USING (peer) GROUP BY l.peer",
            self.schema
        );
        // The link lives in one of the databases.
        let told: String =
            self.databases.iter().map(|name| self.server.sql_in(name, &counted)).collect();
        assert_eq!(told, "t");
    }

    /// The keys of the keyring, oldest first.
    fn keys(&self) -> Vec<StorageKey> {
        self.keys_in("keyring")
    }

    fn keys_in(&self, keyring: &str) -> Vec<StorageKey> {
        let file: toml::Table =
            toml::from_str(&fs::read_to_string(self.at(keyring)).unwrap()).unwrap();
        let wrapping = StorageKey::from(SecretKey::from_hex(SECRET).unwrap());
        let key = |entry: &toml::Value| {
            let id = u64::from_str_radix(entry["id"].as_str().unwrap(), 16).unwrap();
            let sealed = const_hex::decode(entry["sealed"].as_str().unwrap()).unwrap();
            let ad = [&b"paddington keyring "[..], &id.to_be_bytes()].concat();
            let bytes = wrapping.open(&sealed, &ad).unwrap();
            StorageKey::from(SecretKey::from_slice(&bytes).unwrap())
        };
        file["keys"].as_array().unwrap().iter().map(key).collect()
    }

    /// Whether a key opens each thing that is sealed in the database.
    fn opened_by(&self, key: &StorageKey) -> Vec<bool> {
        let links = "SELECT encode(convert_to(name, 'UTF8'), 'hex') || ' ' || encode(convert_to(body, 'UTF8'), 'hex') \
                     FROM directory WHERE body IS NOT NULL";
        let letters = "SELECT encode(l.id, 'hex') || encode(d.inc, 'hex') || lpad(to_hex(d.seq), 16, '0') || ' ' \
                       || encode(d.body, 'hex') FROM dead d JOIN link l USING (peer)";
        let messages = "SELECT encode(l.id, 'hex') || ' ' || encode(o.body, 'hex') FROM outbox o JOIN link l USING (peer) \
                        ORDER BY o.peer, o.ord, o.seq";
        let mut opened = Vec::new();
        for (kind, sql) in [("link ", links), ("letter ", letters), ("messages ", messages)] {
            for row in self.sql(sql).lines() {
                let (place, body) = row.split_once(' ').unwrap();
                let (place, mut body) =
                    (const_hex::decode(place).unwrap(), const_hex::decode(body).unwrap());
                if kind == "link " {
                    let link: toml::Table =
                        toml::from_str(std::str::from_utf8(&body).unwrap()).unwrap();
                    body = const_hex::decode(link["sealed"].as_str().unwrap()).unwrap();
                }
                let ad = [&b"paddington "[..], kind.as_bytes(), &place[..]].concat();
                opened.push(key.open(&body, &ad).is_ok());
            }
        }
        opened
    }
}

fn mailbox(config: &ServiceConfig) -> Mailbox {
    let links = config.link_details();
    let link = links.iter().find(|link| link.name == "sensor").unwrap().link;
    Mailbox { peer: "sensor".parse().unwrap(), link }
}

async fn refused(mut config: ServiceConfig) -> String {
    config.open_shared_links().await.unwrap_err().to_string()
}

/// The id of a key, as a database has it.
fn signed(key: &StorageKey) -> String {
    key.id().cast_signed().to_string()
}

#[tokio::test]
async fn of_two_replicas_without_a_keyring_that_start_at_once_one_makes_it() {
    let hub = hub!().over_two();
    let (mut one, mut two) = (hub.with("one"), hub.with("two"));
    let (of_one, of_two) = tokio::join!(one.open_shared_links(), two.open_shared_links());
    let (first, shared, other, refused) = match (of_one, of_two) {
        (Ok(shared), Err(refused)) => ("one", shared.unwrap(), "two", refused),
        (Err(refused), Ok(shared)) => ("two", shared.unwrap(), "one", refused),
        both => panic!("{both:?}"),
    };
    let key = hub.keys_in(first).pop().unwrap();
    let text = refused.to_string();
    let expected =
        format!("sealed under the key {:016x}, and this replica has no keyring yet", key.id());
    assert!(text.contains(&expected), "{text}");
    assert!(text.contains("copy the keyring and its secret from the replica"), "{text}");
    assert!(!hub.at(other).exists(), "no other one is made");
    assert_eq!(hub.marks(), [signed(&key), signed(&key)], "before anything is written");
    let mut with_link = hub.with(first);
    with_link.add_client("sensor", "127.0.0.0/8").unwrap();
    hub.start(with_link).await;
    shared.store().close().await.unwrap();

    fs::copy(hub.at(first), hub.at(other)).unwrap();
    let mut config = hub.with(other);
    let shared = config.open_shared_links().await.unwrap().unwrap();
    assert_eq!(config.link_details().len(), 1, "it reads what the first one has written");
    shared.store().close().await.unwrap();
}

#[tokio::test]
async fn a_replica_that_comes_with_a_keyring_of_its_own_is_refused_and_writes_nothing() {
    let (hub, elsewhere) = (hub!(), hub!());
    elsewhere.start(elsewhere.with("keyring")).await;
    fs::copy(elsewhere.at("keyring"), hub.at("own")).unwrap();
    hub.start(hub.with("keyring")).await;
    let mut config = hub.with("own");
    config.add_client("sensor", "127.0.0.0/8").unwrap();
    let text = refused(config).await;
    let own = hub.keys_in("own").pop().unwrap().id();
    let expected = format!("this replica has the key {own:016x}: copy the keyring and its secret");
    assert!(text.contains(&expected), "{text}");
    assert!(refused(hub.plain()).await.contains("this replica has no key: copy the keyring"));
    assert_eq!(hub.sql("SELECT count(*) FROM directory"), "0");
    assert_eq!(hub.marks(), [signed(&hub.keys()[0])]);
}

#[tokio::test]
async fn a_seal_before_the_first_start_is_known_to_every_replica() {
    let hub = hub!().over_two();
    let nothing = hub.with("keyring").seal_cluster().await.unwrap();
    assert_eq!(nothing, Rewritten::default());
    let key = hub.keys().pop().unwrap();
    assert_eq!(hub.marks(), [signed(&key), signed(&key)]);
    assert!(refused(hub.with("none")).await.contains("this replica has no keyring yet"));
    assert!(!hub.at("none").exists());
    hub.start(hub.with("keyring")).await;
}

#[tokio::test]
async fn a_keyring_that_is_lost_before_anything_was_kept_is_made_anew() {
    let hub = hub!().over_two();
    hub.start(hub.with("keyring")).await;
    fs::remove_file(hub.at("keyring")).unwrap();
    assert!(refused(hub.with("keyring")).await.contains("copy the keyring"));
    hub.with("keyring").seal_cluster().await.unwrap();
    hub.leave(&hub.with("keyring"), 0..4).await;
    hub.is_whole(hub.with("keyring"), 0..4).await;
    fs::remove_file(hub.at("keyring")).unwrap();
    let lost = hub.with("keyring").seal_cluster().await.unwrap_err();
    assert!(lost.to_string().contains("there is no keyring"), "{lost}");
    assert!(!hub.at("keyring").exists());
}

#[tokio::test]
async fn a_seal_that_fails_before_anything_is_sealed_makes_no_keyring() {
    let hub = hub!();
    let (here, away) = (hub.server.url(), "postgres:///x?user=me&host=/no/such/folder");
    for urls in [vec![away], vec![&*here, away]] {
        let mut config = hub.with("keyring");
        let cluster = Cluster::over(&urls).unwrap().with_schema(&hub.schema);
        config.set_cluster(cluster).unwrap();
        let failed = config.seal_cluster().await.unwrap_err().to_string();
        assert!(failed.contains("the database at /no/such/folder/x cannot be used"), "{failed}");
    }
    hub.leave(&hub.plain(), 1..4).await;
    hub.sql("UPDATE outbox SET crc = crc + 1 WHERE seq = 3");
    let failed = hub.with("keyring").seal_cluster().await.unwrap_err().to_string();
    assert!(failed.contains("checksum"), "{failed}");
    assert!(!hub.at("keyring").exists());
    hub.sql("UPDATE outbox SET crc = crc - 1 WHERE seq = 3");
    hub.is_whole(hub.plain(), 1..4).await;

    // Once something is sealed, nothing but its key goes on with that.
    hub.sql(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as if'; END $$; \
         CREATE TRIGGER fail BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION fail()",
    );
    hub.with("keyring").seal_cluster().await.unwrap_err();
    hub.sql("DROP TRIGGER fail ON outbox");
    let failed = hub.with("none").seal_cluster().await.unwrap_err().to_string();
    assert!(failed.contains("put it back from a copy"), "{failed}");
    assert!(!hub.at("none").exists());
    hub.with("keyring").seal_cluster().await.unwrap();
    hub.is_whole(hub.with("keyring"), 1..4).await;
}

#[tokio::test]
async fn databases_that_are_sealed_otherwise_are_all_looked_at_and_brought_together() {
    let hub = hub!().over_two();
    hub.leave(&hub.with("keyring"), 1..4).await;
    let key = hub.keys().pop().unwrap();
    // As if the second one was from the backup of another time.
    hub.mark(1, 7);
    let text = refused(hub.with("keyring")).await;
    assert!(text.contains("sealed under the key 0000000000000007"), "{text}");
    for failed in [
        hub.with("keyring").seal_cluster().await.map(drop),
        hub.with("keyring").rekey_cluster(None).await.map(drop),
        hub.with("keyring").unseal_cluster().await.map(drop),
        hub.with("keyring").add_cluster_key(None).await,
    ] {
        let text = failed.unwrap_err().to_string();
        assert!(text.contains("0000000000000007, which is not in the keyring"), "{text}");
    }
    // Though the first one is not sealed, no key is made that does not open the second one.
    hub.mark(0, 0);
    let text = hub.with("none").seal_cluster().await.unwrap_err().to_string();
    assert!(text.contains("put it back from a copy"), "{text}");
    assert!(!hub.at("none").exists());

    hub.mark(1, key.id());
    hub.with("keyring").seal_cluster().await.unwrap();
    assert_eq!(hub.marks(), [signed(&key), signed(&key)]);
    hub.is_whole(hub.with("keyring"), 1..4).await;
    hub.with("keyring").unseal_cluster().await.unwrap();
    assert_eq!(hub.marks(), ["0", "0"]);
    hub.is_whole(hub.plain(), 1..4).await;
}

#[tokio::test]
async fn everything_is_under_the_new_key_alone_after_a_rekey() {
    let hub = hub!();
    hub.leave(&hub.with("keyring"), 1..6).await;
    hub.copy("old");
    let old = hub.keys().pop().unwrap();
    assert_eq!(hub.opened_by(&old), [true; 7]);
    let done = hub.with("keyring").rekey_cluster(None).await.unwrap();
    assert_eq!(done, Rewritten { links: 1, payloads: 6, older_keys: 0 });
    let keys = hub.keys();
    assert_eq!(keys.len(), 1, "the old one is forgotten");
    assert_eq!(hub.opened_by(&old), [false; 7]);
    assert_eq!(hub.opened_by(&keys[0]), [true; 7]);

    // A replica with the old keyring, or without one, changes nothing.
    for config in [hub.with("old"), hub.plain(), hub.with("none")] {
        let text = refused(config).await;
        assert!(text.contains(&format!("sealed under the key {:016x}", keys[0].id())), "{text}");
        assert!(text.contains("copy the keyring"), "{text}");
    }
    let failed = hub.with("old").rekey_cluster(None).await.unwrap_err().to_string();
    assert!(failed.contains("which is not in the keyring"), "{failed}");
    assert!(!hub.at("none").exists());
    hub.is_whole(hub.with("keyring"), 1..6).await;
    // The keyring may be sealed under another secret at the same time.
    paddington::save_private(hub.at("new secret"), &"6b".repeat(32)).unwrap();
    let to = KeySource::File(hub.at("new secret"));
    hub.with("keyring").rekey_cluster(Some(to.clone())).await.unwrap();
    assert!(refused(hub.with("keyring")).await.contains("does not open the keyring"));
    let mut config = hub.plain();
    config.set_at_rest(AtRest::new(hub.at("keyring"), to));
    hub.is_whole(config, 1..6).await;
}

#[tokio::test]
async fn a_rekey_that_was_interrupted_is_ended_by_another_one_and_nothing_is_lost() {
    let hub = hub!();
    hub.leave(&hub.with("keyring"), 1..1_501).await;
    hub.copy("old");
    hub.sql(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as if'; END $$; \
         CREATE TRIGGER fail BEFORE UPDATE ON outbox FOR EACH ROW WHEN (NEW.seq > 1200) EXECUTE FUNCTION fail()",
    );
    let failed = hub.with("keyring").rekey_cluster(None).await.unwrap_err().to_string();
    assert!(failed.contains("as if"), "{failed}");
    let keys = hub.keys();
    assert_eq!(keys.len(), 2, "something is under each of them");
    let count = |key: &StorageKey| hub.opened_by(key).iter().filter(|it| **it).count();
    assert_eq!((count(&keys[0]), count(&keys[1])), (476, 1_026));

    // Nobody uses it meanwhile, and nothing else is begun.
    let text = refused(hub.with("keyring")).await;
    assert!(text.contains("paddington at-rest seal"), "{text}");
    for config in [hub.with("old"), hub.plain()] {
        let text = refused(config).await;
        assert!(text.contains("is being sealed anew, or that was interrupted"), "{text}");
    }
    let failed = hub.with("keyring").unseal_cluster().await.unwrap_err().to_string();
    assert!(failed.contains("paddington at-rest seal"), "{failed}");
    let failed = hub.with("old").rekey_cluster(None).await.unwrap_err().to_string();
    assert!(failed.contains("which is not in the keyring"), "{failed}");

    hub.sql("DROP TRIGGER fail ON outbox");
    let done = hub.with("keyring").rekey_cluster(None).await.unwrap();
    assert_eq!(done, Rewritten { links: 0, payloads: 476, older_keys: 0 });
    let left = hub.keys();
    assert_eq!((left.len(), left[0].id()), (1, keys[1].id()), "it is the key of the first run");
    assert_eq!((count(&keys[0]), count(&keys[1])), (0, 1_502));
    hub.is_whole(hub.with("keyring"), 1..1_501).await;
}

#[tokio::test]
async fn a_rekey_whose_keyring_was_written_and_nothing_else_is_ended() {
    let hub = hub!();
    hub.leave(&hub.with("keyring"), 1..4).await;
    hub.sql(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as if'; END $$; \
         CREATE TRIGGER fail BEFORE INSERT ON meta FOR EACH ROW WHEN (NEW.key = 'converting') EXECUTE FUNCTION fail()",
    );
    hub.with("keyring").rekey_cluster(None).await.unwrap_err();
    hub.sql("DROP TRIGGER fail ON meta");
    let keys = hub.keys();
    assert_eq!(hub.opened_by(&keys[0]), [true; 5]);
    // It would seal under the newer one what others cannot open.
    assert!(refused(hub.with("keyring")).await.contains("paddington at-rest seal"));
    let done = hub.with("keyring").seal_cluster().await.unwrap();
    assert_eq!(done, Rewritten { links: 1, payloads: 4, older_keys: 0 });
    assert_eq!(hub.opened_by(&keys[1]), [true; 5]);
    assert_eq!(hub.keys().len(), 1);
    hub.is_whole(hub.with("keyring"), 1..4).await;
}

#[tokio::test]
async fn the_new_key_can_be_copied_before_anything_depends_on_it() {
    let hub = hub!();
    hub.leave(&hub.with("keyring"), 1..4).await;
    hub.with("keyring").add_cluster_key(None).await.unwrap();
    let keys = hub.keys();
    assert_eq!((keys.len(), hub.opened_by(&keys[0])), (2, vec![true; 5]));
    // As often as it is asked for: there is one already.
    hub.with("keyring").add_cluster_key(None).await.unwrap();
    assert_eq!(hub.keys().len(), 2);
    assert!(refused(hub.with("keyring")).await.contains("paddington at-rest seal"));
    hub.copy("copy");
    hub.with("keyring").seal_cluster().await.unwrap();
    assert_eq!(hub.opened_by(&keys[1]), [true; 5]);
    // The disk is lost: the copy has all that is needed, and so has what was kept beside the keyring.
    for kept in ["copy", "keyring.before"] {
        fs::copy(hub.at(kept), hub.at("again")).unwrap();
        let nothing = hub.with("again").seal_cluster().await.unwrap();
        assert_eq!((nothing.links, nothing.payloads), (0, 0));
        hub.is_whole(hub.with("again"), 1..4).await;
    }
}

#[tokio::test]
async fn a_database_that_goes_back_to_the_middle_of_a_rekey_is_brought_to_its_end() {
    let hub = hub!();
    hub.leave(&hub.with("keyring"), 1..4).await;
    hub.with("keyring").rekey_cluster(None).await.unwrap();
    let key = hub.keys().pop().unwrap();
    hub.with("keyring").rekey_cluster(None).await.unwrap();
    let newer = hub.keys().pop().unwrap();
    // As if the end was lost, of which the keyring knows.
    hub.sql(&format!(
        "UPDATE meta SET value = {} WHERE key = 'sealed'; \
         INSERT INTO meta VALUES ('converting', {}), ('converting_plain', 0)",
        signed(&key),
        signed(&newer)
    ));
    assert!(refused(hub.with("keyring")).await.contains("is being sealed anew"));
    hub.with("keyring").seal_cluster().await.unwrap();
    hub.is_whole(hub.with("keyring"), 1..4).await;
}

#[tokio::test]
async fn another_secret_is_that_of_the_keyring_though_a_first_seal_is_only_ended() {
    let hub = hub!();
    hub.leave(&hub.plain(), 1..4).await;
    hub.sql(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as if'; END $$; \
         CREATE TRIGGER fail BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION fail()",
    );
    hub.with("keyring").seal_cluster().await.unwrap_err();
    hub.sql("DROP TRIGGER fail ON outbox");
    paddington::save_private(hub.at("new secret"), &"6b".repeat(32)).unwrap();
    let to = KeySource::File(hub.at("new secret"));
    hub.with("keyring").rekey_cluster(Some(to.clone())).await.unwrap();
    let mut config = hub.plain();
    config.set_at_rest(AtRest::new(hub.at("keyring"), to));
    hub.is_whole(config, 1..4).await;
}

#[tokio::test]
async fn nothing_is_changed_while_a_replica_runs_or_if_something_cannot_be_opened() {
    let hub = hub!();
    hub.leave(&hub.with("keyring"), 1..4).await;
    let before = fs::read(hub.at("keyring")).unwrap();
    let mut config = hub.with("keyring");
    let shared = config.open_shared_links().await.unwrap().unwrap();
    let failed = hub.with("keyring").rekey_cluster(None).await.unwrap_err();
    assert!(failed.is_in_use(), "{failed}");
    let replica = format!("the replicas {} (", shared.store().replica());
    assert!(failed.to_string().contains(&replica), "{failed}");
    shared.store().close().await.unwrap();
    drop(shared);

    // As if somebody without the key had put it in the place of another one.
    hub.sql("UPDATE dead SET seq = seq + 1");
    let failed = hub.with("keyring").rekey_cluster(None).await.unwrap_err();
    assert!(failed.to_string().contains("the dead letter 1 of sensor in the database"), "{failed}");
    assert!(!failed.is_in_use());
    hub.sql("UPDATE dead SET seq = seq - 1");
    assert_eq!(fs::read(hub.at("keyring")).unwrap(), before);
    assert_eq!(hub.sql("SELECT count(*) FROM meta WHERE key LIKE 'convert%'"), "0");
    assert_eq!(hub.marks(), [signed(&hub.keys()[0])]);
    hub.is_whole(hub.with("keyring"), 1..4).await;
}

#[tokio::test]
async fn what_replicas_share_is_not_sealed_any_more_and_sealed_again() {
    let hub = hub!();
    hub.leave(&hub.with("keyring"), 1..6).await;
    let done = hub.with("keyring").unseal_cluster().await.unwrap();
    assert_eq!(done, Rewritten { links: 1, payloads: 6, older_keys: 0 });
    assert_eq!(hub.sql("SELECT convert_from(body, 'UTF8') FROM outbox WHERE seq = 1"), text(1));
    assert!(hub.sql("SELECT body FROM directory").contains("inner_key"));
    for (keyring, has) in [("keyring", "has the key"), ("none", "has no keyring yet")] {
        let text = refused(hub.with(keyring)).await;
        assert!(text.contains(&format!("is not sealed, and this replica {has}")), "{text}");
    }
    let failed = hub.with("keyring").rekey_cluster(None).await.unwrap_err().to_string();
    assert!(failed.contains("it is not sealed"), "{failed}");
    hub.is_whole(hub.plain(), 1..6).await;

    // Links and messages of a cluster that was never sealed are sealed like that, too.
    hub.sql("DELETE FROM meta WHERE key = 'sealed'");
    let done = hub.with("another").seal_cluster().await.unwrap();
    assert_eq!(done, Rewritten { links: 1, payloads: 6, older_keys: 0 });
    assert!(!hub.sql("SELECT body FROM directory").contains("inner_key"));
    assert!(refused(hub.plain()).await.contains("this replica has no key"));
    assert!(refused(hub.with("keyring")).await.contains("copy the keyring"));
    hub.is_whole(hub.with("another"), 1..6).await;
    let again = hub.with("another").seal_cluster().await.unwrap();
    assert_eq!(again, Rewritten::default());
}
