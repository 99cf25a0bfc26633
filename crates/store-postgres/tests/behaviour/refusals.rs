//! Databases that a store does not use, each with the reason.

use std::time::Duration;

use paddington_store_postgres::{PostgresConfig, PostgresStore, migrate, restored};
use paddington_test_support::{Authority, PostgresServer, eventually};

use crate::support::{accept, claim, config, mailbox, place};

async fn refused(config: &PostgresConfig) -> String {
    PostgresStore::open(config).await.unwrap_err().to_string()
}

#[tokio::test]
async fn what_cannot_be_a_configuration_is_refused() {
    let url = "postgres://me:secret@localhost:1/x";
    let cases = [
        (
            config("mysql://localhost/x", "a"),
            "the URL of a database is not valid: it has to begin with postgres://",
        ),
        (config(url, "a\"b"), "\"a\"b\" cannot be the name of a schema"),
        (config(url, "Upper"), "cannot be the name of a schema"),
        (config(url, ""), "cannot be the name of a schema"),
        (
            config(url, "a").with_lease(Duration::from_millis(3_999)),
            "a lease of 3.999 s is not possible: at least 4 s",
        ),
        (config(url, "a").with_databases(vec![]), "no database is named"),
        (
            config("postgres://localhost/x?sslrootcert=/no/file", "a"),
            "the certificates for the connection",
        ),
        (config(url, "a"), "the database at localhost/x cannot be used: "),
        (
            config("postgres:///x?host=/no/such/folder&user=me", "a"),
            "the database at /no/such/folder/x cannot be used: ",
        ),
    ];
    for (config, expected) in cases {
        let text = refused(&config).await;
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("secret") && !format!("{config:?}").contains("secret"));
    }
}

#[tokio::test]
async fn a_schema_that_is_something_else_is_refused() {
    let place = place!();
    let store = place.open().await;
    let other = PostgresConfig::new("other".parse().unwrap(), place.server.url())
        .with_schema(&place.schema);
    let epoch = || place.sql("SELECT value FROM meta WHERE key = 'epoch'");
    let before = epoch();
    let refused_to_all = async |config: &PostgresConfig| {
        let texts = [
            refused(config).await,
            migrate(config).await.unwrap_err().to_string(),
            restored(config).await.unwrap_err().to_string(),
        ];
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        texts[0].clone()
    };
    let text = refused_to_all(&other).await;
    assert!(text.contains("belongs to a service with another name"), "{text}");
    place.sql("UPDATE meta SET value = 2 WHERE key = 'format'");
    let text = refused_to_all(&place.config()).await;
    assert!(text.ends_with("has format 2, and this version knows format 1 only"), "{text}");
    assert_eq!(epoch(), before);
    claim(&store, &mailbox("hub")).await;
    let place = place!();
    place.server.sql(&format!("CREATE SCHEMA {0}; CREATE TABLE {0}.orders(id int)", place.schema));
    let text = refused(&place.config()).await;
    assert!(text.ends_with("is not empty, and is not a store of paddington"), "{text}");
    let gone = place.server.url().replace("/postgres?", "/gone?");
    let text = refused(&config(&gone, "a")).await;
    assert!(text.contains("database \"gone\" does not exist"), "{text}");
}

#[tokio::test]
async fn a_role_without_rights_is_told_which_it_needs() {
    let place = place!();
    place.server.sql(&format!("CREATE ROLE {0} LOGIN", place.schema));
    let url = place.server.url_as(&place.schema);
    let config = config(&url, &place.schema);
    let text = refused(&config).await;
    assert!(
        text.contains("and the role may not create it: run `migrate` once as one that may"),
        "{text}"
    );
    migrate(&place.config()).await.unwrap();
    migrate(&place.config()).await.unwrap();
    let text = refused(&config).await;
    assert!(text.contains("the role may not use the tables in the schema"), "{text}");
    place.server.sql(&format!("GRANT USAGE ON SCHEMA {0} TO {0}", place.schema));
    let text = refused(&config).await;
    assert!(text.contains("permission denied for table"), "{text}");
    place.server.sql(&format!(
        "GRANT ALL ON ALL TABLES IN SCHEMA {0} TO {0}; GRANT ALL ON ALL SEQUENCES IN SCHEMA {0} TO {0}",
        place.schema
    ));
    // What docs say is enough.
    let store = PostgresStore::open(&config).await.unwrap();
    claim(&store, &mailbox("hub")).await;
    accept(&store, &mailbox("hub"), "x").await;
}

