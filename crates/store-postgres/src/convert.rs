//! Everything in the databases of a service whose links and payloads are sealed, sealed anew, or not any more.
//!
//! No replica runs meanwhile: this holds the lock alone of which each connection of a replica has a share. How far it
//! has come is written down in `meta`, in the transaction that writes what was converted. So after an interruption it goes
//! on where it was, and replicas do not start before it has ended.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use paddington_wire::{LinkId, MessageId, Payload, PeerName};
use thiserror::Error;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use zeroize::Zeroizing;

use crate::config::PostgresConfig;
use crate::connect::{Arguments, Commits, Connection, Target};
use crate::error::{Fault, OpenError};
use crate::letters::outer_id;
use crate::migrate::{self, Kind, meta, refused, unreachable};
use crate::open::{self, REPLACE};
use crate::row::{self, column, loaded};
use crate::seal::{self, Mark, Seal};

/// The most links, messages and dead letters that one transaction converts, and the bytes of these after which it takes
/// no more.
const MOST: i64 = 1_024;
const MOST_BYTES: i64 = 8 << 20;
/// How often it is looked whether replicas that are about to end have ended, and the pause in between.
const LOOKS: u32 = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How far a conversion has come.
const LINKS_TO: &str = "converted_version";
const LETTERS_TO: &str = "converted_letter";
const MESSAGES_TO: [&str; 3] = ["converted_peer", "converted_ord", "converted_seq"];

/// Waits for what is left of sessions that have lost their lock. While somebody waits, nobody gets a new share.
const LOCK: &str =
    "SELECT pg_advisory_lock(hashtextextended('paddington:' || $1::text || ':use', 0))";
const SESSIONS: &str = "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
     WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted \
         AND l.pid <> pg_backend_pid() \
         AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('paddington:' || $1::text || ':use', 0) \
     ORDER BY l.pid";
/// Replicas whose session lock is held, however old their last beat is.
const REPLICAS: &str = "SELECT r.n FROM replica r, meta m, pg_database d \
     WHERE m.key = 'lock' AND d.datname = current_database() AND EXISTS (SELECT FROM pg_locks l \
         WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND l.mode = 'ExclusiveLock' \
             AND l.database = d.oid AND l.classid = m.value::oid AND l.objid = r.n::oid) ORDER BY r.n";

const ANY_LINK: &str = "SELECT body FROM directory WHERE body IS NOT NULL LIMIT 1";
const LINKS: &str = "SELECT version, link, name, body FROM directory \
     WHERE version > $1 AND body IS NOT NULL ORDER BY version LIMIT $2";
const WRITE_LINKS: &str = "UPDATE directory d SET body = u.body FROM unnest($1::bigint[], $2::text[]) u(version, body) \
     WHERE d.version = u.version";
const LETTERS: &str = "WITH d AS (SELECT * FROM dead WHERE id > $1 ORDER BY id LIMIT $2), \
     s AS (SELECT d.*, sum(octet_length(d.body)) OVER (ORDER BY d.id) - octet_length(d.body) AS ahead FROM d) \
     SELECT s.id, l.id, l.name, s.inc, s.seq, s.crc, s.is_bytes, s.body FROM s LEFT JOIN link l ON l.peer = s.peer \
     WHERE s.ahead < $3 ORDER BY s.id";
const WRITE_LETTERS: &str = "UPDATE dead d SET crc = u.crc, is_bytes = u.is_bytes, body = u.body \
     FROM unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::bytea[]) u(id, crc, is_bytes, body) WHERE d.id = u.id";
const MESSAGES: &str = "WITH o AS (SELECT * FROM outbox WHERE (peer, ord, seq) > ($1::bigint, $2::bigint, $3::bigint) \
         ORDER BY peer, ord, seq LIMIT $4), \
     s AS (SELECT o.*, sum(octet_length(o.body)) OVER (ORDER BY o.peer, o.ord, o.seq) - octet_length(o.body) AS ahead FROM o) \
     SELECT s.peer, s.ord, s.seq, l.id, l.name, s.crc, s.is_bytes, s.body FROM s LEFT JOIN link l ON l.peer = s.peer \
     WHERE s.ahead < $5 ORDER BY s.peer, s.ord, s.seq";
