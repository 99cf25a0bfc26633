//! The tables, and how a file is recognised as a store.

use rusqlite::Connection;

use crate::error::Fault;

/// The format of the file. Another one needs another number.
pub(crate) const FORMAT: i64 = 1;
/// Says in the file's header whose it is: "PdSt".
const APPLICATION: i64 = 0x5064_5374;

/// Every row has a checksum over all its columns. A stream's age (`ord`) puts the streams of a peer
/// into order; the outbox is sorted by it, so that what leaves together lies together.
const TABLES: &str = "
    CREATE TABLE outbox(
        peer TEXT NOT NULL, ord INTEGER NOT NULL, inc BLOB NOT NULL, seq INTEGER NOT NULL,
        deadline INTEGER, crc INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY(peer, ord, seq)) WITHOUT ROWID;
    CREATE TABLE cursor(
        peer TEXT NOT NULL, inc BLOB NOT NULL, done INTEGER NOT NULL, held BLOB NOT NULL,
        crc INTEGER NOT NULL, PRIMARY KEY(peer, inc)) WITHOUT ROWID;
    CREATE TABLE attempt(
        peer TEXT NOT NULL, inc BLOB NOT NULL, seq INTEGER NOT NULL, n INTEGER NOT NULL,
        crc INTEGER NOT NULL, PRIMARY KEY(peer, inc, seq)) WITHOUT ROWID;
    CREATE TABLE dead(
        id INTEGER PRIMARY KEY AUTOINCREMENT, peer TEXT NOT NULL, inc BLOB NOT NULL,
        seq INTEGER NOT NULL, code INTEGER NOT NULL, at INTEGER NOT NULL, crc INTEGER NOT NULL,
        body BLOB NOT NULL);
    CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
";

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Empty,
    Store { format: i64 },
    Other,
}

pub(crate) fn kind(connection: &Connection) -> Result<Kind, Fault> {
    let number = |sql| connection.query_row(sql, (), |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    if application == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 {
        return Ok(Kind::Empty);
    }
    if application != APPLICATION {
        return Ok(Kind::Other);
    }
    Ok(Kind::Store { format: number("SELECT value FROM meta WHERE key = 'format'")? })
}

/// Makes the tables, all of them or none.
pub(crate) fn create(connection: &Connection) -> Result<(), Fault> {
    let sql = format!(
        "BEGIN IMMEDIATE; {TABLES} INSERT INTO meta VALUES('format', {FORMAT});
         PRAGMA application_id = {APPLICATION}; COMMIT;"
    );
    Ok(connection.execute_batch(&sql)?)
}
