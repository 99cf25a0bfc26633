//! Changes of peers.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A client to be invited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// Its name.
    pub name: String,
    /// The addresses that it connects from, such as `192.0.2.0/24`.
    pub range: String,
    /// The encoding of its link, `sealed` or `hex`; `sealed` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// For how long the invitation is good; 0 for ever. If left out, as long as the service's setting says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u64>,
}

/// A new invitation for a client that is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// For how long it is good; 0 for ever. If left out, as long as the service's setting says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u64>,
}

/// An invitation. It holds keys: it is answered over the Unix socket only.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct InvitationAnswer {
    /// The invitation, as TOML.
    pub invitation: String,
    /// The fingerprint of its keys, as 32 hexadecimal digits.
    pub fingerprint: Option<Fingerprint>,
    /// When it is void; null for never.
    pub expires: Option<String>,
}

/// The fingerprint of an invitation's keys, as 32 hexadecimal digits.
pub type Fingerprint = String;

impl std::fmt::Debug for InvitationAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvitationAnswer").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// An invitation to be accepted.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The invitation, as TOML.
    pub invitation: String,
    /// The file with the only certificate authorities to trust, for a `wss` server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest").finish_non_exhaustive()
    }
}

/// The range of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeRequest {
    /// The addresses that it connects from.
    pub range: String,
}

/// The choice for messages that wait for a peer that is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitingMail {
    /// If there are any, the peer is not removed.
    #[default]
    Refuse,
    /// They are deleted.
    Purge,
    /// They stay in the outbox as those of a link that is gone.
    Keep,
}

/// How a peer is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
pub struct RemoveQuery {
    /// The choice for messages that wait for it.
    #[serde(default)]
    pub waiting: WaitingMail,
}

/// A peer was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedAnswer {
    /// How many messages waited for it.
    pub messages: u64,
    /// How many of its messages were not handled.
    pub unhandled: u64,
    /// Why what is stored for it is still there, if it was to be deleted.
    pub not_purged: Option<String>,
}

/// Whether there was a connection to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Disconnected {
    /// Whether there was one.
    pub was_connected: bool,
}

/// A round trip.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PingAnswer {
    /// The time that it took.
    pub round_trip_seconds: f64,
}

/// The outcome of reading a configuration again. Links are called by the names of their peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// Links that were added.
    pub added: Vec<String>,
    /// Links that were removed.
    pub removed: Vec<String>,
    /// Links that were changed.
    pub changed: Vec<String>,
    /// Links whose change was refused: they are as before.
    pub refused: Vec<RefusedChange>,
    /// Fields that differ and take effect with the next start only.
    pub restart: Vec<String>,
}

/// A change of a link that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedChange {
    /// The peer.
    pub peer: String,
    /// Why.
    pub reason: String,
}
