//! The generations of a link's keys that one side keeps. Implements `docs/protocol.md` §3.6.

use std::sync::Arc;

use paddington_crypto::KeyPair;
use thiserror::Error;

use super::generation::{Burned, Expiry, Generation, Origin, Why};
use super::stored::share_a_key;
use super::{LAST_GENERATION, Seconds};
use crate::faults::{Fault, broken};
use crate::sealed::Credentials;
use crate::{LinkId, PeerName};

/// The most generations of one link.
pub(crate) const GENERATIONS: usize = 3;
/// The most generations that are remembered after they were removed.
pub(crate) const BURNED: usize = 2;
/// How long the keys that an invitation is to replace stay valid, in seconds.
const OVERLAP: Seconds = 24 * 60 * 60;

/// Which side of a link this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The service that opens the connections.
    Client,
    /// The service that has written the invitation.
    Server,
}

/// The keys of one link that one side keeps: at most three generations, oldest first, of which only
/// the first may be used, and what recognises the last two that were removed.
#[derive(Clone, Debug)]
pub struct KeyRing {
    names: [PeerName; 2],
    generations: Vec<Generation>,
    burned: Vec<Burned>,
    invitation: LinkId,
}

/// The reason why keys cannot be a link's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// More generations than a link has.
    #[error("a link has at most 3 generations of keys, and 2 burned ones")]
    TooMany,
    /// Two generations with one number.
    #[error("there are two generations with the number {0}")]
    SameNumber(u64),
    /// Two generations with a key in common.
    #[error("two generations share a key")]
    SharedKey,
    /// A number that is not higher than those of all keys that the link has had.
    #[error("the link has had other keys with the number {0}, or with a higher one")]
    OldNumber(u64),
    /// A number above 2⁶³ − 1.
    #[error("a generation has a number that is too high")]
    HighNumber,
    /// A generation that is used behind an older one, or two that were agreed on and not used.
    #[error("the generations are out of order")]
    OutOfOrder,
}

impl KeyRing {
    /// Makes the ring of a link of which nothing but an invitation is known, with the `number` that it
    /// says; 0 for the first one. On the server, `expires` is the moment at which it expires if it is
    /// not used; a client passes `None`.
    #[must_use]
    pub fn begin(
        [server, client]: [&PeerName; 2],
        keys: Arc<KeyPair>,
        number: u64,
        expires: Option<Seconds>,
        now: Seconds,
    ) -> Self {
        let mut first = Generation::new([server, client], number, keys, Origin::HandedOver, now);
        first.expiry = expires.map_or(Expiry::Never, Expiry::UnlessUsed);
        let invitation = first.credentials.link_id();
        Self::of([server.clone(), client.clone()], vec![first], Vec::new(), invitation)
    }

    pub(super) fn of(
        names: [PeerName; 2],
        generations: Vec<Generation>,
        burned: Vec<Burned>,
        invitation: LinkId,
    ) -> Self {
        Self { names, generations, burned, invitation }
    }

    /// Returns the ring of a server that has written a new invitation, which expires like the first
    /// one. The keys that it is to replace stay valid for 24 hours, or until it is used.
    ///
    /// # Errors
    ///
    /// [`KeyRingError::SharedKey`] if the link has had one of the keys, [`KeyRingError::HighNumber`] if it
    /// has had the last number.
    pub fn invite(
        &self,
        keys: Arc<KeyPair>,
        expires: Option<Seconds>,
        now: Seconds,
    ) -> Result<Self, KeyRingError> {
        self.invite_as(self.next_number(), keys, expires, now)
    }

    /// As [`invite`](Self::invite), for an invitation that was written elsewhere with this `number`.
    ///
    /// # Errors
    ///
    /// [`KeyRingError::SharedKey`] if the link has had one of the keys, [`KeyRingError::OldNumber`] if it
    /// has had others with this number or a higher one, [`KeyRingError::HighNumber`] if it is none.
    pub fn invite_as(
        &self,
        number: u64,
        keys: Arc<KeyPair>,
        expires: Option<Seconds>,
        now: Seconds,
    ) -> Result<Self, KeyRingError> {
        if number < self.next_number() {
            return Err(KeyRingError::OldNumber(number));
        }
        if number > LAST_GENERATION {
            return Err(KeyRingError::HighNumber);
        }
        let mut next = self.expire(now).unwrap_or_else(|| self.clone());
        let mut invited = next.generation_of(number, keys, Origin::HandedOver, now);
        invited.expiry = expires.map_or(Expiry::Never, Expiry::UnlessUsed);
        next.check_new(&invited)?;
        for old in &mut next.generations {
            let end = now.saturating_add(OVERLAP);
            old.expiry = Expiry::At(old.expiry.moment().map_or(end, |moment| moment.min(end)));
        }
        next.hand_over(invited, now);
        Ok(next)
    }

