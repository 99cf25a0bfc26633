//! The events of a model.

/// One event. Numbers are those of a side (0 the client, 1 the server) or of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The application of a side sends a message.
    Send(usize),
    /// The application of a side makes a request.
    Ask(usize),
    /// A handler of a side answers a request.
    Reply {
        /// The side.
        side: usize,
        /// The position of the request among those that it was called with.
        index: usize,
        /// Whether it has failed, and has no reply.
        fails: bool,
    },
    /// Nobody waits any more for the answer to a request of a side.
    Cancel {
        /// The side.
        side: usize,
        /// The label of the request.
        label: usize,
    },
    /// The client opens a connection, and the server answers its hello.
    Dial,
    /// A side's link writes its next frame.
    Transmit(usize),
    /// The time after which a side acknowledges without a message has passed.
    Acknowledge(usize),
    /// The next frame of a connection arrives at a side.
    Deliver {
        /// The connection.
        connection: usize,
        /// The side where it arrives.
        side: usize,
    },
    /// A side notices that a connection is over, or its old task ends.
    Finish {
        /// The connection.
        connection: usize,
        /// The side that notices.
        side: usize,
    },
    /// One of the handlers that run at a side ends.
    Handle {
        /// The side.
        side: usize,
        /// The position of its message in the inbox.
        index: usize,
        /// Whether it gives the message up.
        rejects: bool,
    },
    /// A side hands its trims and cursors to its disk.
    Gather(usize),
    /// A side's disk makes the next message durable.
    CommitAppend(usize),
    /// A side's disk makes the next trim or cursor durable.
    CommitLazy(usize),
    /// A side hears what its disk has done.
    Answer(usize),
    /// A side reads a message from its disk.
    Read(usize),
    /// A connection breaks.
    Cut(usize),
    /// The client leaves its connection for a new one.
    Redial,
    /// A process dies and is started again.
    Crash(usize),
    /// The disk of a side is copied.
    Copy(usize),
    /// A side is started from the copy.
    SetBack(usize),
    /// A side's disk refuses what it was given.
    FailDisk(usize),
    /// The deadlines pass.
    Tick,
    /// A side ends its session, because a new one has to list more or to know more.
    Renew(usize),
    /// A second process takes the client's place.
    Twin,
    /// The second process leaves, and the first one goes on.
    Back,
}

impl Action {
    /// Returns whether this is trouble, and not an event that time brings anyway.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        matches!(
            self,
            Self::Cut(_)
                | Self::Redial
                | Self::Crash(_)
                | Self::Copy(_)
                | Self::SetBack(_)
                | Self::FailDisk(_)
                | Self::Tick
                | Self::Cancel { .. }
                | Self::Twin
        )
    }
}
