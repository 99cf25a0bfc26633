//! What happens in a run, drawn from its seed.

use std::time::Duration;

use paddington_test_support::Random;

/// The lease of a replica.
pub(crate) const LEASE: Duration = Duration::from_secs(6);
/// The time for which faults happen.
const RAGE: Duration = Duration::from_secs(90);
const SECOND: Duration = Duration::from_secs(1);

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Number of replicas.
    pub(crate) replicas: usize,
    /// Number of clients.
    pub(crate) clients: usize,
    /// Whether the service is also the client of another one.
    pub(crate) has_server: bool,
    /// Number of messages of a peer that a replica handles at a time.
    pub(crate) concurrency: usize,
    /// The longest time that the database takes to answer; zero if it answers at once.
    pub(crate) lag: Duration,
    /// What fails, and when.
    pub(crate) faults: Vec<(Duration, Fault)>,
}

/// What fails. Replicas are meant by their number modulo the number of those that run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// All connections break.
    CutAll,
    /// The connections of one peer break.
    Cut(usize),
    /// A peer's connections break, and the replica does not notice for a while; then it sees either the
    /// end, or what was sent before that too.
    Strand { peer: usize, time: Duration, late: bool },
    /// The connections of a replica carry nothing for a while.
    Freeze { replica: usize, time: Duration },
    /// A replica is killed, and another one is started later.
    Kill { replica: usize, away: Duration },
    /// A replica does not reach the database; with `frozen`, its peers do not reach it either.
    CutOff { replica: usize, time: Duration, frozen: bool },
    /// The same with `frozen`, for longer than the lease. Shortly before it is back, and writes what it has done
    /// meanwhile, all connections carry nothing, and break when it has written: what others have handled
    /// in that time, they could not acknowledge.
    LateWrites { replica: usize, time: Duration },
    /// No replica reaches the database.
    Away(Duration),
    /// The session of a replica in the database ends.
    EndSession(usize),
    /// The database forgets the last messages of each mailbox.
    Lose(usize),
    /// The database is away, then a standby that is behind takes its place.
    FailOver { time: Duration, messages: usize },
    /// A replica is shut down in order, and another one is started before or after that.
    Roll { replica: usize, before: bool },
    /// A second process has the invitation of a client.
    Second(usize),
    /// Signals are lost.
    Deafen(Duration),
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5e9_11ca5);
        let replicas = 2 + random.below(2);
        let clients = 1 + random.below(4);
        let has_server = random.percent(30);
        let concurrency = if random.percent(25) { 4 } else { 1 };
        let lag = if random.coin() { Duration::ZERO } else { Duration::from_millis(20) };
        let mut plan = Self { replicas, clients, has_server, concurrency, lag, faults: Vec::new() };
        let mut at = random.between(SECOND, 5 * SECOND);
        while at < RAGE {
            let fault = plan.fault(&mut random);
            plan.faults.push((at, fault));
            at += random.between(SECOND / 2, 10 * SECOND);
            if random.percent(25) {
                // Two at once.
                let fault = plan.fault(&mut random);
                plan.faults.push((at, fault));
                at += random.up_to(SECOND);
            }
        }
        plan
    }

    /// Number of peers, the server among them.
    pub(crate) fn peers(&self) -> usize {
        self.clients + usize::from(self.has_server)
    }

    fn fault(&self, random: &mut Random) -> Fault {
        let (peer, replica) = (random.below(self.peers()), random.below(8));
        let time = match random.below(3) {
            0 => random.between(SECOND / 10, SECOND),
            1 => random.between(SECOND, LEASE),
            _ => random.between(LEASE, 5 * LEASE),
        };
        match random.below(100) {
            0..14 => Fault::CutAll,
            14..24 => Fault::Cut(peer),
            24..36 => Fault::Strand { peer, time, late: random.coin() },
            36..40 => Fault::Freeze { replica, time },
            40..52 => Fault::Kill { replica, away: random.up_to(20 * SECOND) },
            52..63 => Fault::CutOff { replica, time, frozen: random.coin() },
            63..68 => Fault::LateWrites { replica, time: random.between(3 * LEASE, 5 * LEASE) },
            68..72 => Fault::Away(time),
            72..79 => Fault::EndSession(replica),
            79..83 => Fault::Lose(1 + random.below(20)),
            83..86 => Fault::FailOver { time, messages: random.below(20) },
            86..92 => Fault::Roll { replica, before: random.coin() },
            92..95 => Fault::Second(random.below(self.clients)),
            _ => Fault::Deafen(time),
        }
    }
}
