//! Requests that one replica makes and another one answers, in the database that they share.

use std::collections::BTreeMap;
use std::time::Duration;

use paddington::LinkId;
use paddington::store::{
    Answer, Ending, Mailbox, Relay, RelayId, Relayed, ReplicaId, Signal, TakeOf,
};
use tokio::time::Instant;

use super::handle::Handle;
use super::rows::Shared;

/// The most requests that are taken at a time.
const MOST: usize = 16;
/// Time after its deadline after which a request is removed.
const LEFT_OVER: Duration = Duration::from_secs(60);

/// The requests in the database, by the replicas that have asked and their numbers.
pub(super) type Requests = BTreeMap<(ReplicaId, u64), Request>;

pub(super) struct Request {
    link: LinkId,
    pub(super) request: Relayed,
    deadline: Option<Instant>,
    taken_by: Option<ReplicaId>,
    turn: u32,
    ending: Option<Ending>,
}

impl Shared {
    /// Tells the owner of a link that there are requests for it.
    fn tell_asked(&self, link: LinkId) {
        if let Some(owner) = self.rows.get(&link).and_then(|row| row.owner) {
            self.tell(owner, Signal::Asked { link });
        }
    }

    /// Returns a request that a replica has taken and that has not ended.
    fn taken(&mut self, id: RelayId, by: ReplicaId) -> Option<&mut Request> {
        let request = self.requests.get_mut(&(id.asker, id.number))?;
        let is_taken = request.taken_by == Some(by) && request.turn == id.turn;
        (is_taken && request.ending.is_none()).then_some(request)
    }
}

impl Relay for Handle {
    fn ask(&self, mailbox: &Mailbox, number: u64, request: Relayed) -> Answer<()> {
        self.transact(self.at(mailbox.link), |shared| {
            let link = mailbox.link;
            let deadline = request.left.map(|left| Instant::now() + left);
            let (taken_by, turn, ending) = (None, 0, None);
            let request = Request { link, request, deadline, taken_by, turn, ending };
            shared.requests.insert((self.id, number), request);
            shared.tell_asked(link);
            Ok(())
        })
    }

    fn take(&self, of: TakeOf) -> Answer<Vec<(RelayId, Relayed)>> {
        let shards = match &of {
            TakeOf::All(shard) => *shard..*shard + 1,
            TakeOf::Links(links) => self.at_all(links.iter().copied()),
        };
        self.transact(shards, |shared| {
            let now = Instant::now();
            let Shared { requests, rows, .. } = shared;
            let waits = |request: &Request| {
                request.taken_by.is_none()
                    && request.ending.is_none()
                    && request.deadline.is_none_or(|deadline| deadline > now)
                    && rows.get(&request.link).is_some_and(|row| row.owner == Some(self.id))
                    && match &of {
                        TakeOf::All(shard) => self.disk.shard_of(request.link) == *shard,
                        TakeOf::Links(links) => links.contains(&request.link),
                    }
            };
            let waiting = requests.iter_mut().filter(|(_, request)| waits(request));
            let taken = waiting.take(MOST).map(|((asker, number), request)| {
                request.taken_by = Some(self.id);
                request.turn += 1;
                let (link, turn) = (request.link, request.turn);
                let left = request.deadline.map(|deadline| deadline - now);
                let id = RelayId { link, asker: *asker, number: *number, turn };
                (id, Relayed { left, ..request.request.clone() })
            });
            Ok(taken.collect())
        })
    }

    fn end(&self, id: RelayId, ending: Ending) -> Answer<()> {
        self.transact(self.at(id.link), |shared| {
            if let Some(request) = shared.taken(id, self.id) {
                request.ending = Some(ending);
                shared.tell(id.asker, Signal::Answered { link: id.link });
            }
            Ok(())
        })
    }

    fn give_back(&self, id: RelayId) -> Answer<()> {
        self.transact(self.at(id.link), |shared| {
            if let Some(request) = shared.taken(id, self.id) {
                request.taken_by = None;
                shared.tell_asked(id.link);
            }
            Ok(())
        })
    }

    fn endings(&self, links: Vec<LinkId>) -> Answer<Vec<(u64, Ending)>> {
        self.transact(self.at_all(links.iter().copied()), |shared| {
            let own = shared.requests.iter().filter(|((asker, _), _)| *asker == self.id);
            let of_links = own.filter(|(_, request)| links.contains(&request.link));
            let ended = of_links.map(|((_, number), it)| Some((*number, it.ending.clone()?)));
            Ok(ended.flatten().collect())
        })
    }

    fn look_after(&self, requests: Vec<(LinkId, u64)>) -> Answer<Vec<(u64, Ending)>> {
        let shards = self.at_all(requests.iter().map(|(link, _)| *link));
        self.transact(shards, |shared| {
            let ending = |(link, number): (LinkId, u64)| {
                let Some(request) = shared.requests.get(&(self.id, number)) else {
                    return Some((number, Ending::Lost));
                };
                match (request.taken_by, &request.ending) {
                    (_, Some(ending)) => Some((number, ending.clone())),
                    (Some(by), None) => {
                        (!shared.lives(by, link)).then_some((number, Ending::Moved))
                    }
                    (None, None) => {
                        shared.tell_asked(link);
                        None
                    }
                }
            };
            Ok(requests.into_iter().filter_map(ending).collect())
        })
    }

    fn withdraw(&self, link: LinkId, number: u64) -> Answer<()> {
        self.transact(self.at(link), |shared| {
            let removed = shared.requests.remove(&(self.id, number));
            let running = removed.filter(|request| request.ending.is_none());
            if let Some(by) = running.and_then(|request| request.taken_by) {
                shared.tell(by, Signal::GivenUp { link, asker: self.id, number });
            }
            Ok(())
        })
    }

    fn over(&self, shard: usize, taken: Vec<RelayId>) -> Answer<Vec<RelayId>> {
        self.transact(shard..shard + 1, |shared| {
            let now = Instant::now();
            let mut requests = std::mem::take(&mut shared.requests);
            requests.retain(|(asker, _), request| {
                let is_old = request.deadline.is_some_and(|deadline| deadline + LEFT_OVER < now);
                let is_elsewhere = self.disk.shard_of(request.link) != shard;
                is_elsewhere || (!is_old && shared.lives(*asker, request.link))
            });
            shared.requests = requests;
            let is_over = |id: &RelayId| shared.taken(*id, self.id).is_none();
            Ok(taken.into_iter().filter(is_over).collect())
        })
    }
}
