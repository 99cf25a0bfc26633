//! Room for messages. Only this file decides when `send` is refused because of a message's length
//! or because an outbox is full. The bound of one link is in `paddington_wire::link`
//! ([`LinkConfig::room_for`](paddington_wire::link::LinkConfig::room_for)).

use std::sync::atomic::{AtomicU64, Ordering};

use paddington_wire::link::Full;
use paddington_wire::{Content, Data, Encoding, hex};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::budget::Budget;
use crate::faults::{Fault, broken};
use crate::store::Bounds;

/// The most bytes that may be on their way into the store.
const UNSTORED_BYTES: usize = 64 * 1024 * 1024;

/// Room that all peers of an exchange share.
#[derive(Debug)]
pub(crate) struct Room {
    /// Bytes that are divided among the peers.
    divided: u64,
    /// Bytes that are not.
    undivided: u64,
    /// Bytes that each peer has for itself, since the last division.
    floor: AtomicU64,
    /// Bytes beyond that, which all peers share.
    shared: Budget,
    /// The longest message, in bytes.
    max_payload: u32,
    /// Room for bytes that are on their way into the store.
    unstored: Semaphore,
    /// Notified whenever an outbox has room again.
    freed: Notify,
}

/// Room that one peer has taken, in bytes.
#[derive(Debug)]
pub(super) struct Charge {
    bytes: u64,
    /// Bytes that the peer has for itself.
    floor: u64,
}

/// Reason why a message is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// It is bytes, and the encoding carries only text.
    TextOnly,
    /// It is longer than this service's limit, or than the encoding can carry.
    TooLong,
    /// It is longer than the peer accepts, which is connected: its limit in bytes.
    TooLongForPeer(u32),
    /// Too much waits for this peer, or for all peers together.
    Full,
}

impl Room {
    /// Room for `total` bytes, Σ(24 + length), in messages of up to `max_payload` bytes each, for a
    /// number of `places` of peers, at least one. Half of it is divided among them, so that no peer
    /// can take all; the other half goes to whoever needs it.
    pub(crate) fn new(total: u64, places: usize, max_payload: u32) -> Self {
        let divided = if broken(Fault::RoomWithoutFloors) { 0 } else { total / 2 };
        let floor = divided / places as u64;
        Self {
            divided,
            undivided: total - divided,
            floor: AtomicU64::new(floor),
            shared: Budget::new(total - floor * places as u64),
            max_payload,
            unstored: Semaphore::new(UNSTORED_BYTES),
            freed: Notify::new(),
        }
    }

    /// Divides the half among another number of `places`. It holds for a peer once its charge was
    /// [divided](Self::divide_charge) too.
    pub(crate) fn divide(&self, places: usize) {
        self.floor.store(self.divided / places as u64, Ordering::Relaxed);
    }

    /// Returns the charge for `bytes` that wait already, whether there is room or not.
    pub(super) fn charge(&self, bytes: u64) -> Charge {
        let charge = Charge { bytes, floor: self.floor.load(Ordering::Relaxed) };
        self.shared.charge(charge.beyond(bytes));
        charge
    }

    /// Gives the peer of a charge the part that every peer has since the last division. What it has
    /// taken stays taken, whether there is room or not.
    pub(super) fn divide_charge(&self, charge: &mut Charge) {
        let before = charge.beyond(charge.bytes);
        charge.floor = self.floor.load(Ordering::Relaxed);
        let now = charge.beyond(charge.bytes);
        self.shared.charge(now.saturating_sub(before));
        self.shared.give(before.saturating_sub(now));
        self.tell_freed();
    }

    /// Returns what may wait for a peer in a store that replicas share: what may wait for it at all, or only the part that
    /// it has for itself if the others have taken the rest. `beyond` says how many bytes wait beyond that part of each.
    pub(super) fn in_store(&self, bounds: Bounds, beyond: impl FnOnce(u64) -> u64) -> Bounds {
        let floor = self.floor.load(Ordering::Relaxed);
        let is_full = beyond(floor) >= self.undivided && !broken(Fault::RoomUnbounded);
        if is_full { Bounds { bytes: bounds.bytes.min(floor), ..bounds } } else { bounds }
    }

