//! The directory of links of a database that replicas share.

use std::collections::BTreeMap;
use std::ops::Range;

use futures_util::FutureExt;
use paddington::LinkId;
use paddington::store::{Answer, Directory, DirectoryNews, LinkEntry, StoreError, Written};
use tokio::sync::watch;

use super::SharedDisk;
use super::handle::Handle;
use super::rows::Shared;

/// Number of entries that are read at a time.
const PAGE: usize = 4;
/// The shard in which the states of all links are (S15).
const FIRST: Range<usize> = 0..1;

/// The entries, and the greatest version.
#[derive(Clone, Default)]
pub(super) struct Links {
    entries: BTreeMap<LinkId, LinkEntry>,
    pub(super) version: u64,
    /// Number of readings that are still to fail.
    refusals: usize,
}

impl Links {
    fn write(&mut self, entry: LinkEntry, epoch: u64) -> Written {
        let of_link = self.entries.get(&entry.link);
        let returns = of_link.is_some_and(|it| it.text.is_none()) && entry.text.is_some();
        let is_taken = |it: &LinkEntry| it.link != entry.link && it.peer == entry.peer;
        let is_taken = |it: &LinkEntry| it.text.is_some() && is_taken(it);
        let conflicts = entry.text.is_some() && self.entries.values().any(is_taken);
        if of_link.map_or(0, |it| it.version) != entry.version || returns || conflicts {
            return Written::Conflict;
        }
        self.version = (self.version + 1).max(epoch << 40);
        let version = self.version;
        self.entries.insert(entry.link, LinkEntry { version, ..entry });
        Written::Done(version)
    }
}

impl Shared {
    /// Tells replicas that a link was changed.
    fn tell_links(&self) {
        let version = self.links.version;
        let told =
            self.replicas.values().filter(|it| !it.gone && !it.shards[0].cut_off && !self.deaf);
        told.for_each(|replica| DirectoryNews::hear(&replica.links, version));
    }
}

impl SharedDisk {
    /// Lets the next readings of links fail, this many, although the database can be reached.
    pub fn refuse_links(&self, times: usize) {
        self.lock().links.refusals = times;
    }

    /// Returns how many readings of links are still to fail.
    #[must_use]
    pub fn links_refused(&self) -> usize {
        self.lock().links.refusals
    }

    /// Returns to the links of an earlier state of the database, as after a failover to a standby that was
    /// behind.
    pub fn lose_links_since(&self, earlier: &SharedDisk) {
        let links = earlier.lock().links.clone();
        let mut shared = self.lock();
        shared.epoch += 1;
        shared.links = links;
        shared.replicas.values().for_each(|it| it.links.send_modify(|news| news.contacts += 1));
    }

    /// Returns a copy of the links, with nothing else.
    #[must_use]
    pub fn copy_of_links(&self) -> SharedDisk {
        let copy = Self::with_shards(self.lease, self.shards);
        copy.lock().links = self.lock().links.clone();
        copy
    }
}

impl Directory for Handle {
    fn entries(&self, after: u64) -> Answer<Vec<LinkEntry>> {
        self.transact(FIRST, |shared| {
            if let Some(left) = shared.links.refusals.checked_sub(1) {
                shared.links.refusals = left;
                return Err(StoreError::new("permission denied for table directory"));
            }
            let newer = shared.links.entries.values().filter(|entry| entry.version > after);
            let mut newer: Vec<_> = newer.cloned().collect();
            newer.sort_unstable_by_key(|entry| entry.version);
            newer.truncate(PAGE);
            Ok(newer)
        })
    }

    fn versions(&self) -> Answer<Vec<(LinkId, u64)>> {
        let of = |entry: &LinkEntry| (entry.link, entry.version);
        self.transact(FIRST, |shared| Ok(shared.links.entries.values().map(of).collect()))
    }

    fn write(&self, entries: Vec<LinkEntry>) -> Answer<Vec<Written>> {
        let written = self.transact(FIRST, |shared| {
            let epoch = shared.epoch;
            Ok(entries.into_iter().map(|entry| shared.links.write(entry, epoch)).collect())
        });
        let disk = self.disk.clone();
        async move {
            let written = written.await;
            disk.lock().tell_links();
            written
        }
        .boxed()
    }

    fn news(&self) -> watch::Receiver<DirectoryNews> {
        self.disk.lock().replicas[&self.id].links.subscribe()
    }
}
