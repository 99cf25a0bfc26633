//! What the demo proves in the end.

use std::collections::BTreeMap;

use anyhow::{Error, ensure};

/// What has happened to the messages of one direction.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// Those that were accepted, in order.
    pub(crate) accepted: Vec<u64>,
    /// Those of which nobody knows, because a replica ended before it answered.
    pub(crate) unsure: Vec<u64>,
    /// Those that were handled, with whether the handler was told that it may be a repeat, in order.
    pub(crate) handled: Vec<(u64, bool)>,
}

impl Way {
    /// Returns the first message that was accepted and not handled.
    pub(crate) fn missing(&self) -> Option<u64> {
        let handled: std::collections::BTreeSet<_> =
            self.handled.iter().map(|(number, _)| *number).collect();
        self.accepted.iter().copied().find(|number| !handled.contains(number))
    }

    /// Checks that everything was handled in order, and counts what was handled more than once: never more than
    /// `most`, and each time but one with the word that it may be a repeat.
    ///
    /// # Errors
    ///
    /// What was lost, doubled or in another order.
    pub(crate) fn check(&self, name: &str, most: usize) -> Result<usize, Error> {
        let mut times = BTreeMap::<u64, usize>::new();
        let (mut last, mut repeats) = (0, 0);
        for &(number, again) in &self.handled {
            let times = times.entry(number).or_default();
            *times += 1;
            if *times > 1 {
                ensure!(again, "{name}: {number} was handled again, and not told to be a repeat");
                repeats += 1;
                continue;
            }
            ensure!(number > last, "{name}: {number} was handled after {last}");
            last = number;
        }
        ensure!(repeats <= most, "{name}: {repeats} were handled again, and {most} may be");
        let lost = self.missing();
        ensure!(lost.is_none(), "{name}: {lost:?} was accepted and never handled");
        let known = |number| self.accepted.contains(number) || self.unsure.contains(number);
        let stranger = times.keys().find(|number| !known(number));
        ensure!(stranger.is_none(), "{name}: {stranger:?} was handled and never accepted");
        Ok(repeats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(handled: &[(u64, bool)]) -> Way {
        Way { accepted: vec![1, 2], unsure: vec![3], handled: handled.to_vec() }
    }

    #[test]
    fn only_so_many_may_be_handled_again_and_each_is_marked() {
        let again = way(&[(1, false), (2, false), (2, true), (3, false)]);
        assert_eq!(again.check("a way", 1).unwrap(), 1);
        assert!(again.check("a way", 0).is_err());
        assert!(way(&[(1, false), (2, false), (2, false)]).check("a way", 1).is_err());
    }

    #[test]
    fn what_is_lost_out_of_order_or_of_a_stranger_is_noticed() {
        assert_eq!(way(&[(1, false), (2, false)]).check("a way", 0).unwrap(), 0);
        for handled in
            [&[(1, false)][..], &[(2, false), (1, false)], &[(1, false), (2, false), (4, false)]]
        {
            assert!(way(handled).check("a way", 0).is_err(), "{handled:?}");
        }
    }
}
