//! Two processes with one invitation (`docs/protocol.md` §8): the first one stays and does not
//! notice, the second one is told and backs off, and gets in once the first one is gone.

use std::time::Duration;

use anyhow::{Error, ensure};
use paddington::{Message, Service};
use paddington_test_support::{Pair, Random, pair};
use tokio::time::{Instant, sleep};

use crate::in_virtual_time;
use crate::ledger::Ledger;

/// For how long both of them want the place.
const BOTH: Duration = Duration::from_secs(5 * 60);
/// A refused client tries again after this.
const BACKOFF: Duration = Duration::from_secs(60);
/// The first attempt and one each minute, a tenth of a minute early at most, and the first
/// process's own.
const MOST_DIALLED: usize = 8;

pub(crate) fn run(random: Random) -> Result<(), Error> {
    in_virtual_time(trial(random))
}

async fn trial(mut random: Random) -> Result<(), Error> {
    let pair = pair();
    let [at_server, at_first, at_second] = [(); 3].map(|()| Ledger::default());
    let server = start(&pair, true, &at_server).await?;
    let first = start(&pair, false, &at_first).await?;
    sleep(Duration::from_secs(1) + random.up_to(Duration::from_secs(60))).await;
    ensure!(is_connected(&server), "the first one did not get in");

    let second = start(&pair, false, &at_second).await?;
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < BOTH {
        first.send(Message::new("server", sent.to_string())).await?;
        sent += 1;
        sleep(random.up_to(Duration::from_millis(500))).await;
        ensure!(is_connected(&first), "the first one lost its place");
        ensure!(!is_connected(&second), "the second one got in");
    }
    sleep(Duration::from_secs(1)).await;
    let stood = server.peers().into_iter().find_map(|peer| peer.connected_for).unwrap_or_default();
    ensure!(stood > begun.elapsed(), "the first one's session is younger than the second process");
    let count = at_server.count()?;
    ensure!(count == sent, "{count} of {sent} messages came");
    let told = [&at_server, &at_first, &at_second].map(|ledger| ledger.controls().len());
    ensure!(told == [1, 1, 0], "the services were told of {told:?} changes");
    let dialled = pair.network.dialled();
    ensure!(dialled <= MOST_DIALLED, "{dialled} connections: it does not back off");
    println!(
        "duplicate: {dialled} connections and 1 session in 5 min, {sent} messages undisturbed"
    );

    first.shutdown().await;
    let gone = Instant::now();
    while !is_connected(&second) {
        ensure!(gone.elapsed() <= BACKOFF + Duration::from_secs(5), "the place stays empty");
        sleep(Duration::from_millis(100)).await;
    }
    println!(
        "duplicate: the second one was in {:.0} s after the first left",
        gone.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn start(pair: &Pair, server: bool, ledger: &Ledger) -> Result<Service, Error> {
    let config = if server { &pair.server } else { &pair.client };
    Ok(Service::start_on(pair.network.network(), config, ledger.handler()).await?)
}

fn is_connected(service: &Service) -> bool {
    service.peers().iter().all(paddington::PeerStatus::is_connected)
}
