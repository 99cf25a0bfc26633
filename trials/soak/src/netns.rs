//! Two processes in two network namespaces (`docs/delivery.md` §7), and faults of the cable between
//! them: packets are lost, one way is silent, connections are reset, the link is down, the line is
//! slow, long packets vanish. Needs root, `ip`, `nft` and `tc`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, ensure};
use paddington_test_support::Random;
use tokio::time::sleep;

use crate::child::Role;
use crate::fleet::{Depot, Process};
use crate::journal::next_handled;
use crate::{in_real_time, median_and_most};

/// The shortest and the longest time of a fault.
const FAULT: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(40)];
const SHORT_FAULT: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// Bars for the seconds from the end of a fault until a message is handled that was sent after it.
const MEDIAN: f64 = 6.0;
const MOST: f64 = 16.0;
/// The time to the first message over a path on which long packets vanish. One attempt is enough.
const NARROW: Duration = Duration::from_secs(20);
/// The time of two messages of 1 MiB over 100 kbit/s, at which they take 168 s.
const LONG: Duration = Duration::from_secs(220);
const PORT: u16 = 6501;

/// A fault of the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// This share of a hundred packets is lost, both ways.
    Loss(u8),
    Silence,
    SilenceOfServer,
    SilenceOfClient,
    Reset,
    LinkDown,
    /// A line of this many kbit/s.
    Slow(u32),
    /// Packets of more than 1 300 bytes vanish, and nobody is told.
    NarrowPath,
}

const FAULTS: [Fault; 8] = [
    Fault::Loss(20),
    Fault::Loss(50),
    Fault::Silence,
    Fault::SilenceOfServer,
    Fault::SilenceOfClient,
    Fault::Reset,
    Fault::LinkDown,
    Fault::Slow(20),
];
const SHORT_FAULTS: [Fault; 3] = [Fault::Silence, Fault::Reset, Fault::LinkDown];

pub(crate) fn run(mut random: Random, short: bool) -> Result<(), Error> {
    let lab = match Lab::new() {
        Ok(lab) => lab,
        Err(missing) => {
            println!("netns: skipped, because something is missing: {missing:#}");
            return Ok(());
        }
    };
    let mut times = Vec::new();
    for address in ["10.203.0.1", "fd00:203::1"] {
        times.extend(in_real_time(trial(&lab, address, &mut random, short))?);
        in_real_time(narrow_path(&lab, address))?;
    }
    if !short {
        in_real_time(long_messages(&lab))?;
    }
    let [median, most] = median_and_most(&mut times);
    println!(
        "netns: messages went on {median:.1} s after a fault in the median (bar: {MEDIAN}), \
         {most:.1} s at most (bar: {MOST}), with the default delays, {} times",
        times.len()
    );
    ensure!(median <= MEDIAN && most <= MOST, "it took too long to go on");
    Ok(())
}

/// A receiver that listens on `address`, and its sender.
fn depot(address: &str) -> Result<Depot, Error> {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let range = if address.contains(':') { "fd00:203::/64" } else { "10.203.0.0/24" };
    Depot::new(&format!("ws://{host}:{PORT}"), address, PORT, range)
}

/// Long packets vanish from the start, as they do where the path is narrower than the links at its
/// ends and something on it drops the news of that. The kernels find it out after some seconds, and
/// each step of the handshake has to leave them that time.
async fn narrow_path(lab: &Lab, address: &str) -> Result<(), Error> {
    let depot = depot(address)?;
    lab.inflict(Fault::NarrowPath)?;
    let begun = Instant::now();
    let mut receiver = Process::start(Role::Receiver, depot.path(), 1, Some(&lab.server))?;
    receiver.address().await?;
    let mut sender = Process::start(Role::Sender, depot.path(), 1, Some(&lab.client))?;
    depot.heals().await.context("long packets vanish, and nothing is ever handled")?;
    let time = begun.elapsed();
    println!(
        "netns: {address}: connected over a path on which long packets vanish after {:.1} s (bar: {})",
        time.as_secs_f64(),
        NARROW.as_secs()
    );
    sender.finish().await?;
    receiver.finish().await?;
    lab.mend(Fault::NarrowPath)?;
    ensure!(time <= NARROW, "it took more than one attempt");
    depot.verdict()?.check()
}

