//! One run: a network, hosts, faults; then calm, until everything that can be delivered is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Error, anyhow};
use futures_util::FutureExt;
use paddington::{Encoding, ServiceConfig};
use paddington_test_support::{MemoryDisk, Random};
use tokio::sync::Notify;
use turmoil::Sim;

use crate::ledger::{Ledger, Summary};
use crate::network::SimNetwork;
use crate::node::{Node, name};
use crate::plan::{Ending, Fault, Flow, Plan};

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
    faults: usize,
    crashes: usize,
}

/// Runs a seed. With `tells` every step is kept, to be printed.
pub(crate) fn run(seed: u64, tells: bool) -> Result<Outcome, Error> {
    let plan = Plan::new(seed);
    let mut run = Run::new(seed, plan, tells)?;
    run.rage()?;
    let quiet_after = run.settle()?;
    let plan = &run.plan;
    run.ledger.close(|flow| !plan.is_spoiled(flow));
    Ok(Outcome {
        ledger: run.ledger.summary(),
        faults: run.faults,
        crashes: run.crashes,
        time: run.sim.elapsed(),
        quiet_after,
        has_disks: plan.has_disks(),
        is_spoiled: plan.ending != Ending::Whole,
    })
}

fn configs(plan: &Plan) -> Result<Vec<ServiceConfig>, Error> {
    let mut configs = Vec::new();
    for (index, role) in plan.services.iter().enumerate() {
        let (name, port) = (name(index), 6_500);
        let url = format!("ws://{name}:{port}");
        let mut config = ServiceConfig::new(&name, &url, "0.0.0.0", &port)?;
        let settings = config.settings_mut();
        settings.on_error = role.on_error;
        settings.outbox_messages = plan.outbox_messages;
        settings.stored_messages = plan.outbox_messages;
        settings.window = plan.window;
        settings.crashes = plan.crashes;
        settings.transport.limits.max_payload = plan.window.min(1024 * 1024);
        settings.transport.timeouts.session_age = plan.session_age;
        configs.push(config);
    }
    for (client, server) in &plan.links {
        let client_name = name(*client);
        let server = &mut configs[*server];
        let invite = server.add_client_with(&client_name, "0.0.0.0/0", Encoding::Sealed)?;
        configs[*client].add_server(invite)?;
    }
    Ok(configs)
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
        for (index, config) in configs(&plan)?.into_iter().enumerate() {
            let node = Arc::new(Node {
                index,
                config,
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
            faults: 0,
            crashes: 0,
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
        flows.filter_map(|flow| self.waiting(flow, since)).next()
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
                self.sim.bounce(name(index));
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
