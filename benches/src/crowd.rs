//! Many connections from one process.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use paddington::{Control, Error, Message, Service, send};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep_until, timeout};

use crate::carrier::{PING, WARM_UP, connect, message};
use crate::ours::{SERVER, SourceNetwork, client, client_name};
use crate::{
    Carrier, Contender, Drive, Latencies, Pipe, Sample, Twice, WebSocket, read_commands, tell,
};

/// What a crowd is told to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Command {
    /// So many messages of so many bytes are under way at a time, over all connections, for so
    /// many seconds.
    Busy(usize, usize, f64),
    /// So many messages of so many bytes a second, over all connections, for so many seconds.
    Paced(usize, usize, f64),
    /// Waits until so many connections were established since the start, and tells how long after
    /// the command each of the last of them came.
    Connected(usize, usize),
}

/// Opens `count` connections and does as it is told.
///
/// # Errors
///
/// If a connection fails.
pub async fn run_crowd(_drive: Drive, _count: usize) -> Result<()> {
    bail!("later")
}
