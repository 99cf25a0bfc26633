//! What a process of a measurement is told to do.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

/// Who carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contender {
    /// Paddington in its own encoding.
    Sealed,
    /// Paddington in the original's encoding.
    Hex,
    /// Length-prefixed messages over TCP.
    Tcp,
    /// Length-prefixed messages over TLS.
    Tls,
    /// A bare tokio-tungstenite WebSocket.
    WebSocket,
    /// The same with two passes of ring over each message on each side.
    Twice,
    /// The same with the original's wire format, written as the original writes it.
    Naive,
    /// NATS.
    Nats,
    /// NATS over TLS.
    NatsTls,
    /// ZeroMQ with CURVE.
    ZeroMq,
    /// iroh.
    Iroh,
    /// commonware-p2p.
    Commonware,
}

impl Contender {
    /// What tables call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sealed => "paddington",
            Self::Hex => "paddington, `hex`",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::WebSocket => "tokio-tungstenite",
            Self::Twice => "tokio-tungstenite + ring twice",
            Self::Naive => "naive wire format",
            Self::Nats => "NATS",
            Self::NatsTls => "NATS with TLS",
            Self::ZeroMq => "ZeroMQ CURVE",
            Self::Iroh => "iroh",
            Self::Commonware => "commonware-p2p",
        }
    }

    /// Whether the program with the comparisons that nothing else needs is needed for it.
    #[must_use]
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::Nats | Self::NatsTls | Self::ZeroMq | Self::Iroh | Self::Commonware)
    }
}

/// What is measured between two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scenario {
    /// One message there, the same one back, then the next.
    Ping,
    /// Messages one way, as many as the other side takes.
    Stream,
}

/// A scenario, how long and with how long messages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Which scenario.
    pub scenario: Scenario,
    /// The length of a message, in bytes.
    pub size: usize,
    /// For how long.
    pub seconds: f64,
}

/// The part of the process that is connected to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Serve {
    /// Who.
    pub contender: Contender,
    /// Where keys, certificates and configurations are.
    pub folder: PathBuf,
}

/// The part of the process that connects and measures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drive {
    /// Who.
    pub contender: Contender,
    /// Where keys, certificates and configurations are.
    pub folder: PathBuf,
    /// Where the other process listens.
    pub address: SocketAddr,
    /// The other processes of the measurement.
    pub others: Vec<u32>,
}

/// What a process of a measurement does. It is one argument of its command line, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Role {
    /// Answers until its standard input is closed. Tells its address.
    Serve(Serve),
    /// Does a job and tells its [`Sample`](crate::Sample).
    Drive(Drive, Job),
    /// Opens many connections and does as it is told on its standard input.
    Crowd(Drive, usize),
    /// A service, or a bare WebSocket, that tells when its first message has arrived.
    First(Serve, u16),
    /// A service, or a bare WebSocket, that sends one message.
    Sender(Serve, u16),
    /// Does one piece of work with messages of that length so many times, for its instructions to be counted.
    Count(String, usize, u64),
}

/// How many threads a process of a measurement has: as many as there are cores, as with
/// `#[tokio::main]`, unless the environment says otherwise.
///
/// # Errors
///
/// If the operating system has no threads left.
pub fn runtime() -> Result<Runtime> {
    let workers = std::env::var("PADDINGTON_BENCH_WORKERS").ok();
    let runtime = match workers.and_then(|workers| workers.parse::<usize>().ok()) {
        Some(0) => Builder::new_current_thread().enable_all().build(),
        Some(workers) => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
        None => Builder::new_multi_thread().enable_all().build(),
    };
    Ok(runtime?)
}
