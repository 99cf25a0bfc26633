//! The contract of a store that several replicas of one service share. Implements `docs/cluster.md`,
//! "Rules", whose numbers are named here.
//!
//! Each link has at most one **owner**, the replica that transmits to the peer and takes from it. A
//! [claim](SharedStore::claim) makes an owner; its number, the [`Fence`], grows with every claim. Any
//! replica [accepts](SharedStore::accept) messages for any peer. The **lane** is the right to call the
//! handler for the peer's messages: a new owner may have to wait for it, until a handler that runs at
//! the previous one has ended. The links are spread over **shards**, each of which fails alone.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use paddington_wire::link::{Outcome, StoredCursor, StoredStream};
use paddington_wire::{Instance, LinkId, MessageId, Payload, RejectCode, RejectText};
use tokio::sync::mpsc;

use super::{Answer, Borrowed, Directory, Fence, LetterId, LinkStore, Mailbox, Relay};

/// A store that several replicas of one service share.
///
/// Calls that name a [`Fence`] are refused with [`StoreError::is_stale`](super::StoreError::is_stale),
/// and change nothing, once the link has another owner (S2): those of [`Backlog`](super::Backlog), and
/// [`settle`](Self::settle), need the fence of the present owner, those of
/// [`Cursors`](super::Cursors), and [`add_letter`](super::DeadLetters::add_letter), that of whoever holds
/// the lane. `read` needs none.
///
/// [`append`](super::Outbox::append) does not exist here: a message has no number before it is
/// [accepted](Self::accept).
///
/// Each link lives in one [shard](Self::shard_of), always the same (S15), and what is asked about it needs no other
/// one. A replica has a [lease](Self::lease) in each.
pub trait SharedStore: LinkStore + Directory + Relay {
    /// Returns the number of this replica, which no other one has ever had.
    fn replica(&self) -> ReplicaId;

    /// Returns the number of shards, at least one. It never changes.
    fn shards(&self) -> usize;

    /// Returns the shard of a link, a number below [`shards`](Self::shards). It is asked before each call of a
    /// handler, and so cheap.
    fn shard_of(&self, link: LinkId) -> usize;

    /// Returns the time for which this replica certainly lives in the eyes of all others, from now on, as far as
    /// links of this shard go; zero if it may be taken for dead (S7). It is measured by a clock that goes on while
    /// the machine sleeps. Once it was zero, it stays so until [`owned`](Self::owned) was answered for the shard after
    /// that, because others may have become owners meanwhile. It is asked before each call of a handler, and so cheap.
    fn lease(&self, shard: usize) -> Duration;

    /// Resolves once the [lease](Self::lease) has lapsed: at once if it has.
    fn lapsed(&self, shard: usize) -> BoxFuture<'static, ()>;

    /// Returns how many bytes of payload wait beyond `floor` in each mailbox, in all of them together, as of a few
    /// seconds ago: what other replicas have accepted since is not counted yet. It is asked for each message, and so
    /// cheap.
    fn waiting_beyond(&self, floor: u64) -> u64;

    /// Stores a message at the end of the mailbox's newest stream, and numbers it without a gap (S4). It
    /// is durable once this is answered, and the owner of the link is told with [`Signal::Appended`].
    ///
    /// Messages of one mailbox that this replica submits get their numbers in the order of the calls. An
    /// error means that the message is certainly not stored, and never will be, unless
    /// [`may_be_stored`](super::StoreError::may_be_stored) says otherwise (S8).
    fn accept(&self, mailbox: &Mailbox, message: Submission) -> Answer<Accepted>;

    /// Reads messages of one stream that were accepted, in order, starting with `first`: at least one if
    /// there is any, and about `max_bytes` of payload at most.
    fn follow(
        &self,
        mailbox: &Mailbox,
        first: MessageId,
        max_bytes: usize,
    ) -> Answer<Vec<Followed>>;

    /// Makes this replica the owner of a link, unless another replica owns it and lives (S1, S7). In the
    /// same transaction a new stream is begun, to which all messages go from then on (S3), and the lane
    /// is given to this replica if nobody holds it or its holder is dead (S10); a call of this replica
    /// that has [kept](LaneLeft::Kept) it since an earlier fence holds it like that of any other. Whoever
    /// was the owner is none from then on, this replica itself with an earlier fence included. `last` is the
    /// fence of the latest term of the link that this replica knows: a later claim, whose answer was lost,
    /// holds the lane for nobody.
    fn claim(&self, mailbox: &Mailbox, last: Fence) -> Answer<Claimed>;

