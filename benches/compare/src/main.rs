//! NATS, gRPC, ZeroMQ and others in the roles of paddington's load harness. It is not run by hand: the
//! harness looks for it in its own folder and skips systems that are missing.

#[cfg(feature = "commonware")]
mod commonware;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "iroh")]
mod iroh;
#[cfg(feature = "nats")]
mod nats;
#[cfg(any(feature = "commonware", feature = "nats"))]
mod window;
#[cfg(feature = "zeromq")]
mod zeromq;

use anyhow::{Context, Result, bail};
use paddington_bench::{Contender, Drive, Job, Role, Serve};

fn main() -> Result<()> {
    let role = std::env::args().nth(2).context("the load harness runs this program")?;
    match serde_json::from_str(&role)? {
        Role::Serve(serve) => play_server(&serve),
        Role::Drive(drive, job) => play_driver(&drive, job),
        _ => bail!("this program has no such role"),
    }
}

fn play_server(serve: &Serve) -> Result<()> {
    match serve.contender {
        #[cfg(feature = "nats")]
        Contender::Nats | Contender::NatsTls | Contender::NatsRequests => {
            paddington_bench::runtime()?.block_on(nats::serve(serve))
        }
        #[cfg(feature = "grpc")]
        Contender::Grpc => paddington_bench::runtime()?.block_on(grpc::serve(serve)),
        #[cfg(feature = "zeromq")]
        Contender::ZeroMq => zeromq::serve(serve),
        #[cfg(feature = "iroh")]
        Contender::Iroh => paddington_bench::runtime()?.block_on(iroh::serve(serve)),
        #[cfg(feature = "commonware")]
        Contender::Commonware => commonware::serve(serve),
        other => bail!("{} is not built into this program", other.name()),
    }
}

fn play_driver(drive: &Drive, job: Job) -> Result<()> {
    match drive.contender {
        #[cfg(feature = "nats")]
        Contender::Nats | Contender::NatsTls | Contender::NatsRequests => {
            paddington_bench::runtime()?.block_on(nats::drive(drive, job))
        }
        #[cfg(feature = "grpc")]
        Contender::Grpc => paddington_bench::runtime()?.block_on(grpc::drive(drive, job)),
        #[cfg(feature = "zeromq")]
        Contender::ZeroMq => zeromq::drive(drive, job),
        #[cfg(feature = "iroh")]
        Contender::Iroh => paddington_bench::runtime()?.block_on(iroh::drive(drive, job)),
        #[cfg(feature = "commonware")]
        Contender::Commonware => commonware::drive(drive, job),
        other => bail!("{} is not built into this program", other.name()),
    }
}
