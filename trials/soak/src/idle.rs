//! A handler that takes minutes for each message while its peer sends as fast as it may
//! (`docs/protocol.md` §5.3, §7): memory stays within the windows, nobody takes the other for dead,
//! and in the end everything has been handled once and in order. In both encodings.

use std::time::Duration;

use anyhow::{Error, ensure};
use paddington::{Encoding, Message, Service};
use paddington_test_support::{Random, pair_with};
use tokio::time::{Instant, sleep};

use crate::in_virtual_time;
use crate::ledger::Ledger;

const MINUTES: u64 = 60;
const SHORT_MINUTES: u64 = 6;
const WINDOW: u32 = 16 * 1024;
const INBOX: usize = 8;
const OUTBOX: usize = 32;
/// The length of a message.
const LEN: usize = 1_000;

pub(crate) fn run(mut random: Random, short: bool) -> Result<(), Error> {
    let minutes = if short { SHORT_MINUTES } else { MINUTES };
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        in_virtual_time(trial(random.fork(), encoding, minutes))?;
    }
    Ok(())
}

async fn trial(random: Random, encoding: Encoding, minutes: u64) -> Result<(), Error> {
    let mut pair = pair_with(encoding);
    let settings = pair.server.settings_mut();
    settings.window = WINDOW;
    settings.inbox_messages = INBOX;
    settings.transport.limits.max_payload = 2 * LEN as u32;
    pair.client.settings_mut().outbox_messages = OUTBOX;
    let ledger = Ledger::default();
    let handler = ledger.slow_handler(random, 1, Duration::from_secs(180));
    let network = || pair.network.network();
    let server = Service::start_on(network(), &pair.server, handler).await?;
    let client = Service::start_on(network(), &pair.client, Ledger::default().handler()).await?;

    let begun = Instant::now();
    let (mut sent, mut most_held) = (0, 0);
    while begun.elapsed() < Duration::from_secs(60 * minutes) {
        while client
            .send(Message::new("server", format!("{sent} {}", "x".repeat(LEN))))
            .await
            .is_ok()
        {
            sent += 1;
        }
        sleep(Duration::from_secs(1)).await;
        most_held = most_held.max(held(&server));
    }
    let handled = ledger.count()?;
    // The first call is for `Connected`.
    ensure!(handled as u64 + 1 >= minutes / 3, "{handled} messages handled in {minutes} min");
    let bound = match encoding {
        Encoding::Hex => INBOX,
        _ => WINDOW as usize / LEN,
    };
    ensure!(most_held <= bound, "{most_held} messages were held");
    // What is neither handled nor held is in the outbox or in the cable, which is bounded too.
    println!(
        "idle: {encoding}, {minutes} min: {handled} messages handled, at most {most_held} of {bound} \
         held, {} connection",
        pair.network.dialled()
    );
    while ledger.count()? < sent {
        ensure!(begun.elapsed() < Duration::from_secs(24 * 60 * 60), "it never ends");
        sleep(Duration::from_secs(60)).await;
    }
    // An hour more in which nobody says anything: only pings keep the two together.
    sleep(Duration::from_secs(60 * 60)).await;
    ensure!(ledger.count()? == sent, "more came than was sent");
    ensure!(pair.network.dialled() == 1, "one of them took the other for dead");
    let connected =
        |service: &Service| service.peers().iter().all(paddington::PeerStatus::is_connected);
    ensure!(connected(&server) && connected(&client), "they are apart");
    Ok(())
}

fn held(server: &Service) -> usize {
    server.peers().iter().map(|peer| peer.inbox_messages).sum()
}
