//! The calls of the handlers of all replicas: which may overlap, and which may come again.

use std::collections::BTreeSet;
use std::time::Duration;

use paddington::{Delivered, Message, MessageId};

use super::ledger::Ledger;
use super::plan::LEASE;

/// The time within which a handled message is acknowledged, or its cursor durable; and within which a
/// replica does what it was told.
const MOMENT: Duration = Duration::from_millis(150);
/// The shortest time without the database after which a replica may count as dead: it has renewed its
/// lease a quarter of it before at the latest.
const DEAD_AFTER: Duration = LEASE.saturating_sub(LEASE.checked_div(4).unwrap());

/// The calls of the handlers of all replicas.
pub(crate) struct Calls {
    /// The messages of each peer.
    books: Vec<Vec<Received>>,
    concurrency: usize,
    replicas: Vec<Life>,
    repeats: usize,
}

/// A message of a peer.
#[derive(Default)]
struct Received {
    is_accepted: bool,
    id: Option<MessageId>,
    calls: Vec<Call>,
    is_settled: bool,
}

#[derive(Clone, Copy)]
struct Call {
    replica: usize,
    begun: Duration,
    ended: Option<Duration>,
}

/// A replica, from its start on.
#[derive(Default)]
struct Life {
    troubles: Vec<Trouble>,
    is_dead: bool,
    /// The peers that are announced to its handler.
    announced: BTreeSet<usize>,
}

/// What happens to a replica, after which others may own its links.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    kind: Kind,
    from: Duration,
    until: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was killed.
    Killed,
    /// It does not reach the database.
    CutOff,
    /// Its session in the database has ended.
    SessionEnded,
}

impl Trouble {
    /// Returns since when others may own the links of the replica at the time `now`, if they may.
    fn counts(&self, now: Duration) -> bool {
        match self.kind {
            Kind::Killed | Kind::SessionEnded => true,
            Kind::CutOff => self.until.min(now).saturating_sub(self.from) >= DEAD_AFTER,
        }
    }
}

impl Life {
    /// Returns whether a call of this replica may be repeated elsewhere at the time `now`.
    fn excuses(&self, call: &Call, now: Duration) -> bool {
        let durable = call.ended.map(|ended| self.durable_at(ended));
        self.troubles.iter().any(|trouble| {
            let was_durable = durable.is_some_and(|durable| durable < trouble.from);
            !was_durable && trouble.counts(now) && call.begun <= trouble.until + MOMENT
        })
    }

    /// Returns when the database certainly knows that a call has ended: not while it is out of reach.
    fn durable_at(&self, ended: Duration) -> Duration {
        let cut_offs = self.troubles.iter().filter(|it| it.kind == Kind::CutOff);
        cut_offs.fold(ended + MOMENT, |at, cut_off| {
            let is_in_time = at < cut_off.from || cut_off.until <= ended;
            if is_in_time { at } else { at.max(cut_off.until + MOMENT) }
        })
    }

    /// Returns whether others may own the links of this replica at the time `now`, or might have since.
    fn is_doubtful(&self, since: Duration, now: Duration) -> bool {
        let mut troubles = self.troubles.iter();
        troubles.any(|trouble| trouble.counts(now) && trouble.until + MOMENT >= since)
    }

    fn cut_off_for(&self, now: Duration) -> Option<Duration> {
        let cut_off = |it: &&Trouble| it.kind == Kind::CutOff && it.from <= now && now < it.until;
        self.troubles.iter().find(cut_off).map(|trouble| now - trouble.from)
    }
}

impl Calls {
    pub(super) fn new(peers: usize, concurrency: usize) -> Self {
        let books = (0..peers).map(|_| Vec::new()).collect();
        Self { books, concurrency, replicas: Vec::new(), repeats: 0 }
    }