#[tokio::test]
async fn a_schema_that_was_made_for_the_role_is_enough() {
    let place = place!();
    place
        .server
        .sql(&format!("CREATE ROLE {0} LOGIN; CREATE SCHEMA {0} AUTHORIZATION {0}", place.schema));
    let config = config(&place.server.url_as(&place.schema), &place.schema);
    let store = PostgresStore::open(&config).await.unwrap();
    claim(&store, &mailbox("hub")).await;
}

#[tokio::test]
async fn two_replicas_may_create_the_schema_at_once() {
    let place = place!();
    let configs = [place.config(), place.config(), place.config()];
    let opened = configs.iter().map(PostgresStore::open);
    for store in futures_util::future::join_all(opened).await {
        store.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_forgets_what_it_acknowledged_is_refused() {
    let Some(server) = PostgresServer::start() else { return };
    for setting in ["fsync", "full_page_writes"] {
        server.sql(&format!("ALTER SYSTEM SET {setting} = off"));
        server.sql("SELECT pg_reload_conf()");
        let is_off = || server.sql(&format!("SHOW {setting}")) == "off";
        eventually(|| async { is_off() }).await;
        let text = refused(&config(&server.url(), "a")).await;
        assert!(text.starts_with(&format!("{setting} is off at this server")), "{text}");
        server.sql(&format!("ALTER SYSTEM RESET {setting}"));
    }
}

#[tokio::test]
async fn a_pooler_is_used_in_session_mode_and_refused_in_transaction_mode() {
    let place = place!();
    for mode in ["session", "transaction"] {
        let Some((url, _pooler)) = place.server.pooler(mode) else { return };
        let config = config(&url, &place.schema);
        if mode == "session" {
            let store = PostgresStore::open(&config).await.unwrap();
            claim(&store, &mailbox("hub")).await;
        } else {
            let text = refused(&config).await;
            assert!(text.starts_with("there is a pooler in transaction mode"), "{mode}: {text}");
        }
    }
}

#[tokio::test]
async fn the_certificate_and_the_name_of_a_server_are_verified() {
    let Some(server) = PostgresServer::start() else { return };
    let (authority, other) = (Authority::new(), Authority::new());
    let port = server.restart_with_tls(&authority.issue("localhost"));
    let folder = tempfile::tempdir().unwrap();
    let url = |host: &str, authority: &Authority, mode: &str| {
        let path = folder.path().join("roots");
        std::fs::write(&path, &authority.pem).unwrap();
        format!(
            "postgres://postgres@{host}:{port}/postgres?sslmode={mode}&sslrootcert={}",
            path.display()
        )
    };
    for mode in ["verify-full", "require", "prefer"] {
        let store =
            PostgresStore::open(&config(&url("localhost", &authority, mode), "a")).await.unwrap();
        claim(&store, &mailbox("hub")).await;
        let text = refused(&config(&url("localhost", &other, mode), "a")).await;
        assert!(
            text.contains("error performing TLS handshake: invalid peer certificate"),
            "{text}"
        );
        let text = refused(&config(&url("127.0.0.1", &authority, mode), "a")).await;
        assert!(
            text.contains("error performing TLS handshake: invalid peer certificate"),
            "{text}"
        );
    }
    let used = format!("postgres://postgres@localhost:{port}/postgres?sslmode=disable");
    PostgresStore::open(&config(&used, "a")).await.unwrap();
}