    /// Gives links up: they have no owner from then on, and those whose lane is not
    /// [kept](LaneLeft::Kept) nobody in it. Links that were claimed again since keep their owner: of them
    /// only the lane is left, if it is that of this fence. A shard that fails keeps no links in the others.
    fn release(&self, links: Vec<(Mailbox, Fence, LaneLeft)>) -> Answer<()>;

    /// Enters the lane for the owner with this fence, if nobody holds it, its holder is dead, or the claim
    /// has given it, and returns all cursors as they are then; `None` if somebody holds it.
    fn take_lane(&self, mailbox: &Mailbox, fence: Fence) -> Answer<Option<Vec<StoredCursor>>>;

    /// Leaves the lane that was entered with this fence, after the link was released with the lane kept, or
    /// was lost. The present owner is told with [`Signal::LaneFree`]. It is
    /// [stale](super::StoreError::is_stale) if somebody else is in the lane.
    fn free_lane(&self, mailbox: &Mailbox, fence: Fence) -> Answer<()>;

    /// Keeps the fates of messages that were not handled, for those who
    /// [ask](Self::fates), the last 4 096 of a mailbox. To be called before the messages are
    /// [removed](super::Backlog::trim): written lazily like that, and not later.
    fn settle(&self, mailbox: &Mailbox, fates: Vec<Fate>, fence: Fence) -> Answer<()>;

    /// Returns what has become of messages. When messages are removed that a replica has accepted, it is
    /// told with [`Signal::Settled`].
    fn fates(&self, mailbox: &Mailbox, ids: Vec<MessageId>) -> Answer<Vec<Settled>>;

    /// Returns the links of a shard that this replica owns, with the newest number of each. After a lapse this is
    /// what makes the [lease](Self::lease) in that shard count again.
    fn owned(&self, shard: usize) -> Answer<Vec<Owned>>;

    /// Returns which replicas own these links. A link that no replica owns, or one that is dead, is left out.
    /// It is for those who look at a service, and may be another's once it is answered.
    fn owners(&self, links: Vec<LinkId>) -> Answer<Vec<(LinkId, ReplicaId)>>;

    /// Borrows a dead letter, to handle it once more: it stays in the store, and no other replica gets it
    /// as long as this one lives (S7) and has not [returned](Self::return_letter) it. The answer names another
    /// living replica that has borrowed it. This replica itself may borrow it once more, because
    /// the answer may have been lost; then what was borrowed before counts as returned. Whoever has handled a
    /// letter [takes](super::DeadLetters::take_letter) it.
    fn borrow_letter(&self, id: LetterId) -> Answer<Borrowed>;

    /// Returns a dead letter that was borrowed and is not handled, so that every replica may borrow it. It
    /// changes nothing if the letter was borrowed once more since, or is not there.
    fn return_letter(&self, id: LetterId, turn: u32) -> Answer<()>;

    /// Tells another replica something, or this one. It may be lost (S5).
    fn tell(&self, to: ReplicaId, signal: Signal);

    /// Returns what this replica is told from now on. It is called once.
    fn signals(&self) -> Signals;
}

/// The number of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u32);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A message to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The message, text or bytes.
    pub payload: Payload,
    /// Time from now until it expires; `None` if it never does.
    pub ttl: Option<Duration>,
    /// Bounds beyond which it is not accepted.
    pub bounds: Bounds,
}

/// A message that was accepted, as the owner of the link reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The message, text or bytes.
    pub payload: Payload,
    /// Time from now until it expires; `None` if it never does.
    pub ttl: Option<Duration>,
}

/// What may wait in a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Number of messages.
    pub messages: u64,
    /// Number of bytes of their payload.
    pub bytes: u64,
}

/// Answer to a [submission](SharedStore::accept).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The message is stored, with this id.
    Stored(MessageId),
    /// It would exceed the bounds, and is not stored.
    Full {
        /// Number of messages that wait.
        messages: u64,
        /// Number of bytes of their payload.
        bytes: u64,
    },
}

/// Answer to a [claim](SharedStore::claim).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The link is this replica's.
    Owned(Box<Claim>),
    /// It is another living replica's.
    Held(ReplicaId),
}

