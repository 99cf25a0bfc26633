//! Two processes that renew the keys of their link as often as they can, and are killed meanwhile
//! (`docs/protocol.md` §3.6, §5.5): there is always a generation that both know.

use std::time::Duration;

use anyhow::{Context, Error, ensure};
use paddington::ServiceConfig;
use paddington_test_support::{FaultyProxy, Random};
use tokio::time::{sleep, timeout};

use crate::child::{ALARMS, Role};
use crate::fleet::{Depot, Process};
use crate::processes::{hasty, receiver};
use crate::{in_real_time, median_and_most};

const KILLS: u64 = 1_000;
const SHORT: u64 = 12;
/// The longest time between two kills: a session and its renewal last about as long.
const CALM: Duration = Duration::from_millis(900);
/// The longest time until messages go on after a kill.
const HEALING: Duration = Duration::from_secs(20);
/// The age of a session, and of keys.
const AGE: Duration = Duration::from_secs(1);

pub(crate) fn run(mut random: Random, short: bool) -> Result<(), Error> {
    let kills = if short { SHORT } else { KILLS };
    in_real_time(async {
        let proxy = FaultyProxy::start().await;
        let url = format!("ws://{}", proxy.address());
        let mut depot = Depot::new(&url, "127.0.0.1", 0, "127.0.0.1")?;
        depot.keep_links()?;
        depot.configure(renewing)?;
        let mut server = receiver(&depot, &proxy, 0).await?;
        let mut client = Process::start(Role::Sender, depot.path(), 0, None)?;
        let mut healed = vec![heals(&depot).await?];
        for kill in 1..=kills {
            let calm = random.up_to(CALM);
            sleep(calm).await;
            if random.up_to(Duration::from_secs(1)) < Duration::from_millis(500) {
                server.kill().await?;
                server = receiver(&depot, &proxy, kill).await?;
            } else {
                client.kill().await?;
                client = Process::start(Role::Sender, depot.path(), kill, None)?;
            }
            if kill.is_multiple_of(4) {
                healed.push(heals(&depot).await.with_context(|| format!("after kill {kill}"))?);
            }
        }
        healed.push(heals(&depot).await?);
        client.finish().await?;
        server.finish().await?;
        let verdict = depot.verdict()?;
        let generations = generation(&depot)?;
        let alarms = alarms(&depot);
        let [median, most] = median_and_most(&mut healed);
        println!(
            "renewals: {kills} kills, {generations} generations of keys, {} messages accepted, {} lost, {} \
             out of order, {alarms} alarms (bar: 0 each); going on after {median:.2} s, at most {most:.2} s",
            verdict.accepted, verdict.lost, verdict.disorder
        );
        ensure!(generations > kills / 8, "the keys were hardly renewed");
        ensure!(alarms == 0, "an honest peer has raised an alarm");
        verdict.check()
    })
}

/// Short delays, sessions and generations.
fn renewing(config: &mut ServiceConfig) {
    hasty(config);
    let settings = config.settings_mut();
    settings.renew_keys = AGE;
    settings.transport.retry.good_session = AGE / 2;
    settings.transport.timeouts.session_age = AGE;
}

/// Waits until messages go on; if they do not, the two are locked out.
async fn heals(depot: &Depot) -> Result<Duration, Error> {
    timeout(HEALING, depot.heals()).await.context("the two do not find each other any more")?
}

/// The number of the newest keys that the receiver has.
fn generation(depot: &Depot) -> Result<u64, Error> {
    let config = ServiceConfig::load(Role::Receiver.config(depot.path()))?;
    let link = config.link_details().into_iter().next().context("the link is gone")?;
    link.generation.context("the invitation was never used")
}

fn alarms(depot: &Depot) -> usize {
    std::fs::read_to_string(depot.path().join(ALARMS)).map_or(0, |noted| noted.lines().count())
}
