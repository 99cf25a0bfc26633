//! One run: a network, hosts, faults; then calm, until everything that can be delivered is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Error, anyhow};
use futures_util::FutureExt;
use paddington_crypto::KeyPair;
use paddington_exchange::Config;
use paddington_test_support::{MemoryDisk, Random};
use paddington_wire::PeerName;
use paddington_wire::keys::{Generation, KeyRing};
use tokio::sync::Notify;
use turmoil::Sim;

use crate::keys::{KeyDisk, disagreement, newest};
use crate::ledger::{Ledger, Summary};
use crate::network::{EPOCH, SimNetwork};
use crate::node::{Link, Node, name};
use crate::plan::{Ending, Fault, Flow, Plan, Role};

/// The longest time until all is quiet after the last fault.
const PATIENCE: Duration = Duration::from_secs(600);
/// The same for all others where one peer or link stays broken.
const LIVENESS: Duration = Duration::from_secs(60);
/// Time that services go on after that, so that late and repeated messages are noticed.
const AFTER: Duration = Duration::from_secs(3);

/// The result of a run.
pub(crate) struct Outcome {
    pub(crate) ledger: Summary,
    pub(crate) faults: usize,
    pub(crate) crashes: usize,
    /// Number of generations that both sides of all links have agreed on.
    pub(crate) renewals: u64,
    /// Number of links that a side had to put back to a copy of its keys.
    pub(crate) restored: usize,
    pub(crate) time: Duration,
    /// Time from the last fault until all was quiet.
    pub(crate) quiet_after: Duration,
    pub(crate) has_disks: bool,
    /// Whether something stayed broken.
    pub(crate) is_spoiled: bool,
}

struct Run<'a> {
    plan: Plan,
    sim: Sim<'a>,
    nodes: Vec<Arc<Node>>,
    ledger: Ledger,
    calm: Arc<AtomicBool>,
    /// The fault of each broken link.
    broken: BTreeMap<(usize, usize), Fault>,
    /// Services that were asked to shut down and not yet started again.
    stopping: BTreeSet<usize>,
    /// Services whose keys are put back when they start again.
    put_back: BTreeSet<usize>,
    faults: usize,
    crashes: usize,
    restored: usize,
}

/// Runs a seed. With `tells` every step is kept, to be printed.
pub(crate) fn run(seed: u64, tells: bool) -> Result<Outcome, Error> {
    let plan = Plan::new(seed);
    let mut run = Run::new(seed, plan, tells)?;
    run.rage()?;
    let quiet_after = run.settle()?;
    let plan = &run.plan;
    let had_room = !plan.faults.iter().any(|(_, fault)| fault.is_of_disk());
    let letters = |service: usize| {
        let disk = run.nodes[service].disk.as_ref().filter(|_| had_room);
        disk.map(|(disk, _)| disk.letters())
    };
    run.ledger.close(|flow| !plan.is_spoiled(flow), letters);
    Ok(Outcome {
        ledger: run.ledger.summary(),
        faults: run.faults,
        crashes: run.crashes,
        renewals: run.renewals(),
        restored: run.restored,
        time: run.sim.elapsed(),
        quiet_after,
        has_disks: plan.has_disks(),
        is_spoiled: plan.ending != Ending::Whole,
    })
}

fn settings(plan: &Plan, role: &Role) -> Config {
    let mut settings = Config {
        on_error: role.on_error,
        outbox_messages: plan.outbox_messages,
        stored_messages: plan.outbox_messages,
        window: plan.window,
        crashes: plan.crashes,
        ..Config::default()
    };
    settings.transport.limits.max_payload = plan.window.min(1024 * 1024);
    settings.transport.timeouts.session_age = plan.session_age;
    if let Some(renewals) = plan.renewals {
        settings.renew_keys = renewals.every;
    }
    settings
}

