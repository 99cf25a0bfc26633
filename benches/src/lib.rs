//! The load harness: real processes on loopback, paddington and other systems in alternating rounds
//! of one run. `docs/performance.md` says how to run it and how to read the results.
//!
//! The benchmarks of single functions are in `benches/`: `cargo bench -p paddington-bench`.

mod api;
mod bars;
mod calls;
mod carrier;
mod child;
mod cluster;
mod crowd;
mod durable;
mod envelopes;
mod ours;
mod pipe;
mod plot;
mod promise;
mod rate;
mod report;
mod sample;
mod stamp;
mod startup;
mod usage;
mod work;

pub use api::{Way, api_rate};
pub use bars::{Bar, Bound, Figure, verdict};
pub use calls::{DEADLINE, measure_calls};
pub use carrier::{WARM_UP, counted, drive_over, drive_pipe, serve_over, serve_pipe};
pub use child::{Child, Placement, free_port, read_commands, tell, until_closed};
pub use cluster::{
    Database, Direction, Flow, Peers, Site, accept_rate, batch_rate, claim_rate, row_rate,
    run_replica,
};
pub use crowd::{Command, Load, run_crowd};
pub use durable::{service_rate, store_rate};
pub use envelopes::{Envelope, Naive as NaiveEnvelope, Work};
pub use ours::{Ranges, SourceNetwork, configure, drive_service, serve_service};
pub use paddington_instructions::{COUNT, END, PING, Pair, done, message};
pub use pipe::{Carrier, Naive, Pipe, Prefixed, Tcp, Tls, Twice, WebSocket};
pub use plot::Plot;
pub use promise::promise;
pub use rate::Pace;
pub use report::{Cell, Experiment, Numbers, Spread};
pub use sample::{CpuClock, Latencies, Quantiles, Sample};
pub use startup::{first, sender};
pub use usage::{cpu_time, memory, wake_ups};
pub use work::{Contender, Drive, IN_FLIGHT, Job, Role, Scenario, Serve, runtime};
