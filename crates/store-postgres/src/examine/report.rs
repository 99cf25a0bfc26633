//! What was found in the databases of a service: facts, without a judgement.

use std::time::Duration;

pub use crate::seal::Seal;

/// What was found of one database.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatabaseReport {
    /// Its hosts and its name, as errors show them.
    pub place: String,
    /// Its hosts, in the order of the URL.
    pub hosts: Vec<HostReport>,
    /// What was found at the host that a replica would use; `None` if none can be used.
    pub state: Option<DatabaseState>,
}

/// What was found of one host of a database.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostReport {
    /// Its name or address, and its port.
    pub host: String,
    /// Whether the database there accepts writes, or why it cannot be used.
    pub found: Result<Access, DatabaseFault>,
}

/// Whether a database can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It can be.
    Writes,
    /// It is a standby, or read-only for this role.
    ReadsOnly,
}

/// The reason why a database cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabaseFault {
    /// The step that failed.
    pub kind: DatabaseFaultKind,
    /// What the operating system, or the server, said. It holds no password.
    pub why: String,
}

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatabaseFaultKind {
    /// The name of the host has no address.
    Name,
    /// Nobody listens there, or packets do not get there.
    Connection,
    /// TLS: the certificate is not trusted, or the server speaks none.
    Tls,
    /// The server does not let the role in.
    Role,
    /// The password is wrong, or there is none.
    Password,
    /// The server has no such database.
    Database,
    /// The server has no connection left for this role.
    Connections,
    /// The server is starting, or shutting down.
    Starting,
    /// The server does not answer in time.
    NoAnswer,
    /// Something else.
    Other,
}

/// What was found in a database that can be used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatabaseState {
    /// The place of its host in the list.
    pub host: usize,
    /// The server.
    pub server: ServerState,
    /// Whether a pooler in transaction mode is in front of it.
    pub is_pooled: bool,
    /// The schema; `None` behind such a pooler.
    pub schema: Option<SchemaState>,
}

/// What was found of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerState {
    /// Its version, in words.
    pub version: String,
    /// Whether it is older than what the store needs.
    pub is_too_old: bool,
    /// Whether it syncs what it writes: `fsync`.
    pub fsync: bool,
    /// Whether it writes whole pages: `full_page_writes`.
    pub full_page_writes: bool,
    /// Which standbys a commit waits for: `synchronous_standby_names`.
    pub standby_names: String,
    /// The number of standbys that are connected.
    pub standbys: u64,
    /// How many of them a commit can wait for; `None` if the role may not know.
    pub synchronous: Option<u64>,
    /// Whether it is a standby.
    pub is_standby: bool,
    /// The connections.
    pub connections: ConnectionsState,
    /// How long a statement takes that does nothing: the fastest and the slowest of some.
    pub round_trip: (Duration, Duration),
    /// By how much the clock of the server is ahead of this machine's, in milliseconds; half of the fastest
    /// round trip is not certain.
    pub clock_ahead: i64,
}

/// The connections of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionsState {
    /// How many the server allows in all to those who are no superusers.
    pub allowed: u64,
    /// How many there are.
    pub used: u64,
    /// How many of them this role has, without those of the examination.
    pub of_role: u64,
    /// How many this role can still have.
    pub free: u64,
    /// The most that one replica opens.
    pub of_replica: u64,
}

/// What a schema is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SchemaState {
    /// It is not there, or empty. Whether the role may make the tables.
    Missing {
        /// Whether it may.
        may_create: bool,
    },
    /// The role may not look into it.
    Closed,
    /// It holds something else.
    Foreign,
    /// The role may not use these tables and functions of it.
    NotGranted(Vec<String>),
    /// It has another format.
    OtherFormat {
        /// Its format.
        found: i64,
        /// The format that this version reads and writes.
        known: i64,
    },
    /// It belongs to a service with another name.
    OtherService,
    /// It holds the messages of this service.
    Store(StoreState),
}

/// What a store holds.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StoreState {
    /// The place of the database in the list from 1, and the length of the list, as the database has them; `None` if
    /// no replica has been started yet.
    pub list: Option<(i64, i64)>,
    /// The replicas, the youngest beat first; those that ended in order are not among them.
    pub replicas: Vec<ReplicaState>,
    /// The number of links.
    pub links: u64,
    /// The number of messages that wait.
    pub waiting: u64,
    /// The number of links whose owner is dead.
    pub of_dead: u64,
    /// Links that have an owner, by name, with its number: first those whose owner is dead, and not more than
    /// 10 000.
    pub owners: Vec<(String, u32)>,
    /// Under what everything is sealed; `None` if nobody has said so yet.
    pub seal: Option<Seal>,
    /// The conversion that has not ended, if there is one: no replica starts before.
    pub conversion: Option<ConversionState>,
}

/// What a database knows of a conversion that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConversionState {
    /// What it leads to.
    pub to: Seal,
    /// Whether somebody is at it; else it was interrupted.
    pub is_running: bool,
}

/// What a database knows of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaState {
    /// Its number.
    pub number: u32,
    /// Its version.
    pub version: String,
    /// The age of its last beat.
    pub beat: Duration,
    /// Its lease.
    pub lease: Duration,
    /// Whether its session is there.
    pub is_connected: bool,
}

impl ReplicaState {
    /// Returns whether it lives, for the others.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.is_connected && self.beat < self.lease
    }
}
