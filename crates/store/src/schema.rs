//! The tables, and the marks by which a file is recognised as a store.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Fault;

/// The format of the file. A different format needs a different number.
pub(crate) const FORMAT: i64 = 4;
/// The format of a file whose payloads are sealed: only who has the key can do anything with them.
pub(crate) const SEALED: i64 = 5;
/// The application id in the file's header: "PdSt".
pub(crate) const APPLICATION: i64 = 0x5064_5374;

/// What is stored belongs to a link; the name of its peer is for people. Every row has a checksum over
/// all its columns; a message, whose payload may be cut into several
/// rows, has one in the first of them, and there it says whether it is bytes or text. `age` orders the
/// streams of a link, oldest first, and `begun` is when a stream was begun. The position of a row holds the id of its stream in the upper bits, so that messages that are sent
/// together are stored together. The index of the streams is a copy of them on another page:
/// without its stream, no message can be salvaged. It leaves out the transmission mark, which has a
/// checksum of its own and changes alone.
const TABLES: &str = "
    CREATE TABLE stream(
        id INTEGER PRIMARY KEY, link BLOB NOT NULL, peer TEXT NOT NULL, age INTEGER NOT NULL,
        instance BLOB NOT NULL, begun INTEGER NOT NULL, checksum INTEGER NOT NULL,
        mark INTEGER NOT NULL, mark_checksum INTEGER NOT NULL);
    CREATE INDEX streams_of_link ON stream(link, age, instance, begun, peer, checksum);
    CREATE TABLE message(
        position INTEGER PRIMARY KEY, number INTEGER NOT NULL, deadline INTEGER, ttl INTEGER,
        checksum INTEGER, is_bytes INTEGER, payload BLOB NOT NULL);
    CREATE TABLE cursor(
        link BLOB NOT NULL, instance BLOB NOT NULL, peer TEXT NOT NULL,
        completed INTEGER NOT NULL, finished BLOB NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY(link, instance)) WITHOUT ROWID;
    CREATE TABLE attempt(
        link BLOB NOT NULL, instance BLOB NOT NULL, number INTEGER NOT NULL,
        peer TEXT NOT NULL, attempts INTEGER NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY(link, instance, number)) WITHOUT ROWID;
    CREATE TABLE dead_letter(
        id INTEGER PRIMARY KEY AUTOINCREMENT, link BLOB NOT NULL, peer TEXT NOT NULL,
        instance BLOB NOT NULL, number INTEGER NOT NULL, code INTEGER NOT NULL, given_up_at INTEGER NOT NULL,
        checksum INTEGER NOT NULL, is_bytes INTEGER NOT NULL, payload BLOB NOT NULL);
    CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
";

/// The kind of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Empty,
    /// A store, and the id of the key under which its payloads are sealed.
    Store {
        format: i64,
        key: Option<u64>,
    },
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
    let key = "SELECT value FROM meta WHERE key = 'key'";
    let key = connection.query_row(key, (), |row| row.get::<_, i64>(0)).optional()?;
    let format = number("SELECT value FROM meta WHERE key = 'format'")?;
    Ok(Kind::Store { format, key: key.map(i64::cast_unsigned) })
}

/// Notes under which key the payloads are sealed, if they are.
pub(crate) fn set_key(connection: &Connection, key: Option<u64>) -> Result<(), Fault> {
    let format = if key.is_some() { SEALED } else { FORMAT };
    connection.execute("DELETE FROM meta WHERE key IN ('format', 'key')", ())?;
    let mut insert = connection.prepare("INSERT INTO meta VALUES(?1, ?2)")?;
    insert.execute(params!["format", format])?;
    if let Some(key) = key {
        insert.execute(params!["key", key.cast_signed()])?;
    }
    Ok(())
}

/// Creates the tables, all of them or none, and the mark in the file itself rather than in its log:
/// the file is recognised by it before the log is opened.
///
/// The transaction begins by itself with the first change. If it began before `auto_vacuum` is set,
/// that would have no effect; set outside of it, it would be a transaction of its own, after which
/// the file has no mark yet.
pub(crate) fn create(connection: &Connection, key: Option<u64>) -> Result<(), Fault> {
    connection.execute_batch(&format!("BEGIN; PRAGMA auto_vacuum = INCREMENTAL; {TABLES}"))?;
    set_key(connection, key)?;
    let mark = format!("PRAGMA application_id = {APPLICATION}; COMMIT;");
    Ok(connection.execute_batch(&mark)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_created_in_one_transaction_with_its_mark() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let connection = Connection::open(&path).unwrap();
        create(&connection, None).unwrap();
        let number = |sql| connection.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("PRAGMA auto_vacuum"), 2, "incremental");
        let file = std::fs::read(path).unwrap();
        let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!(number(24), 1, "transactions so far");
        assert_eq!(i64::from(number(68)), APPLICATION);
    }
}