    /// Returns what is wrong with a call that begins now.
    fn wrongs(
        &self,
        (replica, peer, number): (usize, usize, usize),
        message: &Message,
        now: Duration,
        told_off: Option<Duration>,
    ) -> Vec<String> {
        let mut wrongs = Vec::new();
        let here = &self.replicas[replica];
        if !here.announced.contains(&peer) {
            wrongs.push("came before its peer was announced".to_owned());
        }
        if here.cut_off_for(now).is_some_and(|time| time > LEASE + MOMENT / 10) {
            wrongs.push("is handled after the lease".to_owned());
        }
        if let Some(at) = told_off.filter(|at| *at + MOMENT < now) {
            wrongs.push(format!("is handled although the lane is not the replica's since {at:?}"));
        }
        self.judge_overlaps((replica, peer), now, &mut wrongs);
        let Some(received) = self.books[peer].get(number) else {
            wrongs.push("was never sent".to_owned());
            return wrongs;
        };
        if received.calls.is_empty() {
            let first = |received: &Received| !received.calls.is_empty();
            let last = self.books[peer].iter().rposition(first);
            let next = last.map_or(0, |last| last + 1);
            // Several at a time begin in any order.
            if self.concurrency == 1 && number != next {
                wrongs.push(format!("is handled first where {next} is next"));
            }
            return wrongs;
        }
        for call in &received.calls {
            if !self.replicas[call.replica].excuses(call, now) {
                let Call { replica, begun, ended } = call;
                let ended = ended.map(|ended| format!("{:.4}", ended.as_secs_f64()));
                wrongs.push(format!(
                    "is handled again after it was at {replica} from {:.4} until {ended:?}",
                    begun.as_secs_f64()
                ));
            }
        }
        if received.id.is_some() && received.id != message.id() {
            wrongs.push("came again under another id".to_owned());
        }
        if !message.redelivered() {
            wrongs.push("came again as if it were new".to_owned());
        }
        wrongs
    }

    fn judge_overlaps(
        &self,
        (replica, peer): (usize, usize),
        now: Duration,
        wrongs: &mut Vec<String>,
    ) {
        let mut here = 1;
        let calls = self.books[peer].iter().flat_map(|received| &received.calls);
        let running = |call: &&Call| call.ended.is_none() && !self.replicas[call.replica].is_dead;
        let running = calls.filter(running);
        for call in running {
            let doubtful = |life: &Life| life.is_doubtful(call.begun, now);
            if doubtful(&self.replicas[call.replica]) || doubtful(&self.replicas[replica]) {
                continue;
            }
            if call.replica == replica {
                here += 1;
            } else {
                let since = call.begun.as_secs_f64();
                let other = call.replica;
                wrongs.push(format!("is handled while a call runs at {other} since {since:.4}"));
            }
        }
        if here > self.concurrency {
            wrongs.push(format!("is one of {here} calls at the same replica"));
        }
    }

    pub(super) fn missing(&self) -> Option<String> {
        let ended = |call: &Call| call.ended.is_some();
        let missing = |it: &Received| it.is_accepted && !it.calls.iter().any(ended);
        let find = |(peer, book): (usize, &Vec<Received>)| {
            let number = book.iter().position(missing)?;
            Some(format!("from {peer}: {number} is missing"))
        };
        self.books.iter().enumerate().find_map(find)
    }

    pub(super) fn untold(&self) -> Option<String> {
        let find = |(peer, book): (usize, &Vec<Received>)| {
            let number = book.iter().position(|it| it.is_accepted && !it.is_settled)?;
            Some(format!("from {peer}: the receipt of {number} was never told"))
        };
        self.books.iter().enumerate().find_map(find)
    }

    /// Returns the number of messages that were handled, and of repeats.
    pub(super) fn figures(&self) -> (usize, usize) {
        let handled = self.books.iter().flatten().filter(|it| !it.calls.is_empty()).count();
        (handled, self.repeats)
    }
}

impl Ledger {
    /// Takes the number of a replica that is about to start.
    pub(crate) fn started(&self) -> usize {
        let replicas = &mut self.entries().calls.replicas;
        replicas.push(Life::default());
        replicas.len() - 1
    }

    /// Notes that a replica was killed.
    pub(crate) fn killed(&self, replica: usize) {
        self.begin_trouble(replica, Kind::Killed, Duration::MAX / 2);
        self.entries().calls.replicas[replica].is_dead = true;
    }

