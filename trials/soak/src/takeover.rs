//! A storm of reconnects (`docs/protocol.md` §8): cables are cut at random moments, and in half of
//! the cases only the client notices, so that its next connection takes over from one that still
//! delivers. Every message has to arrive once and in order, both ways.

use std::time::Duration;

use anyhow::{Error, ensure};
use paddington::{Message, Service};
use paddington_test_support::{Pair, Random, pair};
use tokio::time::{Instant, sleep};

use crate::in_virtual_time;
use crate::ledger::Ledger;

const RECONNECTS: usize = 1_000;
const SHORT_RECONNECTS: usize = 20;
/// In all, both ways.
const MESSAGES: usize = 100_000;
const SHORT_MESSAGES: usize = 2_000;
/// How long a handler takes for some messages: what comes behind them is taken in and not handled.
const PAUSE: Duration = Duration::from_millis(3);
/// Nothing in here takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(random: Random, short: bool) -> Result<(), Error> {
    let (reconnects, messages) =
        if short { (SHORT_RECONNECTS, SHORT_MESSAGES) } else { (RECONNECTS, MESSAGES) };
    in_virtual_time(async move { Storm::start(random).await?.rage(reconnects, messages).await })
}

/// Two services under way, and what each was given.
struct Storm {
    random: Random,
    pair: Pair,
    server: Service,
    client: Service,
    /// What the server was given, what the client was.
    ledgers: [Ledger; 2],
    sent: [usize; 2],
    cut: usize,
    stranded: usize,
    delivered_late: usize,
}

impl Storm {
    async fn start(mut random: Random) -> Result<Self, Error> {
        let mut pair = pair();
        for config in [&mut pair.server, &mut pair.client] {
            let settings = config.settings_mut();
            settings.outbox_messages = MESSAGES;
            settings.handshakes = usize::MAX;
            settings.transport.limits.attempts = u32::MAX;
            settings.transport.retry.interval = Duration::from_millis(2);
        }
        let ledgers = [Ledger::default(), Ledger::default()];
        let [at_server, at_client] =
            ledgers.each_ref().map(|ledger| ledger.slow_handler(random.fork(), 8, PAUSE));
        let network = || pair.network.network();
        let server = Service::start_on(network(), &pair.server, at_server).await?;
        let client = Service::start_on(network(), &pair.client, at_client).await?;
        let (sent, cut, stranded, delivered_late) = ([0; 2], 0, 0, 0);
        Ok(Self { random, pair, server, client, ledgers, sent, cut, stranded, delivered_late })
    }

    async fn rage(mut self, reconnects: usize, messages: usize) -> Result<(), Error> {
        let round = messages / reconnects;
        for _ in 0..reconnects {
            self.connected().await?;
            let first = self.random.below(round + 1);
            self.send(first).await?;
            self.pass_some_time().await;
            if self.random.coin() {
                self.cut(round - first).await?;
            } else {
                self.strand(round - first).await?;
            }
            self.ledgers.iter().try_for_each(|ledger| ledger.count().map(drop))?;
        }
        self.settle().await?;
        println!(
            "takeover: {} connections, {} cut on both sides, {} on the client's alone ({} of them \
             delivered behind their successor), {messages} messages",
            self.pair.network.dialled(),
            self.cut,
            self.stranded,
            self.delivered_late,
        );
        ensure!(self.pair.network.dialled() > reconnects, "too few connections");
        Ok(())
    }

    /// Both sides see a reset; in some cases once more while they are shaking hands.
    async fn cut(&mut self, messages: usize) -> Result<(), Error> {
        let again = self.random.below(4) == 0;
        for _ in 0..=usize::from(again) {
            let before = self.pair.network.dialled();
            self.pair.network.cut();
            self.dialled(before).await?;
            self.pass_turns().await;
        }
        self.cut += 1;
        self.send(messages).await
    }

    /// What the client sends piles up in the cable, the client alone sees a reset, and the server
    /// gets the rest of it before, while or after the next connection takes over.
    async fn strand(&mut self, messages: usize) -> Result<(), Error> {
        let held = self.pair.network.hold();
        self.send(messages).await?;
        self.pass_some_time().await;
        held.strand();
        self.stranded += 1;
        let before = self.pair.network.dialled();
        if self.random.coin() {
            self.pass_some_time().await;
        } else {
            self.dialled(before).await?;
            self.pass_turns().await;
        }
        self.delivered_late += usize::from(self.pair.network.dialled() > before);
        held.release();
        self.dialled(before).await
    }

    async fn send(&mut self, messages: usize) -> Result<(), Error> {
        for _ in 0..messages {
            let way = self.random.below(2);
            let (from, to) = [(&self.client, "server"), (&self.server, "client")][way];
            from.send(Message::new(to, self.sent[way].to_string())).await?;
            self.sent[way] += 1;
        }
        Ok(())
    }

    /// Some milliseconds, or some turns of the other tasks within the same one.
    async fn pass_some_time(&mut self) {
        if self.random.coin() {
            sleep(self.random.up_to(Duration::from_millis(30))).await;
        } else {
            self.pass_turns().await;
        }
    }

    async fn pass_turns(&mut self) {
        for _ in 0..self.random.below(60) {
            tokio::task::yield_now().await;
        }
    }

    async fn connected(&self) -> Result<(), Error> {
        let connected = || {
            let mut peers = self.client.peers().into_iter().chain(self.server.peers());
            peers.all(|peer| peer.is_connected())
        };
        self.until("the two did not meet again", connected).await
    }

    async fn dialled(&self, before: usize) -> Result<(), Error> {
        self.until("nobody dialled", || self.pair.network.dialled() > before).await
    }

    async fn until(
        &self,
        failure: &'static str,
        condition: impl Fn() -> bool,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        while !condition() {
            ensure!(begun.elapsed() < PATIENCE, failure);
            sleep(Duration::from_micros(500)).await;
        }
        Ok(())
    }

    /// Waits until everything is delivered and acknowledged.
    async fn settle(&self) -> Result<(), Error> {
        let empty = || {
            let mut peers = self.client.peers().into_iter().chain(self.server.peers());
            peers.all(|peer| peer.outbox_messages == 0 && peer.inbox_messages == 0)
        };
        self.until("messages were left over", empty).await?;
        sleep(PATIENCE).await;
        for (ledger, sent) in self.ledgers.iter().zip(self.sent) {
            let count = ledger.count()?;
            ensure!(count == sent, "{count} of {sent} messages came");
        }
        Ok(())
    }
}
