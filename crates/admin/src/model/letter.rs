//! Mail that waits, that could not be handled, and that nobody owns any more.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Content;

/// All dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Letters {
    /// Oldest first.
    pub letters: Vec<LetterSummary>,
}

/// A message that could not be handled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LetterSummary {
    /// Its number here.
    pub id: u64,
    /// The peer that has sent it.
    pub peer: String,
    /// The id that the sender was told.
    pub message_id: String,
    /// When it was given up.
    pub at: String,
    /// Why it was given up, as one word.
    pub code: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A dead letter with what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LetterDetails {
    /// The facts about it.
    #[serde(flatten)]
    pub summary: LetterSummary,
    /// The content.
    #[serde(flatten)]
    pub content: Content,
}

/// The mail that waits for each peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Outbox {
    /// By peer.
    pub peers: Vec<OutboxEntry>,
    /// Orphans: mail of links that are gone.
    pub orphans: Vec<Orphan>,
}

/// The mail that waits for one peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutboxEntry {
    /// The peer.
    pub peer: String,
    /// How many messages.
    pub messages: u64,
    /// Their bytes, with 24 for each.
    pub bytes: u64,
    /// How long the oldest one has waited.
    pub oldest_seconds: f64,
}

/// An orphan: mail of a link that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Orphan {
    /// The name that its peer had.
    pub peer: String,
    /// The link's identity.
    pub link: String,
    /// How many messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many dead letters.
    pub dead_letters: u64,
    /// Since when the oldest one may have waited.
    pub since: Option<String>,
}
