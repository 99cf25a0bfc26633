//! The contract of a directory: the links of a service, which all its replicas know. Implements
//! `docs/cluster.md`, "Links".
//!
//! To the store, the state of a link is a text without a meaning. Each state has a **version**, which
//! grows over all links, so that a replica asks for what is newer than what it knows. Whoever writes names
//! the version that it has read: what others have written meanwhile is never replaced unseen.

use std::fmt;

use paddington_wire::{LinkId, PeerName};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::Answer;

/// The links of a service, which all its replicas know.
pub trait Directory: fmt::Debug + Send + Sync {
    /// Returns the entries whose version is greater than `after`, in the order of their versions, some at a
    /// time: nothing if there is none.
    fn entries(&self, after: u64) -> Answer<Vec<LinkEntry>>;

    /// Returns the versions of all entries.
    fn versions(&self) -> Answer<Vec<(LinkId, u64)>>;

    /// Writes entries, each in place of the one whose version it names, 0 if there is to be none, and tells
    /// all replicas. A link that was removed does not come back, and no two links have a peer of the same
    /// name. There is an answer for each.
    fn write(&self, entries: Vec<LinkEntry>) -> Answer<Vec<Written>>;

    /// Returns what may be new from now on.
    fn news(&self) -> watch::Receiver<DirectoryNews>;
}

/// The state of a link.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkEntry {
    /// The link.
    pub link: LinkId,
    /// The peer.
    pub peer: PeerName,
    /// The version of the state.
    pub version: u64,
    /// The state, which holds keys; `None` if the link was removed.
    pub text: Option<Zeroizing<String>>,
}

/// Answer to a [write](Directory::write).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The entry is durable, with this version.
    Done(u64),
    /// Another replica was faster, or the peer has another link. Nothing has changed.
    Conflict,
}

/// What may be new in a directory. It may be told late, and is told sooner or later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryNews {
    /// The greatest version that was heard of.
    pub version: u64,
    /// How often contact was made with the database: anything may have happened in between, such as a
    /// failover that has lost entries (S9).
    pub contacts: u64,
}

impl DirectoryNews {
    /// Notes a version that was heard of.
    pub fn hear(news: &watch::Sender<Self>, version: u64) {
        news.send_if_modified(|news| {
            let is_new = version > news.version;
            news.version = news.version.max(version);
            is_new
        });
    }
}

impl fmt::Debug for LinkEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, peer, version, .. } = self;
        let mut entry = f.debug_struct("LinkEntry");
        entry.field("link", link).field("peer", peer).field("version", version);
        entry.finish_non_exhaustive()
    }
}
