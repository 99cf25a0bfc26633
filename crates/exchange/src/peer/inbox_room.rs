//! Room for messages that were received and are not handled. Only this file decides how much of its
//! window a peer gets: how much every session begins with, and whether more can be granted.

use std::cmp::Ordering;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use paddington_wire::link::LinkConfig;

use super::budget::Budget;

/// Bytes that a message takes beside its payload until it is handled: its place in the inbox and in
/// the cursor, each of which may have a quarter of room to spare, and the least block of memory for
/// its payload.
pub(crate) const HELD_OVERHEAD: u64 = 160;

/// Room that the inboxes of all peers share.
#[derive(Debug)]
pub(crate) struct InboxRoom {
    /// Bytes that are divided among the peers.
    divided: u64,
    /// Bytes of a peer's part that are not its window.
    allowance: u64,
    /// The least window, in bytes.
    longest: u64,
    /// Bytes that each peer has for itself, as window, since the last division.
    floor: AtomicU64,
    /// Bytes beyond that, which all peers share.
    shared: Budget,
}

/// Room that one peer has taken, in bytes.
#[derive(Debug)]
pub(super) struct Lease {
    /// Bytes that it has taken beyond its own.
    beyond: u64,
    /// Bytes that it has for itself.
    floor: u64,
}

impl InboxRoom {
    /// Room for `total` bytes in the inboxes of a number of `places` of peers, at least one. Half of
    /// it is divided among them, so that no peer can take all, and each has room for a longest
    /// message and for the allowance of its link; the other half goes to peers that can use a larger
    /// window.
    pub(crate) fn new(total: u64, places: usize, link: &LinkConfig) -> Self {
        let room = Self {
            divided: total / 2,
            allowance: link.allowance(),
            longest: link.longest(),
            floor: AtomicU64::new(0),
            shared: Budget::new(total - total / 2 / places as u64 * places as u64),
        };
        room.divide(places);
        room
    }

    /// Divides the half among another number of `places`. It holds for a peer once its lease was
    /// [divided](Self::divide_lease) too.
    pub(crate) fn divide(&self, places: usize) {
        let share = self.divided / places as u64;
        let floor = share.saturating_sub(self.allowance).max(self.longest);
        self.floor.store(floor, Relaxed);
    }

    /// Returns the window with which every session may begin.
    pub(crate) fn first_window(&self) -> u32 {
        u32::try_from(self.floor.load(Relaxed)).unwrap_or(u32::MAX)
    }

    /// Returns the lease of a peer that has taken nothing.
    pub(super) fn lease(&self) -> Lease {
        Lease { beyond: 0, floor: self.floor.load(Relaxed) }
    }

    /// Gives the peer of a lease the part that every peer has since the last division. Its link is
    /// `committed` to so many bytes, whether there is room or not.
    pub(super) fn divide_lease(&self, lease: &mut Lease, committed: u64) {
        lease.floor = self.floor.load(Relaxed);
        self.settle(lease, committed);
    }

    /// Takes room for a window of `bytes`. Returns whether there was enough.
    pub(super) fn take(&self, lease: &mut Lease, bytes: u64) -> bool {
        let more = lease.beyond(bytes).saturating_sub(lease.beyond);
        let taken = self.shared.take(more);
        lease.beyond += if taken { more } else { 0 };
        taken
    }

    /// Adjusts the lease to the bytes that the peer's link is `committed` to.
    pub(super) fn settle(&self, lease: &mut Lease, committed: u64) {
        let needed = lease.beyond(committed);
        match needed.cmp(&lease.beyond) {
            Ordering::Less => self.shared.give(lease.beyond - needed),
            Ordering::Equal => {}
            Ordering::Greater => self.shared.charge(needed - lease.beyond),
        }
        lease.beyond = needed;
    }
}

impl Lease {
    pub(super) fn is_none(&self) -> bool {
        self.beyond == 0
    }

    fn beyond(&self, bytes: u64) -> u64 {
        bytes.saturating_sub(self.floor)
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
        let mut leases: Vec<_> = (0..10).map(|_| room.lease()).collect();
        let windows = [864, 1_728, 3_456, 6_912, 10_000];
        let widest = leases.iter_mut().map(|lease| {
            windows.into_iter().take_while(|window| room.take(lease, *window)).last().unwrap()
        });
        assert_eq!(
            widest.collect::<Vec<_>>(),
            [10_000, 1_728, 864, 864, 864, 864, 864, 864, 864, 864]
        );
        room.settle(&mut leases[0], 900);
        assert_eq!(leases[0].beyond, 36);
        room.settle(&mut leases[0], 0);
        assert!(leases[0].is_none() && room.take(&mut leases[9], 6_912), "it is there for others");
    }

    #[test]
    fn a_division_changes_what_a_peer_has_for_itself_and_not_what_it_has_taken() {
        let link = LinkConfig { max_payload: 76, in_flight: 0, ..LinkConfig::default() };
        let room = InboxRoom::new(20_000, 10, &link);
        let own = u64::from(room.first_window());
        let mut lease = room.lease();
        assert!(room.take(&mut lease, own) && lease.is_none());
        room.divide(20);
        assert!(u64::from(room.first_window()) < own);
        room.divide_lease(&mut lease, own);
        assert_eq!(lease.beyond, own - u64::from(room.first_window()), "it is still granted");
        let mut late = room.lease();
        assert!(room.take(&mut late, u64::from(room.first_window())));
        room.divide(10);
        room.divide_lease(&mut lease, own);
        assert!(lease.is_none() && u64::from(room.first_window()) == own);
    }

    #[test]
    fn the_least_window_has_room_for_a_longest_message() {
        let link = LinkConfig { max_payload: 1_000, ..LinkConfig::default() };
        assert_eq!(InboxRoom::new(0, 4_096, &link).first_window(), 1_024);
    }
}
