//! Numbers that look random and are the same for the same seed, for ever: SplitMix64.

use std::time::Duration;

/// A sequence of numbers, good enough for plans and for nothing that has to be secret.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins the sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws the next number.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Begins another sequence.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_number())
    }

    /// Draws a number below `bound`, which is not 0 and small beside 2^64.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next_number() % bound as u64) as usize
    }

    /// Returns true half of the time.
    pub fn coin(&mut self) -> bool {
        self.next_number() >> 63 == 1
    }

    /// Returns true in `share` of 100 cases.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// Draws a number from 0 up to 1.
    pub fn chance(&mut self) -> f64 {
        (self.next_number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Draws one of several.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Draws a time from `shortest` up to `longest`, in whole microseconds.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        shortest + self.up_to(longest.saturating_sub(shortest))
    }

    /// Draws a time shorter than `longest`, in whole microseconds.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        let micros = usize::try_from(longest.as_micros()).unwrap_or(usize::MAX);
        Duration::from_micros(self.below(micros.max(1)) as u64)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let word = self.next_number().to_be_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_splitmix64() {
        let mut random = Random::new(1_234_567);
        assert_eq!(
            [random.next_number(), random.next_number()],
            [6457827717110365317, 3203168211198807973]
        );
    }

    #[test]
    fn any_length_is_filled() {
        let mut bytes = [0; 13];
        Random::new(1).fill(&mut bytes);
        assert!(bytes[8..].iter().any(|byte| *byte != 0));
    }
}
