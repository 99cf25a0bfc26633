//! What can happen to two replicas and their peer, how often, and which rules can be left out.

/// A rule of `docs/cluster.md` that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// S1: whoever answers a peer owns its link.
    Claim,
    /// S2: the database refuses writes of replaced owners.
    Fence,
    /// S2: a refused write ends the term.
    Refusal,
    /// S3: a claim begins a new stream.
    Stream,
    /// S5: what others have accepted before is transmitted before.
    NextAwaited,
    /// S5: an owner looks at its link, whether a signal comes or not.
    Look,
    /// S7: no call begins after the lease.
    Lease,
    /// S7: after a lapse a replica asks what is still its own.
    Question,
    /// S8: whoever asks for an undecided commit waits for its end.
    Decision,
    /// S9: after a failover messages go to a new stream.
    Epoch,
    /// S10: calls begin in the lane only.
    Lane,
    /// S10: a call that runs keeps the lane.
    LaneKept,
    /// S10: what was handled before the lane was free is skipped.
    Skip,
    /// S13: no acknowledgement is sent before the handler is done.
    Done,
}

impl Rule {
    /// Every rule.
    pub const ALL: &[Self] = &[
        Self::Claim,
        Self::Fence,
        Self::Refusal,
        Self::Stream,
        Self::NextAwaited,
        Self::Look,
        Self::Lease,
        Self::Question,
        Self::Decision,
        Self::Epoch,
        Self::Lane,
        Self::LaneKept,
        Self::Skip,
        Self::Done,
    ];

    /// Returns words in the name of the situation that should notice that it is left out.
    pub(super) fn place(self) -> &'static str {
        match self {
            Self::Claim | Self::Lane | Self::LaneKept | Self::Skip => "moves",
            Self::Fence => "late writes",
            Self::Refusal => "sessions end",
            Self::Stream | Self::NextAwaited => "connections break",
            Self::Look => "signals",
            Self::Lease | Self::Question => "cut off",
            Self::Decision => "undecided",
            Self::Epoch => "failovers",
            Self::Done => "killed",
        }
    }
}

/// How often what may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Messages of the peer.
    pub sends: u8,
    /// Messages to the peer, which any replica accepts.
    pub accepts: u8,
    /// Commits of such messages whose answer is lost.
    pub undecided: u8,
    /// Signals that are lost.
    pub lost: u8,
    /// Connections that break, with all that is under way.
    pub cuts: u8,
    /// Connections that the peer leaves for a new one; what it has sent still arrives.
    pub redials: u8,
    /// Replicas that are killed and started again.
    pub kills: u8,
    /// Replicas that do not reach the database for a while, or are paused.
    pub cut_offs: u8,
    /// Sessions of a replica in the database that end.
    pub ended: u8,
    /// Failovers to a standby that is behind.
    pub failovers: u8,
}

/// One event. Numbers are those of a replica, or of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// The peer sends a message.
    Send,
    /// The database stores a message to the peer for a replica. The owner is told, or not.
    Accept(usize, bool),
    /// A replica hears that its message is stored.
    Hear(usize),
    /// A replica submits a message, and its connection to the database breaks.
    Submit(usize),
    /// The transaction of that message commits all the same.
    Commit,
    /// The replica asks whether it has.
    Decide(usize),
    /// The peer opens a connection to a replica.
    Dial(usize),
    /// A replica claims the link for the peer that has dialled, or goes on with it.
    Claim(usize),
    /// A replica that cannot claim the link lets the peer go.
    Refuse(usize),
    /// A replica gives the link up, because another one has the peer.
    Yield(usize),
    /// A replica leaves the lane that a call of an earlier term has kept.
    Leave(usize),
    /// A replica asks for the lane.
    TakeLane(usize),
    /// A replica asks the database what is its own.
    Look(usize),
    /// A replica reads the next message that others have accepted.
    Follow(usize),
    /// A link writes its next frame: of a replica, or of the peer.
    Transmit(Option<usize>),
    /// The same with an acknowledgement.
    Acknowledge(Option<usize>),
    /// The next frame of a connection arrives at the peer (0) or the replica (1).
    Deliver(usize, usize),
    /// The peer (0) or the replica (1) notices that a connection is over.
    Finish(usize, usize),
    /// A replica begins the next call of its handler, or skips what was handled elsewhere.
    Begin(usize),
    /// The call ends.
    End(usize),
    /// A replica hands what may be removed, and its cursor, to the database.
    Gather(usize),
    /// The database takes the next write of that, or refuses it.
    Write(usize),
    /// A connection breaks.
    Cut(usize),
    /// The peer leaves its connection.
    Redial,
    /// A replica is killed, and started again.
    Kill(usize),
    /// A replica does not reach the database any more.
    CutOff(usize),
    /// The lease of such a replica lapses by its own clock.
    Lapse(usize),
    /// The same by the clock of the database, which is later.
    Expire(usize),
    /// A replica reaches the database again.
    Contact(usize),
    /// A replica notices that its session has ended.
    Notice(usize),
    /// A replica renews its lease after a lapse, and asks what is still its own.
    Recover(usize),
    /// The session of a replica in the database ends.
    EndSession(usize),
    /// The standby has caught up, for the last time.
    Copy,
    /// The standby takes the place of the database.
    FailOver,
}

impl Act {
    /// Returns whether this is trouble, and not an event that time brings anyway.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        matches!(
            self,
            Self::Accept(_, false)
                | Self::Submit(_)
                | Self::Cut(_)
                | Self::Redial
                | Self::Kill(_)
                | Self::CutOff(_)
                | Self::EndSession(_)
                | Self::Copy
                | Self::FailOver
        )
    }
}
