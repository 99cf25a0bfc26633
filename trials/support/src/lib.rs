//! Networks, stores, proxies and clients that the tests and trials of paddington share.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

mod authority;
mod cable;
mod connect_proxy;
mod countdown;
mod detour;
mod fake_server;
mod faulty;
pub mod fuzz;
mod links;
mod logs;
#[cfg(target_os = "linux")]
mod memory;
mod network;
mod ports;
mod postgres;
mod raw;
mod raw_server;
mod reverse_proxy;
mod services;
mod store;
mod tap;

pub use authority::{Authority, Issued};
pub use cable::{Cable, CableEnd};
pub use connect_proxy::{Behaviour, ConnectProxy};
pub use countdown::{Countdown, count_down};
pub use detour::Detour;
pub use fake_server::FakeServer;
pub use faulty::{FaultyProxy, Passing};
pub use links::{TestLink, setup};
pub use logs::{CapturedLogs, capture_logs, capture_logs_of_thread};
#[cfg(target_os = "linux")]
pub use memory::{WantedSecrets, round_keys, subkey};
pub use network::{Held, MemoryNetwork};
pub use paddington_models::random::Random;
pub use ports::free_port;
pub use postgres::{Pooler, PostgresServer};
pub use raw::{Intruder, REQUEST, RawClient, RawFrame, credentials, empty_ready, key_digits, keys};
pub use raw_server::RawServer;
pub use reverse_proxy::ReverseProxy;
pub use services::{Inbox, Pair, conserved, eventually, pair, pair_with, quick};
pub use store::{Broken, Lag, MemoryDisk, SharedDisk};
pub use tap::{Meddler, Way, tap};
