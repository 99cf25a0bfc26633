//! commonware-p2p: two peers that know each other's key and address, in its own runtime.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_cryptography::{ChaCha20Poly1305, Signer};
use commonware_p2p::authenticated::lookup::{Config, Network, Oracle, Receiver, Sender};
use commonware_p2p::{Address, AddressableManager, AddressableTrackedPeers, Recipients};
use commonware_p2p::{CheckedSender, LimitedSender, Receiver as _};
use commonware_runtime::tokio::{Config as RuntimeConfig, Context, Runner};
use commonware_runtime::{IoBuf, Quota, Runner as _, Spawner, Supervisor};
use commonware_stream::SakeCups;
use commonware_stream::cups::{self, Cups};
use commonware_stream::sake::{self, Sake};
use commonware_utils::ordered::Map;
use commonware_utils::{NZU32, NZUsize};
use paddington_bench::{
    COUNT, CpuClock, Drive, END, Job, Latencies, PING, Sample, Scenario, Serve, WARM_UP, counted,
    done, message, runtime, tell, until_closed,
};
use tokio::time::{sleep, timeout};

use crate::window::{WINDOW_MESSAGES, window};

const NAME: &[u8] = b"paddington-compare";
const CHANNEL: u64 = 0;
/// The seeds of the two keys.
const SERVER: u64 = 1;
const DRIVER: u64 = 2;
/// Capacity of mailboxes: more than the window, because a full mailbox drops messages.
const ROOM: NonZeroU32 = NZU32!(2 * WINDOW_MESSAGES as u32);
/// Number of messages that are written at once, as by the other systems.
const BATCH: NonZeroUsize = NZUsize!(64);
const LONGEST_MESSAGE: u32 = 8 * 1024 * 1024;
/// Time after which messages are considered lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// Both directions between this peer and the other.
struct Line {
    sender: Sender<PublicKey, Context>,
    receiver: Receiver<PublicKey>,
    other: PublicKey,
    /// Kept because the network ends without it.
    _oracle: Oracle<PublicKey>,
}

impl Line {
    fn new(
        context: &Context,
        seeds: [u64; 2],
        listen: SocketAddr,
        server: SocketAddr,
    ) -> Result<Self> {
        let [me, other] = seeds.map(PrivateKey::from_seed);
        let (mut network, mut oracle) = Network::new(context.child("network"), config(me, listen));
        oracle.track(0, peers(server)?);
        // throttle nothing
        let quota = Quota::with_period(Duration::from_nanos(1)).context("no quota")?;
        let (sender, receiver) = network.register(CHANNEL, quota.allow_burst(ROOM));
        network.start();
        Ok(Self { sender, receiver, other: other.public_key(), _oracle: oracle })
    }

