//! The plan of a run, drawn from the seed: which service talks to which, and what goes wrong.

use std::time::Duration;

use paddington::OnError;
use paddington_test_support::{Lag, Random};

use crate::ledger::now;

/// The plan of a run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The resolution of the network's time.
    pub(crate) tick: Duration,
    /// The longest time that a message takes where nothing is wrong.
    pub(crate) latency: Duration,
    pub(crate) services: Vec<Role>,
    /// Pairs of client and server.
    pub(crate) links: Vec<(usize, usize)>,
    pub(crate) flows: Vec<Flow>,
    /// Faults and when they happen, in order.
    pub(crate) faults: Vec<(Duration, Fault)>,
    /// When faults and new messages end.
    pub(crate) calm: Duration,
    /// The fault that stays after that.
    pub(crate) ending: Ending,
    /// The age at which sessions are renewed.
    pub(crate) session_age: Duration,
    pub(crate) outbox_messages: usize,
    pub(crate) window: u32,
    /// Number of crashes that a message survives.
    pub(crate) crashes: u32,
    /// The renewals of keys, if services have a place for them.
    pub(crate) renewals: Option<Renewals>,
}

/// How keys are renewed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewals {
    /// The age at which they are.
    pub(crate) every: Duration,
    /// The longest pause between two requests for new keys by a person, if there are any.
    pub(crate) asked: Option<Duration>,
    /// The longest time that storing takes.
    pub(crate) lag: Duration,
}

/// A service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    /// The lag of its disk, if it has one.
    pub(crate) disk: Option<Lag>,
    pub(crate) on_error: OnError,
}

/// Messages that one service sends to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) messages: u64,
    /// Number of messages that are sent without a pause.
    pub(crate) burst: u64,
    /// The longest pause between bursts.
    pub(crate) pause: Duration,
    /// The longest payload in bytes.
    pub(crate) payload: usize,
    /// One message in this many has a time to live.
    pub(crate) mortal: u64,
    pub(crate) ttl: Duration,
    /// One message in this many takes the handler long.
    pub(crate) slow: u64,
    /// The longest time that such a message takes.
    pub(crate) handling: Duration,
    /// One message in this many makes the handler fail.
    pub(crate) failing: u64,
}

/// A fault, or the end of one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Nothing passes between two, either way. What is under way is lost.
    Cut(usize, usize),
    /// Nothing passes from the one to the other.
    OneWay(usize, usize),
    /// Bytes between two are held back, and pass when this ends.
    Hold(usize, usize),
    /// Everything passes again between two.
    Heal(usize, usize),
    /// Messages between two take up to this time.
    Slow(usize, usize, Duration),
    /// The first one's connections to the second are reset.
    Reset(usize, usize),
    /// A process ends at once; its machine closes the connections.
    Kill(usize),
    /// A machine is gone, and nobody hears of it.
    PowerOff(usize),
    /// A service shuts down in order.
    Stop(usize),
    /// A service starts again, wherever it was.
    Start(usize),
    /// A disk takes nothing any more.
    DiskFull(usize),
    /// A disk works again.
    DiskFree(usize),
    /// A host cannot store keys any more.
    KeysFail(usize),
    /// A host can store keys again.
    KeysStored(usize),
    /// A process ends at once, and what it knows of keys is put back to an earlier copy before it
    /// starts again.
    PutBack(usize),
}

impl Fault {
    /// Returns whether it is a fault and not the end of one.
    pub(crate) fn is_bad(self) -> bool {
        !matches!(self, Self::Heal(..) | Self::Start(_) | Self::DiskFree(_) | Self::KeysStored(_))
    }

    pub(crate) fn is_of_disk(self) -> bool {
        matches!(self, Self::DiskFull(_) | Self::DiskFree(_))
    }
}

/// The fault that stays when everything else is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Whole,
    OneWay(usize, usize),
    Dead(usize),
}

