//! A connection: two ends and the frames under way. The network may cut it, and each end notices
//! that in its own time.

use std::collections::VecDeque;

use paddington_wire::{Frame, Ready, SessionId, Ticket};

/// The index of the client in every pair.
pub const CLIENT: usize = 0;
/// The index of the server in every pair.
pub const SERVER: usize = 1;

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// It waits for the other side's READY. The server has sent its own by then; that READY and the
    /// bytes that the inbox then held are kept.
    Waiting(Ticket, Option<(Ready, u64)>),
    /// Its session is open, as far as this side knows.
    Live(SessionId),
    /// A newer connection has taken the slot; its task has not ended yet.
    Replaced(SessionId),
    /// It has no end on this side any more.
    Gone,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Both ends.
    pub ends: [End; 2],
    /// The frames on their way to each end.
    pub frames: [VecDeque<Frame>; 2],
    /// Whether nothing more can be sent on it.
    pub broken: bool,
}

impl Connection {
    /// Opens a connection whose server has just sent its READY.
    #[must_use]
    pub fn new(tickets: [Ticket; 2], servers: Ready, held: u64) -> Self {
        let ready = Frame::Ready(servers.clone());
        Self {
            ends: [
                End::Waiting(tickets[CLIENT], None),
                End::Waiting(tickets[SERVER], Some((servers, held))),
            ],
            frames: [VecDeque::from([ready]), VecDeque::new()],
            broken: false,
        }
    }

    /// The session that `side` believes to be open.
    #[must_use]
    pub fn live(&self, side: usize) -> Option<SessionId> {
        match self.ends[side] {
            End::Live(session) => Some(session),
            _ => None,
        }
    }

    /// Cuts it in the network, with all that is under way.
    pub fn cut(&mut self) {
        self.broken = true;
        self.frames.iter_mut().for_each(VecDeque::clear);
    }

    /// Ends one side, whose process is gone or has left it. What that side has sent still arrives.
    pub fn leave(&mut self, side: usize) {
        self.broken = true;
        self.ends[side] = End::Gone;
        self.frames[side].clear();
    }

    /// Returns whether `side` can notice now that it is over.
    #[must_use]
    pub fn can_end(&self, side: usize) -> bool {
        match self.ends[side] {
            End::Gone => false,
            End::Replaced(_) => true,
            _ => self.broken && self.frames[side].is_empty(),
        }
    }

    /// Returns whether both ends are gone.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ends == [End::Gone, End::Gone]
    }
}
