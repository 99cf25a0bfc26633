//! A peer, its link, and how it is at the moment.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All peers, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peers {
    /// The peers.
    pub peers: Vec<Peer>,
}

/// The role of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// This service has invited it.
    Client,
    /// It has invited this service.
    Server,
}

/// Whether the peer is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is connected.
    Connected,
    /// It is not.
    Away,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Whether this service connects to it. Otherwise it connects to this one.
    pub dialled: bool,
    /// Whether it is connected.
    pub state: State,
    /// Whether this replica owns the link; left out if no replicas share a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned: Option<bool>,
    /// The owner of a link that this replica does not own; left out if the database does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Since when; null if it was not connected since the service started.
    pub since: Option<String>,
    /// The encoding of its link: `sealed` or `hex`.
    pub encoding: String,
    /// Its software, as it says. It may be a lie.
    pub software: String,
    /// The address that it connects from, or is reached at.
    pub address: Option<String>,
    /// The last round trip that was measured.
    pub round_trip_seconds: Option<f64>,
    /// The messages that wait for it.
    pub outbox: OutboxStatus,
    /// Its messages that wait for this service's handler.
    pub inbox: Inbox,
    /// The messages for it, by outcome; null for a `hex` link, which reports none.
    pub sent: Option<Sent>,
    /// Its messages.
    pub received: Received,
    /// Requests in both directions.
    pub requests: Requests,
    /// Connections that were established since the service started.
    pub sessions: u64,
    /// The keys of its link.
    pub keys: Keys,
    /// The identity of its link.
    pub link: String,
    /// Of a client: the addresses that it may connect from.
    pub range: Option<String>,
    /// Of a server: where it is reached.
    pub url: Option<String>,
    /// Of a server: all its URLs, in the order in which they are preferred.
    #[serde(default)]
    pub urls: Vec<PeerUrl>,
    /// Whether handling its messages was stopped because the handler failed.
    pub halted: bool,
    /// Whether this service is not ready without it.
    pub required: bool,
    /// Why the last connection ended, or could not be made.
    pub last_error: Option<LastError>,
}

/// The owner of a link, where replicas share a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Owner {
    /// The number of the replica; null if no replica that lives owns the link.
    pub replica: Option<u32>,
}

/// One of the URLs of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerUrl {
    /// The URL.
    pub url: String,
    /// Whether the present connection came about by it.
    pub in_use: bool,
    /// Why the last attempt by it has failed, if it has not led to a connection since.
    pub last_error: Option<LastError>,
}

/// Messages that wait for a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutboxStatus {
    /// How many.
    pub messages: u64,
    /// Their bytes, with 24 for each.
    pub bytes: u64,
    /// How long the oldest one has waited.
    pub oldest_seconds: f64,
    /// How many are sent and not acknowledged.
    pub in_flight: u64,
    /// Whether they outlive the process.
    pub stored: bool,
}

/// Messages of a peer that wait for the handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Inbox {
    /// How many.
    pub messages: u64,
    /// The bytes that they occupy.
    pub bytes: u64,
}

/// Messages for a peer, since the service started. `accepted` is the sum of the others and of those
/// that wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sent {
    /// Accepted from this service's programs.
    pub accepted: u64,
    /// Handled by the peer.
    pub handled: u64,
    /// Rejected by the peer.
    pub rejected: u64,
    /// Given up because their time ran out.
    pub expired: u64,
    /// Given up because they are longer than the peer takes.
    pub too_long: u64,
}

/// Messages of a peer, since the service started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Received {
    /// Handled.
    pub handled: u64,
    /// Failed in the handler.
    pub failed: u64,
    /// Given up, and kept as dead letters.
    pub dead_letters: u64,
}

/// Requests, since the service started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Requests {
    /// Sent to the peer.
    pub requested: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Of these, without an answer in time.
    pub expired: u64,
    /// Of these, cancelled.
    pub cancelled: u64,
    /// Of these, those that wait for their answer.
    pub waiting: u64,
    /// The peer's requests that are not answered yet.
    pub unanswered: u64,
    /// Requests that this replica had another one make, which counts them in the numbers above.
    #[serde(default)]
    pub relayed: u64,
}

/// The keys of a link. The keys themselves are never shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Keys {
    /// The number of the generation in use; null if there was no contact yet, or none are counted.
    pub generation: Option<u64>,
    /// Since when this side has them.
    pub since: Option<String>,
    /// The number of the generation that both sides have agreed on, for the next connection.
    #[serde(default)]
    pub next: Option<u64>,
    /// Why they stay as they were handed over, if they do.
    pub fixed: Option<FixedKeysWord>,
    /// The invitation that waits to be used.
    pub invitation: Option<Invitation>,
}

/// Why keys are neither renewed nor burned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FixedKeysWord {
    /// It is a `hex` link.
    Hex,
    /// There is no folder of links.
    NoFolder,
    /// The peer has no place for new keys.
    Peer,
}

/// An invitation that was not used yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    /// The number of the generation of its keys.
    pub generation: u64,
    /// When it is void; null for never.
    pub expires: Option<String>,
}

/// Why a connection ended, or could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastError {
    /// When.
    pub at: String,
    /// The cause, as one word that stays the same: `connection_refused`, `keys_refused` and so on.
    pub code: String,
    /// The cause, in words.
    pub text: String,
    /// The remedy.
    pub remedy: Option<String>,
}
