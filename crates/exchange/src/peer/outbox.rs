//! Messages that wait for one peer: its link in either encoding, and the room that they take.
//! Whether there is room is decided in `room.rs`.

use std::sync::Arc;

use paddington_wire::link::{Full, Link, LinkConfig, Millis, Outcome, StoredLink};
use paddington_wire::{
    Content, Encoding, Frame, Instance, MessageId, Ready, RejectCode, SessionId,
};

use super::hex_outbox::{HexOutbox, Number};
use super::outcomes::{Outcomes, Page};
use super::room::{Charge, NoRoom, Room};
use super::shared::millis;
use crate::store::{Fate, Followed};

/// Messages that wait for one peer.
#[derive(Debug)]
pub(super) struct Outbox {
    link: PeerLink,
    charge: Charge,
    outcomes: Outcomes,
}

/// A message that was accepted: its number, and the page for its receipt.
pub(super) type Accepted = (Number, Arc<Page>);

impl Outbox {
    pub(super) fn new(link: PeerLink, room: &Room) -> Self {
        Self { charge: room.charge(link.bytes()), link, outcomes: Outcomes::default() }
    }

    /// Accepts a message, if there is room for it.
    pub(super) fn enqueue(
        &mut self,
        room: &Room,
        content: &mut Content,
        now: Millis,
        deadline: Option<Millis>,
    ) -> Result<Accepted, NoRoom> {
        if let Some(max) = self.link.peer_max_payload()
            && content.len() > max as usize
        {
            return Err(NoRoom::TooLongForPeer(max));
        }
        room.take(&mut self.charge, content, self.link.encoding(), |len| self.link.room_for(len))?;
        let number = match (&mut self.link, std::mem::take(content)) {
            (PeerLink::Sealed(link), content) => {
                link.enqueue(content.into(), now, deadline).map(|id| id.number)
            }
            (PeerLink::Hex(outbox), Content::Text(text)) => outbox.enqueue(text, now, deadline),
            (PeerLink::Hex(_), Content::Bytes(_)) => return Err(NoRoom::TextOnly),
        };
        let number = number.map_err(|_| NoRoom::Full)?;
        Ok((number, self.outcomes.page(number)))
    }

    /// Changes the link and gives back room that it no longer takes. Returns whether there was any.
    pub(super) fn change<T>(
        &mut self,
        room: &Room,
        change: impl FnOnce(&mut PeerLink) -> T,
    ) -> (T, bool) {
        let changed = change(&mut self.link);
        (changed, room.settle(&mut self.charge, self.link.bytes()))
    }

    /// Gives the peer its part of the room since the last division.
    pub(super) fn divide(&mut self, room: &Room) {
        room.divide_charge(&mut self.charge);
    }

    /// Returns the next frame for the connection of `session`, and whether messages that have
    /// expired have freed room.
    pub(super) fn transmit(
        &mut self,
        room: &Room,
        session: SessionId,
        now: Millis,
    ) -> (Option<Frame>, bool) {
        self.change(room, |link| match link {
            PeerLink::Sealed(link) => link.transmit(session, now),
            PeerLink::Hex(outbox) => outbox.transmit(now),
        })
    }

    /// Returns whether there are outcomes to [take](Self::take_outcomes).
    pub(super) fn has_outcomes(&self) -> bool {
        match &self.link {
            PeerLink::Sealed(link) => link.has_outcomes(),
            PeerLink::Hex(outbox) => outbox.has_outcomes(),
        }
    }

    /// Takes the outcomes of messages that were not handled. Those of messages that were accepted here
    /// are kept for their receipts.
    pub(super) fn take_outcomes(&mut self) -> Vec<Fate> {
        let fates: Vec<Fate> = match &mut self.link {
            PeerLink::Sealed(link) => {
                let mut texts = link.take_texts();
                let outcomes = link.take_outcomes().into_iter();
                outcomes.map(|(id, outcome)| Fate::new(id, outcome, texts.remove(&id))).collect()
            }
            PeerLink::Hex(outbox) => {
                let stream = outbox.instance();
                let outcomes = outbox.take_outcomes().into_iter();
                let id = |number| MessageId { stream, number };
                outcomes.map(|(number, outcome)| Fate::new(id(number), outcome, None)).collect()
            }
        };
        let own = self.link.instance();
        for Fate { id, outcome, text } in fates.iter().filter(|fate| fate.id.stream == own) {
            self.outcomes.keep(id.number, *outcome, text.clone());
        }
        fates
    }

    /// Adds a message that a store shared with others has numbered, at the end of the present stream. It
    /// waits, and so takes room, whether there is any or not. Returns whether the link takes it.
    pub(super) fn follow(
        &mut self,
        room: &Room,
        message: Followed,
        now: Millis,
    ) -> Result<MessageId, Full> {
        let PeerLink::Sealed(link) = &mut self.link else {
            return Ok(MessageId { stream: self.link.instance(), number: 0 }); // none is shared
        };
        let deadline = message.ttl.map(|ttl| now.saturating_add(millis(ttl)));
        let id = link.enqueue(message.payload, now, deadline)?;
        link.stored(id.number);
        room.charge_more(&mut self.charge, self.link.bytes());
        Ok(id)
    }