    /// Returns the ring of a client that has got a new invitation for this link, with the number
    /// that it says; `None` if it is the last one again, or its keys are known.
    #[must_use]
    pub fn accept(&self, keys: Arc<KeyPair>, number: u64, now: Seconds) -> Option<Self> {
        let accepted = self.generation_of(number, keys, Origin::HandedOver, now);
        let id = accepted.credentials.link_id();
        let is_known = id == self.invitation || self.check_new(&accepted).is_err();
        if is_known || number > LAST_GENERATION {
            return None;
        }
        let mut next = self.clone();
        // The server that has written it knows other keys by this number, or none.
        next.generations.retain(|it| it.number != number);
        next.hand_over(accepted, now);
        Some(next)
    }

    /// Returns the ring after a handshake with the generation `number` in which the READY of the other
    /// side has opened; `None` if nothing changes. All older ones are gone then.
    #[must_use]
    pub fn used(&self, number: u64, now: Seconds) -> Option<Self> {
        let at = self.generations.iter().position(|it| it.number == number)?;
        if at == 0 && self.generations[0].used {
            return None;
        }
        let mut next = self.clone();
        if !broken(Fault::OldKeysKept) {
            for _ in 0..at {
                next.remove(0, Why::Burned, now);
            }
        }
        let used = next.generations.iter_mut().find(|it| it.number == number)?;
        used.used = true;
        if matches!(used.expiry, Expiry::UnlessUsed(_)) {
            used.expiry = Expiry::Never;
        }
        Some(next)
    }

    /// Returns the ring without the generations whose time is over; `None` if there are none.
    #[must_use]
    pub fn expire(&self, now: Seconds) -> Option<Self> {
        let mut next = self.clone();
        let is_over = |it: &Generation| it.expiry.has_passed(now);
        while let Some(at) = next.generations.iter().position(is_over) {
            next.remove(at, Why::Expired, now);
        }
        (next.generations.len() < self.generations.len()).then_some(next)
    }

    /// Returns the ring with the keys on which both sides agree in a session with the generation
    /// `session`. They take the place of any that were agreed on and not used; with a client also of
    /// the session's own if those were handed over. `None` if the ring has no place for them.
    pub(super) fn agree(
        &self,
        role: Role,
        session: u64,
        number: u64,
        keys: Arc<KeyPair>,
        now: Seconds,
    ) -> Option<Self> {
        let mut next = self.clone();
        let is_waiting = |it: &Generation| it.is_unused(Origin::Agreed);
        let was_handed_over =
            self.generation(session).is_some_and(|it| it.origin == Origin::HandedOver);
        if let Some(at) = next.generations.iter().position(is_waiting) {
            // If it was not the client that had the invitation, the client has these.
            let old = next.generations.remove(at);
            if was_handed_over && role == Role::Server {
                next.remember(&old, Why::Burned, now);
            }
        }
        let agreed = next.generation_of(number, keys, Origin::Agreed, now);
        if number > LAST_GENERATION {
            return None;
        }
        if next.generation(number).is_some() || next.check_new(&agreed).is_err() {
            return None;
        }
        let at = next.generations.iter().position(|it| it.number == session && it.used)?;
        next.generations.insert(at + 1, agreed);
        let is_replaced = match role {
            Role::Client => was_handed_over || broken(Fault::OldKeysForgottenByClient),
            Role::Server => broken(Fault::OldKeysForgottenByServer),
        };
        if is_replaced {
            next.remove(at, Why::Burned, now);
        }
        next.trim(now);
        Some(next)
    }

    /// Returns the ring of a server whose client has stored the generation `agreed`, without the keys
    /// of the session if those were handed over; `None` if they stay.
    pub(super) fn confirmed(&self, session: u64, agreed: u64, now: Seconds) -> Option<Self> {
        self.generation(agreed)?;
        let is_burned = |it: &Generation| it.number == session && it.origin == Origin::HandedOver;
        let at = self.generations.iter().position(is_burned)?;
        let mut next = self.clone();
        next.remove(at, Why::Burned, now);
        Some(next)
    }

    /// Returns the ring of a client that is in a session with the generation `session` although it has
    /// agreed on newer keys, without those; `None` if there are none.
    pub(super) fn fallen_back(&self, session: u64) -> Option<Self> {
        let waiting = self.waiting(session)?;
        let mut next = self.clone();
        next.generations.retain(|it| it.number != waiting);
        Some(next)
    }

    /// Returns the generations, oldest first: the one in use, if any is, and those to come.
    #[must_use]
    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// Returns the generation with this number.
    #[must_use]
    pub fn generation(&self, number: u64) -> Option<&Generation> {
        self.generations.iter().find(|it| it.number == number)
    }

