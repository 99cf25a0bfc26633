//! NATS: a new broker for each measurement, and two clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_nats::{Client, ConnectOptions, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use paddington_bench::{
    COUNT, Contender, CpuClock, DEADLINE, Drive, END, Job, Latencies, PING, Sample, Scenario,
    Serve, WARM_UP, counted, done, measure_calls, message, tell, until_closed,
};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::window::window;

const THERE: &str = "there";
const BACK: &str = "back";

/// Starts the broker and answers.
pub(crate) async fn serve(serve: &Serve) -> Result<()> {
    let (_broker, address) = broker(serve).await?;
    let client = connect(serve.contender, &serve.folder, address).await?;
    let mut there = client.subscribe(THERE).await?;
    client.flush().await?;
    tell(&address)?;
    tokio::spawn(async move {
        let mut count = 0;
        while let Some(message) = there.next().await {
            match message.payload.first() {
                Some(&PING) => {
                    let back = message.reply.unwrap_or_else(|| BACK.into());
                    client.publish(back, message.payload).await?;
                }
                Some(&END) => {
                    client.publish(BACK, done(count).into()).await?;
                    count = 0;
                }
                Some(&COUNT) => {
                    count += 1;
                    if count % (window(message.payload.len()) / 4) == 0 {
                        client.publish(BACK, done(count).into()).await?;
                    }
                }
                _ => bail!("the first byte of a message is unknown"),
            }
        }
        Ok(())
    });
    until_closed().await
}

/// Starts a broker and returns its address.
async fn broker(serve: &Serve) -> Result<(Child, SocketAddr)> {
    let mut command = Command::new("nats-server");
    command.args(["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"]).arg(&serve.folder);
    if serve.contender != Contender::Nats {
        let file = |name| serve.folder.join(name);
        command.arg("--tls").arg("--tlscert").arg(file("certificate.pem"));
        command.arg("--tlskey").arg(file("key.pem"));
    }
    let log = std::fs::File::create(serve.folder.join("nats.log"))?;
    let broker = command.stderr(log).kill_on_drop(true).spawn().context("no nats-server")?;
    let process = broker.id().context("nats-server has ended")?;
    std::fs::write(serve.folder.join("broker"), process.to_string())?;
    let ports = serve.folder.join(format!("nats-server_{process}.ports"));
    for _ in 0..500 {
        if let Some(port) = std::fs::read_to_string(&ports).ok().and_then(|text| port(&text)) {
            return Ok((broker, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)));
        }
        sleep(Duration::from_millis(10)).await;
    }
    bail!("nats-server does not start: {}", std::fs::read_to_string(serve.folder.join("nats.log"))?)
}

fn port(text: &str) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_str(text).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

async fn connect(contender: Contender, folder: &Path, address: SocketAddr) -> Result<Client> {
    let port = address.port();
    if contender != Contender::Nats {
        let options = ConnectOptions::new()
            .require_tls(true)
            .request_timeout(Some(DEADLINE))
            .add_root_certificates(folder.join("certificate.pem"));
        return Ok(options.connect(format!("tls://localhost:{port}")).await?);
    }
    Ok(async_nats::connect(format!("nats://127.0.0.1:{port}")).await?)
}

/// Does a job and reports the result.
pub(crate) async fn drive(drive: &Drive, job: Job) -> Result<()> {
    let client = connect(drive.contender, &drive.folder, drive.address).await?;
    let broker = std::fs::read_to_string(drive.folder.join("broker"))?.parse()?;
    let others: Vec<_> = drive.others.iter().copied().chain([broker]).collect();
    if drive.contender == Contender::NatsRequests {
        return tell(&requests(client, job, &others).await?);
    }
    let mut back = client.subscribe(BACK).await?;
    client.flush().await?;
    let lasting = Duration::from_secs_f64(job.seconds);
    let sample = tokio::spawn(async move {
        once(&client, &mut back, job, WARM_UP).await?;
        let clock = CpuClock::start(&others)?;
        clock.complete(once(&client, &mut back, job, lasting).await?)
    });
    tell(&sample.await??)
}

/// Makes round trips of requests.
async fn requests(client: Client, job: Job, others: &[u32]) -> Result<Sample> {
    let shared = (client, Bytes::from(message(PING, job.size)));
    let call = move || {
        let (client, payload) = shared.clone();
        async move { Ok(client.request(THERE, payload).await?.payload.len()) }
    };
    measure_calls(call, job, others).await
}

async fn once(
    client: &Client,
    back: &mut Subscriber,
    job: Job,
    lasting: Duration,
) -> Result<Sample> {
    match job.scenario {
        Scenario::Ping => ping(client, back, job.size, lasting).await,
        Scenario::Stream => stream(client, back, job.size, lasting).await,
        Scenario::Many => anyhow::bail!("many round trips in flight are measured of requests only"),
    }
}

async fn ping(
    client: &Client,
    back: &mut Subscriber,
    size: usize,
    lasting: Duration,
) -> Result<Sample> {
    let payload = message(PING, size);
    let mut latencies = Latencies::new()?;
    let started = Instant::now();
    let mut now = started;
    while now - started < lasting {
        client.publish(THERE, payload.clone().into()).await?;
        back.next().await.context("the connection has ended")?;
        let then = std::mem::replace(&mut now, Instant::now());
        latencies.record(now - then);
    }
    Ok(latencies.sample(now - started))
}

async fn stream(
    client: &Client,
    back: &mut Subscriber,
    size: usize,
    lasting: Duration,
) -> Result<Sample> {
    let payload = message(COUNT, size);
    let (window, started) = (window(payload.len()), Instant::now());
    let (mut count, mut arrived) = (0, 0);
    while count % 64 != 0 || started.elapsed() < lasting {
        client.publish(THERE, payload.clone().into()).await?;
        count += 1;
        while count - arrived >= window {
            let credit = back.next().await.context("the connection has ended")?;
            arrived = counted(&credit.payload)?;
        }
    }
    client.publish(THERE, message(END, size).into()).await?;
    while arrived < count {
        let credit = back.next().await.context("the connection has ended")?;
        arrived = counted(&credit.payload)?;
    }
    let sample = Sample { count, seconds: started.elapsed().as_secs_f64(), ..Sample::default() };
    // the end may be reported twice, as a credit and as the end
    if count % (window / 4) == 0 {
        back.next().await.context("the connection has ended")?;
    }
    Ok(sample)
}