/// A link that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The number of the claim, which every write of the owner names.
    pub fence: Fence,
    /// The stream that was begun, which is this side's instance on the link.
    pub stream: Instance,
    /// The earlier streams that have messages, oldest first.
    pub streams: Vec<StoredStream>,
    /// All cursors.
    pub cursors: Vec<StoredCursor>,
    /// The messages of the peer that are dead letters.
    pub letters: Vec<(MessageId, RejectCode)>,
    /// Whether this owner holds the lane; else it has to [enter](SharedStore::take_lane) it before it calls
    /// the handler.
    pub has_lane: bool,
}

/// What becomes of the lane when a link is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneLeft {
    /// It is free.
    Free,
    /// A handler runs, and keeps it until [`free_lane`](SharedStore::free_lane).
    Kept,
}

/// A link that a replica owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The link.
    pub link: LinkId,
    /// The number of the claim.
    pub fence: Fence,
    /// The stream to which messages go. It is another one than that of the claim if the store has lost
    /// messages since (S9): then the link has to be claimed anew.
    pub stream: Instance,
    /// The number of its newest message; 0 if there was none yet.
    pub last: u64,
}

/// The fate of a message that was not handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The message.
    pub id: MessageId,
    /// What has become of it.
    pub outcome: Outcome,
    /// What the peer has said about a rejection.
    pub text: RejectText,
}

impl Fate {
    pub(crate) fn new(id: MessageId, outcome: Outcome, text: Option<RejectText>) -> Self {
        Self { id, outcome, text: text.unwrap_or_default() }
    }
}

/// What is known about an accepted message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It waits.
    Waiting,
    /// The peer has handled it, or it was settled so long ago that its fate is forgotten.
    Handled,
    /// It was not handled.
    Unhandled(Outcome, RejectText),
}

/// Something that a replica is told. Signals make things fast; nothing depends on their arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// To the owner of a link: a stream has messages up to this number.
    Appended {
        /// The link.
        link: LinkId,
        /// The stream.
        stream: Instance,
        /// The number.
        number: u64,
    },
    /// To a replica that has accepted messages: some have been removed.
    Settled {
        /// The link.
        link: LinkId,
    },
    /// To the owner of a link: another replica has the peer at its door.
    Yield {
        /// The link.
        link: LinkId,
        /// The peer's instance; `None` if this service is the client and only asks.
        life: Option<Instance>,
        /// Who asks.
        from: ReplicaId,
    },
    /// To whoever has asked: the owner has given the link up, or keeps it because another process of
    /// the peer is connected (S11).
    Yielded {
        /// The link.
        link: LinkId,
        /// Whether it was given up.
        free: bool,
    },
    /// To the owner of a link: nobody is in the lane any more.
    LaneFree {
        /// The link.
        link: LinkId,
    },
    /// To the owner of a link: requests for it are in the store.
    Asked {
        /// The link.
        link: LinkId,
    },
    /// To a replica that has asked: requests for a link have ended.
    Answered {
        /// The link.
        link: LinkId,
    },
    /// To a replica that has taken a request: nobody waits for the answer any more.
    GivenUp {
        /// The link.
        link: LinkId,
        /// The replica that has asked.
        asker: ReplicaId,
        /// The asker's number of the request.
        number: u64,
    },
    /// Signals may have been lost.
    Lost,
}

impl Signal {
    /// Returns the link that it is about, if it is about one.
    #[must_use]
    pub fn link(&self) -> Option<LinkId> {
        match self {
            Self::Appended { link, .. }
            | Self::Settled { link }
            | Self::Yield { link, .. }
            | Self::Yielded { link, .. }
            | Self::LaneFree { link }
            | Self::Asked { link }
            | Self::Answered { link }
            | Self::GivenUp { link, .. } => Some(*link),
            Self::Lost => None,
        }
    }

    /// Returns whether it is about a request.
    pub(crate) fn is_of_request(&self) -> bool {
        matches!(self, Self::Asked { .. } | Self::Answered { .. } | Self::GivenUp { .. })
    }
}

/// What a replica is told, in the order of arrival. Where more arrives than there is room for, the rest is
/// replaced by [`Signal::Lost`].
pub type Signals = mpsc::Receiver<Signal>;
