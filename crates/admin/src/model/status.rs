//! How the service is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Orphan, Peer};

/// Everything about the service at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The service.
    pub service: Service,
    /// Whether it can do its work.
    pub ready: Ready,
    /// Its peers, by name.
    pub peers: Vec<Peer>,
    /// The last refusals, newest first.
    pub refusals: Vec<Refusal>,
    /// Orphans: mail of links that are gone; null if the store has not said in time.
    pub orphans: Option<Vec<Orphan>>,
    /// The last events, oldest first.
    pub events: Vec<EventEntry>,
}

/// The service itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its software.
    pub software: String,
    /// When it was started.
    pub started: String,
    /// For how long it has run.
    pub uptime_seconds: f64,
    /// The address that it listens on, if it has clients.
    pub listening: Option<String>,
    /// Where its clients reach it.
    pub url: String,
    /// This replica, if several share a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<Replica>,
    /// What its messages are stored in, if they are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// The receiver of the messages.
    pub handler: HandlerKind,
    /// Whether peers can be changed by the one who asks.
    pub changes: bool,
}

/// A replica of the service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Replica {
    /// Its number, which no other replica has ever had.
    pub number: u32,
    /// For how long the others certainly count it as living; 0 if they may count it as dead. Of several databases, the
    /// one counts in which that is longest.
    pub lease_seconds: f64,
    /// The same in each of several databases, in the order of the configuration. Messages of peers whose links live in
    /// one where it is 0 are not handled here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub database_lease_seconds: Vec<f64>,
    /// Number of links that it owns.
    pub links: u64,
    /// Number of times that it has become the owner of a link.
    #[serde(default)]
    pub claimed: u64,
    /// Number of times that it has given a link up.
    #[serde(default)]
    pub yielded: u64,
    /// Number of times that another replica has become the owner of a link of its own, while it counted as dead.
    #[serde(default)]
    pub deposed: u64,
}

/// The store, as this process uses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Store {
    /// Number of transactions that were committed.
    pub commits: u64,
    /// Number of messages that they have stored.
    pub messages: u64,
    /// Median duration of the last commits.
    pub commit_p50_seconds: f64,
    /// 99th percentile of the duration of the last commits.
    pub commit_p99_seconds: f64,
    /// Number of removed rows that still take up room, for each row that is there: many where something keeps the
    /// database from clearing them away.
    pub bloat: u64,
}

/// The receiver of the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandlerKind {
    /// Programs that ask for them here.
    Api,
    /// A program of the service's own: a command, a webhook, or the process itself.
    Program,
}

/// Whether the service can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Whether it can.
    pub ready: bool,
    /// Why not, one sentence each.
    pub reasons: Vec<String>,
}

/// The last refusals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusals {
    /// Newest first.
    pub refusals: Vec<Refusal>,
}

/// Connections from one address that were refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// When the first one was.
    pub first: String,
    /// When the last one was.
    pub last: String,
    /// The real address, behind a trusted proxy too.
    pub address: String,
    /// How far it came.
    pub stage: String,
    /// The cause, as one word that stays the same: `unknown_keys`, `address_not_admitted` and so on.
    pub code: String,
    /// The cause, in words.
    pub cause: String,
    /// The remedy.
    pub remedy: String,
    /// How many there were.
    pub count: u64,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventEntry {
    /// When.
    pub at: String,
    /// The kind, as one word: `up`, `down`, `duplicate`, `burned_keys` and so on.
    pub kind: String,
    /// The peer, if it is about one.
    pub peer: Option<String>,
    /// The event as a sentence.
    pub text: String,
}
