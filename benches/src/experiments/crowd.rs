//! One server and many connections: P7, P8 and the storm of reconnections.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use paddington::Encoding;
use paddington_bench::{
    Child, Command, Contender, Drive, Experiment, Load, Numbers, Placement, Ranges, Role, Sample,
    configure, cpu_time, free_port, memory, wake_ups,
};
use tempfile::TempDir;
use tokio::time::sleep;

use super::{Settings, folder, prepare, progress, serve};

/// Time without any action before a measurement.
const SETTLE: Duration = Duration::from_millis(1_500);
/// Time in which wake-ups are counted: two ping intervals, so that chance plays no part.
const WATCH: Duration = Duration::from_secs(20);
/// Number of round trips that P8 keeps in flight, over all connections.
const IN_FLIGHT: usize = 1_000;
/// Number of messages per second that P8 sends, over all connections.
const RATE: usize = 5_000;

/// A server and its crowd.
struct Scene {
    _folder: TempDir,
    server: Child,
    crowd: Child,
    /// The server's resident memory before any client connected, in bytes.
    before: u64,
}

impl Scene {
    async fn open(contender: Contender, count: usize, settings: &Settings) -> Result<Self> {
        let folder = folder()?;
        prepare(contender, folder.path(), count, 0)?;
        let mut server = serve(&settings.program, contender, folder.path(), Placement::Free)?;
        let address = server.hear().await?;
        sleep(SETTLE / 3).await;
        let before = memory(server.id()?)?.0;
        let drive = drive(contender, folder.path(), address, &server)?;
        let mut crowd =
            Child::start(&settings.program, &Role::Crowd(drive, count, Ranges::Shared))?;
        let _connected: usize = crowd.hear().await?;
        Ok(Self { _folder: folder, server, crowd, before })
    }

    async fn close(self) -> Result<()> {
        self.crowd.kill().await?;
        self.server.kill().await
    }
}

fn drive(
    contender: Contender,
    folder: &Path,
    address: std::net::SocketAddr,
    server: &Child,
) -> Result<Drive> {
    Ok(Drive { contender, folder: folder.to_owned(), address, others: vec![server.id()?] })
}

/// P7.
pub(crate) async fn idle(settings: &Settings) -> Result<Experiment> {
    let title = "the server's cost of one idle connection, by number of connections";
    let (axis, of) = ("connections", "KiB each");
    let against = Contender::WebSocket.name();
    let mut experiment = Experiment::new("P7", title, axis, Some(against), of);
    let counts = settings.connections(&[10, 100, 1_000], 10_000);
    for round in 0..settings.rounds.div_ceil(4) {
        for count in &counts {
            for contender in [Contender::Sealed, Contender::WebSocket] {
                progress(&format!("P7: round {}, {count} × {}", round + 1, contender.name()));
                let numbers = rest(contender, *count, settings).await?;
                experiment.add(contender.name(), *count as f64, numbers);
            }
        }
    }
    Ok(experiment)
}

async fn rest(contender: Contender, count: usize, settings: &Settings) -> Result<Numbers> {
    let scene = Scene::open(contender, count, settings).await?;
    sleep(SETTLE).await;
    let server = scene.server.id()?;
    let resident = memory(server)?.0.saturating_sub(scene.before);
    let (woken, run) = (wake_ups(server)?, cpu_time(&[server])?);
    sleep(WATCH).await;
    let in_ten_seconds = 10.0 / WATCH.as_secs_f64() / count as f64;
    let woken = (wake_ups(server)? - woken) as f64 * in_ten_seconds;
    let run = (cpu_time(&[server])? - run).as_secs_f64() * 1e6 * in_ten_seconds;
    scene.close().await?;
    Ok(Numbers::from([
        ("KiB each".to_owned(), resident as f64 / 1024.0 / count as f64),
        ("wake-ups in 10 s each".to_owned(), woken),
        ("CPU µs in 10 s each".to_owned(), run),
    ]))
}