const SECOND: Duration = Duration::from_secs(1);

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let millis = Duration::from_millis;
        let services = services(random);
        let links = links(random, services.len());
        let calm = random.between(30 * SECOND, 240 * SECOND);
        let ending = ending(random, &links, services.len());
        let flows = flows(random, &links, calm, ending != Ending::Whole);
        let mut faults = faults(random, &links, services.len(), calm);
        // Drawn apart, so that all else is as without renewals.
        let of_keys = &mut Random::new(seed ^ 1 << 40);
        let renewals = (of_keys.below(3) > 0).then(|| renewals(of_keys));
        if renewals.is_some() {
            faults.extend(key_faults(of_keys, services.len(), calm));
            faults.sort_by_key(|(at, _)| *at);
        }
        Self {
            tick: random.one_of(&[millis(1), millis(5), millis(10)]),
            latency: random.one_of(&[millis(5), millis(50), millis(300)]),
            services,
            links,
            flows,
            faults,
            calm,
            ending,
            session_age: random.one_of(&[24 * 3600 * SECOND, 20 * SECOND]),
            outbox_messages: random.one_of(&[20, 100, 10_000]),
            window: random.one_of(&[16 * 1024, 256 * 1024, 8 * 1024 * 1024]),
            crashes: random.one_of(&[1, 5]),
            renewals,
        }
    }

    /// Returns whether the fault that stays touches a flow.
    pub(crate) fn is_spoiled(&self, flow: &Flow) -> bool {
        self.is_broken(flow.from, flow.to)
    }

    /// Returns whether the fault that stays touches what is between two.
    pub(crate) fn is_broken(&self, one: usize, other: usize) -> bool {
        match self.ending {
            Ending::Whole => false,
            Ending::OneWay(a, b) => [(a, b), (b, a)].contains(&(one, other)),
            Ending::Dead(dead) => one == dead || other == dead,
        }
    }

    pub(crate) fn has_disks(&self) -> bool {
        self.services.iter().any(|role| role.disk.is_some())
    }
}

fn services(random: &mut Random) -> Vec<Role> {
    let durable = random.below(3);
    let lag = Lag {
        sync: Duration::from_millis(random.one_of(&[2, 20, 200])),
        lazy: Duration::from_millis(random.one_of(&[20, 100])),
        clock: now,
    };
    let retry = OnError::Retry { attempts: 3, backoff: random.up_to(SECOND) };
    let on_error = if random.coin() { OnError::Next } else { retry };
    let role = |random: &mut Random| {
        let has_disk = [false, true, random.coin()][durable];
        Role { disk: has_disk.then_some(lag), on_error }
    };
    (0..2 + random.below(4)).map(|_| role(random)).collect()
}

fn links(random: &mut Random, services: usize) -> Vec<(usize, usize)> {
    let mut links = Vec::new();
    for a in 0..services {
        for b in a + 1..services {
            if b == a + 1 || random.coin() {
                links.push(if random.coin() { (a, b) } else { (b, a) });
            }
        }
    }
    links
}

fn ending(random: &mut Random, links: &[(usize, usize)], services: usize) -> Ending {
    let (a, b) = random.one_of(links);
    match random.below(8) {
        0 => Ending::OneWay(a, b),
        1 => Ending::OneWay(b, a),
        2 => Ending::Dead(random.below(services)),
        _ => Ending::Whole,
    }
}

