//! Updates: what the service says of itself while it is watched.

use paddington_admin::model::{EventEntry, Peers, Status};

use crate::failure::{Exit, Failure};

/// How many of the last events are kept.
const EVENTS: usize = 50;

/// A change of what is shown.
pub(super) enum Update {
    /// Everything.
    Status(Box<Status>),
    /// The peers that have changed.
    Peers(Peers),
    /// Something has happened.
    Event(EventEntry),
}

impl Update {
    /// Reads an event of the stream; `None` for one that this version does not know.
    pub(super) fn read(name: &str, data: &str) -> Result<Option<Self>, Failure> {
        let read = match name {
            "status" => {
                serde_json::from_str(data).map(|status| Some(Self::Status(Box::new(status))))
            }
            "peers" => serde_json::from_str(data).map(|peers| Some(Self::Peers(peers))),
            "event" => serde_json::from_str(data).map(|event| Some(Self::Event(event))),
            _ => Ok(None),
        };
        read.map_err(|error| {
            Failure::new(Exit::No, format!("the service has said {name:?} wrongly: {error}"))
        })
    }

    /// Brings a status up to date.
    pub(super) fn apply(self, status: &mut Status) {
        match self {
            Self::Status(whole) => *status = *whole,
            Self::Peers(changed) => {
                for peer in changed.peers {
                    match status.peers.binary_search_by(|known| known.name.cmp(&peer.name)) {
                        Ok(at) => status.peers[at] = peer,
                        Err(at) => status.peers.insert(at, peer),
                    }
                }
            }
            Self::Event(event) => {
                status.events.push(event);
                let over = status.events.len().saturating_sub(EVENTS);
                status.events.drain(..over);
            }
        }
    }
}
