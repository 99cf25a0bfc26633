//! What a replica remembers of a term, behind the peer's lock.

use std::collections::HashMap;
use std::sync::Arc;

use paddington_wire::link::StoredCursor;
use paddington_wire::{Instance, LinkId, MessageId};

use crate::config::GOOD_LEASE;
use crate::faults::{Fault, broken};
use crate::store::{Fate, SharedStore};

/// The state of a term, behind the peer's lock.
#[derive(Debug)]
pub(super) struct TermState {
    store: Arc<dyn SharedStore>,
    /// The shard of the store in which the link lives.
    shard: usize,
    /// Whether this replica may call the handler for the peer's messages.
    pub(super) has_lane: bool,
    /// What was handled elsewhere while this replica had not entered the lane yet.
    pub(super) elsewhere: HashMap<Instance, StoredCursor>,
    /// The last message of the present stream that the link has.
    pub(super) followed: u64,
    /// The last message of the present stream that is known.
    pub(super) newest: u64,
    /// Whether the link takes no more until something has ended.
    pub(super) is_full: bool,
    /// Fates that the store does not know yet.
    pub(super) fates: Vec<Fate>,
}

impl TermState {
    pub(super) fn new(store: Arc<dyn SharedStore>, link: LinkId) -> Self {
        let (shard, elsewhere) = (store.shard_of(link), HashMap::new());
        // There may be a first message, of which the signal came before this term began.
        let (is_full, fates) = (false, Vec::new());
        Self { store, shard, has_lane: false, elsewhere, followed: 0, newest: 1, is_full, fates }
    }

    /// Returns whether a call of the handler may begin (S7, S10).
    pub(super) fn may_begin(&self) -> bool {
        let lives = !self.store.lease(self.shard).is_zero() || broken(Fault::LeaseIgnored);
        (self.has_lane || broken(Fault::LaneIgnored)) && lives
    }

    /// Returns whether a server may be dialled in the name of the owner (S12).
    pub(super) fn may_speak(&self) -> bool {
        self.store.lease(self.shard) >= GOOD_LEASE || broken(Fault::LeaseIgnored)
    }

    /// Returns whether a message was handled at another replica.
    pub(super) fn has_handled(&self, id: MessageId) -> bool {
        let Some(cursor) = self.elsewhere.get(&id.stream) else { return false };
        id.number <= cursor.completed || cursor.finished.contains(&id.number)
    }
}
