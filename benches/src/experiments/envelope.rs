//! One envelope, sealed and opened in this process: P1 to P3.

use std::time::{Duration, Instant};

use anyhow::Result;
use paddington_bench::{Envelope, Experiment, Numbers, Work};

use super::{Settings, progress};

/// The time for each kind in a round, as a part of the time of other experiments.
const SHARE: f64 = 0.2;

/// The same rounds, compared with a pass of each of ring's two ciphers and with the original's wire format.
pub(crate) fn envelope(settings: &Settings) -> Result<[Experiment; 2]> {
    let experiment = |id, title, against: Envelope| {
        Experiment::new(id, title, "B", Some(against.name()), "per s")
    };
    let mut beside_ring = experiment(
        "P1",
        "envelopes sealed and opened, compared with a pass of each of ring's two ciphers",
        Envelope::RingTwice,
    );
    let mut beside_reference = experiment(
        "P2",
        "the same, compared with the original's wire format (P2, P3)",
        Envelope::Reference,
    );
    let lasting = Duration::from_secs_f64(SHARE * settings.seconds);
    for round in 0..settings.rounds {
        progress(&format!("P1: round {} of {}", round + 1, settings.rounds));
        for size in Envelope::SIZES {
            for envelope in Envelope::ALL {
                let numbers = once(&mut envelope.work(size)?, lasting)?;
                beside_ring.add(envelope.name(), size as f64, numbers.clone());
                beside_reference.add(envelope.name(), size as f64, numbers);
            }
        }
    }
    Ok([beside_ring, beside_reference])
}

fn once(work: &mut Work, lasting: Duration) -> Result<Numbers> {
    let mut count = 0_u64;
    let mut started = Instant::now();
    let mut warm = false;
    while started.elapsed() < lasting || !warm {
        for _ in 0..8 {
            work()?;
        }
        count += 8;
        if !warm && started.elapsed() >= lasting / 4 {
            (warm, count, started) = (true, 0, Instant::now());
        }
    }
    let each = started.elapsed().as_secs_f64() / count as f64;
    Ok(Numbers::from([("per s".to_owned(), 1.0 / each), ("µs each".to_owned(), 1e6 * each)]))
}
