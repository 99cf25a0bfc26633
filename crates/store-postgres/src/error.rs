//! Errors of opening a store, of converting what is in it, and of its statements.

use std::error::Error;
use std::time::Duration;

use paddington_exchange::store::StoreError;
use thiserror::Error;
use tokio_postgres::error::{Severity, SqlState};

use crate::lease::MIN_LEASE;
use crate::seal::Seal;

/// The reason why a store cannot be opened, or its schema not be created. None of the texts holds a
/// password.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no URL.
    #[error("no database is named")]
    NoUrl,
    /// The URL of a database cannot be read.
    #[error("the URL of a database is not valid: {0}")]
    Url(String),
    /// A schema may only have lower-case letters, digits and `_` in its name.
    #[error(
        "\"{0}\" cannot be the name of a schema: lower-case letters, digits and _ only, at most 40"
    )]
    SchemaName(String),
    /// The lease is too short or too long.
    #[error("a lease of {} s is not possible: at least {} s, at most an hour", .0.as_secs_f64(), MIN_LEASE.as_secs())]
    Lease(Duration),
    /// The certificates for the connection to the database cannot be used.
    #[error("the certificates for the connection to the database cannot be used: {0}")]
    Certificates(String),
    /// The database does not answer, or lets nobody in.
    #[error("the database at {place} cannot be used: {cause}")]
    Unreachable {
        /// Its hosts and name.
        place: String,
        /// What it said.
        cause: String,
    },
    /// The server is older than what this store needs.
    #[error("PostgreSQL {found} is too old: this store needs {} or newer", NEEDED / 10_000)]
    OldServer {
        /// Its version.
        found: String,
    },
    /// A setting of the server loses what was acknowledged.
    #[error(
        "{setting} is off at this server, so that it loses messages when its machine fails: turn it on"
    )]
    Unsafe {
        /// The setting.
        setting: &'static str,
    },
    /// The server only reads.
    #[error(
        "the database at {place} is a standby or read-only: name the primary, or add target_session_attrs=read-write"
    )]
    ReadOnly {
        /// Its hosts and name.
        place: String,
    },
    /// Two transactions of one connection are not of one session.
    #[error(
        "there is a pooler in transaction mode in front of the database: connect directly, or through \
         one in session mode"
    )]
    Pooler,
    /// There are no tables, and this role may not create them.
    #[error(
        "there is no schema \"{schema}\", and the role may not create it: run `migrate` once as one that may, or \
         GRANT CREATE ON DATABASE"
    )]
    NoSchema {
        /// The schema.
        schema: String,
    },
    /// The role may not use the tables.
    #[error(
        "the role may not use the tables in the schema \"{schema}\": {cause}; GRANT USAGE ON SCHEMA {schema}, and \
         GRANT ALL ON ALL TABLES and ALL SEQUENCES IN SCHEMA {schema}"
    )]
    NoRights {
        /// The schema.
        schema: String,
        /// What the server said.
        cause: String,
    },
    /// The schema holds something else.
    #[error("the schema \"{0}\" is not empty, and is not a store of paddington")]
    NotAStore(String),
    /// The tables were made by another version.
    #[error(
        "the schema \"{schema}\" has format {found}, and this version knows format {known} only"
    )]
    Format {
        /// The schema.
        schema: String,
        /// Its format.
        found: i64,
        /// The format that this version reads and writes.
        known: i64,
    },
    /// The tables belong to another service.
    #[error(
        "the schema \"{0}\" belongs to a service with another name: each service needs a schema or a \
         database of its own"
    )]
    OtherService(String),
    /// The list of databases has another order or length than before.
    #[error(
        "this database is number {number} of {of} in the list, and there are links in it from when it was number \
         {was_number} of {was_of}: keep the list as it was"
    )]
    OtherList {
        /// Its place in the list, from 1.
        number: usize,
        /// The length of the list.
        of: usize,
        /// Its place before.
        was_number: i64,
        /// The length before.
        was_of: i64,
    },
    /// Everything is being sealed anew, or that was interrupted.
    #[error(
        "what is in the schema \"{schema}\" is being sealed anew, or that was interrupted: wait for its end, or run it \
         again where the keyring with its key is (paddington doctor says which command and key)"
    )]
    Converting {
        /// The schema.
        schema: String,
    },
    /// Everything is sealed otherwise than this replica seals.
    #[error("what is in the schema \"{schema}\" is {found}, and this replica has {}", has(.found, .own))]
    OtherSeal {
        /// The schema.
        schema: String,
        /// Under what everything is sealed.
        found: Seal,
        /// Under what this replica seals; `None` for a key that is still to be made.
        own: Option<Seal>,
    },
}

/// Under what a replica seals, and what to do about it.
fn has(found: &Seal, own: &Option<Seal>) -> String {
    let own = match own {
        Some(Seal::Plain) => "no key".to_owned(),
        Some(Seal::Key(id)) => format!("the key {id:016x}"),
        None => "no keyring yet".to_owned(),
    };
    match found {
        Seal::Plain => format!("{own}: take [at_rest] out, or seal it (paddington at-rest seal)"),
        Seal::Key(_) => format!(
            "{own}: copy the keyring and its secret from the replica that was the first, or from where it was sealed \
             last, for [at_rest]"
        ),
    }
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

/// The oldest version of the server, as `server_version_num`.
pub(crate) const NEEDED: i32 = 140_000;

/// The failure of one statement.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The connection is gone, or never was there: what was asked for may be done or not.
    Lost(String),
    /// The server has refused it: nothing of it is done.
    Refused {
        /// The server's code, if it is the server that refused.
        code: Option<SqlState>,
        /// Its words.
        why: String,
    },
}

impl Fault {
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused { code: None, why: why.into() }
    }

    pub(crate) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code: Some(code), .. } if code.code() == wanted)
    }

    /// Returns whether the same statement will be refused again, because of what it says.
    pub(crate) fn is_final(&self) -> bool {
        let is_of_data =
            |code: &SqlState| ["22", "23"].contains(&code.code().get(..2).unwrap_or_default());
        matches!(self, Self::Refused { code, .. } if code.as_ref().is_none_or(is_of_data))
    }

    /// Returns whether the same transaction may succeed if it is tried once more.
    pub(crate) fn is_collision(&self) -> bool {
        self.is(SqlState::T_R_DEADLOCK_DETECTED.code())
            || self.is(SqlState::T_R_SERIALIZATION_FAILURE.code())
    }

    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Lost(why) | Self::Refused { why, .. } => why,
        }
    }

    /// The text of an error with its causes.
    pub(crate) fn chain(error: &dyn Error) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        text
    }

    /// The error of an operation that changes nothing, or nothing if it was refused.
    pub(crate) fn into_error(self) -> StoreError {
        StoreError::new(self.why())
    }

    /// The error of an operation that may be done all the same if the connection is lost.
    pub(crate) fn into_unsure(self) -> StoreError {
        match self {
            Self::Lost(why) => StoreError::unsure(why),
            Self::Refused { why, .. } => StoreError::new(why),
        }
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            return Self::Lost(Self::chain(&error));
        };
        // The detail of an error may show a row, and so a payload.
        let why = format!("{} ({})", answer.message(), answer.code().code());
        if answer.parsed_severity() == Some(Severity::Error) {
            return Self::Refused { code: Some(answer.code().clone()), why };
        }
        // A session that is terminated may have committed before.
        Self::Lost(why)
    }
}
