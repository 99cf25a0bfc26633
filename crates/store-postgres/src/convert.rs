//! What is converted in one database, and in which order.
//!
//! How far it has come is written down in the transaction that writes what was converted. So after an interruption it goes
//! on where it was.

use std::collections::BTreeMap;

use paddington_wire::{LinkId, MessageId, Payload, PeerName};
use tokio_postgres::Row;
use zeroize::Zeroizing;

use crate::connect::Arguments;
use crate::error::{ConvertError, Fault};
use crate::held::Held;
use crate::row::{self, column, loaded};

/// The most links, messages and dead letters that one transaction converts, and the bytes of these after which it takes
/// no more.
const MOST: i64 = 1_024;
const MOST_BYTES: i64 = 8 << 20;
/// How far a conversion has come.
const LINKS_TO: &str = "converted_version";
const LETTERS_TO: &str = "converted_letter";
const MESSAGES_TO: [&str; 3] = ["converted_peer", "converted_ord", "converted_seq"];

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

/// One way through everything in a database.
pub(crate) struct Pass<'a> {
    pub(crate) held: &'a Held,
    pub(crate) convert: &'a dyn Convert,
    /// Whether what was converted is written, beginning where an earlier one was interrupted.
    pub(crate) writes: bool,
}

impl Pass<'_> {
    /// Returns how much was converted.
    pub(crate) async fn run(&self) -> Result<Converted, ConvertError> {
        let links = self.links().await?;
        let letters = self.letters().await?;
        let messages = self.messages().await?;
        Ok(Converted { links, payloads: letters + messages })
    }

    async fn begin_at(&self, key: &str) -> Result<i64, ConvertError> {
        if self.writes { self.held.reached(key).await } else { Ok(0) }
    }

    async fn links(&self) -> Result<u64, ConvertError> {
        let mut after = self.begin_at(LINKS_TO).await?;
        let mut count = 0;
        loop {
            let rows = self.held.rows(LINKS, &[&after, &MOST]).await?;
            let Some(last) = rows.last() else { return Ok(count) };
            let (mut versions, mut texts) = (Vec::new(), Vec::new());
            for row in &rows {
                let (version, peer, old) = link(row).map_err(|fault| self.held.error(&fault))?;
                let new = self.convert.link(&peer, old);
                let new =
                    new.map_err(|why| self.held.cause(format!("the link with {peer}"), why))?;
                if *new != *old {
                    versions.push(version);
                    texts.push(new);
                }
            }
            after = column(last, 0).map_err(|fault| self.held.error(&fault))?;
            count += texts.len() as u64;
            if self.writes {
                let texts: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
                let arguments: Arguments<'_> = &[&versions, &texts];
                self.held.write(&[(WRITE_LINKS, arguments)], &[(LINKS_TO, after)]).await?;
            }
        }
    }

    async fn letters(&self) -> Result<u64, ConvertError> {
        let mut after = self.begin_at(LETTERS_TO).await?;
        let mut count = 0;
        loop {
            let rows = self.held.rows(LETTERS, &[&after, &MOST, &MOST_BYTES]).await?;
            let Some(last) = rows.last() else { return Ok(count) };
            let (mut ids, mut payloads) = (Vec::new(), Payloads::default());
            for row in &rows {
                let letter = self.payload(row, 1, 5)?;
                let Some((link, peer, old)) = letter else { continue };
                let (id, at) = letter_id(row).map_err(|fault| self.held.error(&fault))?;
                let new = self.convert.letter(link, at, &old);
                let letter = loaded(id).map_err(|fault| self.held.error(&fault))?;
                let letter = self.held.letter(letter);
                let what = || format!("the dead letter {} of {peer}", letter.0);
                if payloads.add(link, &old, new.map_err(|why| self.held.cause(what(), why))?) {
                    ids.push(id);
                }
            }
            after = column(last, 0).map_err(|fault| self.held.error(&fault))?;
            count += ids.len() as u64;
            if self.writes {
                let bodies = payloads.bodies();
                let arguments: Arguments<'_> = &[&ids, &payloads.crcs, &payloads.kinds, &bodies];
                self.held.write(&[(WRITE_LETTERS, arguments)], &[(LETTERS_TO, after)]).await?;
            }
        }
    }

    async fn messages(&self) -> Result<u64, ConvertError> {
        let [mut peer, mut ord, mut seq] = [0; 3];
        for (at, key) in [&mut peer, &mut ord, &mut seq].into_iter().zip(MESSAGES_TO) {
            *at = self.begin_at(key).await?;
        }
        let mut count = 0;
        loop {
            let rows = self.held.rows(MESSAGES, &[&peer, &ord, &seq, &MOST, &MOST_BYTES]).await?;
            if rows.is_empty() {
                return Ok(count);
            }
            let (mut peers, mut ords, mut seqs) = (Vec::new(), Vec::new(), Vec::new());
            let (mut payloads, mut more) = (Payloads::default(), BTreeMap::<i32, i64>::new());
            for row in &rows {
                let at = message(row).map_err(|fault| self.held.error(&fault))?;
                (peer, ord, seq) = (i64::from(at.0), at.1, at.2);
                let Some((link, name, old)) = self.payload(row, 3, 5)? else { continue };
                let new = self.convert.message(link, &old);
                let what = || format!("the message {seq} for {name}");
                let new = new.map_err(|why| self.held.cause(what(), why))?;
                let longer = row::at_most(new.len() as u64) - row::at_most(old.len() as u64);
                if payloads.add(link, &old, new) {
                    peers.push(at.0);
                    ords.push(ord);
                    seqs.push(seq);
                    *more.entry(at.0).or_default() += longer;
                }
            }
            count += seqs.len() as u64;
            if self.writes {
                let bodies = payloads.bodies();
                let messages: Arguments<'_> =
                    &[&peers, &ords, &seqs, &payloads.crcs, &payloads.kinds, &bodies];
                let (of, by): (Vec<i32>, Vec<i64>) = more.into_iter().unzip();
                let bytes: Arguments<'_> = &[&of, &by];
                let statements = [(WRITE_MESSAGES, messages), (WRITE_BYTES, bytes)];
                let [to_peer, to_ord, to_seq] = MESSAGES_TO;
                let upto = [(to_peer, peer), (to_ord, ord), (to_seq, seq)];
                self.held.write(&statements, &upto).await?;
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
        let failed = |fault: Fault| self.held.error(&fault);
        let Some(id) = column::<Option<&[u8]>>(row, link_at).map_err(failed)? else {
            return Ok(None);
        };
        let name: &str = column(row, link_at + 1).map_err(failed)?;
        let mailbox = row::mailbox(id, name).map_err(failed)?;
        let read = row::payload(mailbox.link, row, payload_at);
        let what = || format!("a message of the link with {}", mailbox.peer);
        let payload = read.map_err(|fault| self.held.cause(what(), fault.why().to_owned()))?;
        Ok(Some((mailbox.link, mailbox.peer, payload)))
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
