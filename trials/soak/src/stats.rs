//! A test whether two sets of times differ: Welch's t-test, on all of them and with the slowest
//! cropped at a hundred thresholds, as in dudect, because an interrupt costs more than a secret
//! shows.

use std::fmt;

/// The |t| from which on the two differ.
pub(crate) const BAR: f64 = 4.5;
/// Number of thresholds.
const CROPS: i32 = 100;

/// Times of two classes, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Times {
    classes: [Vec<f64>; 2],
}

/// The result of the test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// The largest |t| of all thresholds.
    pub(crate) t: f64,
    /// The share of the times that it was found in.
    pub(crate) kept: f64,
    /// |t| of all times.
    pub(crate) uncropped: f64,
    /// The medians of both classes, in nanoseconds.
    pub(crate) medians: [f64; 2],
}

impl Times {
    pub(crate) fn push(&mut self, class: usize, nanoseconds: f64) {
        self.classes[class].push(nanoseconds);
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let mut all = self.classes.concat();
        all.sort_unstable_by(f64::total_cmp);
        let uncropped = self.t_below(f64::INFINITY);
        let (mut t, mut kept) = (uncropped, 1.0);
        for crop in 1..=CROPS {
            let share = 1.0 - 0.5_f64.powf(10.0 * f64::from(crop) / f64::from(CROPS));
            let cropped = self.t_below(quantile(&all, share));
            if cropped > t {
                (t, kept) = (cropped, share);
            }
        }
        Verdict { t, kept, uncropped, medians: self.classes.each_ref().map(|class| median(class)) }
    }

    /// |t| of the times below `threshold`.
    fn t_below(&self, threshold: f64) -> f64 {
        let [Some(a), Some(b)] = self.classes.each_ref().map(|class| Moments::of(class, threshold))
        else {
            return 0.0;
        };
        let error = (a.variance / a.count + b.variance / b.count).sqrt();
        if error > 0.0 { (a.mean - b.mean).abs() / error } else { 0.0 }
    }
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    /// Returns `None` for fewer than two times, which have no variance.
    fn of(times: &[f64], threshold: f64) -> Option<Self> {
        let kept = || times.iter().filter(|time| **time < threshold);
        let count = kept().count() as f64;
        if count < 2.0 {
            return None;
        }
        let mean = kept().sum::<f64>() / count;
        let variance = kept().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Some(Self { count, mean, variance })
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (share * sorted.len() as f64) as usize;
    sorted.get(at).or(sorted.last()).copied().unwrap_or(f64::INFINITY)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [unknown, known] = self.medians.map(|median| median / 1e3);
        write!(
            f,
            "|t| {:.2} (bar {BAR}; found in the fastest {:.1} %, {:.2} in all), \
             medians {unknown:.2} and {known:.2} µs",
            self.t,
            100.0 * self.kept,
            self.uncropped,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paddington_test_support::Random;

    /// Twelve uniform numbers add up to a nearly normal one.
    fn noise(random: &mut Random) -> f64 {
        (0..12).map(|_| random.below(1000) as f64).sum::<f64>() + 10_000.0
    }

    fn verdict(shift: f64, outliers: bool) -> Verdict {
        let (mut random, mut times) = (Random::new(1), Times::default());
        for _ in 0..20_000 {
            let class = random.below(2);
            let interrupted = outliers && random.below(50) == 0;
            let time = noise(&mut random) + shift * class as f64;
            times.push(class, if interrupted { time + 1e7 } else { time });
        }
        times.verdict()
    }

    #[test]
    fn equal_classes_pass() {
        assert!(verdict(0.0, false).t < BAR);
        assert!(verdict(0.0, true).t < BAR);
    }

    #[test]
    fn a_small_difference_is_found_even_among_outliers() {
        assert!(verdict(150.0, false).uncropped > BAR);
        let among_outliers = verdict(150.0, true);
        assert!(among_outliers.uncropped < BAR && among_outliers.t > BAR, "{among_outliers}");
    }

    #[test]
    fn welchs_t_is_that_of_the_textbook() {
        let classes = [vec![3.0, 4.0, 1.0, 2.1], vec![490.2, 340.0, 433.9]];
        let t = Times { classes }.t_below(f64::INFINITY);
        assert!((t - 9.559_497_7).abs() < 1e-6, "{t}");
    }

    #[test]
    fn no_times_have_no_difference() {
        assert_eq!(Times::default().verdict().t, 0.0);
    }
}
