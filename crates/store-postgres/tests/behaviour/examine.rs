//! What an examination finds in databases, and that it leaves them as they were.

use std::time::Duration;

use paddington_exchange::store::{Cursors, Fence, LinkStore, Relay, Relayed, SharedStore};
use paddington_store_postgres::report::{
    Access, DatabaseFaultKind, DatabaseReport, DatabaseState, SchemaState, StoreState,
};
use paddington_store_postgres::{
    Conversion, PostgresConfig, PostgresStore, Seal, examine, migrate,
};
use paddington_test_support::{Authority, PostgresServer, eventually};
use paddington_wire::Payload;

use crate::convert::Prefix;
use crate::support::{LEASE, accept, claim, config, mailbox, place};

/// The report about the only database.
async fn report(config: &PostgresConfig) -> DatabaseReport {
    examine(config).await.unwrap().remove(0)
}

async fn state(config: &PostgresConfig) -> DatabaseState {
    let report = report(config).await;
    report.state.clone().unwrap_or_else(|| panic!("{report:?}"))
}

async fn schema(config: &PostgresConfig) -> SchemaState {
    state(config).await.schema.unwrap()
}

async fn store(config: &PostgresConfig) -> StoreState {
    match schema(config).await {
        SchemaState::Store(store) => store,
        other => panic!("{other:?}"),
    }
}

/// Why the only host cannot be used.
async fn fault(config: &PostgresConfig) -> (DatabaseFaultKind, String) {
    let report = report(config).await;
    let fault = report.hosts[0].found.clone().unwrap_err();
    assert!(report.state.is_none());
    (fault.kind, fault.why)
}

#[tokio::test]
async fn it_tells_of_replicas_and_links_and_is_no_replica_itself() {
    let place = place!();
    let one = place.open().await;
    let other = place.open().await;
    let own = |name: &str| mailbox(name);
    claim(&one, &own("sensor")).await;
    claim(&other, &own("pump")).await;
    accept(&one, &own("gate"), "x").await;
    let tables = ["meta", "replica", "writer", "link", "stream", "outbox", "cursor"];
    let looks = tables.map(|table| match table {
        // Beats go on.
        "replica" => "SELECT n, token FROM replica ORDER BY n".to_owned(),
        table => format!("SELECT * FROM {table} ORDER BY 1"),
    });
    let dump = || looks.each_ref().map(|sql| place.sql(sql));
    let before = dump();
    let found = store(&place.config()).await;
    assert_eq!(dump(), before, "nothing is changed");

    let living: Vec<_> = found.replicas.iter().filter(|it| it.lives()).collect();
    let mut numbers: Vec<_> = living.iter().map(|it| it.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [one.replica().0, other.replica().0]);
    assert!(living.iter().all(|it| it.lease == LEASE && it.beat < LEASE));
    assert!(living.iter().all(|it| it.version == env!("CARGO_PKG_VERSION")));
    assert_eq!((found.links, found.waiting, found.of_dead), (3, 1, 0));
    let owners = [("pump".to_owned(), other.replica().0), ("sensor".to_owned(), one.replica().0)];
    assert_eq!(found.owners, owners);
    assert_eq!(found.list, Some((1, 1)));

    // Its links have an owner that is gone.
    let gone = other.replica().0;
    drop(other);
    eventually(|| async { store(&place.config()).await.of_dead == 1 }).await;
    let found = store(&place.config()).await;
    assert_eq!(found.owners, [("pump".to_owned(), gone), ("sensor".to_owned(), one.replica().0)]);
    assert_eq!(found.replicas.len(), 1);
}

#[tokio::test]
async fn a_replica_whose_beat_is_old_is_dead() {
    let place = place!();
    let replica = place.open().await;
    claim(&replica, &mailbox("sensor")).await;
    let set_back = "UPDATE replica SET beat = beat - interval '5 s'";
    // The next beat may come in between.
    eventually(|| async {
        place.sql(set_back);
        let found = store(&place.config()).await;
        found.replicas.iter().all(|it| it.is_connected && !it.lives()) && found.of_dead == 1
    })
    .await;
}

#[tokio::test]
async fn it_tells_how_everything_is_sealed_and_of_a_conversion_that_has_not_ended() {
    let place = place!();
    let config = place.config().with_seal(Seal::Key(1));
    migrate(&config).await.unwrap();
    let found = store(&config).await;
    assert_eq!((found.seal, found.conversion), (None, None));
    PostgresStore::open(&config).await.unwrap().close().await.unwrap();
    let found = store(&config).await;
    assert_eq!((found.seal, found.conversion), (Some(Seal::Key(1)), None));

    let convert = async || {
        let mut conversion = Conversion::begin(&config).await.unwrap();
        conversion.convert(Seal::Plain, false, &Prefix::new("")).await.unwrap();
        conversion
    };
    let unended = async || store(&config).await.conversion.unwrap();
    let running = convert().await;
    let found = unended().await;
    assert_eq!((found.to, found.is_running), (Seal::Plain, true));
    drop(running);
    eventually(|| async { !unended().await.is_running }).await;
    let mut again = convert().await;
    again.finish(Seal::Plain).await.unwrap();
    let found = store(&config).await;
    assert_eq!((found.seal, found.conversion), (Some(Seal::Plain), None));
}

