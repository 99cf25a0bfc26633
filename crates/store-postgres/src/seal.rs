//! How everything in a database is sealed, as the database says itself, and who may use it: a replica whose key
//! is another one changes nothing.
//!
//! Each connection of a replica holds a shared lock on the schema. Whoever seals everything anew holds it alone, so no
//! replica runs meanwhile. What is written down in `meta` keeps replicas away that come back later, from wherever they
//! were cut off.

use std::fmt;

use tokio_postgres::error::SqlState;

use crate::connect::{Connection, Target};
use crate::error::{Fault, OpenError};
use crate::row::column;

const MARK: &str = "SELECT max(value) FILTER (WHERE key = 'sealed'), max(value) FILTER (WHERE key = 'converting'), \
     coalesce(max(value) FILTER (WHERE key = 'converting_plain'), 0) FROM meta";

/// Under what everything in a database is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// It is not sealed.
    Plain,
    /// The key with this id.
    Key(u64),
}

impl Seal {
    /// The number for the database.
    pub(crate) fn stored(self) -> i64 {
        match self {
            Self::Plain => 0,
            Self::Key(id) => id.cast_signed(),
        }
    }

    fn loaded(number: i64) -> Self {
        match number.cast_unsigned() {
            0 => Self::Plain,
            id => Self::Key(id),
        }
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("not sealed"),
            Self::Key(id) => write!(f, "sealed under the key {id:016x}"),
        }
    }
}

/// What a database says of its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Under what everything is sealed; `None` if nobody has said so yet.
    pub(crate) seal: Option<Seal>,
    /// What a conversion that has not ended leads to.
    pub(crate) converting: Option<Seal>,
    /// Whether what that conversion has not reached yet is not sealed.
    pub(crate) was_plain: bool,
}

pub(crate) async fn read(connection: &Connection) -> Result<Mark, Fault> {
    let row = connection.row(MARK, &[]).await?;
    Ok(Mark {
        seal: column::<Option<i64>>(&row, 0)?.map(Seal::loaded),
        converting: column::<Option<i64>>(&row, 1)?.map(Seal::loaded),
        was_plain: column::<i64>(&row, 2)? != 0,
    })
}

/// Checks that everything in a database is sealed as this replica seals, which has no key yet if `own` is `None`. Returns
/// what the database says.
pub(crate) async fn check(
    own: Option<Seal>,
    target: &Target,
    connection: &Connection,
) -> Result<Result<Mark, OpenError>, Fault> {
    let mark = read(connection).await?;
    let schema = target.schema.clone();
    if mark.converting.is_some() {
        return Ok(Err(OpenError::Converting { schema }));
    }
    Ok(match mark.seal {
        Some(found) if own != Some(found) => Err(OpenError::OtherSeal { schema, found, own }),
        _ => Ok(mark),
    })
}

/// Says under what everything is sealed, unless somebody has said it, or something is there, which tells it. The lock
/// of the schema has to be held: whoever has it may be making the first key.
pub(crate) async fn claim(connection: &Connection, seal: Seal) -> Result<(), Fault> {
    const CLAIM: &str = "INSERT INTO meta VALUES ('sealed', $1) ON CONFLICT (key) DO NOTHING";
    if is_new(connection).await? {
        connection.execute(CLAIM, &[&seal.stored()]).await?;
    }
    Ok(())
}

/// Returns whether nothing was ever kept in a database.
pub(crate) async fn is_new(connection: &Connection) -> Result<bool, Fault> {
    const IS_NEW: &str =
        "SELECT NOT EXISTS (SELECT FROM directory) AND NOT EXISTS (SELECT FROM link)";
    column(&connection.row(IS_NEW, &[]).await?, 0)
}

/// Fails if everything was sealed anew since a replica has begun.
pub(crate) async fn is_still(connection: &Connection, mark: Mark) -> Result<(), Fault> {
    if read(connection).await? == mark {
        return Ok(());
    }
    let why = "what is in the database was sealed anew since this replica was started: restart it \
               with the keyring of that time";
    Err(Fault::Refused { code: Some(SqlState::LOCK_NOT_AVAILABLE), why: why.to_owned() })
}

/// Somebody holds the lock alone.
pub(crate) fn is_converted() -> Fault {
    let why = "what is in the database is being sealed anew";
    Fault::Refused { code: Some(SqlState::LOCK_NOT_AVAILABLE), why: why.to_owned() }
}