/// P8, as two tables: as fast as possible, and at a constant rate.
pub(crate) async fn peers(settings: &Settings) -> Result<[Experiment; 2]> {
    let title = format!("{IN_FLIGHT} round trips of 256 B in flight, by number of peers");
    let mut busy = Experiment::new("P8", &title, "peers", None, "per s");
    let title = format!("{RATE} round trips of 256 B per second, by number of peers");
    let mut paced = Experiment::new("P8p", &title, "peers", None, "p99 µs");
    for round in 0..settings.rounds.div_ceil(2) {
        for count in settings.connections(&[1, 10, 100, 1_000], 10_000) {
            for contender in [Contender::Sealed, Contender::Twice] {
                progress(&format!("P8: round {}, {count} × {}", round + 1, contender.name()));
                let mut scene = Scene::open(contender, count, settings).await?;
                let load = Load { messages: IN_FLIGHT, size: 256, seconds: settings.seconds };
                let sample: Sample = scene.crowd.ask(&Command::Busy(load)).await?;
                busy.add(contender.name(), count as f64, sample.numbers());
                let load = Load { messages: RATE, ..load };
                let sample: Sample = scene.crowd.ask(&Command::Paced(load)).await?;
                paced.add(contender.name(), count as f64, sample.numbers());
                scene.close().await?;
            }
        }
    }
    Ok([busy, paced])
}

/// The rows of the storm.
pub(super) const OWN_ADDRESSES: &str = "each expected at its own address";
pub(super) const ONE_NETWORK: &str = "all expected in one network";
pub(super) const ONE_ADDRESS: &str = "all behind one address";

/// The storm: the server is killed and restarted, and all clients reconnect.
pub(crate) async fn storm(settings: &Settings) -> Result<Experiment> {
    let title = "time until all clients are back after the server was killed and restarted";
    let mut experiment = Experiment::new("storm", title, "clients", None, "s");
    let counts = settings.connections(&[100, 1_000], 10_000);
    for round in 0..settings.rounds.div_ceil(4) {
        for count in &counts {
            progress(&format!("storm: round {}, {count} clients", round + 1));
            for (ranges, name) in [
                (Ranges::Own, OWN_ADDRESSES),
                (Ranges::Shared, ONE_NETWORK),
                (Ranges::One, ONE_ADDRESS),
            ] {
                experiment.add(name, *count as f64, restart(*count, ranges, settings).await?);
            }
        }
    }
    Ok(experiment)
}

/// Shorter sessions do not count as good ones, and the next attempt would be delayed.
const GOOD_SESSION: Duration = Duration::from_secs(11);

async fn restart(count: usize, ranges: Ranges, settings: &Settings) -> Result<Numbers> {
    let (contender, folder, port) = (Contender::Sealed, folder()?, free_port()?);
    configure(folder.path(), Encoding::Sealed, count, port, ranges)?;
    let mut server = serve(&settings.program, contender, folder.path(), Placement::Free)?;
    let drive = drive(contender, folder.path(), server.hear().await?, &server)?;
    let began = Instant::now();
    let mut crowd = Child::start(&settings.program, &Role::Crowd(drive, count, ranges))?;
    let _connected: usize = crowd.hear().await?;
    let first = began.elapsed().as_secs_f64();
    sleep(GOOD_SESSION).await;
    server.kill().await?;
    let mut server = serve(&settings.program, contender, folder.path(), Placement::Free)?;
    let _address: std::net::SocketAddr = server.hear().await?;
    let mut times = Vec::new();
    let began = Instant::now();
    for share in [2, 1] {
        let back = count + count / share;
        let _took: f64 = crowd.ask(&Command::Connected(back)).await?;
        times.push(began.elapsed().as_secs_f64());
    }
    let run = cpu_time(&[server.id()?])?.as_secs_f64();
    let peak = memory(server.id()?)?.1 as f64 / 1024.0 / 1024.0;
    crowd.kill().await?;
    server.kill().await?;
    Ok(Numbers::from([
        ("s".to_owned(), times[1]),
        ("s for one half".to_owned(), times[0]),
        ("s at the first start".to_owned(), first),
        ("server's CPU s".to_owned(), run),
        ("server's peak MiB".to_owned(), peak),
    ]))
}