    /// Waits until the other peer is connected.
    async fn connected(&mut self) -> Result<()> {
        for _ in 0..1_000 {
            if self.sender.check(Recipients::All).is_ok_and(|there| !there.recipients().is_empty())
            {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        bail!("the other peer does not connect")
    }

    fn send(&mut self, message: IoBuf) -> Result<()> {
        let to = Recipients::One(self.other.clone());
        let checked = self.sender.check(to).ok().context("messages are throttled")?;
        if checked.send(message, false).accepted() { Ok(()) } else { bail!("a mailbox is full") }
    }

    async fn receive(&mut self) -> Result<IoBuf> {
        Ok(self.receiver.recv().await?.1)
    }
}

/// The configuration for a local network, with room for the window.
fn config(me: PrivateKey, listen: SocketAddr) -> Config<SakeCups<PrivateKey, ChaCha20Poly1305>> {
    let sake = Sake {
        signer: me,
        synchrony_bound: Duration::from_secs(5),
        max_handshake_age: Duration::from_secs(10),
        version: sake::Version::V1,
    };
    let handshake = Cups::new(sake, cups::Version::V1);
    let room = NZUsize!(ROOM.get() as usize);
    let mut config = Config::local(handshake, NAME, listen, NZUsize!(2), LONGEST_MESSAGE, room);
    config.tracked_peer_sets = NZUsize!(1);
    config.send_batch_size = BATCH;
    config.dial_frequency = Duration::from_millis(20);
    config.peer_connection_cooldown = Duration::from_millis(20);
    config
}

/// The driver connects to the server, not the other way round.
fn peers(server: SocketAddr) -> Result<AddressableTrackedPeers<PublicKey>> {
    let peer = |seed, address| {
        let key = PrivateKey::from_seed(seed).public_key();
        Map::try_from([(key, Address::Symmetric(address))]).ok().context("two keys are the same")
    };
    let driver = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    Ok(AddressableTrackedPeers::new(peer(SERVER, server)?, peer(DRIVER, driver)?))
}

/// commonware's runtime, with as many threads as the other systems have.
fn runner(folder: &Path, name: &str) -> Result<Runner> {
    let workers = runtime()?.metrics().num_workers();
    let config = RuntimeConfig::new().with_worker_threads(workers);
    Ok(Runner::new(config.with_storage_directory(folder.join(name))))
}

/// Answers until it is told to end.
pub(crate) fn serve(serve: &Serve) -> Result<()> {
    // it does not tell which port it was given
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    runner(&serve.folder, "server")?.start(|context| async move {
        let line = Line::new(&context, [SERVER, DRIVER], address, address)?;
        context.child("answer").spawn(|_| answer(line));
        tell(&address)?;
        until_closed().await
    })
}

async fn answer(mut line: Line) -> Result<()> {
    let mut count = 0;
    loop {
        let message = line.receive().await?;
        match message.as_ref().first() {
            Some(&PING) => line.send(message)?,
            Some(&END) => {
                line.send(done(count).into_bytes().into())?;
                count = 0;
            }
            Some(&COUNT) => {
                count += 1;
                if count % (window(message.len()) / 4) == 0 {
                    line.send(done(count).into_bytes().into())?;
                }
            }
            _ => bail!("the first byte of a message is unknown"),
        }
    }
}

/// Does a job and reports the result.
pub(crate) fn drive(drive: &Drive, job: Job) -> Result<()> {
    let (server, others) = (drive.address, drive.others.clone());
    let lasting = Duration::from_secs_f64(job.seconds);
    let sample = runner(&drive.folder, "driver")?.start(|context| async move {
        let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let mut line = Line::new(&context, [DRIVER, SERVER], listen, server)?;
        let driven = context.child("drive").spawn(move |_| async move {
            line.connected().await?;
            once(&mut line, job, WARM_UP).await?;
            let clock = CpuClock::start(&others)?;
            clock.complete(once(&mut line, job, lasting).await?)
        });
        driven.await?
    })?;
    tell(&sample)
}

async fn once(line: &mut Line, job: Job, lasting: Duration) -> Result<Sample> {
    let limit = lasting + PATIENCE;
    let sample = match job.scenario {
        Scenario::Ping => timeout(limit, ping(line, job.size, lasting)).await,
        Scenario::Stream => timeout(limit, stream(line, job.size, lasting)).await,
        Scenario::Many => anyhow::bail!("many round trips in flight are measured of requests only"),
    };
    sample.context("messages are lost")?
}

async fn ping(line: &mut Line, size: usize, lasting: Duration) -> Result<Sample> {
    let payload = IoBuf::from(message(PING, size).into_bytes());
    let mut latencies = Latencies::new()?;
    let started = Instant::now();
    let mut now = started;
    while now - started < lasting {
        line.send(payload.clone())?;
        line.receive().await?;
        let then = std::mem::replace(&mut now, Instant::now());
        latencies.record(now - then);
    }
    Ok(latencies.sample(now - started))
}

async fn stream(line: &mut Line, size: usize, lasting: Duration) -> Result<Sample> {
    let payload = IoBuf::from(message(COUNT, size).into_bytes());
    let (window, started) = (window(payload.len()), Instant::now());
    let (mut count, mut arrived, mut answers) = (0, 0, 0);
    while count % 64 != 0 || started.elapsed() < lasting {
        line.send(payload.clone())?;
        count += 1;
        while count - arrived >= window {
            arrived = counted(line.receive().await?.as_ref())?;
            answers += 1;
        }
    }
    line.send(message(END, size).into_bytes().into())?;
    // one answer for each quarter of a window, and one for the end
    while answers < count / (window / 4) + 1 {
        arrived = counted(line.receive().await?.as_ref())?;
        answers += 1;
    }
    if arrived != count {
        bail!("only {arrived} of {count} messages have arrived");
    }
    Ok(Sample { count, seconds: started.elapsed().as_secs_f64(), ..Sample::default() })
}
