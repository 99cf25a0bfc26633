//! A frame that takes long to arrive: for how long its bytes excuse that no frame is opened.
//! Implements `docs/protocol.md` §7.

use std::time::Duration;

use tokio::time::Instant;

/// The slowest line whose bytes count as a sign of life, in bytes per second.
const SLOWEST: u64 = 5_000;

/// The bytes that a connection has carried since it was last certain that its peer is alive. They
/// prove nothing: somebody else may send them. So each of them excuses a certain time only, and all
/// of them together no more than the longest frame may take.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The length of the longest message, in bytes.
    longest: u64,
    /// The bytes carried when the peer was last known to be alive.
    proven: Carried,
    /// The bytes carried at the last check.
    carried: Carried,
    /// Time of the last check that found more bytes than the one before.
    moved_at: Instant,
}

/// Numbers of bytes so far that may excuse silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Those that have arrived.
    pub(crate) received: u64,
    /// Those that were written, if the peer may send nothing but the answer to a ping behind them.
    pub(crate) written: u64,
}

impl Progress {
    /// Begins to count after `carried` bytes, on a connection whose messages have up to `longest`.
    pub(crate) fn new(longest: usize, carried: Carried, now: Instant) -> Self {
        Self { longest: longest as u64, proven: carried, carried, moved_at: now }
    }

    /// Notes that the peer is known to be alive after `carried` bytes.
    pub(crate) fn prove(&mut self, carried: Carried) {
        self.proven = carried;
        self.carried = carried;
    }

    /// Notes the number of bytes carried so far.
    pub(crate) fn note(&mut self, carried: Carried, now: Instant) {
        if self.carried != carried {
            self.carried = carried;
            self.moved_at = now;
        }
    }

    /// Returns the number of bytes that had arrived at the last check.
    pub(crate) fn received(&self) -> u64 {
        self.carried.received
    }

    /// Returns when a peer counts as dead that was last heard at `heard`, and may be silent for
    /// `dead` while no bytes arrive.
    pub(crate) fn dead_at(&self, heard: Instant, dead: Duration) -> Instant {
        let received = self.carried.received - self.proven.received;
        let written = self.carried.written - self.proven.written;
        if received + written == 0 {
            return heard + dead;
        }
        let excused = self.time_for(received + written);
        (self.moved_at.max(heard) + dead).min(heard + dead + excused)
    }

    /// Returns how long `bytes` may take, but no more than the longest message.
    pub(crate) fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.min(self.longest) * 1_000 / SLOWEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD: Duration = Duration::from_secs(30);

    fn received(received: u64) -> Carried {
        Carried { received, written: 0 }
    }

    /// Carries `rate` bytes per second, and returns for how many seconds the peer is not dead.
    fn lasts(longest: usize, rate: u64) -> u64 {
        let start = Instant::now();
        let mut progress = Progress::new(longest, received(7), start);
        let seconds = (1..).find(|second| {
            let now = start + Duration::from_secs(*second);
            progress.note(received(7 + rate * second), now);
            progress.dead_at(start, DEAD) <= now
        });
        seconds.unwrap()
    }

    #[test]
    fn bytes_excuse_silence_in_proportion_and_within_a_bound() {
        assert_eq!(lasts(1_000_000, 0), 30);
        assert_eq!(lasts(1_000_000, 1), 31);
        assert_eq!(lasts(1_000_000, 2_500), 60);
        for rate in [5_000, 10_000, 1_000_000_000] {
            assert_eq!(lasts(1_000_000, rate), 230);
            assert_eq!(lasts(1_000, rate), 31);
        }
    }

    #[test]
    fn bytes_that_are_written_to_a_peer_that_only_answers_count_too() {
        let start = Instant::now();
        let mut progress = Progress::new(1_000_000, received(0), start);
        progress.note(Carried { received: 5_000, written: 10_000 }, start + DEAD);
        assert_eq!(progress.dead_at(start, DEAD), start + DEAD + Duration::from_secs(3));
    }

    #[test]
    fn a_stop_and_a_frame_end_what_bytes_have_excused() {
        let start = Instant::now();
        let mut progress = Progress::new(1_000_000, received(0), start);
        let second = start + Duration::from_secs(1);
        progress.note(received(900_000), second);
        progress.note(received(900_000), second + DEAD / 2);
        assert_eq!(progress.dead_at(start, DEAD), second + DEAD);
        progress.prove(received(900_010));
        assert_eq!(progress.dead_at(second, DEAD), second + DEAD);
    }
}