#[tokio::test]
async fn each_kind_of_schema_is_told_apart() {
    let place = place!();
    let config = place.config();
    assert!(matches!(schema(&config).await, SchemaState::Missing { may_create: true }));
    place.server.sql(&format!("CREATE ROLE {0} LOGIN", place.schema));
    let of_role = crate::support::config(&place.server.url_as(&place.schema), &place.schema);
    assert!(matches!(schema(&of_role).await, SchemaState::Missing { may_create: false }));
    migrate(&config).await.unwrap();
    assert!(matches!(schema(&of_role).await, SchemaState::Closed));
    place.server.sql(&format!("GRANT USAGE ON SCHEMA {0} TO {0}", place.schema));
    let SchemaState::NotGranted(names) = schema(&of_role).await else { panic!() };
    assert!(names.contains(&"outbox".to_owned()) && names.contains(&"meta".to_owned()));
    place.server.sql(&format!("GRANT ALL ON ALL TABLES IN SCHEMA {0} TO {0}", place.schema));
    place.server.sql(&format!("REVOKE UPDATE ON {0}.link FROM {0}", place.schema));
    let SchemaState::NotGranted(names) = schema(&of_role).await else { panic!() };
    assert_eq!(names, ["link"]);
    place.server.sql(&format!("GRANT UPDATE ON {0}.link TO {0}", place.schema));
    assert_eq!(store(&of_role).await.list, None);
    // What is said to be enough is.
    let replica = PostgresStore::open(&of_role).await.unwrap();
    claim(&replica, &mailbox("sensor")).await;
    accept(&replica, &mailbox("sensor"), "x").await;

    let other = PostgresConfig::new("other".parse().unwrap(), place.server.url());
    let other = schema(&other.with_schema(&place.schema)).await;
    assert!(matches!(other, SchemaState::OtherService));
    place.sql("UPDATE meta SET value = 2 WHERE key = 'format'");
    let format = schema(&config).await;
    assert!(matches!(format, SchemaState::OtherFormat { found: 2, known: 1 }));

    let place = place!();
    place.server.sql(&format!("CREATE SCHEMA {0}; CREATE TABLE {0}.orders(id int)", place.schema));
    assert!(matches!(schema(&place.config()).await, SchemaState::Foreign));
}

#[tokio::test]
async fn the_server_tells_its_settings_its_clock_and_its_connections() {
    let place = place!();
    let server = state(&place.config()).await.server;
    assert!(server.fsync && server.full_page_writes && !server.is_standby && !server.is_too_old);
    assert_eq!((&*server.standby_names, server.standbys), ("", 0));
    assert!(server.version.starts_with(|c: char| c.is_ascii_digit()));
    let (fastest, slowest) = server.round_trip;
    assert!(Duration::ZERO < fastest && fastest <= slowest);
    // It is this machine's clock.
    assert!(server.clock_ahead.abs() < 1_000, "{}", server.clock_ahead);
    let connections = server.connections;
    assert!(connections.used + connections.free <= connections.allowed, "{connections:?}");

    // The role's own limit counts, too.
    place.server.sql(&format!("CREATE ROLE {0} LOGIN CONNECTION LIMIT 5", place.schema));
    let url = place.server.url_as(&place.schema);
    let limited = state(&config(&url, &place.schema)).await.server.connections;
    assert!(limited.free <= 5 && limited.of_replica > limited.free, "{limited:?}");
}