    /// Returns whether these are keys of the link, or were until not long ago.
    #[must_use]
    pub fn knows(&self, keys: &KeyPair) -> bool {
        let [server, client] = &self.names;
        let is_present = self.generations.iter().any(|it| *it.keys == *keys);
        is_present || self.has_burned(&Credentials::new(server, client, keys))
    }

    /// Returns whether these are among the last ones that were removed.
    fn has_burned(&self, credentials: &Credentials) -> bool {
        if self.burned.is_empty() {
            return false;
        }
        let hints = credentials.hint_key();
        self.burned.iter().any(|it| it.hints == hints)
    }

    /// Returns the last ones that were removed, oldest first.
    #[must_use]
    pub fn burned(&self) -> &[Burned] {
        &self.burned
    }

    /// Returns the identity that a link would have that began with the last invitation.
    #[must_use]
    pub fn invitation(&self) -> LinkId {
        self.invitation
    }

    /// Returns the ring as if its last generation were that of the last invitation.
    #[must_use]
    pub fn as_invited(mut self) -> Self {
        if let Some(last) = self.generations.last() {
            self.invitation = last.credentials.link_id();
        }
        self
    }

    /// Returns the number of the next generation: higher than any that the ring knows of.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        let numbers = self.generations.iter().map(|it| it.number);
        let numbers = numbers.chain(self.burned.iter().map(|it| it.number));
        numbers.max().map_or(0, |number| number.saturating_add(1))
    }

    /// Returns the number of the keys that were agreed on and wait to be used, other than those of a
    /// session with the generation `session`.
    pub(super) fn waiting(&self, session: u64) -> Option<u64> {
        let is_waiting = |it: &&Generation| it.number != session && it.is_unused(Origin::Agreed);
        self.generations.iter().find(is_waiting).map(|it| it.number)
    }

    /// Returns whether a server may renew the keys in a session with the generation `session`: it is
    /// the one in use, nobody has written an invitation to replace it, and none waits to be used.
    #[must_use]
    pub fn may_renew(&self, session: u64, now: Seconds) -> bool {
        let is_in_use = self.generation(session).is_some_and(|it| it.used);
        is_in_use && !self.is_to_be_replaced(session, now)
    }

    /// Returns whether an invitation that waits to be used, or was written and is over, is to replace the
    /// keys of a session with the generation `session`.
    #[must_use]
    pub fn is_to_be_replaced(&self, session: u64, now: Seconds) -> bool {
        let waits = |it: &Generation| {
            it.number != session && it.is_unused(Origin::HandedOver) && !it.expiry.has_passed(now)
        };
        let ends = |it: &Generation| matches!(it.expiry, Expiry::At(_));
        self.generation(session).is_some_and(ends) || self.generations.iter().any(waits)
    }

    /// Returns the moment from which on a server renews the keys of a session with the generation
    /// `session` unasked; `interval` is how long keys stay, in seconds.
    #[must_use]
    pub fn due(&self, session: u64, interval: Seconds) -> Option<Seconds> {
        let it = self.generation(session)?;
        match it.origin {
            Origin::HandedOver => Some(0),
            Origin::Agreed => Some(it.since.saturating_add(interval)),
        }
    }

    fn generation_of(
        &self,
        number: u64,
        keys: Arc<KeyPair>,
        origin: Origin,
        now: Seconds,
    ) -> Generation {
        let [server, client] = &self.names;
        Generation::new([server, client], number, keys, origin, now)
    }

    /// Checks that the link does not have any of these keys, nor has had them.
    fn check_new(&self, new: &Generation) -> Result<(), KeyRingError> {
        let shares = |it: &Generation| share_a_key(&it.keys, &new.keys);
        if self.generations.iter().any(shares) || self.has_burned(&new.credentials) {
            return Err(KeyRingError::SharedKey);
        }
        Ok(())
    }

    fn hand_over(&mut self, new: Generation, now: Seconds) {
        self.invitation = new.credentials.link_id();
        self.generations.push(new);
        self.trim(now);
    }

    /// Removes the oldest invitation that was not used, if there are too many generations.
    fn trim(&mut self, now: Seconds) {
        let is_unused = |it: &Generation| it.is_unused(Origin::HandedOver);
        while self.generations.len() > GENERATIONS
            && let Some(at) = self.generations.iter().position(is_unused)
        {
            self.remove(at, Why::Burned, now);
        }
    }

    /// Removes a generation, and remembers its hints.
    fn remove(&mut self, at: usize, why: Why, now: Seconds) {
        let removed = self.generations.remove(at);
        self.remember(&removed, why, now);
    }

    fn remember(&mut self, removed: &Generation, why: Why, now: Seconds) {
        if broken(Fault::BurnedForgotten) {
            return;
        }
        self.burned.push(removed.burn(why, now));
        if self.burned.len() > BURNED {
            self.burned.remove(0);
        }
    }
}
