//! Both sides of a link and what is between them: what can happen, and what has to stay true.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;

use paddington_wire::keys::{Draft, Generation, KeyRing, Origin, Renewal, Role, Step, Storing};
use paddington_wire::sealed::Exporter;
use paddington_wire::sealed::fuzzing::exporter;
use paddington_wire::{Features, Frame, KeysId, PeerName};

use super::act::{Act, Budget, Dialled};

/// Index of the client; the server has the other one.
const CLIENT: usize = 0;
const SERVER: usize = 1;
const ROLES: [Role; 2] = [Role::Client, Role::Server];
/// Time between two events, in seconds: no pause of a renewal is longer.
const TICK: u64 = 20;
/// Time for which keys stay if nobody asks, in seconds.
const INTERVAL: u64 = 1 << 40;

/// What a side is storing.
#[derive(Clone, Debug)]
enum Pending {
    Ring(KeyRing),
    /// For a renewal in the session with this number.
    Draft(Draft, u64),
}

impl Pending {
    fn ring(&self) -> &KeyRing {
        match self {
            Self::Ring(ring) => ring,
            Self::Draft(draft, _) => draft.ring(),
        }
    }
}

#[derive(Clone, Debug)]
struct Side {
    /// The list that is durable.
    ring: KeyRing,
    /// The durable one before.
    before: Option<KeyRing>,
    pending: Option<Pending>,
    /// The generation that was used, until that is stored.
    used: Option<u64>,
    /// The session with its number, and what has arrived in it.
    session: Option<(u64, Renewal)>,
    inbox: VecDeque<Frame>,
}

/// Both sides, and what is between them.
#[derive(Clone, Debug)]
pub(super) struct World {
    sides: [Side; 2],
    /// How many keys the client has tried since it was connected.
    attempt: usize,
    /// The server's list of which the client's operator has the last keys in a file.
    invitation: Option<KeyRing>,
    left: Budget,
    sessions: u64,
    now: u64,
    restored: bool,
    /// The order in which keys came about.
    ages: HashMap<KeysId, usize>,
    /// The age of the newest keys that were used, or have replaced an invitation.
    floor: usize,
}

pub(super) type Kept = Result<(), &'static str>;

impl World {
    pub(super) fn new(left: Budget) -> Self {
        let ring = first_ring(left.agreed, left.agreed);
        let side = |ring: &KeyRing| Side {
            ring: ring.clone(),
            before: left.agreed.then(|| first_ring(false, true)),
            pending: None,
            used: None,
            session: None,
            inbox: VecDeque::new(),
        };
        let ages = ring.generations().iter().map(id).zip(0..).collect();
        Self {
            sides: [side(&ring), side(&ring)],
            attempt: 0,
            invitation: None,
            left,
            sessions: 0,
            now: 0,
            restored: false,
            ages,
            floor: 0,
        }
    }

    pub(super) fn acts(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        let client = &self.sides[CLIENT];
        if self.left.dials > 0 && client.session.is_none() && client.pending.is_none() {
            acts.push(Act::Dial(Dialled::Established));
            if self.left.faults > 0 {
                acts.extend([Act::Dial(Dialled::Half), Act::Dial(Dialled::HungUp)]);
            }
        }
        for (at, side) in self.sides.iter().enumerate() {
            if side.session.is_some() && !side.inbox.is_empty() {
                acts.push(Act::Arrive(at));
            }
            if side.session.is_some() && self.left.asks > 0 {
                acts.push(Act::Ask(at));
            }
            if side.pending.is_some() {
                acts.push(Act::Stored(at));
            }
            if self.left.faults > 0 {
                acts.push(Act::Crash(at, false));
                if side.session.is_some() {
                    acts.push(Act::Cut(at));
                }
                if side.pending.is_some() {
                    acts.extend([Act::Failed(at), Act::Crash(at, true)]);
                }
            }
            if self.left.restores > 0 && self.may_restore(at) {
                acts.push(Act::Restore(at));
            }
        }
        if self.left.invites > 0 && self.sides[SERVER].pending.is_none() {
            acts.push(Act::Invite);
        }
        if client.pending.is_none() && self.accepted().is_some() {
            acts.push(Act::Accept);
        }
        acts
    }

    /// Whether the newest keys of the list before may still be in the other side's list, which is at
    /// rest: restoring a copy takes longer than what it was doing.
    fn may_restore(&self, at: usize) -> bool {
        let other = &self.sides[1 - at];
        if other.session.is_some() || other.pending.is_some() {
            return false;
        }
        let newest = self.sides[at].before.as_ref().and_then(|ring| ring.generations().last());
        newest.is_some_and(|newest| self.age(newest) >= self.floor)
    }

