//! How a request has ended, as the store keeps it: the asker gets the error that it would have got at the
//! replica that has the peer.

use paddington_wire::link::{Answer, CallEnd};
use paddington_wire::{PeerName, Text};

use crate::store::Ending;
use crate::{Reply, RequestError, SendError};

impl Ending {
    /// Returns how a request has ended at the replica that has made it; `None` if it was not made.
    pub(super) fn of(result: Result<Reply, RequestError>) -> Option<Self> {
        Some(match result {
            Ok(reply) => Self::Reply(reply.into_content().into()),
            Err(RequestError::Failed { code, text, .. }) => Self::Failed { code, text },
            Err(RequestError::TimedOut) => Self::TimedOut,
            Err(RequestError::Full { requests, .. }) => Self::Full { requests },
            Err(RequestError::Send(SendError::TooLong { max, .. })) => Self::TooLong { max },
            Err(RequestError::NotAnswering(_)) => Self::NotAnswering,
            Err(RequestError::PeerChanged(_)) => Self::PeerChanged,
            Err(RequestError::Removed(_)) => Self::Removed,
            Err(RequestError::Send(SendError::Removed(_))) => Self::Removed,
            Err(RequestError::Send(_)) => return None,
            Err(_) => Self::Moved,
        })
    }

    /// Returns what the asker is told, whose request had so many bytes.
    pub(super) fn reply(self, peer: &PeerName, len: usize) -> Result<Reply, RequestError> {
        let peer = peer.clone();
        Err(match self {
            Self::Reply(payload) => {
                return Reply::new(CallEnd::Answered(Answer::Reply(payload)), &peer);
            }
            Self::Failed { code, text } => {
                let text = text.map(Text::from).unwrap_or_default();
                return Reply::new(CallEnd::Answered(Answer::Failure { code, text }), &peer);
            }
            Self::TimedOut => RequestError::TimedOut,
            Self::Full { requests } => RequestError::Full { peer, requests },
            Self::TooLong { max } => SendError::TooLong { len, max }.into(),
            Self::NotAnswering => RequestError::NotAnswering(peer),
            Self::PeerChanged => RequestError::PeerChanged(peer),
            Self::Removed => RequestError::Removed(peer),
            Self::Moved => RequestError::Moved(peer),
            Self::Lost => RequestError::Lost(peer),
        })
    }
}

#[cfg(test)]
mod tests {
    use paddington_wire::FailureCode;

    use super::*;

    #[test]
    fn the_asker_is_told_what_it_would_be_told_where_the_peer_is() {
        let peer: PeerName = "sensor".parse().unwrap();
        let failed = |code| CallEnd::Answered(Answer::failure(code));
        let words = Answer::Failure { code: FailureCode::FAILED, text: "it is broken".into() };
        let ends = [
            CallEnd::Answered(Answer::Reply("21.5 °C".into())),
            CallEnd::Answered(words),
            failed(FailureCode::TEXT_ONLY),
            failed(FailureCode::EXPIRED),
            failed(FailureCode::NOT_ANSWERED),
            CallEnd::Expired,
            CallEnd::TooLong { len: 9, max: 8 },
            CallEnd::NotAnswered,
            CallEnd::PeerChanged,
        ];
        let errors = [
            RequestError::Full { peer: peer.clone(), requests: 7 },
            SendError::TooLong { len: 9, max: 8 }.into(),
            RequestError::Removed(peer.clone()),
            RequestError::Moved(peer.clone()),
        ];
        let there = ends.into_iter().map(|end| Reply::new(end, &peer));
        for told in there.chain(errors.map(Err)) {
            assert_eq!(Ending::of(told.clone()).unwrap().reply(&peer, 9), told);
        }
        assert_eq!(Ending::of(Err(SendError::ShuttingDown.into())), None, "another one makes it");
        let cancelled = Ending::of(Err(RequestError::Cancelled));
        assert_eq!(cancelled, Some(Ending::Moved), "this replica shuts down, and not the asker");
    }
}
