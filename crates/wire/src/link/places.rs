//! Places for requests that are not answered: how many there may be, and how many bytes, of each
//! depth. Implements `docs/protocol.md` §5.4.

use crate::call_items::CallItem;
use crate::frame::{CallsState, Data};

/// The bounds on unanswered requests of one depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    requests: u16,
    bytes: u64,
}

impl Bounds {
    pub(super) fn new(state: &CallsState) -> Self {
        Self { requests: state.requests, bytes: u64::from(state.request_window) }
    }

    /// Returns whether no request is answered at all.
    pub(super) fn are_none(self) -> bool {
        self.requests == 0
    }
}

/// Requests that are not answered, by depth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Places {
    taken: [Taken; CallItem::MAX_DEPTH as usize],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Taken {
    requests: u16,
    bytes: u64,
}

impl Places {
    /// Returns whether one more request, with `len` bytes, keeps the `bounds`.
    pub(super) fn fits(&self, depth: u8, len: usize, bounds: Bounds) -> bool {
        self.taken.get(usize::from(depth)).is_some_and(|taken| {
            taken.requests < bounds.requests && taken.bytes + Data::cost(len) <= bounds.bytes
        })
    }

    pub(super) fn take(&mut self, depth: u8, len: usize) {
        if let Some(taken) = self.taken.get_mut(usize::from(depth)) {
            taken.requests += 1;
            taken.bytes += Data::cost(len);
        }
    }

    pub(super) fn give_back(&mut self, depth: u8, len: usize) {
        if let Some(taken) = self.taken.get_mut(usize::from(depth)) {
            taken.requests -= 1;
            taken.bytes -= Data::cost(len);
        }
    }
}
