//! The words of the local API: everything that it says and takes. Names are written in snake case,
//! times as RFC 3339 in UTC, and durations as seconds. The command reads what the server writes, with
//! these same types.

mod change;
mod convert;
mod error;
mod letter;
mod message;
mod peer;
mod status;
mod time;

pub use change::{
    Disconnected, Fingerprint, InvitationAnswer, InviteRequest, JoinRequest, PingAnswer,
    RangeRequest, RefusedChange, Reloaded, RemoveQuery, RemovedAnswer, RenewRequest, WaitingMail,
};
pub use error::{ApiError, ErrorBody};
pub use letter::{LetterDetails, LetterSummary, Letters, Orphan, Outbox, OutboxEntry};
pub use message::{
    Accepted, Acknowledged, Content, FailedRequest, IdList, Incoming, IncomingMessages, NewMessage,
    NewMessages, OutcomeAnswer, Outcomes, ReplyAnswer, SendBody,
};
pub use peer::{
    FixedKeysWord, Inbox, Invitation, Keys, LastError, OutboxStatus, Owner, Peer, PeerUrl, Peers,
    Received, Requests, Role, Sent, State,
};
pub use status::{
    EventEntry, HandlerKind, Ready, Refusal, Refusals, Replica, Service, Status, Store,
};
pub use time::time;