fn flows(random: &mut Random, links: &[(usize, usize)], calm: Duration, brisk: bool) -> Vec<Flow> {
    let mut flows = Vec::new();
    for (a, b) in links {
        let both = random.below(3) > 0;
        let (from, to) = if random.coin() { (*a, *b) } else { (*b, *a) };
        for (from, to) in [(from, to), (to, from)].into_iter().take(1 + usize::from(both)) {
            let messages = 10 + random.below(300) as u64;
            let burst = random.one_of(&[1, 5, 40]);
            let longest = if brisk { 50 } else { 1_000 };
            flows.push(Flow {
                from,
                to,
                messages,
                burst,
                pause: (2 * calm * u32::try_from(burst).unwrap_or(1))
                    .div_f64(messages as f64)
                    .min(calm),
                payload: random.one_of(&[10, 1_000, 12_000]),
                mortal: random.one_of(&[3, 50, u64::MAX]),
                ttl: random.between(SECOND / 10, 20 * SECOND),
                slow: random.one_of(&[3, 30, u64::MAX]),
                handling: random.up_to(Duration::from_millis(longest)),
                failing: random.one_of(&[10, u64::MAX, u64::MAX]),
            });
        }
    }
    flows
}

/// Draws how keys are renewed.
fn renewals(random: &mut Random) -> Renewals {
    Renewals {
        every: random.one_of(&[SECOND, 15 * SECOND, 60 * SECOND]),
        asked: random.coin().then(|| random.between(2 * SECOND, 30 * SECOND)),
        lag: random.one_of(&[SECOND / 100, SECOND / 5, 2 * SECOND]),
    }
}

/// Draws the faults of the places for keys. A host is put back to a copy in runs only in which all
/// can store: otherwise the other side may still remove what the copy has.
fn key_faults(random: &mut Random, services: usize, calm: Duration) -> Vec<(Duration, Fault)> {
    let (puts_back, mut faults) = (random.coin(), Vec::new());
    for _ in 0..random.below(6) {
        let (begin, one) = (random.up_to(calm), random.below(services));
        // The other sides are done with storing by then.
        let end = begin + random.between(5 * SECOND, 15 * SECOND);
        if end < calm {
            faults.extend(match puts_back {
                true => [(begin, Fault::PutBack(one)), (end, Fault::Start(one))],
                false => [(begin, Fault::KeysFail(one)), (end, Fault::KeysStored(one))],
            });
        }
    }
    faults
}

/// Draws the faults of a run, and first which kinds of them it has: few kinds at a time find more
/// than all at once.
fn faults(
    random: &mut Random,
    links: &[(usize, usize)],
    services: usize,
    calm: Duration,
) -> Vec<(Duration, Fault)> {
    let kinds: Vec<usize> = (0..10).filter(|_| random.below(3) > 0).collect();
    let every = random.between(2 * SECOND, 20 * SECOND);
    let mut faults = Vec::new();
    let mut now = random.up_to(every);
    while now < calm && !kinds.is_empty() {
        let kind = random.one_of(&kinds);
        let (begin, end) = fault(random, kind, links, services);
        faults.push((now, begin));
        let lasts = if random.coin() { 2 * SECOND } else { 70 * SECOND };
        let over = now + random.up_to(lasts);
        if let Some(end) = end.filter(|_| over < calm) {
            faults.push((over, end));
        }
        now += random.up_to(2 * every);
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}

/// Draws a fault of a kind, and its end.
fn fault(
    random: &mut Random,
    kind: usize,
    links: &[(usize, usize)],
    services: usize,
) -> (Fault, Option<Fault>) {
    let (a, b) = random.one_of(links);
    let (a, b) = if random.coin() { (a, b) } else { (b, a) };
    let one = random.below(services);
    let healed = Some(Fault::Heal(a, b));
    match kind {
        0 => (Fault::Cut(a, b), healed),
        1 => (Fault::OneWay(a, b), healed),
        2 => (Fault::Hold(a, b), healed),
        3 => (Fault::Slow(a, b, random.up_to(3 * SECOND)), None),
        4 | 5 => (Fault::Reset(a, b), None),
        6 => (Fault::Kill(one), Some(Fault::Start(one))),
        7 => (Fault::PowerOff(one), Some(Fault::Start(one))),
        8 => (Fault::Stop(one), Some(Fault::Start(one))),
        _ => (Fault::DiskFull(one), Some(Fault::DiskFree(one))),
    }
}