    /// Takes back all messages from `number` on: they could not be stored, and their numbers are
    /// given again. Returns whether that has freed room.
    pub(super) fn take_back(&mut self, room: &Room, number: Number) -> bool {
        self.take_outcomes();
        self.outcomes.forget_from(number);
        let unstore = |link: &mut PeerLink| {
            if let PeerLink::Sealed(link) = link {
                link.unstored();
            }
        };
        self.change(room, unstore).1
    }

    pub(super) fn link(&self) -> &PeerLink {
        &self.link
    }

    /// Returns the link of a `sealed` peer, for changes that free no room.
    pub(super) fn sealed(&mut self) -> Option<&mut Link> {
        if let PeerLink::Sealed(link) = &mut self.link { Some(link) } else { None }
    }
}

/// The link of one peer.
#[derive(Debug)]
pub(crate) enum PeerLink {
    Sealed(Box<Link>),
    Hex(Box<HexOutbox>),
}

impl PeerLink {
    pub(crate) fn new(encoding: Encoding, config: Arc<LinkConfig>, instance: Instance) -> Self {
        match encoding {
            Encoding::Hex => Self::Hex(Box::new(HexOutbox::new(*config, instance))),
            _ => Self::Sealed(Box::new(Link::new(config, instance))),
        }
    }

    /// Restores a `sealed` link, at the time `now`, from the state that a store has kept.
    pub(crate) fn restore(
        config: Arc<LinkConfig>,
        instance: Instance,
        stored: StoredLink,
        now: Millis,
    ) -> Self {
        Self::Sealed(Box::new(Link::restore(config, instance, stored, now)))
    }

    /// Recalls that a message of the peer was rejected by an earlier instance of this service.
    pub(crate) fn recall(&mut self, id: MessageId, code: RejectCode) {
        if let Self::Sealed(link) = self {
            link.recall(id, code);
        }
    }

    /// Returns this side's instance on the link.
    fn instance(&self) -> Instance {
        match self {
            Self::Sealed(link) => link.instance(),
            Self::Hex(outbox) => outbox.instance(),
        }
    }

    /// Returns this side's READY; to a `hex` peer it is never sent.
    pub(super) fn ready(&self) -> Ready {
        match self {
            Self::Sealed(link) => link.ready(),
            Self::Hex(outbox) => outbox.ready(),
        }
    }

    pub(super) fn encoding(&self) -> Encoding {
        match self {
            Self::Sealed(_) => Encoding::Sealed,
            Self::Hex(_) => Encoding::Hex,
        }
    }

    /// Checks whether a message of `len` bytes fits into the outbox.
    pub(super) fn room_for(&self, len: usize) -> Result<(), Full> {
        match self {
            Self::Sealed(link) => link.room_for(len),
            Self::Hex(outbox) => outbox.room_for(len),
        }
    }

    /// Returns the longest message that the peer accepts, if it is connected and has said so.
    pub(super) fn peer_max_payload(&self) -> Option<u32> {
        if let Self::Sealed(link) = self { link.peer_max_payload() } else { None }
    }

    /// Returns the number of messages that wait.
    pub(super) fn messages(&self) -> usize {
        match self {
            Self::Sealed(link) => link.outbox_messages(),
            Self::Hex(outbox) => outbox.messages(),
        }
    }

    /// Returns the bytes that wait, Σ(24 + length).
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Sealed(link) => link.outbox_bytes(),
            Self::Hex(outbox) => outbox.bytes(),
        }
    }

    /// Returns the time at which the oldest message that waits was accepted.
    pub(super) fn oldest(&self) -> Option<Millis> {
        match self {
            Self::Sealed(link) => link.oldest(),
            Self::Hex(outbox) => outbox.oldest(),
        }
    }

    /// Removes messages that have expired. Returns whether there were any.
    pub(super) fn expire(&mut self, now: Millis) -> bool {
        match self {
            Self::Sealed(link) => link.expire(now),
            Self::Hex(outbox) => outbox.expire(now),
        }
    }

    /// Returns the time at which the next message expires.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        match self {
            Self::Sealed(link) => link.next_deadline(),
            Self::Hex(outbox) => outbox.next_deadline(),
        }
    }

    /// Abandons all messages that wait.
    pub(super) fn abandon(&mut self) {
        match self {
            Self::Sealed(link) => {
                link.abandon();
            }
            Self::Hex(_) => {} // it does not count outcomes
        }
    }

    /// Drops all messages that wait: the peer was removed.
    pub(super) fn forget(&mut self) {
        match self {
            Self::Sealed(link) => {
                link.abandon();
            }
            Self::Hex(outbox) => outbox.forget(),
        }
    }

    /// Returns the outcome of a message that this `instance` accepted.
    pub(super) fn outcome(&self, number: Number, instance: Instance) -> Outcome {
        match self {
            Self::Sealed(link) => link.outcome(MessageId { stream: instance, number }),
            Self::Hex(outbox) => outbox.outcome(number),
        }
    }
}