    /// Takes room for a message to a peer of this `encoding`, if it `fits` into the peer's outbox.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if there is none; nothing is taken then.
    pub(super) fn take(
        &self,
        charge: &mut Charge,
        content: &Content,
        encoding: Encoding,
        fits: impl FnOnce(usize) -> Result<(), Full>,
    ) -> Result<(), NoRoom> {
        let len = content.len();
        let can_carry = match content {
            _ if encoding != Encoding::Hex => true,
            Content::Text(text) => hex::fits(text),
            Content::Bytes(_) => return Err(NoRoom::TextOnly),
        };
        if len > self.max_payload as usize || !can_carry {
            return Err(NoRoom::TooLong);
        }
        let cost = Data::cost(len);
        if fits(len).is_err()
            || !(self.shared.take(charge.beyond(charge.bytes + cost) - charge.beyond(charge.bytes))
                || broken(Fault::RoomUnbounded))
        {
            return Err(NoRoom::Full);
        }
        charge.bytes += cost;
        Ok(())
    }

    /// Takes the room for messages that wait already, whether there is room or not. `waiting` is the
    /// number of bytes that wait.
    pub(super) fn charge_more(&self, charge: &mut Charge, waiting: u64) {
        if waiting > charge.bytes {
            self.shared.charge(charge.beyond(waiting) - charge.beyond(charge.bytes));
            charge.bytes = waiting;
        }
    }

    /// Gives back the room of messages that no longer wait, and notifies the senders that wait for
    /// it. Returns whether there was any. `waiting` is the number of bytes that still wait.
    pub(super) fn settle(&self, charge: &mut Charge, waiting: u64) -> bool {
        if waiting >= charge.bytes {
            return false;
        }
        self.shared.give(charge.beyond(charge.bytes) - charge.beyond(waiting));
        charge.bytes = waiting;
        self.tell_freed();
        true
    }

    /// Lets senders that wait for room try again.
    pub(super) fn tell_freed(&self) {
        self.freed.notify_waiters();
    }

    /// Resolves when an outbox has room again.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Waits until the message may be on its way into the store.
    pub(super) async fn to_store(&self, content: &Content) -> Option<SemaphorePermit<'_>> {
        let cost = u32::try_from(content.len().min(UNSTORED_BYTES)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.unstored.acquire_many(cost).await.ok()
    }
}

impl Charge {
    /// The part of `bytes` that is beyond the peer's own room.
    fn beyond(&self, bytes: u64) -> u64 {
        bytes.saturating_sub(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_that_take_all_they_can_leave_every_other_its_own_room() {
        let content = Content::from("x".repeat(76));
        let room = Room::new(20_000, 10, 1_000);
        let mut charges: Vec<_> = (0..10).map(|_| room.charge(0)).collect();
        let take = |charge: &mut Charge| {
            room.take(charge, &content, Encoding::Sealed, |_| Ok::<(), Full>(())).is_ok()
        };
        let greedy: Vec<u64> = charges[..9]
            .iter_mut()
            .map(|charge| {
                std::iter::repeat_with(|| take(charge)).take_while(|taken| *taken).count()
            })
            .map(|messages| messages as u64)
            .collect();
        assert_eq!(greedy[0], 110, "its own room and all that is shared");
        assert_eq!(greedy[1..], [10; 8]);
        let honest = (0..100).filter(|_| take(&mut charges[9])).count();
        assert_eq!(honest, 10);
        assert!(room.settle(&mut charges[0], 0) && !room.settle(&mut charges[0], 0));
        assert!(take(&mut charges[9]), "what one gives back is there for all");
    }

    #[test]
    fn peers_that_come_later_have_their_own_room_however_full_it_is() {
        let content = Content::from("x".repeat(76));
        let room = Room::new(20_000, 10, 1_000);
        let mut charges: Vec<_> = (0..10).map(|_| room.charge(0)).collect();
        let take = |charge: &mut Charge| {
            room.take(charge, &content, Encoding::Sealed, |_| Ok::<(), Full>(())).is_ok()
        };
        let fill = |charge: &mut Charge| {
            std::iter::repeat_with(|| take(charge)).take_while(|taken| *taken).count()
        };
        assert_eq!(charges.iter_mut().map(fill).sum::<usize>(), 200, "all of it");
        room.divide(20);
        charges.iter_mut().for_each(|charge| room.divide_charge(charge));
        let mut late: Vec<_> = (0..10).map(|_| room.charge(0)).collect();
        assert!(late.iter_mut().all(|charge| fill(charge) == 5), "half of the half");
        assert!(!charges.iter_mut().any(take));
        for charge in charges.iter_mut().chain(&mut late) {
            room.settle(charge, 0);
        }
        room.divide(10);
        charges.iter_mut().for_each(|charge| room.divide_charge(charge));
        assert_eq!(charges.iter_mut().map(fill).sum::<usize>(), 200, "nothing got lost");
    }
}