/// Hands keys over to both sides of every link.
fn hand_over(plan: &Plan, disks: &[Arc<KeyDisk>]) -> Result<Vec<Vec<Link>>, Error> {
    let mut links = vec![Vec::new(); disks.len()];
    for (client, server) in &plan.links {
        let [client_name, server_name]: [PeerName; 2] =
            [name(*client).parse()?, name(*server).parse()?];
        let keys = Arc::new(KeyPair::generate()?);
        let ring = KeyRing::begin([&server_name, &client_name], keys, 0, None, EPOCH);
        let (id, ring) = (ring.invitation(), Arc::new(ring));
        disks[*client].begin(server_name.clone(), Arc::clone(&ring));
        disks[*server].begin(client_name.clone(), ring);
        links[*client].push(Link { id, peer: server_name, dials: true });
        links[*server].push(Link { id, peer: client_name, dials: false });
    }
    Ok(links)
}

impl Run<'_> {
    fn new(seed: u64, plan: Plan, tells: bool) -> Result<Self, Error> {
        let mut random = Random::new(!seed);
        let mut sim = turmoil::Builder::new()
            .tick_duration(plan.tick)
            .simulation_duration(Duration::MAX)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(plan.latency)
            .tcp_capacity(1 << 16)
            .epoch(UNIX_EPOCH)
            .rng_seed(random.next_number())
            .build();
        let ledger = Ledger::new(&plan, tells);
        let calm = Arc::new(AtomicBool::new(false));
        let mut nodes = Vec::new();
        // Drawn apart, so that all else is as without renewals.
        let mut of_keys = Random::new(!seed ^ 1 << 40);
        let lag = plan.renewals.map_or(Duration::ZERO, |renewals| renewals.lag);
        let disk = |_| KeyDisk::new(lag, of_keys.fork(), ledger.clone());
        let disks: Vec<_> = plan.services.iter().map(disk).collect();
        let links = hand_over(&plan, &disks)?;
        for (index, (links, keys)) in links.into_iter().zip(disks).enumerate() {
            let node = Arc::new(Node {
                index,
                name: name(index).parse()?,
                settings: settings(&plan, &plan.services[index]),
                links,
                keys,
                renewals: plan.renewals,
                disk: plan.services[index].disk.map(|lag| (MemoryDisk::default(), lag)),
                network: SimNetwork::new(random.fork()),
                flows: plan.flows.clone(),
                seed: random.next_number(),
                ledger: ledger.clone(),
                calm: Arc::clone(&calm),
                instance: AtomicU32::new(0),
                stop: Notify::new(),
                seen: Mutex::default(),
            });
            nodes.push(Arc::clone(&node));
            sim.host(name(index), move || Arc::clone(&node).live());
        }
        Ok(Self {
            plan,
            sim,
            nodes,
            ledger,
            calm,
            broken: BTreeMap::new(),
            stopping: BTreeSet::new(),
            put_back: BTreeSet::new(),
            faults: 0,
            crashes: 0,
            restored: 0,
        })
    }

    fn step(&mut self) -> Result<(), Error> {
        self.sim.step().map(drop).map_err(|cause| anyhow!("the simulation failed: {cause}"))
    }

    /// Runs until the faults are over.
    fn rage(&mut self) -> Result<(), Error> {
        for (at, fault) in self.plan.faults.clone() {
            while self.sim.elapsed() < at {
                self.step()?;
            }
            self.apply(fault);
        }
        while self.sim.elapsed() < self.plan.calm {
            self.step()?;
        }
        Ok(())
    }

    /// Mends everything but the fault that is to stay, and waits until all others are quiet.
    fn settle(&mut self) -> Result<Duration, Error> {
        self.calm.store(true, Ordering::Relaxed);
        for (a, b) in self.plan.links.clone() {
            self.apply(Fault::Slow(a, b, self.plan.latency));
        }
        for index in 0..self.nodes.len() {
            self.apply(Fault::DiskFree(index));
            self.apply(Fault::KeysStored(index));
            if self.stopping.contains(&index) || !self.sim.is_host_running(name(index)) {
                self.apply(Fault::Start(index));
            }
        }
        for (a, b) in self.plan.links.clone() {
            self.apply(Fault::Heal(a, b));
        }
        match self.plan.ending {
            Ending::Whole => {}
            Ending::OneWay(from, to) => self.apply(Fault::OneWay(from, to)),
            Ending::Dead(dead) => self.apply(Fault::PowerOff(dead)),
        }
        let begun = self.sim.elapsed();
        let is_whole = self.plan.ending == Ending::Whole;
        let patience = if is_whole { PATIENCE } else { LIVENESS };
        while let Some(unquiet) = self.unquiet(begun) {
            if self.sim.elapsed() - begun > patience {
                self.ledger.failed(format!("not quiet {patience:?} after the faults: {unquiet}"));
                break;
            }
            for _ in 0..10 {
                self.step()?;
            }
        }
        let quiet_after = self.sim.elapsed() - begun;
        while self.sim.elapsed() < begun + quiet_after + AFTER {
            self.step()?;
        }
        Ok(quiet_after)
    }

    /// A description of a flow in which messages still wait, if there is one.
    fn unquiet(&self, since: Duration) -> Option<String> {
        let flows = self.plan.flows.iter().filter(|flow| !self.plan.is_spoiled(flow));
        flows.filter_map(|flow| self.waiting(flow, since)).next().or_else(|| self.at_odds())
    }

    /// A description of a link whose sides do not agree on its keys, if there is one.
    fn at_odds(&self) -> Option<String> {
        self.plan.renewals?;
        let links = self.plan.links.iter().filter(|(a, b)| !self.plan.is_broken(*a, *b));
        links.map(|link| (link, self.rings(*link))).find_map(|((client, server), rings)| {
            let [client_ring, server_ring] = rings?;
            let odds = disagreement(&server_ring, &client_ring)?;
            let numbers = |ring: &KeyRing| -> Vec<_> {
                ring.generations().iter().map(Generation::number).collect()
            };
            Some(format!(
                "s{client} {:?} and s{server} {:?}: {odds}",
                numbers(&client_ring),
                numbers(&server_ring)
            ))
        })
    }

    /// What the client and the server of a link have stored of its keys.
    fn rings(&self, (client, server): (usize, usize)) -> Option<[Arc<KeyRing>; 2]> {
        let [of_client, of_server] = [client, server].map(|index| &self.nodes[index]);
        Some([of_client.keys.ring(&of_server.name)?, of_server.keys.ring(&of_client.name)?])
    }

    fn renewals(&self) -> u64 {
        let rings = self.plan.links.iter().filter_map(|link| self.rings(*link));
        rings.filter_map(|[client, _]| newest(&client).map(Generation::number)).sum()
    }

    /// Puts the keys of a host's links back to copies, where the other side can still follow.
    fn put_back(&mut self, index: usize) {
        let node = &self.nodes[index];
        for link in &node.links {
            let other = self.nodes.iter().find(|other| other.name == link.peer);
            let others = other.and_then(|other| other.keys.ring(&node.name));
            let is_restored = others.is_some_and(|others| node.keys.restore(&link.peer, &others));
            self.restored += usize::from(is_restored);
        }
    }

    fn waiting(&self, flow: &Flow, since: Duration) -> Option<String> {
        let peer = |of: usize, peer: usize| {
            let seen = self.nodes[of].seen().clone();
            let (at, peers) = seen?;
            let peer = peers.into_iter().find(|status| status.name.as_str() == name(peer))?;
            (at > since + Duration::from_secs(1)).then_some(peer)
        };
        let ends = (peer(flow.from, flow.to), peer(flow.to, flow.from));
        match ends {
            (Some(from), Some(to)) if from.outbox_messages + to.inbox_messages == 0 => None,
            (Some(from), Some(to)) => Some(format!(
                "s{} to s{}: {} wait, {} under way, {} arrived, connected: {} {}",
                flow.from,
                flow.to,
                from.outbox_messages,
                from.in_flight,
                to.inbox_messages,
                from.is_connected(),
                to.is_connected(),
            )),
            _ => Some(format!("s{} or s{} does not run", flow.from, flow.to)),
        }
    }

    fn apply(&mut self, fault: Fault) {
        self.faults += usize::from(fault.is_bad());
        self.ledger.note(self.sim.elapsed(), &fault);
        let sim = &mut self.sim;
        match fault {
            Fault::Cut(a, b) | Fault::OneWay(a, b) | Fault::Hold(a, b) => {
                self.broken.insert((a.min(b), a.max(b)), fault);
                self.connect(a, b);
            }
            Fault::Heal(a, b) => {
                self.broken.remove(&(a.min(b), a.max(b)));
                self.connect(a, b);
            }
            Fault::Slow(a, b, latency) => {
                sim.set_link_max_message_latency(name(a), name(b), latency.max(self.plan.latency));
            }
            Fault::Reset(a, b) => self.nodes[a].network.reset(sim.lookup(name(b))),
            Fault::Kill(index) => self.kill(index),
            Fault::PowerOff(index) => {
                for other in self.others(index) {
                    let link = (index.min(other), index.max(other));
                    self.broken.insert(link, Fault::Cut(index, other));
                    self.connect(index, other);
                }
                self.kill(index);
            }
            Fault::Stop(index) => {
                self.stopping.insert(index);
                self.nodes[index].stop.notify_one();
            }
            Fault::Start(index) => {
                self.stopping.remove(&index);
                // A request to stop that the last instance has not heard is not for the next one.
                let _ = self.nodes[index].stop.notified().now_or_never();
                for other in self.others(index) {
                    self.broken.remove(&(index.min(other), index.max(other)));
                    self.connect(index, other);
                }
                if self.sim.is_host_running(name(index)) {
                    self.kill(index);
                }
                if self.put_back.remove(&index) {
                    self.put_back(index);
                }
                self.sim.bounce(name(index));
            }
            Fault::KeysFail(index) => self.nodes[index].keys.set_broken(true),
            Fault::KeysStored(index) => self.nodes[index].keys.set_broken(false),
            Fault::PutBack(index) => {
                self.put_back.insert(index);
                self.kill(index);
            }
            Fault::DiskFull(index) => self.set_full(index, true),
            Fault::DiskFree(index) => self.set_full(index, false),
        }
    }

    fn others(&self, index: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.nodes.len()).filter(move |other| *other != index)
    }

    /// Applies the fault between two to the network, or mends it.
    fn connect(&self, a: usize, b: usize) {
        let sim = &self.sim;
        match self.broken.get(&(a.min(b), a.max(b))) {
            Some(Fault::Cut(..)) => sim.partition(name(a), name(b)),
            Some(Fault::OneWay(from, to)) => {
                sim.release(name(a), name(b));
                sim.partition_oneway(name(*from), name(*to));
            }
            Some(Fault::Hold(..)) => sim.hold(name(a), name(b)),
            _ => sim.release(name(a), name(b)),
        }
    }

    /// Ends a process. Bytes on their way from it, and the ends of its connections, arrive at once:
    /// tokio closes the connections in any order, and no random delay may depend on that.
    fn kill(&mut self, index: usize) {
        if self.sim.is_host_running(name(index)) {
            let cut = |run: &Self, other: &usize| {
                let link = run.broken.get(&(index.min(*other), index.max(*other)));
                matches!(link, Some(Fault::Cut(..)))
            };
            let others: Vec<_> = self.others(index).filter(|other| !cut(self, other)).collect();
            others.iter().for_each(|other| self.sim.hold(name(index), name(*other)));
            let node = &self.nodes[index];
            let instance = node.instance.load(Ordering::Relaxed);
            *node.seen() = None;
            self.ledger.died(index, instance, self.sim.elapsed(), None);
            self.sim.crash(name(index));
            others.iter().for_each(|other| self.connect(index, *other));
            self.crashes += 1;
        }
    }

    fn set_full(&self, index: usize, is_full: bool) {
        if let Some((disk, _)) = &self.nodes[index].disk {
            disk.set_broken(is_full);
        }
    }
}
