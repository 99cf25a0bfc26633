//! ZeroMQ with CURVE: two DEALER sockets, in blocking threads.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use paddington_bench::{
    COUNT, CpuClock, Drive, END, Job, Latencies, PING, Sample, Scenario, Serve, WARM_UP, counted,
    done, message, runtime, tell, until_closed,
};
use zmq::{CurveKeyPair, DEALER, Socket};

/// The file with the server's public key.
const KEY: &str = "curve";

/// Answers until it is told to end.
pub(crate) fn serve(serve: &Serve) -> Result<()> {
    let keys = CurveKeyPair::new()?;
    std::fs::write(serve.folder.join(KEY), keys.public_key)?;
    let socket = zmq::Context::new().socket(DEALER)?;
    socket.set_curve_server(true)?;
    socket.set_curve_secretkey(&keys.secret_key)?;
    socket.bind("tcp://127.0.0.1:*")?;
    let Ok(endpoint) = socket.get_last_endpoint()? else { bail!("no endpoint") };
    let address: SocketAddr = endpoint.trim_start_matches("tcp://").parse()?;
    tell(&address)?;
    std::thread::spawn(move || answer(&socket));
    runtime()?.block_on(until_closed())?;
    // the thread waits for ever in its socket; the process ends without it
    Ok(())
}

fn answer(socket: &Socket) -> Result<()> {
    let mut count = 0;
    loop {
        let message = socket.recv_msg(0)?;
        match message.first() {
            Some(&PING) => socket.send(message, 0)?,
            Some(&COUNT) => count += 1,
            Some(&END) => {
                socket.send(&done(count), 0)?;
                count = 0;
            }
            _ => bail!("the first byte of a message is unknown"),
        }
    }
}

/// Does a job and reports the result.
pub(crate) fn drive(drive: &Drive, job: Job) -> Result<()> {
    let keys = CurveKeyPair::new()?;
    let socket = zmq::Context::new().socket(DEALER)?;
    socket.set_curve_serverkey(&std::fs::read(drive.folder.join(KEY))?)?;
    socket.set_curve_publickey(&keys.public_key)?;
    socket.set_curve_secretkey(&keys.secret_key)?;
    socket.connect(&format!("tcp://{}", drive.address))?;
    let once = match job.scenario {
        Scenario::Ping => ping,
        Scenario::Stream => stream,
        Scenario::Many => anyhow::bail!("many round trips in flight are measured of requests only"),
    };
    once(&socket, job.size, WARM_UP)?;
    let clock = CpuClock::start(&drive.others)?;
    let sample = once(&socket, job.size, Duration::from_secs_f64(job.seconds))?;
    tell(&clock.complete(sample)?)
}

fn ping(socket: &Socket, size: usize, lasting: Duration) -> Result<Sample> {
    let payload = message(PING, size);
    let mut latencies = Latencies::new()?;
    let started = Instant::now();
    let mut now = started;
    while now - started < lasting {
        socket.send(&payload, 0)?;
        socket.recv_msg(0)?;
        let then = std::mem::replace(&mut now, Instant::now());
        latencies.record(now - then);
    }
    Ok(latencies.sample(now - started))
}

fn stream(socket: &Socket, size: usize, lasting: Duration) -> Result<Sample> {
    let payload = message(COUNT, size);
    let started = Instant::now();
    let mut count = 0;
    while count % 64 != 0 || started.elapsed() < lasting {
        socket.send(&payload, 0)?;
        count += 1;
    }
    socket.send(&message(END, size), 0)?;
    let answer = socket.recv_msg(0)?;
    let arrived = counted(&answer).context("no count")?;
    if arrived != count {
        bail!("only {arrived} of {count} messages have arrived");
    }
    Ok(Sample { count, seconds: started.elapsed().as_secs_f64(), ..Sample::default() })
}
