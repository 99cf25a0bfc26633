//! One measurement.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{Numbers, cpu_time};

/// The result of one run of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Number of messages, or of round trips.
    pub count: u64,
    /// Duration in seconds.
    pub seconds: f64,
    /// Processor time of all processes together in that time, in seconds.
    pub cpu: f64,
    /// The time of a round trip.
    pub latency: Option<Quantiles>,
}

/// A stopwatch for the processor time of this process and others.
#[derive(Clone, Debug)]
pub struct CpuClock {
    processes: Vec<u32>,
    started: Duration,
}

impl CpuClock {
    /// Starts the stopwatch.
    ///
    /// # Errors
    ///
    /// If one of the processes is gone.
    pub fn start(others: &[u32]) -> Result<Self> {
        let processes: Vec<_> = others.iter().copied().chain([std::process::id()]).collect();
        Ok(Self { started: cpu_time(&processes)?, processes })
    }

    /// Completes a sample that was taken since the start.
    ///
    /// # Errors
    ///
    /// If one of the processes is gone.
    pub fn complete(&self, sample: Sample) -> Result<Sample> {
        let cpu = cpu_time(&self.processes)?.saturating_sub(self.started).as_secs_f64();
        Ok(Sample { cpu, ..sample })
    }
}

/// Quantiles of a latency, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half of all were faster.
    pub p50: f64,
    /// 99 % were faster.
    pub p99: f64,
    /// 99.9 % were faster.
    pub p999: f64,
    /// None was slower.
    pub max: f64,
}

impl Sample {
    /// Number per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// The numbers that tables show.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let mut numbers = Numbers::from([("per s".to_owned(), self.rate())]);
        numbers.insert("CPU µs each".to_owned(), 1e6 * self.cpu / self.count as f64);
        if let Some(latency) = &self.latency {
            numbers.insert("p50 µs".to_owned(), latency.p50);
            numbers.insert("p99 µs".to_owned(), latency.p99);
            numbers.insert("p99.9 µs".to_owned(), latency.p999);
        }
        numbers
    }
}

/// Latencies, as a histogram with three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// Creates an empty histogram.
    ///
    /// # Errors
    ///
    /// Never with these bounds.
    pub fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(100, 100_000_000_000, 3)?))
    }

    /// Records one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds those of another histogram.
    ///
    /// # Errors
    ///
    /// Never: all of them have the same bounds.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    /// Number of latencies that were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the latencies as a sample that took `elapsed`.
    #[must_use]
    pub fn sample(&self, elapsed: Duration) -> Sample {
        let micros = |quantile| self.0.value_at_quantile(quantile) as f64 / 1_000.0;
        let latency = Quantiles {
            p50: micros(0.5),
            p99: micros(0.99),
            p999: micros(0.999),
            max: self.0.max() as f64 / 1_000.0,
        };
        let seconds = elapsed.as_secs_f64();
        Sample { count: self.0.len(), seconds, cpu: 0.0, latency: Some(latency) }
    }
}
