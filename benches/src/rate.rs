//! Tasks that do something again and again: how often they can, and how long it takes each time.

use std::future::Future;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::{Latencies, Sample};

/// How many tasks there are, and how often each of them does something.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Pace {
    /// Number of tasks.
    pub senders: usize,
    /// Time from one beginning of a task to its next one; zero if it goes on as soon as it can.
    pub every: Duration,
    /// The duration of all of it.
    pub lasting: Duration,
}

impl Pace {
    /// Tasks that go on as soon as they can.
    #[must_use]
    pub fn busy(senders: usize, lasting: Duration) -> Self {
        Self { senders, every: Duration::ZERO, lasting }
    }
}

/// Lets tasks do `one` at a pace. It is told the number of its task, from 0.
pub(crate) async fn rate<F, R>(pace: Pace, one: F) -> Result<Sample>
where
    F: Fn(usize) -> R + Clone + Send + 'static,
    R: Future<Output = Result<()>> + Send,
{
    let began = Instant::now();
    let sender = |number: usize, one: F| async move {
        let mut latencies = Latencies::new()?;
        let mut due = began + pace.every.mul_f64(number as f64 / pace.senders as f64);
        while began.elapsed() < pace.lasting {
            if !pace.every.is_zero() {
                sleep_until(due).await;
                due += pace.every;
            }
            let asked = Instant::now();
            one(number).await?;
            latencies.record(asked.elapsed());
        }
        Ok::<_, anyhow::Error>(latencies)
    };
    let tasks: Vec<_> =
        (0..pace.senders).map(|number| tokio::spawn(sender(number, one.clone()))).collect();
    let mut all = Latencies::new()?;
    for task in tasks {
        all.add(&task.await??)?;
    }
    Ok(all.sample(began.elapsed()))
}
