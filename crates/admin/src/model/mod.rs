//! What the local API says and takes. Names are written in snake case, times as RFC 3339 in UTC, and
//! durations as seconds. The command reads what the server writes, with these same types.

mod change;
mod error;
mod letter;
mod message;
mod peer;
mod status;

pub use change::{
    Disconnected, Fingerprint, InvitationAnswer, InviteRequest, JoinRequest, PingAnswer,
    RangeRequest, RemoveQuery, RemovedAnswer, RenewRequest, WaitingMail,
};
pub use error::{ApiError, ErrorBody};
pub use letter::{LetterDetails, LetterSummary, Letters, Orphan, Outbox, OutboxEntry};
pub use message::{
    Accepted, Acknowledged, Content, FailedRequest, IdList, Incoming, IncomingMessages, NewMessage,
    NewMessages, OutcomeAnswer, Outcomes, ReplyAnswer, SendBody,
};
pub use peer::{
    FixedKeysWord, Inbox, Invitation, Keys, LastError, OutboxStatus, Peer, Peers, Received,
    Requests, Role, Sent, State,
};
pub use status::{EventEntry, HandlerKind, Ready, Refusal, Refusals, Service, Status};

use std::time::SystemTime;

/// A time as the API writes it: RFC 3339, in UTC, to the millisecond.
#[must_use]
pub fn time(moment: SystemTime) -> String {
    humantime::format_rfc3339_millis(moment).to_string()
}