#[tokio::test]
async fn a_replica_opens_no_more_connections_than_are_said() {
    let place = place!();
    place.server.sql(&format!("CREATE ROLE {0} LOGIN SUPERUSER", place.schema));
    let config = config(&place.server.url_as(&place.schema), &place.schema);
    let replica = PostgresStore::open(&config).await.unwrap();
    let links: Vec<_> = (0..64).map(|at| mailbox(&format!("peer-{at}"))).collect();
    let claims = links.iter().map(|link| replica.claim(link, Fence::default()));
    for claimed in futures_util::future::join_all(claims).await {
        claimed.unwrap();
    }
    let cursors = links.iter().map(|link| replica.cursors(link));
    for read in futures_util::future::join_all(cursors).await {
        read.unwrap();
    }
    accept(&replica, &links[0], "x").await;
    let request =
        |text: &str| Relayed { payload: Payload::text(text.to_owned()), depth: 0, left: None };
    let asks = (0..).zip(&links).map(|(number, link)| replica.ask(link, number, request("x")));
    for asked in futures_util::future::join_all(asks).await {
        asked.unwrap();
    }
    let found = state(&config).await.server.connections;
    // Requests have up to four, and gather behind fewer.
    assert!((found.of_replica - 3..=found.of_replica).contains(&found.of_role), "{found:?}");
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_noticed() {
    let place = place!();
    migrate(&place.config()).await.unwrap();
    for mode in ["session", "transaction"] {
        let Some((url, _pooler)) = place.server.pooler(mode) else { return };
        let found = state(&config(&url, &place.schema)).await;
        assert_eq!(found.is_pooled, mode == "transaction");
        assert_eq!(found.schema.is_none(), found.is_pooled);
    }
}

#[tokio::test]
async fn the_steps_of_connecting_are_told_apart() {
    let Some(server) = PostgresServer::start() else { return };
    server.sql("CREATE ROLE guarded LOGIN PASSWORD 'sesame'");
    server.require_password();
    let config = |url: &str| config(url, "a");
    let tcp = "postgres://postgres@localhost:1/postgres";
    let url = server.url();
    let gone = url.replace("/postgres?", "/gone?");
    let guarded = server.url_as("guarded");
    let wrong = guarded.replace("user=guarded", "user=guarded&password=other");
    let cases = [
        ("postgres://me@nowhere.invalid/x?sslmode=disable", DatabaseFaultKind::Name, ""),
        (tcp, DatabaseFaultKind::Connection, "refused"),
        ("postgres:///x?host=/no/such/folder&user=me", DatabaseFaultKind::Connection, "No such"),
        (&*gone, DatabaseFaultKind::Database, ""),
        (&*guarded, DatabaseFaultKind::Password, ""),
        (&*wrong, DatabaseFaultKind::Password, ""),
        (&*server.url_as("nobody"), DatabaseFaultKind::Role, ""),
    ];
    for (url, kind, words) in cases {
        let (found, why) = fault(&config(url)).await;
        assert_eq!(found, kind, "{url}: {why}");
        assert!(why.contains(words) && !why.contains("other"), "{why}");
    }
    let right = guarded.replace("user=guarded", "user=guarded&password=sesame");
    state(&config(&right)).await;
    server.sql("ALTER ROLE guarded CONNECTION LIMIT 0");
    assert_eq!(fault(&config(&right)).await.0, DatabaseFaultKind::Connections);

    // A port that speaks something else, or nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    std::thread::spawn(move || silent.incoming().for_each(drop));
    let (found, _) = fault(&config(&format!("postgres://me@127.0.0.1:{port}/x"))).await;
    assert_eq!(found, DatabaseFaultKind::Other);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_and_a_server_without_tls_are_faults_of_tls() {
    let Some(server) = PostgresServer::start() else { return };
    let (authority, other) = (Authority::new(), Authority::new());
    let port = server.restart_with_tls(&authority.issue("localhost"));
    let folder = tempfile::tempdir().unwrap();
    let found = async |authority: &Authority, port: u16| {
        let path = folder.path().join("roots");
        std::fs::write(&path, &authority.pem).unwrap();
        let url = format!(
            "postgres://postgres@localhost:{port}/postgres?sslmode=require&sslrootcert={}",
            path.display()
        );
        report(&config(&url, "a")).await.hosts.remove(0)
    };
    assert_eq!(found(&authority, port).await.found, Ok(Access::Writes));
    let fault = found(&other, port).await.found.unwrap_err();
    assert_eq!(fault.kind, DatabaseFaultKind::Tls, "{fault:?}");
    server.crash();
    let port = server.resume_at_port();
    let fault = found(&authority, port).await.found.unwrap_err();
    assert_eq!(fault.kind, DatabaseFaultKind::Tls, "{fault:?}");
}

#[tokio::test]
async fn a_standby_reads_only_and_the_primary_beside_it_is_used() {
    let Some(server) = PostgresServer::start() else { return };
    migrate(&config(&server.url(), "a")).await.unwrap();
    let Some(standby) = server.standby() else { return };
    let both = server.url().replace("&host=", &format!("&host={},", standby.socket().display()));
    let report = report(&config(&both, "a")).await;
    let found: Vec<_> = report.hosts.iter().map(|host| host.found.clone()).collect();
    assert_eq!(found, [Ok(Access::ReadsOnly), Ok(Access::Writes)]);
    let used = report.state.unwrap();
    assert_eq!((used.host, used.server.is_standby), (1, false));
    assert_eq!((used.server.standbys, used.server.synchronous), (1, Some(0)));
    let alone = state(&config(&standby.url(), "a")).await;
    assert!(alone.server.is_standby && matches!(alone.schema, Some(SchemaState::Store(_))));
}
