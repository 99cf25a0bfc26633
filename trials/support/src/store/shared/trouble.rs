//! What can be done to a database that replicas share, and what can be seen of it from outside.

use std::ops::Range;
use std::time::Duration;

use paddington::LinkId;
use paddington::store::{ReplicaId, Signal};
use tokio::time::Instant;

use super::{Broken, SharedDisk};
use crate::Random;

impl SharedDisk {
    /// Leaves rules out.
    pub fn break_rules(&self, broken: Broken) {
        self.lock().broken = broken;
    }

    /// Ends the process of a replica: nothing of it reaches the database any more.
    pub fn kill(&self, replica: ReplicaId) {
        self.lock().replicas.get_mut(&replica).unwrap().gone = true;
    }

    /// Cuts a replica off from the database, or connects it again.
    pub fn cut_off(&self, replica: ReplicaId, cut_off: bool) {
        self.cut_off_from(replica, 0..self.shards, cut_off);
    }

    /// Cuts a replica off from some shards, or connects it again.
    pub fn cut_off_from(&self, replica: ReplicaId, shards: Range<usize>, cut_off: bool) {
        let mut shared = self.lock();
        let replica = shared.replicas.get_mut(&replica).unwrap();
        replica.shards[shards].iter_mut().for_each(|shard| shard.cut_off = cut_off);
        if !cut_off {
            let _ = replica.signals.try_send(Signal::Lost);
            replica.links.send_modify(|news| news.contacts += 1);
        }
    }

    /// Returns to what the database was `messages` messages of each mailbox ago, as after a failover to a
    /// standby that was behind. Requests are not durable.
    pub fn lose(&self, messages: usize) {
        let mut shared = self.lock();
        shared.epoch += 1;
        shared.requests.clear();
        for row in shared.rows.values_mut() {
            if let Some(stream) = row.streams.last_mut() {
                let kept = stream.messages.len().saturating_sub(messages);
                stream.messages.truncate(kept);
            }
        }
    }

    /// Returns which replica owns the link of a peer.
    #[must_use]
    pub fn owner(&self, link: LinkId) -> Option<ReplicaId> {
        self.lock().rows.get(&link)?.owner
    }

    /// Returns the number of messages that wait.
    #[must_use]
    pub fn messages(&self) -> usize {
        let shared = self.lock();
        let streams = shared.rows.values().flat_map(|row| &row.streams);
        streams.map(|stream| stream.messages.len()).sum()
    }

    /// Returns whether a message that waits, or a request, holds these bytes.
    #[must_use]
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let shared = self.lock();
        let streams = shared.rows.values().flat_map(|row| &row.streams);
        let messages = streams.flat_map(|stream| &stream.messages).map(|it| &it.payload);
        let mut all = messages.chain(shared.requests.values().map(|it| &it.request.payload));
        all.any(|payload| payload.windows(bytes.len()).any(|part| part == bytes))
    }

    /// Returns the number of requests in the database, answered ones included.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.lock().requests.len()
    }

    /// Returns the number of writes of replaced owners that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// Ends the session of a replica, which counts as dead at once, and notices it with its next beat.
    pub fn end_session(&self, replica: ReplicaId) {
        let mut shared = self.lock();
        for shard in &mut shared.replicas.get_mut(&replica).unwrap().shards {
            shard.until = Instant::now();
            shard.session_ended = true;
        }
    }

    /// Loses the answers to the next claims, which are durable.
    pub fn lose_claims(&self, number: usize) {
        self.lock().lost_claims = number;
    }

    /// Loses all signals from now on, or no more.
    pub fn deafen(&self, deaf: bool) {
        self.lock().deaf = deaf;
    }

    /// Lets answers take up to this time.
    pub fn delay(&self, random: Random, longest: Duration) {
        self.lock().delays = Some((random, longest));
    }

    /// Keeps answers back from now on, as a database that hangs does, or lets them go. What was asked for is done all
    /// the same; leases are renewed, and what is written lazily is answered.
    pub fn hold(&self, held: bool) {
        self.lock().held.send_modify(|is_held| *is_held = held);
    }

    /// Returns since when a replica knows that it must not call the handler for the peer of a link: the
    /// store has told it, or it has given the link up. `None` if it may, or does not know better.
    #[must_use]
    pub fn told_off(&self, link: LinkId, replica: ReplicaId) -> Option<Instant> {
        self.lock().rows.get(&link)?.told_off.get(&replica).copied()
    }
}
