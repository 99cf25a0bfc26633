//! Messages, requests, and what becomes of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The content of a message: text, or bytes in base64. Exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Content {
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes, in base64 with padding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// A message to be sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewMessage {
    /// The content.
    #[serde(flatten)]
    pub content: Content,
    /// How long it may wait before it is sent; if left out, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<f64>,
}

/// Messages to be sent in this order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewMessages {
    /// The messages.
    pub messages: Vec<NewMessage>,
}

/// Messages were accepted; the last of their ids says how far, if not all were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// Their ids; null for a `hex` link, which has none.
    pub ids: Vec<Option<String>>,
    /// Why no more of them were accepted, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<super::ApiError>,
}

/// The outcome of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutcomeAnswer {
    /// Its id; null on a `hex` link.
    pub id: Option<String>,
    /// `handled`, `sent` (on a `hex` link), `rejected`, `expired`, `too_long`, `abandoned`, `removed` or
    /// `left_in_store`.
    pub outcome: String,
    /// The outcome as a sentence, with the peer's words if it has sent any.
    pub text: String,
}

/// The outcomes of several messages, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcomes {
    /// Of each message that was accepted.
    pub outcomes: Vec<OutcomeAnswer>,
    /// Why no more of them were accepted, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<super::ApiError>,
}

/// The body of a request to send: one message, or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SendBody {
    /// Several.
    Several(NewMessages),
    /// One.
    One(NewMessage),
}

/// The reply to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplyAnswer {
    /// The content.
    #[serde(flatten)]
    pub content: Content,
}

/// A message for a consumer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Incoming {
    /// By this it is acknowledged. It is the service's own number, and another one after a restart.
    pub id: String,
    /// The peer that has sent it.
    pub peer: String,
    /// The content.
    #[serde(flatten)]
    pub content: Content,
    /// Whether the peer waits for a reply.
    pub request: bool,
    /// For how long it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// The id that the sender was told; null on a `hex` link.
    pub message_id: Option<String>,
    /// A number that grows whenever another replica takes the link over: whoever keeps the effects of messages can refuse
    /// those that come with a smaller one than it has seen for the peer. Left out where there are no replicas, of requests, and of dead
    /// letters that are handled again. A link that is made anew may count anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
}

/// Messages for a consumer, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IncomingMessages {
    /// The messages.
    pub messages: Vec<Incoming>,
}

/// Messages that are handled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdList {
    /// Their ids.
    pub ids: Vec<String>,
}

/// How many were acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Acknowledged {
    /// How many.
    pub acknowledged: u64,
    /// Those that nobody waits for any more: acknowledged before, given to another consumer, or cancelled.
    pub unknown: Vec<String>,
}

/// Why a message could not be handled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FailedRequest {
    /// The reason, for the log.
    #[serde(default)]
    pub reason: Option<String>,
}
