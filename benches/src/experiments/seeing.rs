//! The cost of being seen: a scrape of the metrics, and an open status page: P18.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use paddington::{Encoding, Error, Service, ServiceConfig};
use paddington_admin::{Admin, Inbox, Settings as AdminSettings};
use paddington_bench::{
    Child, Contender, Drive, Experiment, Numbers, Ranges, Role, configure, cpu_time, wake_ups,
};
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::{Settings, folder, progress};

/// Time without any action before a measurement.
const SETTLE: Duration = Duration::from_millis(1_500);
/// Time in which an idle service is watched: two ping intervals.
const WATCH: Duration = Duration::from_secs(20);
/// Number of scrapes, whose mean is taken.
const SCRAPES: u32 = 20;

/// P18.
pub(crate) async fn seeing(settings: &Settings) -> Result<Experiment> {
    let title = "an idle service that is seen, by the number of its peers, all connected";
    let mut experiment = Experiment::new("P18", title, "peers", None, "ms a scrape");
    for round in 0..settings.rounds.div_ceil(4) {
        for count in settings.connections(&[200, 1_000], 10_000) {
            for name in ["without the API", "paddington"] {
                progress(&format!("P18: round {}, {count} peers, {name}", round + 1));
                let numbers = watch(count, name == "paddington", settings).await?;
                experiment.add(name, count as f64, numbers);
            }
        }
    }
    Ok(experiment)
}

async fn watch(count: usize, has_api: bool, settings: &Settings) -> Result<Numbers> {
    let folder = folder()?;
    configure(folder.path(), Encoding::Sealed, count, 0, Ranges::Own)?;
    let config = ServiceConfig::load(folder.path().join("server.toml"))?;
    let service = Service::start(&config, async |_| Ok::<(), Error>(())).await?;
    let socket = folder.path().join("socket");
    let serving = match has_api {
        true => {
            let admin = AdminSettings { socket: Some(socket.clone()), ..AdminSettings::default() };
            Some(Admin::bind(admin).await?.serve(service.clone(), None::<Inbox>))
        }
        false => None,
    };
    let address = service.address().context("the server does not listen")?;
    let own = std::process::id();
    let path = folder.path().to_owned();
    let drive = Drive { contender: Contender::Sealed, folder: path, address, others: vec![own] };
    let mut crowd = Child::start(&settings.program, &Role::Crowd(drive, count, Ranges::Own))?;
    let _connected: usize = crowd.hear().await?;
    sleep(SETTLE).await;
    let (closed, mut numbers) = idle("closed", own).await?;
    if serving.is_some() {
        let mut requests = connect(&socket).await?;
        numbers.insert("ms a scrape".to_owned(), scrape(&mut requests, count).await?);
        let page = tokio::spawn(read(get(&mut requests, "/v1/status/stream").await?));
        sleep(SETTLE).await;
        let (open, more) = idle("open", own).await?;
        numbers.extend(more);
        numbers.insert("% of a core for a page".to_owned(), open - closed);
        page.abort();
    }
    crowd.kill().await?;
    if let Some(serving) = serving {
        serving.end().await;
    }
    service.shutdown().await;
    Ok(numbers)
}

/// Watches this process while nothing happens but what it does by itself. Returns the share of a core
/// that it takes, in percent, too.
async fn idle(page: &str, own: u32) -> Result<(f64, Numbers)> {
    let (woken, run) = (wake_ups(own)?, cpu_time(&[own])?);
    sleep(WATCH).await;
    let seconds = WATCH.as_secs_f64();
    let share = 100.0 * (cpu_time(&[own])? - run).as_secs_f64() / seconds;
    let woken = (wake_ups(own)? - woken) as f64 / seconds;
    let numbers = Numbers::from([
        (format!("% of a core, page {page}"), share),
        (format!("wake-ups per s, page {page}"), woken),
    ]);
    Ok((share, numbers))
}

async fn scrape(requests: &mut SendRequest<Empty<Bytes>>, peers: usize) -> Result<f64> {
    let mut took = Duration::ZERO;
    for _ in 0..SCRAPES {
        let began = Instant::now();
        let text = get(requests, "/metrics").await?.into_body().collect().await?.to_bytes();
        took += began.elapsed();
        let lines = std::str::from_utf8(&text)?.lines();
        let connected = lines.filter(|line| line.starts_with("paddington_peer_connected{"));
        let connected = connected.filter(|line| line.ends_with(" 1")).count();
        if connected != peers {
            bail!("{connected} of {peers} peers are connected");
        }
    }
    Ok(took.as_secs_f64() * 1e3 / f64::from(SCRAPES))
}

async fn connect(socket: &std::path::Path) -> Result<SendRequest<Empty<Bytes>>> {
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (requests, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    Ok(requests)
}

async fn get(requests: &mut SendRequest<Empty<Bytes>>, path: &str) -> Result<Response<Incoming>> {
    let request = Request::get(path).header("host", "localhost").body(Empty::new())?;
    requests.ready().await?;
    let response = requests.send_request(request).await?;
    if !response.status().is_success() {
        bail!("{path} is answered {}", response.status());
    }
    Ok(response)
}

/// Reads a stream to its end, as a page does.
async fn read(response: Response<Incoming>) -> Result<()> {
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}