    fn age(&self, generation: &Generation) -> usize {
        self.ages.get(&id(generation)).copied().unwrap_or(usize::MAX)
    }

    pub(super) fn happen(&mut self, act: Act) -> Kept {
        self.now += TICK;
        match act {
            Act::Dial(dialled) => self.dial(dialled),
            Act::Cut(at) => {
                self.left.faults -= 1;
                self.drop_session(at);
            }
            Act::Arrive(at) => {
                let side = &mut self.sides[at];
                if let (Some((_, renewal)), Some(frame)) =
                    (&mut side.session, side.inbox.pop_front())
                {
                    renewal.receive(&frame).map_err(|_| "no side breaks the protocol")?;
                }
            }
            Act::Stored(at) => self.settle(at, Storing::Done)?,
            Act::Failed(at) => {
                self.left.faults -= 1;
                self.settle(at, Storing::Failed)?;
            }
            Act::Crash(at, stored) => {
                self.left.faults -= 1;
                self.drop_session(at);
                let side = &mut self.sides[at];
                side.used = None;
                if let (true, Some(pending)) = (stored, &side.pending) {
                    let ring = pending.ring().clone();
                    self.put(at, ring);
                }
                self.sides[at].pending = None;
            }
            Act::Ask(at) => {
                self.left.asks -= 1;
                if let Some((_, renewal)) = &mut self.sides[at].session {
                    renewal.ask();
                }
            }
            Act::Invite => self.invite(),
            Act::Accept => self.sides[CLIENT].pending = self.accepted().map(Pending::Ring),
            Act::Restore(at) => {
                self.left.restores -= 1;
                self.restored = true;
                self.drop_session(at);
                let side = &mut self.sides[at];
                (side.pending, side.used) = (None, None);
                if let Some(before) = side.before.take() {
                    side.ring = before;
                }
                // Whoever puts a server back writes another invitation, if one was on its way.
                self.invitation = self.invitation.take().filter(|_| at == CLIENT);
            }
        }
        (0..2).try_for_each(|at| self.go_on(at))
    }

    fn dial(&mut self, dialled: Dialled) {
        self.left.dials -= 1;
        let offers = self.sides[CLIENT].ring.generations();
        let Some(offer) = offers.iter().rev().nth(self.attempt % offers.len().max(1)) else {
            return;
        };
        let (offered, number) = (id(offer), offer.number());
        let known = self.sides[SERVER].ring.generations().iter().find(|it| id(it) == offered);
        let Some(theirs) = known.map(Generation::number) else {
            self.attempt += 1;
            return;
        };
        if dialled == Dialled::HungUp {
            self.left.faults -= 1;
            self.attempt += 1;
            return;
        }
        self.attempt = 0;
        self.sessions += 1;
        self.drop_session(CLIENT);
        self.begin(CLIENT, number);
        if dialled == Dialled::Half {
            self.left.faults -= 1;
            return;
        }
        self.drop_session(SERVER);
        self.begin(SERVER, theirs);
    }

    fn begin(&mut self, at: usize, number: u64) {
        let exporter: Exporter = exporter(&self.sessions.to_be_bytes());
        let features = [Features::RENEW; 2];
        let renewal = Renewal::new(ROLES[at], number, exporter, features, INTERVAL);
        let age = self.sides[at].ring.generation(number).map_or(0, |it| self.age(it));
        self.floor = self.floor.max(age);
        self.sides[at].session = Some((self.sessions, renewal));
        self.sides[at].used = Some(number);
    }

    fn drop_session(&mut self, at: usize) {
        self.sides[at].session = None;
        self.sides[at].inbox.clear();
    }

    /// Makes a ring the durable one of a side.
    fn put(&mut self, at: usize, ring: KeyRing) {
        for generation in ring.generations() {
            let next = self.ages.len();
            self.ages.entry(id(generation)).or_insert(next);
        }
        let side = &mut self.sides[at];
        let before = std::mem::replace(&mut side.ring, ring);
        let handed_over = |it: &Generation| it.origin() == Origin::HandedOver && it.is_used();
        let side = &self.sides[at];
        // Keys that were agreed on have replaced an invitation.
        if at == CLIENT && before.generations().iter().any(handed_over) {
            let gone = before.generations().iter().find(|it| handed_over(it));
            let agreed = side.ring.generations().iter().find(|it| it.origin() == Origin::Agreed);
            if let (Some(gone), Some(agreed)) = (gone, agreed)
                && side.ring.generations().iter().all(|it| id(it) != id(gone))
            {
                self.floor = self.floor.max(self.age(agreed));
            }
        }
        self.sides[at].before = Some(before);
    }

