//! The reply to a request, and the reasons why there may be none.

use bytes::Bytes;
use paddington_wire::link::{Answer, CallEnd};
use paddington_wire::{Content, FailureCode, PeerName};
use thiserror::Error;

use crate::escaped::Escaped;
use crate::{NoExchange, SendError};

/// The reply of a peer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(Content);

/// The reason why a request has no reply.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The request was not accepted, or is longer than the peer accepts, which came later. It was not
    /// sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Too many requests wait to be sent to the peer. This one was not sent.
    #[error("{requests} requests to {peer} wait to be sent already")]
    Full {
        /// The peer.
        peer: PeerName,
        /// Number of requests that wait.
        requests: usize,
    },
    /// There was no answer in time. The peer may have handled the request.
    #[error("there was no answer in time")]
    TimedOut,
    /// This service has shut down before the answer came. The peer may have handled the request.
    #[error("this service has shut down before the answer came")]
    Cancelled,
    /// The peer was removed before the answer came. It may have handled the request.
    #[error("{0} was removed before the answer came")]
    Removed(PeerName),
    /// The peer was asked, and has moved to another replica of this service before the answer came, or
    /// the replica that had asked it was lost. The peer may have handled the request.
    #[error("{0} has moved to another replica of this service before the answer came")]
    Moved(PeerName),
    /// The store that the replicas of this service share has lost the request, because it was restarted,
    /// or because this replica was cut off from it for so long that it counted as dead. The peer may have
    /// handled the request.
    #[error("the shared store has lost the request to {0}")]
    Lost(PeerName),
    /// Too many requests of this replica wait for peers of other replicas. This one was not sent.
    #[error("{requests} requests of this replica wait for peers of other replicas already")]
    TooMany {
        /// Number of requests that wait.
        requests: usize,
    },
    /// The peer answers no requests. This one was not sent.
    #[error("{0} answers no requests")]
    NotAnswering(PeerName),
    /// The peer has not replied.
    #[error("{peer} has not replied: {code}{}", shown(text))]
    Failed {
        /// The peer.
        peer: PeerName,
        /// The reason.
        code: FailureCode,
        /// The words of the handler's error, if the peer [reveals](crate::Config::reveal_errors)
        /// them: what the peer says, not to be trusted.
        text: Option<String>,
    },
    /// Another process of the peer has taken the place of the one that was asked, which may have
    /// handled the request.
    #[error("the process of {0} that was asked is gone")]
    PeerChanged(PeerName),
    /// The link has the `hex` encoding, which has no requests.
    #[error("the link to {0} is a hex link, which has no requests: use a sealed invitation")]
    Hex(PeerName),
    /// The request is made in the handling of a request, that in the handling of another one, and so
    /// on, too often.
    #[error("the request is made within too many others")]
    TooDeep,
    /// The call refers to no service.
    #[error(transparent)]
    NoService(#[from] NoExchange),
}

impl Reply {
    pub(crate) fn new(end: CallEnd, peer: &PeerName) -> Result<Self, RequestError> {
        let peer = peer.clone();
        match end {
            CallEnd::Answered(Answer::Reply(payload)) => {
                let code = FailureCode::NOT_TEXT;
                let failed = |_| RequestError::Failed { peer, code, text: None };
                Content::try_from(payload).map(Self).map_err(failed)
            }
            CallEnd::Answered(Answer::Failure { code, text }) => Err(match code {
                FailureCode::EXPIRED => RequestError::TimedOut,
                FailureCode::NOT_ANSWERED => RequestError::NotAnswering(peer),
                code => {
                    let text = (!text.is_empty()).then(|| text.as_str().to_owned());
                    RequestError::Failed { peer, code, text }
                }
            }),
            CallEnd::Expired => Err(RequestError::TimedOut),
            CallEnd::TooLong { len, max } => Err(SendError::TooLong { len, max }.into()),
            CallEnd::NotAnswered => Err(RequestError::NotAnswering(peer)),
            _ => Err(RequestError::PeerChanged(peer)),
        }
    }

    /// Returns the text. Of bytes it is always empty: see [`is_bytes`](Self::is_bytes).
    #[must_use]
    pub fn payload(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the bytes, which share the reply's buffer; of a text, its UTF-8.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        self.0.as_bytes()
    }

    /// Returns whether the peer has replied with bytes. Otherwise the reply is text.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        self.0.is_bytes()
    }

    /// Returns the text or the bytes without copying them.
    #[must_use]
    pub fn into_content(self) -> Content {
        self.0
    }
}

fn shown(text: &Option<String>) -> String {
    text.as_ref().map(|text| format!(" ({})", Escaped(text))).unwrap_or_default()
}