/// Messages of the greatest length pass a slow line.
async fn long_messages(lab: &Lab) -> Result<(), Error> {
    let depot = depot("10.203.0.1")?;
    let mut receiver = Process::start(Role::Receiver, depot.path(), 1, Some(&lab.server))?;
    receiver.address().await?;
    lab.inflict(Fault::Slow(100))?;
    let mut sender = Process::start(Role::LongSender, depot.path(), 1, Some(&lab.client))?;
    let begun = Instant::now();
    while next_handled(depot.path())? < 2 {
        ensure!(begun.elapsed() <= LONG, "a message of 1 MiB does not pass 100 kbit/s");
        sleep(Duration::from_millis(100)).await;
    }
    println!(
        "netns: two messages of 1 MiB passed a line of 100 kbit/s in {:.0} s (bar: {})",
        begun.elapsed().as_secs_f64(),
        LONG.as_secs()
    );
    lab.mend(Fault::Slow(100))?;
    sender.finish().await?;
    receiver.finish().await?;
    let verdict = depot.verdict()?;
    ensure!(verdict.repeats + verdict.repeats_over_instances == 0, "a message came twice");
    verdict.check()
}

async fn trial(
    lab: &Lab,
    address: &str,
    random: &mut Random,
    short: bool,
) -> Result<Vec<Duration>, Error> {
    let depot = depot(address)?;
    let mut receiver = Process::start(Role::Receiver, depot.path(), 1, Some(&lab.server))?;
    receiver.address().await?;
    let mut sender = Process::start(Role::Sender, depot.path(), 1, Some(&lab.client))?;
    depot.heals().await?;
    let (faults, [least, most]) =
        if short { (&SHORT_FAULTS[..], SHORT_FAULT) } else { (&FAULTS[..], FAULT) };
    let mut times = Vec::new();
    for fault in faults.iter().copied() {
        let lasts = least + random.up_to(most - least);
        lab.inflict(fault)?;
        sleep(lasts).await;
        lab.mend(fault)?;
        let time = depot.heals().await.with_context(|| format!("after {fault:?}"))?;
        println!("netns: {address}: {fault:?} for {lasts:.1?}: {:.1} s", time.as_secs_f64());
        times.push(time);
        sleep(random.up_to(2 * least)).await;
    }
    sender.finish().await?;
    receiver.finish().await?;
    let verdict = depot.verdict()?;
    println!(
        "netns: {address}: {} messages accepted, {} lost, {} repeats, {} out of order (bar: 0 each)",
        verdict.accepted,
        verdict.lost,
        verdict.repeats + verdict.repeats_over_instances,
        verdict.disorder
    );
    ensure!(verdict.repeats_over_instances == 0, "a message came twice");
    verdict.check()?;
    Ok(times)
}

/// Two namespaces and the cable between them.
#[derive(Debug)]
struct Lab {
    server: String,
    client: String,
}

const CABLE: &str = "cable";

impl Lab {
    fn new() -> Result<Self, Error> {
        let own = std::process::id();
        let lab = Self { server: format!("pad-s{own}"), client: format!("pad-c{own}") };
        lab.wire()?;
        Ok(lab)
    }

    fn wire(&self) -> Result<(), Error> {
        for namespace in [&self.server, &self.client] {
            run_command("ip", &["netns", "add", namespace])?;
        }
        let add = ["-n", &self.client, "link", "add", "name", CABLE, "type", "veth"];
        run_command("ip", &[&add[..], &["peer", "name", CABLE, "netns", &self.server]].concat())?;
        for (namespace, v4, v6) in [
            (&self.server, "10.203.0.1/24", "fd00:203::1/64"),
            (&self.client, "10.203.0.2/24", "fd00:203::2/64"),
        ] {
            // Otherwise an IPv6 address is lost with its link.
            let keep = "echo 1 > /proc/sys/net/ipv6/conf/all/keep_addr_on_down";
            self.within(namespace, "sh", &["-c", keep])?;
            run_command("ip", &["-n", namespace, "address", "add", v4, "dev", CABLE])?;
            run_command("ip", &["-n", namespace, "address", "add", v6, "dev", CABLE, "nodad"])?;
            run_command("ip", &["-n", namespace, "link", "set", "lo", "up"])?;
            run_command("ip", &["-n", namespace, "link", "set", CABLE, "up"])?;
            self.within(namespace, "nft", &["add", "table", "inet", "faults"])?;
            for chain in ["input", "output"] {
                let hook = format!("{{ type filter hook {chain} priority 0; }}");
                let add = ["add", "chain", "inet", "faults", chain, &hook];
                self.within(namespace, "nft", &add)?;
            }
        }
        self.within(&self.client, "tc", &["qdisc", "show"])
    }

