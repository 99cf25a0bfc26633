//! Calls that wait for their answers, some number of them at a time, measured the same way whichever
//! system carries them.

use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::{CpuClock, Job, Latencies, Sample, WARM_UP};

/// The time that a call has for its answer.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Makes calls after a warm-up, as many at a time as `job` says, and measures each from its start to
/// its answer. What `call` returns is the length of the answer, which has to be that of the job.
///
/// # Errors
///
/// If a call fails, or an answer has another length.
pub async fn measure_calls<C, F>(call: C, job: Job, others: &[u32]) -> Result<Sample>
where
    C: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = Result<usize>> + Send + 'static,
{
    let lasting = Duration::from_secs_f64(job.seconds);
    let start = Instant::now() + WARM_UP;
    let measured = start..start + lasting;
    let latencies = Arc::new(Mutex::new(Latencies::new()?));
    let mut callers = JoinSet::new();
    for _ in 0..job.in_flight() {
        let latencies = Arc::clone(&latencies);
        callers.spawn(repeat(call.clone(), job.size, measured.clone(), latencies));
    }
    sleep_until(measured.start.into()).await;
    let clock = CpuClock::start(others)?;
    sleep_until(measured.end.into()).await;
    let Sample { cpu, .. } = clock.complete(Sample::default())?;
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    let latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
    if latencies.count() == 0 {
        bail!("nothing was answered");
    }
    Ok(Sample { cpu, ..latencies.sample(lasting) })
}

/// Calls again and again until the end of `measured`, and records what began and ended in it.
async fn repeat<C, F>(
    call: C,
    size: usize,
    measured: Range<Instant>,
    latencies: Arc<Mutex<Latencies>>,
) -> Result<()>
where
    C: Fn() -> F,
    F: Future<Output = Result<usize>>,
{
    let mut now = Instant::now();
    while now < measured.end {
        let began = now;
        let len = call().await?;
        if len != size {
            bail!("a call with {size} bytes was answered with {len}");
        }
        now = Instant::now();
        if began >= measured.start && now <= measured.end {
            latencies.lock().unwrap_or_else(PoisonError::into_inner).record(now - began);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::yield_now;

    use super::*;
    use crate::{IN_FLIGHT, Scenario};

    const MANY: Job = Job { scenario: Scenario::Many, size: 16, seconds: 0.01 };

    #[tokio::test]
    async fn so_many_calls_are_made_at_a_time() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let shared = (now, Arc::clone(&most));
        let call = move || {
            let (now, most) = shared.clone();
            async move {
                most.fetch_max(1 + now.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
                yield_now().await;
                now.fetch_sub(1, Ordering::Relaxed);
                Ok(16)
            }
        };
        let sample = measure_calls(call, MANY, &[]).await.unwrap();
        assert_eq!(most.load(Ordering::Relaxed), IN_FLIGHT);
        assert!(sample.count > 0);
        assert!(sample.latency.is_some());
    }

    #[tokio::test]
    async fn an_answer_of_another_length_is_an_error() {
        let error = measure_calls(async || Ok(15), MANY, &[]).await.unwrap_err();
        assert_eq!(error.to_string(), "a call with 16 bytes was answered with 15");
    }
}