    fn settle(&mut self, at: usize, storing: Storing) -> Kept {
        match self.sides[at].pending.take() {
            Some(Pending::Ring(ring)) if storing == Storing::Done => {
                let before = self.sides[at].ring.clone();
                self.put(at, ring);
                self.check_used(at, &before)?;
            }
            Some(Pending::Draft(draft, session)) => {
                let stored = draft.ring().clone();
                let side = &mut self.sides[at];
                let renewal = side.session.as_mut().filter(|(number, _)| *number == session);
                let frame = match renewal {
                    Some((_, renewal)) => renewal.settle(draft, storing, self.now).frame,
                    None => None, // the session has ended
                };
                if storing == Storing::Done {
                    self.put(at, stored);
                }
                self.send(at, frame);
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends a frame, which arrives if the other side has the same session.
    fn send(&mut self, at: usize, frame: Option<Frame>) {
        let number = |side: &Side| side.session.as_ref().map(|(number, _)| *number);
        if let Some(frame) = frame
            && number(&self.sides[at]) == number(&self.sides[1 - at])
        {
            self.sides[1 - at].inbox.push_back(frame);
        }
    }

    /// After the list says that keys are used: older ones are gone, and are recognised.
    fn check_used(&self, at: usize, before: &KeyRing) -> Kept {
        let ring = &self.sides[at].ring;
        let Some(first) = ring.generations().first().filter(|it| it.is_used()) else {
            return if ring.generations().iter().any(Generation::is_used) {
                Err("what was used makes older keys worthless")
            } else {
                Ok(())
            };
        };
        let older = before.generations().iter().take_while(|it| id(it) != id(first));
        let recognised = |old: &Generation| {
            let hints = old.credentials().hint_key();
            ring.burned().iter().any(|burned| *burned.hints() == hints)
        };
        if older.into_iter().all(recognised) { Ok(()) } else { Err("burned keys are recognised") }
    }

    fn invite(&mut self) {
        self.left.invites -= 1;
        let keys = exporter(&[&b"invite"[..], &self.now.to_be_bytes()].concat()).keys(0);
        let side = &mut self.sides[SERVER];
        if let Ok(keys) = keys
            && let Ok(ring) = side.ring.invite(Arc::new(keys), None, self.now)
        {
            self.invitation = Some(ring.clone());
            // Its operator gets the file once it is stored.
            side.pending = None;
            self.put(SERVER, ring);
        }
    }

    /// The client's list with the invitation, if that is news to it.
    fn accepted(&self) -> Option<KeyRing> {
        let newest = self.invitation.as_ref()?.generations().last()?;
        let ring = &self.sides[CLIENT].ring;
        ring.accept(Arc::clone(newest.keys()), newest.number(), self.now)
    }

    /// Does what a side does by itself: it stores that keys were used, and goes on with its renewal.
    fn go_on(&mut self, at: usize) -> Kept {
        loop {
            let side = &mut self.sides[at];
            if side.pending.is_some() {
                return Ok(());
            }
            if let Some(number) = side.used.take()
                && let Some(ring) = side.ring.used(number, self.now)
            {
                side.pending = Some(Pending::Ring(ring));
                return Ok(());
            }
            let Some((session, renewal)) = &mut side.session else { return Ok(()) };
            let session = *session;
            match renewal.poll(&side.ring, self.now).map_err(|_| "keys can be derived")? {
                Some(Step::Store(draft)) => side.pending = Some(Pending::Draft(draft, session)),
                Some(Step::Send(frame)) => self.send(at, Some(frame)),
                None => return Ok(()),
            }
        }
    }

    pub(super) fn check(&self) -> Kept {
        let [client, server] = [CLIENT, SERVER].map(|at| self.sides[at].ring.generations());
        if client.len() > 3 || server.len() > 3 {
            return Err("a link has three generations of keys at most");
        }
        let is_known = |ours: &Generation| server.iter().any(|theirs| id(ours) == id(theirs));
        if !client.iter().any(is_known) && !self.waits_for_invitation() {
            return Err("nobody is locked out");
        }
        let differs = |ours: &Generation| {
            let same = server.iter().find(|theirs| theirs.number() == ours.number());
            same.is_some_and(|theirs| id(theirs) != id(ours))
        };
        // A number whose keys were not stored at the server may be given again.
        let agreed = client.iter().filter(|it| it.is_used());
        if !self.restored && agreed.into_iter().any(differs) {
            return Err("keys of one number are the same");
        }
        if !self.agrees() {
            return Err("what the server takes for agreed on is what the client has");
        }
        Ok(())
    }

    /// Whether the client has the keys of which the server takes that in their session.
    fn agrees(&self) -> bool {
        let [client, server] = &self.sides;
        let (Some((ours, _)), Some((theirs, renewal))) = (&client.session, &server.session) else {
            return true;
        };
        let waits = |it: &&Generation| it.origin() == Origin::Agreed && !it.is_used();
        let mut waiting = server.ring.generations().iter().filter(waits);
        let has = |it: &Generation| client.ring.generations().iter().any(|ours| id(ours) == id(it));
        ours != theirs || !renewal.is_renewed() || waiting.all(has)
    }

    /// Whether the client has used an invitation without the server's knowledge, which has written
    /// another one in its place since. The client's operator has that one to come.
    fn waits_for_invitation(&self) -> bool {
        let (client, server) = (&self.sides[CLIENT].ring, &self.sides[SERVER].ring);
        let is_burned = |ours: &Generation| {
            let hints = ours.credentials().hint_key();
            ours.origin() == Origin::HandedOver
                && server.burned().iter().any(|burned| *burned.hints() == hints)
        };
        self.accepted().is_some() && client.generations().iter().any(is_burned)
    }

    /// Describes the state without what makes no difference: times, and the bytes of keys.
    pub(super) fn shape(&self) -> String {
        let mut names: HashMap<KeysId, usize> = HashMap::new();
        let mut shape = String::new();
        let rings = self.sides.iter().flat_map(|side| {
            let pending = side.pending.as_ref().map(Pending::ring);
            [Some(&side.ring), pending, side.before.as_ref()]
        });
        for ring in rings.chain([self.invitation.as_ref()]) {
            let _ = write!(shape, "|");
            for it in ring.into_iter().flat_map(KeyRing::generations) {
                let count = names.len();
                let name = *names.entry(id(it)).or_insert(count);
                let (fresh, at) = (self.age(it) >= self.floor, it.expiry().moment().is_some());
                let _ = write!(
                    shape,
                    "{name} {} {:?} {} {at} {fresh},",
                    it.number(),
                    it.origin(),
                    it.is_used()
                );
            }
            for it in ring.into_iter().flat_map(KeyRing::burned) {
                let _ = write!(shape, "-{}", it.number());
            }
        }
        for side in &self.sides {
            let renewal = side.session.as_ref().map(|(_, renewal)| renewal.shape());
            let pending = side.pending.as_ref().map(|pending| match pending {
                Pending::Ring(_) => 0,
                Pending::Draft(_, session) => 1 + self.sessions - session,
            });
            let _ = write!(shape, "/{renewal:?} {pending:?} {:?} {:?}", side.used, side.inbox);
        }
        let number = |side: &Side| side.session.as_ref().map(|(number, _)| self.sessions - number);
        let sessions = [number(&self.sides[0]), number(&self.sides[1])];
        let _ = write!(shape, "{sessions:?} {} {:?} {}", self.attempt, self.left, self.restored);
        shape
    }
}

/// The ring of a link with an invitation, or with one generation that was agreed on and is `used`; and
/// with one that was `agreed` on and not used.
fn first_ring(agreed: bool, used: bool) -> KeyRing {
    let (hub, sensor) = names();
    let keys = |number| exporter(b"first").keys(number).map(Arc::new);
    let (Ok(first), Ok(second)) = (keys(0), keys(1)) else { unreachable!("the keys of a seed") };
    let ring = KeyRing::begin([&hub, &sensor], first, 0, None, 0);
    if !used {
        return ring;
    }
    let mut stored = ring.to_stored();
    stored.generations[0].origin = Origin::Agreed;
    let mut next = stored.generations[0].clone();
    (next.number, next.keys) = (1, second);
    stored.generations[0].used = true;
    stored.generations.extend(agreed.then_some(next));
    match KeyRing::from_stored(&hub, &sensor, stored) {
        Ok(ring) => ring,
        Err(_) => unreachable!("a ring that can be stored"),
    }
}

fn names() -> (PeerName, PeerName) {
    match ("hub".parse(), "sensor".parse()) {
        (Ok(hub), Ok(sensor)) => (hub, sensor),
        _ => unreachable!("two constant names"),
    }
}

fn id(generation: &Generation) -> KeysId {
    generation.credentials().keys_id()
}