const WRITE_MESSAGES: &str = "UPDATE outbox o SET crc = u.crc, is_bytes = u.is_bytes, body = u.body \
     FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::boolean[], $6::bytea[]) \
         u(peer, ord, seq, crc, is_bytes, body) \
     WHERE o.peer = u.peer AND o.ord = u.ord AND o.seq = u.seq";
/// What waits for a link may be longer or shorter than before.
const WRITE_BYTES: &str = "UPDATE link l SET bytes = l.bytes + u.more \
     FROM unnest($1::int[], $2::bigint[]) u(peer, more) WHERE l.peer = u.peer";

/// What becomes of what is sealed, or is to be. If the answer is what was there, nothing is written. An error is the
/// cause in words for an operator, without anything of the content.
pub trait Convert: Send + Sync {
    /// Returns the new state of a link.
    ///
    /// # Errors
    ///
    /// The cause, if the old one cannot be opened.
    fn link(&self, peer: &PeerName, text: &str) -> Result<Zeroizing<String>, String>;

    /// Returns the new payload of a message that waits for the peer of a link.
    ///
    /// # Errors
    ///
    /// The cause, if the old one cannot be opened.
    fn message(&self, link: LinkId, payload: &Payload) -> Result<Payload, String>;

    /// Returns the new payload of a dead letter.
    ///
    /// # Errors
    ///
    /// The cause, if the old one cannot be opened.
    fn letter(&self, link: LinkId, id: MessageId, payload: &Payload) -> Result<Payload, String>;
}

/// How much was converted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// Number of links.
    pub links: u64,
    /// Number of messages and dead letters.
    pub payloads: u64,
}

/// The reason why not everything was converted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A replica runs, or somebody else converts what is there.
    #[error("the database at {place} is in use, by {}", users(.replicas, .sessions))]
    InUse {
        /// The hosts and the name of the database.
        place: String,
        /// The replicas that run, as far as they are known.
        replicas: Vec<u32>,
        /// The sessions of the database that use it.
        sessions: Vec<i32>,
    },
    /// Something could not be converted.
    #[error("{what} in the database at {place}: {cause}")]
    Content {
        /// What it was.
        what: String,
        /// The hosts and the name of the database.
        place: String,
        /// The cause.
        cause: String,
    },
}

fn users(replicas: &[u32], sessions: &[i32]) -> String {
    let sessions = list(sessions);
    match replicas {
        [] => format!("the sessions {sessions} of PostgreSQL"),
        _ => format!("the replicas {} (sessions {sessions} of PostgreSQL)", list(replicas)),
    }
}