    fn within(&self, namespace: &str, program: &str, arguments: &[&str]) -> Result<(), Error> {
        run_command("ip", &[&["netns", "exec", namespace, program], arguments].concat())
    }

    fn rule(&self, namespace: &str, chain: &str, rule: &str) -> Result<(), Error> {
        let words: Vec<_> = rule.split(' ').collect();
        let add = ["add", "rule", "inet", "faults", chain];
        self.within(namespace, "nft", &[&add[..], &words].concat())
    }

    fn on_both(&self, does: impl Fn(&str) -> Result<(), Error>) -> Result<(), Error> {
        [&self.server, &self.client].into_iter().try_for_each(|namespace| does(namespace))
    }

    fn inflict(&self, fault: Fault) -> Result<(), Error> {
        match fault {
            Fault::Loss(percent) => {
                let rule = format!("numgen random mod 100 < {percent} drop");
                self.rule(&self.server, "input", &rule)?;
                self.rule(&self.client, "input", &rule)
            }
            Fault::Silence => {
                self.rule(&self.server, "input", "drop")?;
                self.rule(&self.client, "input", "drop")
            }
            // Dropped on arrival: if it were dropped on departure, the sender would be told.
            Fault::SilenceOfServer => self.rule(&self.client, "input", "meta l4proto tcp drop"),
            Fault::SilenceOfClient => self.rule(&self.server, "input", "meta l4proto tcp drop"),
            Fault::Reset => {
                let rule = "meta l4proto tcp reject with tcp reset";
                self.rule(&self.server, "input", rule)
            }
            Fault::LinkDown => {
                run_command("ip", &["-n", &self.server, "link", "set", CABLE, "down"])
            }
            Fault::Slow(speed) => self.on_both(|namespace| {
                let rate = format!("{speed}kbit");
                let limit = ["rate", &rate, "burst", "1600", "latency", "400ms"];
                let add = ["qdisc", "add", "dev", CABLE, "root", "tbf"];
                self.within(namespace, "tc", &[&add[..], &limit].concat())
            }),
            Fault::NarrowPath => self.on_both(|namespace| {
                let find_out = "echo 1 > /proc/sys/net/ipv4/tcp_mtu_probing";
                self.within(namespace, "sh", &["-c", find_out])?;
                // The rule has to see packets as long as they would be on a real cable.
                let single = ["-n", namespace, "link", "set", CABLE, "gso_max_segs", "1"];
                run_command("ip", &single)?;
                self.rule(namespace, "input", "meta length > 1300 drop")
            }),
        }
    }

    fn mend(&self, fault: Fault) -> Result<(), Error> {
        match fault {
            Fault::LinkDown => run_command("ip", &["-n", &self.server, "link", "set", CABLE, "up"]),
            Fault::Slow(_) => self.on_both(|namespace| {
                self.within(namespace, "tc", &["qdisc", "del", "dev", CABLE, "root"])
            }),
            _ => self.on_both(|namespace| {
                self.within(namespace, "nft", &["flush", "table", "inet", "faults"])
            }),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.server, &self.client] {
            // It may not have been made.
            let _ = run_command("ip", &["netns", "delete", namespace]);
        }
    }
}

fn run_command(program: &str, arguments: &[&str]) -> Result<(), Error> {
    let shown = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(shown)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", shown(), said.trim());
    Ok(())
}
