//! Room for messages that were received and are not handled. Only this file decides how much of its
//! window a peer gets: how much every session begins with, and whether more can be granted.

use std::cmp::Ordering;

use paddington_wire::link::LinkConfig;

use super::budget::Budget;

/// Bytes that a message takes beside its payload until it is handled: its place in the inbox and in
/// the cursor, each of which may have a quarter of room to spare, and the least block of memory for
/// its payload.
pub(crate) const HELD_OVERHEAD: u64 = 160;

/// Room that the inboxes of all peers share.
#[derive(Debug)]
pub(crate) struct InboxRoom {
    /// Bytes that each peer has for itself, as window.
    floor: u64,
    /// Bytes beyond that, which all peers share.
    shared: Budget,
}

/// Room beyond its own that one peer has taken, in bytes.
#[derive(Debug, Default)]
pub(super) struct Lease(u64);

impl InboxRoom {
    /// Room for `total` bytes in the inboxes of a number of peers. Half of it is divided among them,
    /// so that no peer can take all, and each has room for a longest message and for the allowance
    /// of its link; the other half goes to peers that can use a larger window.
    pub(crate) fn new(total: u64, peers: usize, link: &LinkConfig) -> Self {
        let peers = (peers as u64).max(1);
        let share = total / 2 / peers;
        let floor = share.saturating_sub(link.allowance()).max(link.longest());
        Self { floor, shared: Budget::new(total - share * peers) }
    }

    /// Returns the window with which every session may begin.
    pub(crate) fn first_window(&self) -> u32 {
        u32::try_from(self.floor).unwrap_or(u32::MAX)
    }

    /// Takes room for a window of `bytes`. Returns whether there was enough.
    pub(super) fn take(&self, lease: &mut Lease, bytes: u64) -> bool {
        let more = self.beyond(bytes).saturating_sub(lease.0);
        let taken = self.shared.take(more);
        lease.0 += if taken { more } else { 0 };
        taken
    }

    /// Adjusts the lease to the bytes that the peer's link is `committed` to.
    pub(super) fn settle(&self, lease: &mut Lease, committed: u64) {
        let needed = self.beyond(committed);
        match needed.cmp(&lease.0) {
            Ordering::Less => self.shared.give(lease.0 - needed),
            Ordering::Equal => {}
            Ordering::Greater => self.shared.charge(needed - lease.0),
        }
        lease.0 = needed;
    }

    fn beyond(&self, bytes: u64) -> u64 {
        bytes.saturating_sub(self.floor)
    }
}

impl Lease {
    pub(super) fn is_none(&self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_its_own_window_whatever_the_others_take() {
        let link = LinkConfig {
            window: 10_000,
            max_payload: 76,
            held_overhead: HELD_OVERHEAD,
            in_flight: 1,
            ..LinkConfig::default()
        };
        let room = InboxRoom::new(20_000, 10, &link);
        assert_eq!(room.first_window(), 1_000 - 136, "without the allowance");
        let mut leases: Vec<_> = (0..10).map(|_| Lease::default()).collect();
        let windows = [864, 1_728, 3_456, 6_912, 10_000];
        let widest = leases.iter_mut().map(|lease| {
            windows.into_iter().take_while(|window| room.take(lease, *window)).last().unwrap()
        });
        assert_eq!(
            widest.collect::<Vec<_>>(),
            [10_000, 1_728, 864, 864, 864, 864, 864, 864, 864, 864]
        );
        room.settle(&mut leases[0], 900);
        assert_eq!(leases[0].0, 36);
        room.settle(&mut leases[0], 0);
        assert!(leases[0].is_none() && room.take(&mut leases[9], 6_912), "it is there for others");
    }

    #[test]
    fn the_least_window_has_room_for_a_longest_message() {
        let link = LinkConfig { max_payload: 1_000, ..LinkConfig::default() };
        assert_eq!(InboxRoom::new(0, 4_096, &link).first_window(), 1_024);
    }
}