    /// Notes that a replica has trouble, for this time unless it [ends](Self::end_trouble) before.
    pub(crate) fn begin_trouble(&self, replica: usize, kind: Kind, time: Duration) {
        self.trouble();
        let from = self.now();
        let trouble = Trouble { kind, from, until: from + time };
        self.entries().calls.replicas[replica].troubles.push(trouble);
    }

    /// Notes that a replica reaches the database again.
    pub(crate) fn end_trouble(&self, replica: usize) {
        let now = self.now();
        let mut entries = self.entries();
        let troubles = entries.calls.replicas[replica].troubles.iter_mut();
        for trouble in troubles.filter(|it| it.kind == Kind::CutOff) {
            trouble.until = trouble.until.min(now);
        }
    }

    /// Takes the number of the next message of a peer.
    pub(crate) fn offer_from(&self, peer: usize) -> usize {
        let mut entries = self.entries();
        let book = &mut entries.calls.books[peer];
        book.push(Received::default());
        book.len() - 1
    }

    pub(crate) fn accepted_from(&self, peer: usize, number: usize) {
        let mut entries = self.entries();
        entries.calls.books[peer][number].is_accepted = true;
        entries.tell(self.now(), 2 * peer + 1, format_args!("from {peer}: {number} accepted"));
    }

    /// Notes what the receipt of a peer says.
    pub(crate) fn settled_from(&self, peer: usize, number: usize, delivered: Delivered) {
        let mut entries = self.entries();
        let now = self.now();
        entries.tell_outcome(now, format_args!("from {peer}: {number} is {delivered:?}"));
        let received = &mut entries.calls.books[peer][number];
        received.is_settled = true;
        let is_handled = received.calls.iter().any(|call| call.ended.is_some());
        if delivered != Delivered::Handled || !is_handled {
            let what = format!("is said to be {delivered:?}, handled: {is_handled}");
            entries.fail(now, format_args!("from {peer}: {number} {what}"));
        }
    }

    /// Notes that a replica's handler is told that a peer is connected, or not any more.
    pub(crate) fn announced(&self, replica: usize, peer: usize, connected: bool) {
        let mut entries = self.entries();
        let what = if connected { "Connected" } else { "Disconnected" };
        entries.tell(self.now(), 2 * peer + 1, format_args!("from {peer}: {what} at {replica}"));
        let life = &mut entries.calls.replicas[replica];
        if connected {
            life.announced.insert(peer);
        } else {
            life.announced.remove(&peer);
        }
    }

    /// Notes that a call of a replica's handler begins. `told_off` is since when the replica knows that
    /// it must not. Returns whether the replica lives.
    pub(crate) fn begun(
        &self,
        replica: usize,
        (peer, number): (usize, usize),
        message: &Message,
        told_off: Option<Duration>,
    ) -> bool {
        let mut entries = self.entries();
        let now = self.now();
        if entries.calls.replicas[replica].is_dead {
            return false;
        }
        entries.tell(now, 2 * peer + 1, format_args!("from {peer}: {number} begins at {replica}"));
        let wrongs = entries.calls.wrongs((replica, peer, number), message, now, told_off);
        for wrong in wrongs {
            entries.fail(now, format_args!("from {peer}: {number} {wrong} at {replica}"));
        }
        let mut again = false;
        if let Some(received) = entries.calls.books[peer].get_mut(number) {
            again = !received.calls.is_empty();
            received.id = message.id();
            received.calls.push(Call { replica, begun: now, ended: None });
        }
        entries.calls.repeats += usize::from(again);
        true
    }

    /// Notes that a call ends. Returns whether the replica lives.
    pub(crate) fn ended(&self, replica: usize, (peer, number): (usize, usize)) -> bool {
        let mut entries = self.entries();
        let now = self.now();
        if entries.calls.replicas[replica].is_dead {
            return false;
        }
        entries.tell(now, 2 * peer + 1, format_args!("from {peer}: {number} ends at {replica}"));
        let calls = entries.calls.books[peer].get_mut(number).map(|it| it.calls.iter_mut());
        let mut calls = calls.into_iter().flatten();
        if let Some(call) = calls.find(|it| it.replica == replica && it.ended.is_none()) {
            call.ended = Some(now);
        }
        true
    }
}
