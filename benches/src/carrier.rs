//! The scenarios over a [`Pipe`], from both ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use paddington_instructions::{COUNT, END, PING, done, message};
use tokio::net::{TcpListener, TcpStream};

use crate::{Carrier, CpuClock, Drive, Job, Latencies, Pipe, Sample, Scenario, tell, until_closed};

/// Number of messages that are queued before a flush.
const BATCH: u64 = 64;
/// Time at the start in which nothing is measured.
pub const WARM_UP: Duration = Duration::from_millis(300);

/// Number of messages that the other side has counted, from its answer.
///
/// # Errors
///
/// If the answer is a different one.
pub fn counted(answer: &[u8]) -> Result<u64> {
    let digits = answer.strip_prefix(b"d").context("unexpected answer")?;
    Ok(std::str::from_utf8(digits)?.parse()?)
}

/// Listens and serves all connections, until this process is told to end.
///
/// # Errors
///
/// If it cannot listen.
pub async fn serve_pipe(carrier: impl Carrier) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    tell(&listener.local_addr()?)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let carrier = carrier.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true)?;
                serve_over(carrier.accept(stream).await?).await
            });
        }
    });
    until_closed().await
}

/// Answers over `pipe` until the other end closes it.
///
/// # Errors
///
/// If the connection fails, or the first byte of a message is unknown.
pub async fn serve_over(mut pipe: impl Pipe) -> Result<()> {
    let mut count = 0;
    while let Some(message) = pipe.receive().await? {
        match message.first() {
            Some(&PING) => {
                pipe.feed(message).await?;
                pipe.flush().await?;
            }
            Some(&COUNT) => count += 1,
            Some(&END) => {
                pipe.feed(done(count).into()).await?;
                pipe.flush().await?;
                count = 0;
            }
            _ => bail!("the first byte of a message is unknown"),
        }
    }
    Ok(())
}

/// Connects.
pub(crate) async fn connect<C: Carrier>(carrier: &C, address: SocketAddr) -> Result<C::Pipe> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    carrier.connect(stream).await
}

/// Connects, does `job` and reports the result.
///
/// # Errors
///
/// If the connection fails or messages are lost.
pub async fn drive_pipe(carrier: impl Carrier, drive: Drive, job: Job) -> Result<()> {
    let driven = tokio::spawn(async move {
        let pipe = connect(&carrier, drive.address).await?;
        drive_over(pipe, &drive.others, job).await
    });
    tell(&driven.await??)
}

/// Does `job` over `pipe`, beside the processes `others`.
///
/// # Errors
///
/// If the connection fails or messages are lost.
pub async fn drive_over(mut pipe: impl Pipe, others: &[u32], job: Job) -> Result<Sample> {
    let lasting = Duration::from_secs_f64(job.seconds);
    match job.scenario {
        Scenario::Ping => {
            ping(&mut pipe, job.size, WARM_UP).await?;
            let clock = CpuClock::start(others)?;
            clock.complete(ping(&mut pipe, job.size, lasting).await?)
        }
        Scenario::Stream => {
            stream(&mut pipe, job.size, WARM_UP).await?;
            let clock = CpuClock::start(others)?;
            clock.complete(stream(&mut pipe, job.size, lasting).await?)
        }
        Scenario::Many => anyhow::bail!("many round trips in flight are measured of requests only"),
    }
}

async fn ping(pipe: &mut impl Pipe, size: usize, lasting: Duration) -> Result<Sample> {
    let message = Bytes::from(message(PING, size));
    let mut latencies = Latencies::new()?;
    let started = Instant::now();
    let mut now = started;
    while now - started < lasting {
        pipe.feed(message.clone()).await?;
        pipe.flush().await?;
        pipe.receive().await?.context("the connection has ended")?;
        let then = std::mem::replace(&mut now, Instant::now());
        latencies.record(now - then);
    }
    Ok(latencies.sample(now - started))
}

async fn stream(pipe: &mut impl Pipe, size: usize, lasting: Duration) -> Result<Sample> {
    let message = Bytes::from(message(COUNT, size));
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < lasting {
        for _ in 0..BATCH {
            pipe.feed(message.clone()).await?;
        }
        pipe.flush().await?;
        count += BATCH;
    }
    pipe.feed(self::message(END, size).into()).await?;
    pipe.flush().await?;
    let answer = pipe.receive().await?.context("the connection has ended")?;
    if counted(&answer)? != count {
        bail!("only {} of {count} messages have arrived", counted(&answer)?);
    }
    Ok(Sample { count, seconds: started.elapsed().as_secs_f64(), ..Sample::default() })
}
