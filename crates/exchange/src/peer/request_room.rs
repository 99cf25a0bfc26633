//! Memory for the requests of all peers that are not answered.

use std::sync::atomic::{AtomicU64, Ordering};

use super::HELD_OVERHEAD;

/// Memory for the requests of all peers, in bytes.
#[derive(Debug)]
pub(super) struct RequestRoom {
    taken: AtomicU64,
    total: u64,
}

impl RequestRoom {
    pub(super) fn new(total: u64) -> Self {
        Self { taken: AtomicU64::new(0), total }
    }

    /// Returns the bytes that a request of `len` bytes takes.
    pub(super) fn cost(len: usize) -> u64 {
        HELD_OVERHEAD + len as u64
    }

    /// Takes so many `bytes`, if there is room.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let more = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.total);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_up_to_the_total_and_given_back() {
        let room = RequestRoom::new(400);
        assert!(room.take(RequestRoom::cost(40)) && room.take(200) && !room.take(1));
        room.give_back(200);
        assert!(room.take(1));
    }
}
