//! Every order of what may happen, and the situations in which it is looked at.

use std::collections::{HashSet, VecDeque};

use super::act::{Act, Budget};
use super::world::World;

/// A broken promise, with the shortest way to it.
#[derive(Debug)]
pub struct Breach {
    /// The promise.
    pub promise: &'static str,
    /// What happened.
    pub acts: Vec<Act>,
}

/// What an exploration has found.
#[derive(Debug, Default)]
pub struct Found {
    /// Number of different states.
    pub states: usize,
    /// The first breach.
    pub breach: Option<Breach>,
}

/// Explores everything that can happen within `budget`, or the first `patience` states of it.
#[must_use]
pub fn explore(budget: Budget, patience: usize) -> Found {
    let first = World::new(budget);
    let mut seen = HashSet::from([first.shape()]);
    // Each state with the one that it came from and what happened.
    let mut trail: Vec<(usize, Option<Act>)> = vec![(0, None)];
    let mut queue = VecDeque::from([(0, first)]);
    while let Some((from, world)) = queue.pop_front() {
        for act in world.acts() {
            let mut next = world.clone();
            let kept = next.happen(act).and_then(|()| next.check());
            let fresh = seen.insert(next.shape());
            if kept.is_ok() && !fresh {
                continue;
            }
            trail.push((from, Some(act)));
            let at = trail.len() - 1;
            if let Err(promise) = kept {
                let breach = Some(Breach { promise, acts: way(&trail, at) });
                return Found { states: seen.len(), breach };
            }
            if seen.len() >= patience {
                return Found { states: seen.len(), breach: None };
            }
            queue.push_back((at, next));
        }
    }
    Found { states: seen.len(), breach: None }
}

fn way(trail: &[(usize, Option<Act>)], mut at: usize) -> Vec<Act> {
    let mut acts = Vec::new();
    while let (from, Some(act)) = trail[at] {
        acts.push(act);
        at = from;
    }
    acts.reverse();
    acts
}

/// The situations of the short form, and those that the long one has besides.
#[must_use]
pub fn budgets(long: bool) -> Vec<(&'static str, Budget)> {
    let base = Budget { dials: 4, asks: 1, invites: 0, faults: 2, restores: 0, agreed: false };
    let mut all = vec![
        ("keys: renewals", base),
        ("keys: invitations", Budget { dials: 3, invites: 2, ..base }),
        ("keys: restored copies", Budget { asks: 2, restores: 1, faults: 3, ..base }),
    ];
    all.push((
        "keys: agreed on and not used",
        Budget { dials: 3, faults: 3, agreed: true, ..base },
    ));
    all.push((
        "keys: put back behind an agreement",
        Budget { asks: 2, restores: 1, agreed: true, ..base },
    ));
    if long {
        all.extend([
            ("keys: renewals, long", Budget { dials: 6, asks: 2, faults: 4, ..base }),
            ("keys: all", Budget { dials: 5, asks: 2, invites: 1, restores: 1, faults: 3, ..base }),
        ]);
    }
    all
}

/// Looks for a situation of the short form that breaks a promise. Returns its name, the number of
/// states that were looked at until then, in all of them, and the promise.
#[must_use]
pub fn hunt(patience: usize) -> Option<(&'static str, usize, &'static str)> {
    let mut states = 0;
    budgets(false).into_iter().find_map(|(name, budget)| {
        let found = explore(budget, patience);
        states += found.states;
        Some((name, states, found.breach?.promise))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_breaks_no_promise() {
        for (name, budget) in budgets(false) {
            let found = explore(budget, usize::MAX);
            assert!(found.breach.is_none(), "{name}: {:#?}", found.breach);
            assert!(found.states > 1_000, "{name}: {}", found.states);
        }
    }
}