fn list<T: ToString>(numbers: &[T]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The right to convert everything in the databases of a service: as long as it is held, no replica runs, and none
/// starts. If it is dropped before [`finish`](Self::finish), none starts until another one has gone on.
pub struct Conversion {
    databases: Vec<Held>,
}

/// A database that nobody else uses.
struct Held {
    target: Target,
    connection: Connection,
    /// What it says of its seal; `None` if there are no tables yet.
    mark: Option<Mark>,
    /// Its place in the list, from 0, and the length of the list.
    listed: (usize, usize),
}

impl Conversion {
    /// Waits a few seconds for the sessions of replicas that are about to end. Nothing is changed.
    ///
    /// # Errors
    ///
    /// [`ConvertError::InUse`] if a replica runs, or else [`ConvertError::Open`] if a database cannot be used, or the list
    /// of databases is another one than that of the replicas.
    pub async fn begin(config: &PostgresConfig) -> Result<Self, ConvertError> {
        let mut databases = Vec::new();
        for (at, target) in config.targets()?.into_iter().enumerate() {
            databases.push(Held::new(config, target, at).await?);
        }
        Ok(Self { databases })
    }

    fn marks(&self) -> impl Iterator<Item = Mark> {
        self.databases.iter().filter_map(|held| held.mark)
    }

    /// Returns under what everything is sealed, if the databases say so.
    #[must_use]
    pub fn seal(&self) -> Option<Seal> {
        self.marks().find_map(|mark| mark.seal)
    }

    /// Returns what a conversion that was interrupted leads to, and whether what it has not reached is not sealed.
    #[must_use]
    pub fn interrupted(&self) -> Option<(Seal, bool)> {
        self.marks().find_map(|mark| Some((mark.converting?, mark.was_plain)))
    }

    /// Returns the state of some link, if there is one.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if the database cannot be read.
    pub async fn any_link(&self) -> Result<Option<Zeroizing<String>>, ConvertError> {
        let Some(held) = self.databases.iter().find(|held| held.mark.is_some()) else {
            return Ok(None);
        };
        let rows = held.connection.rows(ANY_LINK, &[]).await.map_err(|fault| held.error(&fault))?;
        let text = rows.first().map(|row| column::<String>(row, 0)).transpose();
        Ok(text.map_err(|fault| held.error(&fault))?.map(Zeroizing::new))
    }

    /// Lets everything be looked at, also what a conversion that was interrupted has converted. Nothing is changed.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if a database cannot be read, or something cannot be opened.
    pub async fn look(&self, convert: &dyn Convert) -> Result<(), ConvertError> {
        for held in self.databases.iter().filter(|held| held.mark.is_some()) {
            held.pass(convert, false).await?;
        }
        Ok(())
    }

    /// Converts everything that is not yet as it is to be, and goes on with a conversion to the same seal that was
    /// interrupted. `was_plain` is whether what is there is not sealed. Requests are removed: those who have asked have
    /// ended.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if something could not be converted. What was is written down, and replicas do not start.
    pub async fn convert(
        &mut self,
        to: Seal,
        was_plain: bool,
        convert: &dyn Convert,
    ) -> Result<Converted, ConvertError> {
        // All of them are marked first: none is finished before all are converted.
        for held in &mut self.databases {
            held.mark(to, was_plain).await?;
        }
        let mut converted = Converted::default();
        for held in &self.databases {
            if held.mark.is_some_and(|mark| mark.converting == Some(to)) {
                let Converted { links, payloads } = held.pass(convert, true).await?;
                converted.links += links;
                converted.payloads += payloads;
            }
        }
        Ok(converted)
    }

    /// Says that everything is converted: replicas that seal like that may start.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] if a database does not answer.
    pub async fn finish(&mut self, to: Seal) -> Result<(), ConvertError> {
        let finish = format!(
            "BEGIN; DELETE FROM meta WHERE key LIKE 'convert%'; \
             INSERT INTO meta VALUES ('sealed', {}) ON CONFLICT (key) DO UPDATE SET value = excluded.value; COMMIT",
            to.stored()
        );
        for held in &mut self.databases {
            if held.mark.is_some() {
                held.run(&finish).await?;
                held.mark = Some(Mark { seal: Some(to), converting: None, was_plain: false });
            }
        }
        Ok(())
    }

    /// Gives the right up. Where it is dropped instead, the databases notice that a moment later.
    pub async fn close(self) {
        const UNLOCK: &str = "ROLLBACK; SELECT pg_advisory_unlock_all()";
        for held in &self.databases {
            let _ = held.connection.client.batch_execute(UNLOCK).await;
        }
    }
}

impl Held {
    /// Takes the lock of a database, and reads what it says.
    async fn new(config: &PostgresConfig, target: Target, at: usize) -> Result<Self, ConvertError> {
        let connecting = target.connect(None).await;
        let connection = connecting.map_err(|fault| unreachable(&target, &fault))?;
        let trusted = open::server(&target, &connection).await;
        trusted.map_err(|fault| refused(&target, &fault))??;
        open::sessions(&target, &connection).await?;
        let mut held = Self { target, connection, mark: None, listed: (at, config.urls.len()) };
        let settings = held.target.settings(Commits::Synced);
        held.run(&format!("{settings}; SET lock_timeout = '5s'")).await?;
        migrate::is_open(&held.target, &held.connection).await?;
        let is_free = held.lock().await.map_err(|fault| held.error(&fault))?;
        held.run("SET lock_timeout = 0").await?;
        let kind = migrate::kind(&held.connection).await;
        let kind = kind.map_err(|fault| held.error(&fault))?;
        if kind == Kind::Other {
            return Err(OpenError::NotAStore(held.target.schema.clone()).into());
        }
        let is_store = kind == Kind::Store;
        if is_store {
            migrate::is_own(config, &held.target, &held.connection).await?;
        }
        let users = held.users(is_store).await.map_err(|fault| held.error(&fault))?;
        let (replicas, sessions) = users;
        if !is_free || !replicas.is_empty() {
            let place = held.target.url.place.clone();
            return Err(ConvertError::InUse { place, replicas, sessions });
        }
        if is_store {
            let listed = held.is_listed(at, config.urls.len()).await;
            listed.map_err(|fault| held.error(&fault))??;
            let mark = seal::read(&held.connection).await;
            held.mark = Some(mark.map_err(|fault| held.error(&fault))?);
        }
        Ok(held)
    }

    /// Returns whether nobody else uses the schema. As long as somebody waits for the lock, replicas get no new
    /// connection: if one runs, it is not asked for.
    async fn lock(&self) -> Result<bool, Fault> {
        let mut looks = 0;
        while migrate::kind(&self.connection).await? == Kind::Store
            && !self.users(true).await?.0.is_empty()
        {
            if looks == LOOKS {
                return Ok(false);
            }
            looks += 1;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        match self.connection.rows(LOCK, &[&self.target.schema]).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.is(SqlState::LOCK_NOT_AVAILABLE.code()) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Returns the replicas that run, and the sessions that use the schema.
    async fn users(&self, is_store: bool) -> Result<(Vec<u32>, Vec<i32>), Fault> {
        let rows = self.connection.rows(SESSIONS, &[&self.target.schema]).await?;
        let sessions = rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
        let rows = if is_store { self.connection.rows(REPLICAS, &[]).await? } else { Vec::new() };
        let number = |row: &Row| Ok::<_, Fault>(row::replica(column(row, 0)?).0);
        Ok((rows.iter().map(number).collect::<Result<_, _>>()?, sessions))
    }

    /// Checks that the database has its place in the list: what is in one that is not listed would stay as it is.
    async fn is_listed(&self, at: usize, of: usize) -> Result<Result<(), OpenError>, Fault> {
        let was = meta(&self.connection, "number").await?;
        let Some((was_number, was_of)) = was.zip(meta(&self.connection, "databases").await?) else {
            return Ok(Ok(()));
        };
        let number = at + 1;
        let is_same = i64::try_from(number) == Ok(was_number) && i64::try_from(of) == Ok(was_of);
        Ok(if is_same {
            Ok(())
        } else {
            Err(OpenError::OtherList { number, of, was_number, was_of })
        })
    }

    fn error(&self, fault: &Fault) -> ConvertError {
        refused(&self.target, fault).into()
    }

    async fn run(&self, sql: &str) -> Result<(), ConvertError> {
        let done = self.connection.client.batch_execute(sql).await;
        done.map_err(|error| self.error(&error.into()))
    }

    /// Writes down that a conversion begins, unless it has begun or ended before.
    async fn mark(&mut self, to: Seal, was_plain: bool) -> Result<(), ConvertError> {
        let Some(mark) = self.mark else { return Ok(()) };
        let has_ended = mark.converting.is_none() && mark.seal == Some(to);
        if mark.converting == Some(to) || has_ended {
            return Ok(());
        }
        let begin = format!(
            "BEGIN; DELETE FROM request; DELETE FROM meta WHERE key LIKE 'convert%'; \
             INSERT INTO meta VALUES ('converting', {}), ('converting_plain', {}); COMMIT",
            to.stored(),
            i64::from(was_plain)
        );
        self.run(&begin).await?;
        self.mark = Some(Mark { converting: Some(to), was_plain, ..mark });
        Ok(())
    }

    /// Goes through everything, from where the conversion was if it `writes`.
    async fn pass(&self, convert: &dyn Convert, writes: bool) -> Result<Converted, ConvertError> {
        let links = self.links(convert, writes).await?;
        let letters = self.letters(convert, writes).await?;
        let messages = self.messages(convert, writes).await?;
        Ok(Converted { links, payloads: letters + messages })
    }

    /// Returns where a part of the conversion was.
    async fn at(&self, key: &str, writes: bool) -> Result<i64, ConvertError> {
        if !writes {
            return Ok(0);
        }
        let at = meta(&self.connection, key).await.map_err(|fault| self.error(&fault))?;
        Ok(at.unwrap_or_default())
    }

    async fn rows(
        &self,
        sql: &'static str,
        arguments: Arguments<'_>,
    ) -> Result<Vec<Row>, ConvertError> {
        self.connection.rows(sql, arguments).await.map_err(|fault| self.error(&fault))
    }

    async fn links(&self, convert: &dyn Convert, writes: bool) -> Result<u64, ConvertError> {
        let mut after = self.at(LINKS_TO, writes).await?;
        let mut count = 0;
        loop {
            let rows = self.rows(LINKS, &[&after, &MOST]).await?;
            let Some(last) = rows.last() else { return Ok(count) };
            let (mut versions, mut texts) = (Vec::new(), Vec::new());
            for row in &rows {
                let (version, peer, old) = link(row).map_err(|fault| self.error(&fault))?;
                let new = convert.link(&peer, old);
                let new = new.map_err(|why| self.cause(format!("the link with {peer}"), why))?;
                if *new != *old {
                    versions.push(version);
                    texts.push(new);
                }
            }
            after = column(last, 0).map_err(|fault| self.error(&fault))?;
            count += texts.len() as u64;
            if writes {
                let texts: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
                let arguments: Arguments<'_> = &[&versions, &texts];
                self.write(&[(WRITE_LINKS, arguments)], &[(LINKS_TO, after)]).await?;
            }
        }
    }

    async fn letters(&self, convert: &dyn Convert, writes: bool) -> Result<u64, ConvertError> {
        let mut after = self.at(LETTERS_TO, writes).await?;
        let mut count = 0;
        loop {
            let rows = self.rows(LETTERS, &[&after, &MOST, &MOST_BYTES]).await?;
            let Some(last) = rows.last() else { return Ok(count) };
            let (mut ids, mut payloads) = (Vec::new(), Payloads::default());
            for row in &rows {
                let letter = self.payload(row, 1, 5)?;
                let Some((link, peer, old)) = letter else { continue };
                let (id, at) = letter_id(row).map_err(|fault| self.error(&fault))?;
                let new = convert.letter(link, at, &old);
                let letter = loaded(id).map_err(|fault| self.error(&fault))?;
                let letter = outer_id(letter, self.listed.0, self.listed.1);
                let what = || format!("the dead letter {} of {peer}", letter.0);
                if payloads.add(link, &old, new.map_err(|why| self.cause(what(), why))?) {
                    ids.push(id);
                }
            }
            after = column(last, 0).map_err(|fault| self.error(&fault))?;
            count += ids.len() as u64;
            if writes {
                let bodies = payloads.bodies();
                let arguments: Arguments<'_> = &[&ids, &payloads.crcs, &payloads.kinds, &bodies];
                self.write(&[(WRITE_LETTERS, arguments)], &[(LETTERS_TO, after)]).await?;
            }
        }
    }

    async fn messages(&self, convert: &dyn Convert, writes: bool) -> Result<u64, ConvertError> {
        let [mut peer, mut ord, mut seq] = [0; 3];
        for (at, key) in [&mut peer, &mut ord, &mut seq].into_iter().zip(MESSAGES_TO) {
            *at = self.at(key, writes).await?;
        }
        let mut count = 0;
        loop {
            let rows = self.rows(MESSAGES, &[&peer, &ord, &seq, &MOST, &MOST_BYTES]).await?;
            if rows.is_empty() {
                return Ok(count);
            }
            let (mut peers, mut ords, mut seqs) = (Vec::new(), Vec::new(), Vec::new());
            let (mut payloads, mut more) = (Payloads::default(), BTreeMap::<i32, i64>::new());
            for row in &rows {
                let at = message(row).map_err(|fault| self.error(&fault))?;
                (peer, ord, seq) = (i64::from(at.0), at.1, at.2);
                let Some((link, name, old)) = self.payload(row, 3, 5)? else { continue };
                let new = convert.message(link, &old);
                let what = || format!("the message {seq} for {name}");
                let new = new.map_err(|why| self.cause(what(), why))?;
                let longer = row::at_most(new.len() as u64) - row::at_most(old.len() as u64);
                if payloads.add(link, &old, new) {
                    peers.push(at.0);
                    ords.push(ord);
                    seqs.push(seq);
                    *more.entry(at.0).or_default() += longer;
                }
            }
            count += seqs.len() as u64;
            if writes {
                let bodies = payloads.bodies();
                let messages: Arguments<'_> =
                    &[&peers, &ords, &seqs, &payloads.crcs, &payloads.kinds, &bodies];
                let (of, by): (Vec<i32>, Vec<i64>) = more.into_iter().unzip();
                let bytes: Arguments<'_> = &[&of, &by];
                let statements = [(WRITE_MESSAGES, messages), (WRITE_BYTES, bytes)];
                let [to_peer, to_ord, to_seq] = MESSAGES_TO;
                let upto = [(to_peer, peer), (to_ord, ord), (to_seq, seq)];
                self.write(&statements, &upto).await?;
            }
        }
    }

    /// Returns a payload with its link; `None` if there is no such link, so that nobody can ever read it.
    fn payload(
        &self,
        row: &Row,
        link_at: usize,
        payload_at: usize,
    ) -> Result<Option<(LinkId, PeerName, Payload)>, ConvertError> {
        let failed = |fault: Fault| self.error(&fault);
        let Some(id) = column::<Option<&[u8]>>(row, link_at).map_err(failed)? else {
            return Ok(None);
        };
        let name: &str = column(row, link_at + 1).map_err(failed)?;
        let mailbox = row::mailbox(id, name).map_err(failed)?;
        let read = row::payload(mailbox.link, row, payload_at);
        let what = || format!("a message of the link with {}", mailbox.peer);
        let payload = read.map_err(|fault| self.cause(what(), fault.why().to_owned()))?;
        Ok(Some((mailbox.link, mailbox.peer, payload)))
    }

    fn cause(&self, what: String, cause: String) -> ConvertError {
        ConvertError::Content { what, place: self.target.url.place.clone(), cause }
    }

    /// Writes what was converted, and how far that is, in one transaction.
    async fn write(
        &self,
        statements: &[(&'static str, Arguments<'_>)],
        upto: &[(&str, i64)],
    ) -> Result<(), ConvertError> {
        let connection = &self.connection;
        self.run("BEGIN").await?;
        let written = async {
            for &(sql, arguments) in statements {
                connection.execute(sql, arguments).await?;
            }
            for (key, value) in upto {
                connection.execute(REPLACE, &[key, value]).await?;
            }
            Ok::<_, Fault>(())
        };
        if let Err(fault) = written.await {
            let _ = connection.client.batch_execute("ROLLBACK").await;
            return Err(self.error(&fault));
        }
        self.run("COMMIT").await
    }
}

/// The version, the peer and the state of a link.
fn link(row: &Row) -> Result<(i64, PeerName, &str), Fault> {
    let mailbox = row::mailbox(column(row, 1)?, column(row, 2)?)?;
    Ok((column(row, 0)?, mailbox.peer, column(row, 3)?))
}

/// The number of a dead letter, and that of its message.
fn letter_id(row: &Row) -> Result<(i64, MessageId), Fault> {
    let (stream, number) = (row::instance(column(row, 3)?)?, loaded(column(row, 4)?)?);
    Ok((column(row, 0)?, MessageId { stream, number }))
}

/// The place of a message.
fn message(row: &Row) -> Result<(i32, i64, i64), Fault> {
    Ok((column(row, 0)?, column(row, 1)?, column(row, 2)?))
}

/// Columns of new payloads.
#[derive(Default)]
struct Payloads {
    payloads: Vec<Payload>,
    crcs: Vec<i64>,
    kinds: Vec<bool>,
}

impl Payloads {
    /// Adds a payload, and returns whether it is another one than before.
    fn add(&mut self, link: LinkId, old: &Payload, new: Payload) -> bool {
        if new == *old {
            return false;
        }
        self.crcs.push(row::checksum(link, &new));
        self.kinds.push(new.is_bytes());
        self.payloads.push(new);
        true
    }

    fn bodies(&self) -> Vec<&[u8]> {
        self.payloads.iter().map(|payload| &payload[..]).collect()
    }
}

impl fmt::Debug for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversion")
            .field("databases", &self.databases.len())
            .field("seal", &self.seal())
            .finish_non_exhaustive()
    }
}
