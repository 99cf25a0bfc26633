//! P14: a server that knows many clients, of which none is connected: its start, its memory, and the
//! refusal of a stranger.

use std::hint::black_box;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use paddington::ServiceConfig;
use paddington_bench::{Contender, Database, Experiment, Numbers, Placement, memory};
use paddington_crypto::KeyPair;
use paddington_wire::sealed::{self, Challenge, HelloRandom, Initiator, Responder};
use paddington_wire::{
    AddressRange, Bucket, Credentials, Encoding, Instance, InvitedClient, InvitedClients, PeerName,
};
use tokio::time::sleep;

use super::{Settings, folder, progress, serve};

/// Time after the start until the memory is read.
const SETTLE: Duration = Duration::from_millis(500);
/// The number of refusals that are timed.
const REFUSALS: usize = 2_000;

/// P14.
pub(crate) async fn links(settings: &Settings) -> Result<Experiment> {
    let title = "a server whose clients are not connected, by their number";
    let mut experiment = Experiment::new("P14", title, "links", None, "s to start");
    let counts = settings.connections(&[1, 1_000], 100_000);
    measure(&mut experiment, &counts, None, settings.rounds.div_ceil(2), settings).await?;
    Ok(experiment)
}

/// P13m: the same at a replica.
pub(super) async fn configured_at_replicas(
    settings: &Settings,
    database: &Database,
) -> Result<Experiment> {
    let title = "a replica whose clients are not connected, by their number";
    let mut experiment = Experiment::new("P13m", title, "links", None, "s to start");
    let counts = settings.connections(&[1, 1_000], 100_000);
    measure(&mut experiment, &counts, Some(database), 1, settings).await?;
    Ok(experiment)
}

async fn measure(
    experiment: &mut Experiment,
    counts: &[usize],
    database: Option<&Database>,
    rounds: usize,
    settings: &Settings,
) -> Result<()> {
    for round in 0..rounds {
        let mut one = None;
        for &count in counts {
            progress(&format!("{}: round {}, {count} links", experiment.id, round + 1));
            let mut numbers = start(count, database, settings).await?;
            numbers.insert("µs to refuse".to_owned(), refusal(count)?);
            let bytes = numbers.get("MiB").copied().unwrap_or_default() * 1024.0;
            let before = *one.get_or_insert(bytes);
            let each = (bytes - before) / (count.max(2) - 1) as f64;
            numbers.insert("KiB each".to_owned(), each);
            experiment.add(Contender::Sealed.name(), count as f64, numbers);
        }
    }
    Ok(())
}

/// Measures the start of a server, or of a replica over this database, from its file to its open port, and
/// its memory.
async fn start(count: usize, database: Option<&Database>, settings: &Settings) -> Result<Numbers> {
    let folder = folder()?;
    let mut config = ServiceConfig::new("server", "ws://127.0.0.1:1", "127.0.0.1", &0)?;
    config.settings_mut().peers = count.max(config.settings().peers);
    let began = Instant::now();
    for client in 0..count {
        config.add_client_with(&format!("client-{client}"), "127.0.0.0/8", Encoding::Sealed)?;
    }
    let added = began.elapsed().as_secs_f64();
    let cluster = match database {
        Some(database) => Some(database.fresh().await?),
        None => None,
    };
    if let Some(cluster) = &cluster {
        config.set_cluster(cluster.clone())?;
    }
    config.save(folder.path().join("server.toml"))?;
    drop(config);
    let Started { took, resident, peak } = start_once(folder.path(), settings).await?;
    let mut numbers = Numbers::from([
        ("s to start".to_owned(), took),
        ("s to add all".to_owned(), added),
        ("MiB".to_owned(), resident),
        ("peak MiB".to_owned(), peak),
    ]);
    if let Some(cluster) = cluster {
        // From now on the links are in the database, and not in the file.
        let mut config = ServiceConfig::new("server", "ws://127.0.0.1:1", "127.0.0.1", &0)?;
        config.settings_mut().peers = count.max(config.settings().peers);
        config.set_cluster(cluster)?;
        config.save(folder.path().join("server.toml"))?;
        let again = start_once(folder.path(), settings).await?;
        numbers.insert("s to start again".to_owned(), again.took);
        numbers.insert("MiB again".to_owned(), again.resident);
    }
    Ok(numbers)
}

/// The start of a server, in seconds, and its memory, in MiB.
struct Started {
    took: f64,
    resident: f64,
    peak: f64,
}

async fn start_once(folder: &Path, settings: &Settings) -> Result<Started> {
    let began = Instant::now();
    let mut server = serve(&settings.program, Contender::Sealed, folder, Placement::Free)?;
    let _address: std::net::SocketAddr = server.hear().await?;
    let took = began.elapsed().as_secs_f64();
    sleep(SETTLE).await;
    let (resident, peak) = memory(server.id()?)?;
    server.kill().await?;
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    Ok(Started { took, resident: mib(resident), peak: mib(peak) })
}

/// Returns the time that a server of `count` clients takes to refuse the HELLO of a stranger, from
/// the address to the end of the cryptography, in µs.
fn refusal(count: usize) -> Result<f64> {
    let server: PeerName = "server".parse()?;
    let range: AddressRange = "127.0.0.0/8".parse()?;
    let mut clients = Vec::with_capacity(count);
    for index in 0..count {
        let name: PeerName = format!("client-{index}").parse()?;
        let keys = sealed::Credentials::new(&server, &name, &KeyPair::generate()?);
        let link = keys.link_id();
        let bucket = Bucket::FIRST.all_from().nth(index / Bucket::CLIENTS);
        let credentials = Credentials::Sealed(Arc::new(keys));
        clients.push(InvitedClient { link, name, range, bucket, credentials });
    }
    let clients = InvitedClients::new(clients);
    let decoy = Arc::new(sealed::Credentials::decoy()?);
    let stranger = Arc::new(sealed::Credentials::decoy()?);
    let address: IpAddr = "127.1.2.3".parse()?;
    let mut whole = Duration::ZERO;
    for _ in 0..REFUSALS {
        let challenge = Challenge::random()?;
        let initiator = Initiator::new(Arc::clone(&stranger), Instance::random()?);
        let (_, hello) = initiator.hello(&challenge, HelloRandom::generate()?)?;
        let began = Instant::now();
        let admitted = clients.admits(address) && clients.admits_in(Encoding::Sealed, address);
        let candidates = clients.sealed_candidates(address, Some(Bucket::FIRST), 0);
        let responder = Responder::new(challenge, Arc::clone(&decoy));
        let refused = responder.authenticate(&hello, candidates.credentials());
        whole += began.elapsed();
        black_box((admitted, refused.is_err()));
    }
    Ok(whole.as_secs_f64() * 1e6 / REFUSALS as f64)
}
