//! The contract for requests that one replica makes and another one answers, because that one has the
//! peer: the store hands them over. Implements `docs/cluster.md`, "Requests".
//!
//! A request is in the store from the time at which its **asker** has put it there until the asker
//! [withdraws](Relay::withdraw) it. The owner of the link **takes** it, makes it at the peer, and writes how it
//! has ended. Nothing of it is durable: a crash of the database ends all requests in it.

use std::fmt;
use std::time::Duration;

use paddington_wire::{FailureCode, LinkId, Payload};

use super::{Answer, Mailbox, ReplicaId};

/// What a store that replicas share does for requests.
///
/// Calls for one link take effect in the order in which they are made. Where links are spread over several
/// [shards](super::SharedStore::shards), an answer about many links omits those whose shard does not answer; so that
/// nobody waits for a shard that is slow to fail, whoever asks asks each of them alone.
pub trait Relay: fmt::Debug + Send + Sync {
    /// Puts a request of this replica into the store, under a number that this replica has given to no
    /// other one. The owner of the link is told with [`Signal::Asked`](super::Signal::Asked), if there is
    /// one.
    fn ask(&self, mailbox: &Mailbox, number: u64, request: Relayed) -> Answer<()>;

    /// Takes requests that nobody has taken, for links that this replica owns: some of them, none only if
    /// there are none. Requests whose time is over stay.
    ///
    /// Nobody gets a request that another one has taken, also after that one has died.
    fn take(&self, of: TakeOf) -> Answer<Vec<(RelayId, Relayed)>>;

    /// Writes how a request has ended that this replica has taken. The asker is told with
    /// [`Signal::Answered`](super::Signal::Answered). Nothing is written about what nobody waits for any
    /// more, or what has ended before.
    fn end(&self, id: RelayId, ending: Ending) -> Answer<()>;

    /// Gives a request back that this replica has taken and not made: the owner of the link may take it,
    /// and is told with [`Signal::Asked`](super::Signal::Asked).
    fn give_back(&self, id: RelayId) -> Answer<()>;

    /// Returns how requests of this replica for these links have ended, by their numbers, as far as their
    /// owners have written it.
    fn endings(&self, links: Vec<LinkId>) -> Answer<Vec<(u64, Ending)>>;

    /// Returns how some of these requests of this replica have ended, also where nobody has written it:
    /// [`Ending::Moved`] if the replica that had taken it is dead, [`Ending::Lost`] if the request is not
    /// there. Owners of links are told again of what they have not taken.
    fn look_after(&self, requests: Vec<(LinkId, u64)>) -> Answer<Vec<(u64, Ending)>>;

    /// Removes a request of this replica, whose answer has come or is not waited for any more. If somebody
    /// has taken it and it has not ended, that one is told with
    /// [`Signal::GivenUp`](super::Signal::GivenUp).
    fn withdraw(&self, link: LinkId, number: u64) -> Answer<()>;

    /// Removes the requests of dead replicas, and those whose time was over long ago, from a shard. Returns those of
    /// these requests for links of the shard, which this replica has taken, for whose answers nobody waits any more.
    fn over(&self, shard: usize, taken: Vec<RelayId>) -> Answer<Vec<RelayId>>;
}

/// A request that goes through the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// The request, text or bytes.
    pub payload: Payload,
    /// Number of requests in whose handling it is made.
    pub depth: u8,
    /// Time from now until nobody waits for the answer any more; `None` for no limit.
    pub left: Option<Duration>,
}

/// The name of a request that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId {
    /// The link.
    pub link: LinkId,
    /// The replica that has asked.
    pub asker: ReplicaId,
    /// The asker's number.
    pub number: u64,
    /// How often it was taken: whoever has given it back has nothing to say about it any more.
    pub turn: u32,
}

/// Which requests are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakeOf {
    /// Those for these links, as far as this replica owns them.
    Links(Vec<LinkId>),
    /// Those for all links of this shard that this replica owns.
    All(usize),
}

/// How a request has ended that went through the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer has replied.
    Reply(Payload),
    /// The peer has no reply.
    Failed {
        /// The reason.
        code: FailureCode,
        /// The words of the handler's error, if the peer reveals them.
        text: Option<String>,
    },
    /// There was no answer in time.
    TimedOut,
    /// Too many requests wait to be sent to the peer.
    Full {
        /// Number of requests that wait.
        requests: usize,
    },
    /// It is longer than the peer accepts.
    TooLong {
        /// The longest request that the peer accepts, in bytes.
        max: u32,
    },
    /// The peer answers no requests.
    NotAnswering,
    /// Another process of the peer has taken the place of the one that was asked.
    PeerChanged,
    /// The peer was removed.
    Removed,
    /// The replica that has asked the peer does not own the link any more.
    Moved,
    /// The store has lost the request.
    Lost,
}
