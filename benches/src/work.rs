//! The roles of the processes of a measurement.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::Ranges;

/// A system that carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contender {
    /// Paddington in its own encoding.
    Sealed,
    /// Requests and replies of paddington.
    Requests,
    /// Paddington in the original's encoding.
    Hex,
    /// Length-prefixed messages over TCP.
    Tcp,
    /// Length-prefixed messages over TLS.
    Tls,
    /// A bare tokio-tungstenite WebSocket.
    WebSocket,
    /// A bare WebSocket with a pass of each of ring's two ciphers over each message on each side.
    Twice,
    /// A WebSocket with the original's wire format, written as the original writes it.
    Naive,
    /// NATS.
    Nats,
    /// NATS over TLS.
    NatsTls,
    /// Requests and replies of NATS over TLS.
    NatsRequests,
    /// Unary calls of gRPC over TLS.
    Grpc,
    /// ZeroMQ with CURVE.
    ZeroMq,
    /// iroh.
    Iroh,
    /// commonware-p2p.
    Commonware,
}

impl Contender {
    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sealed => "paddington",
            Self::Requests => "paddington, `request`",
            Self::Hex => "paddington, `hex`",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::WebSocket => "tokio-tungstenite",
            Self::Twice => "tokio-tungstenite + ring twice",
            Self::Naive => "naive wire format",
            Self::Nats => "NATS",
            Self::NatsTls => "NATS with TLS",
            Self::NatsRequests => "NATS with TLS, request–reply",
            Self::Grpc => "gRPC with TLS",
            Self::ZeroMq => "ZeroMQ CURVE",
            Self::Iroh => "iroh",
            Self::Commonware => "commonware-p2p",
        }
    }

    /// Returns whether it is in the separate program with the comparisons.
    #[must_use]
    pub fn is_foreign(self) -> bool {
        matches!(
            self,
            Self::Nats
                | Self::NatsTls
                | Self::NatsRequests
                | Self::Grpc
                | Self::ZeroMq
                | Self::Iroh
                | Self::Commonware
        )
    }
}

/// A way to measure messages between two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scenario {
    /// One message there, the same one back, then the next.
    Ping,
    /// The same, with [`IN_FLIGHT`] of them at any time. Only of paddington, and of requests.
    Many,
    /// Messages one way, as many as the other side takes.
    Stream,
}

/// Number of round trips that are under way in [`Scenario::Many`].
pub const IN_FLIGHT: usize = 64;

/// A scenario, its duration and the length of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The scenario.
    pub scenario: Scenario,
    /// The length of a message, in bytes.
    pub size: usize,
    /// The duration.
    pub seconds: f64,
}

impl Job {
    /// Number of round trips that are under way at any time.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        if self.scenario == Scenario::Many { IN_FLIGHT } else { 1 }
    }
}

/// The role of the process that listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Serve {
    /// The system that is measured.
    pub contender: Contender,
    /// The folder with keys, certificates and configurations.
    pub folder: PathBuf,
}

/// The role of the process that connects and measures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drive {
    /// The system that is measured.
    pub contender: Contender,
    /// The folder with keys, certificates and configurations.
    pub folder: PathBuf,
    /// The address of the other process.
    pub address: SocketAddr,
    /// The other processes of the measurement.
    pub others: Vec<u32>,
}

/// The task of a process of a measurement. It is one argument of its command line, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Role {
    /// Answers until its standard input is closed. Reports its address.
    Serve(Serve),
    /// Does a job and reports its [`Sample`](crate::Sample).
    Drive(Drive, Job),
    /// Opens many connections, from where the server expects them, and follows the commands on its standard input.
    Crowd(Drive, usize, Ranges),
    /// A service, or a bare WebSocket, that reports when its first message has arrived.
    First(Serve, u16),
    /// A service, or a bare WebSocket, that sends one message.
    Sender(Serve, u16),
    /// A replica with its configuration in this folder, on this port.
    Replica(PathBuf, u16),
}

/// The runtime of a process of a measurement: as with `#[tokio::main]`, it has as many threads as
/// cores, unless the environment says otherwise.
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
